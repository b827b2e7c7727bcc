//! What a client of each kind does.

use std::time::Duration;

use super::client::{Caller, End};
use super::kind::{Allowed, Farewell, Kind, Stage};
use crate::limits::{
    MISBEHAVIOUR_BODY_BYTES_MAX, MISBEHAVIOUR_FLOOD_BYTES, MISBEHAVIOUR_RECIPIENTS,
    RECIPIENTS_GRANTED, SLOW_OCTET_MS,
};
use crate::smtp::ending::{WouldBeEnd, endings};
use crate::smtp::extension::Extensions;

/// A message without its end.
const BODY: &str = "Subject: bad\r\n\r\nThis client means no good.\r\n";
const DOT: &str = ".\r\n";
/// Octets of a line that is longer than any server has to take.
const LINE_BYTES: usize = 8 * 1024;
const TEXT_LINE_BYTES: usize = 256 * 1024;
/// Octets of a chunk of which half is sent.
const CHUNK_BYTES: usize = 2_000;
const PIECE_BYTES: u64 = 64 * 1024;

/// Does it once.
pub(super) async fn perform(kind: Kind, caller: &mut Caller) -> End {
    let end = script(kind, caller).await.map_or_else(|end| end, End::Reply);
    judge(kind.allowed(), end)
}

async fn script(kind: Kind, caller: &mut Caller) -> Result<u16, End> {
    match kind {
        Kind::Slow => slow(caller).await,
        Kind::Leave(stage, farewell) => leave(stage, farewell, caller).await,
        Kind::NeverRead => never_read(caller).await,
        Kind::LongLine => long_line(caller).await,
        Kind::LongTextLine => long_text_line(caller).await,
        Kind::Oversize => oversize(caller).await,
        Kind::OversizeBody => oversize_body(caller).await,
        Kind::ManyRecipients => many_recipients(caller).await,
        Kind::RcptFirst => {
            caller.greet().await?;
            let rcpt = caller.crowd.rcpt.clone();
            caller.ask(rcpt).await
        }
        Kind::DataFirst => {
            caller.greet().await?;
            caller.ask("DATA\r\n").await
        }
        Kind::MailTwice => {
            reach(Stage::Mail, caller).await?;
            let mail = caller.crowd.mail.clone();
            caller.ask(mail).await
        }
        Kind::EarlyTalk => {
            let hello = caller.hello();
            caller.ask(hello).await
        }
        Kind::Pipeline => pipeline(caller).await,
        Kind::Garbage => garbage(caller).await,
        Kind::BareLf => bare_lf(caller).await,
        Kind::Smuggle => smuggle(caller).await,
        Kind::Idle => {
            caller.greet().await?;
            caller.hear_ever().await
        }
    }
}

fn judge(allowed: Allowed, end: End) -> End {
    let End::Reply(code) = end else { return end };
    let fine = match allowed {
        Allowed::Anything | Allowed::Reply => true,
        Allowed::Refusal => code >= 400,
        Allowed::NoSuccess => code / 100 != 2,
    };
    if fine { end } else { End::Wrong(code) }
}

/// The dialogue as it should be, up to a stage.
async fn reach(stage: Stage, caller: &mut Caller) -> Result<(), End> {
    if stage == Stage::Banner {
        return caller.pass(2).await;
    }
    if stage >= Stage::Ehlo {
        caller.greet().await?;
    }
    if stage == Stage::Bdat && !caller.offered.has(Extensions::CHUNKING) {
        return Err(End::NotOffered);
    }
    if stage >= Stage::Mail {
        let mail = caller.crowd.mail.clone();
        caller.say(mail).await;
        caller.pass(2).await?;
    }
    if stage >= Stage::Rcpt {
        let rcpt = caller.crowd.rcpt.clone();
        caller.say(rcpt).await;
        caller.pass(2).await?;
    }
    if matches!(stage, Stage::Data | Stage::Body | Stage::Dot) {
        caller.say("DATA\r\n").await;
        caller.pass(3).await?;
    }
    match stage {
        Stage::Body => caller.say(&BODY.as_bytes()[..BODY.len() / 2]).await,
        Stage::Dot => caller.say(format!("{BODY}{DOT}")).await,
        Stage::Bdat => {
            let half = "x".repeat(CHUNK_BYTES / 2);
            caller.say(format!("BDAT {CHUNK_BYTES} LAST\r\n{half}")).await;
        }
        _ => {}
    }
    Ok(())
}

/// Whoever ends only its own direction hears what the server makes of that.
async fn leave(stage: Stage, farewell: Farewell, caller: &mut Caller) -> Result<u16, End> {
    reach(stage, caller).await?;
    if farewell == Farewell::Reset {
        // A connection that is gone already ends as it likes.
        drop(caller.wire.conn().reset_on_close());
        return Err(End::Left);
    }
    if stage == Stage::Dot || caller.wire.conn().shutdown_write().is_err() {
        return Err(End::Left);
    }
    let mut said = None;
    loop {
        match caller.hear().await {
            // The greeting was on its way.
            Ok(220) => {}
            Ok(code) => said = Some(code),
            Err(end) => return said.ok_or(end),
        }
    }
}

async fn slow(caller: &mut Caller) -> Result<u16, End> {
    reach(Stage::Data, caller).await?;
    for octet in format!("{BODY}{DOT}").into_bytes() {
        caller.say([octet]).await;
        caller.crowd.pause(Duration::from_millis(SLOW_OCTET_MS)).await;
        if caller.ended() {
            break;
        }
    }
    caller.hear().await
}

async fn never_read(caller: &mut Caller) -> Result<u16, End> {
    caller.greet().await?;
    let hello = caller.hello();
    let piece = hello.repeat(PIECE_BYTES as usize / hello.len() + 1);
    for _ in 0..MISBEHAVIOUR_FLOOD_BYTES / PIECE_BYTES {
        caller.try_say(&*piece).await?;
    }
    Err(End::Left)
}

async fn long_line(caller: &mut Caller) -> Result<u16, End> {
    caller.greet().await?;
    caller.ask(format!("NOOP {}\r\n", "x".repeat(LINE_BYTES))).await
}

async fn long_text_line(caller: &mut Caller) -> Result<u16, End> {
    reach(Stage::Data, caller).await?;
    caller.ask(format!("{BODY}{}\r\n{DOT}", "x".repeat(TEXT_LINE_BYTES))).await
}

/// The limit that the server names, and one octet more.
fn beyond_limit(caller: &Caller) -> Result<u64, End> {
    let size = Some(caller.offered.size).filter(|size| *size > 0);
    size.and_then(|size| size.checked_add(1)).ok_or(End::NotOffered)
}

async fn oversize(caller: &mut Caller) -> Result<u16, End> {
    caller.greet().await?;
    let size = beyond_limit(caller)?;
    let mut mail = caller.crowd.mail.clone();
    mail.truncate(mail.len() - 2);
    mail.extend_from_slice(format!(" SIZE={size}\r\n").as_bytes());
    caller.ask(mail).await
}

async fn oversize_body(caller: &mut Caller) -> Result<u16, End> {
    reach(Stage::Rcpt, caller).await?;
    let size = beyond_limit(caller)?;
    if size > MISBEHAVIOUR_BODY_BYTES_MAX {
        return Err(End::NotOffered);
    }
    caller.say("DATA\r\n").await;
    caller.pass(3).await?;
    let line = format!("{}\r\n", "x".repeat(70));
    let piece = line.repeat(PIECE_BYTES as usize / line.len());
    for _ in 0..=size / piece.len() as u64 {
        caller.say(piece.as_bytes()).await;
        if caller.ended() {
            break;
        }
    }
    caller.ask(DOT).await
}

async fn many_recipients(caller: &mut Caller) -> Result<u16, End> {
    reach(Stage::Rcpt, caller).await?;
    let rcpt = caller.crowd.rcpt.clone();
    for count in 1..MISBEHAVIOUR_RECIPIENTS {
        let code = caller.ask(&*rcpt).await?;
        if code / 100 != 2 {
            let soon = count < RECIPIENTS_GRANTED && code != 421;
            return if soon { Err(End::Wrong(code)) } else { Ok(code) };
        }
    }
    Ok(250)
}

async fn pipeline(caller: &mut Caller) -> Result<u16, End> {
    caller.pass(2).await?;
    let mut group = caller.hello();
    group.extend_from_slice(&caller.crowd.mail);
    group.extend_from_slice(&caller.crowd.rcpt);
    group.extend_from_slice(b"DATA\r\n");
    let mut code = caller.ask(group).await?;
    for _ in 0..3 {
        code = caller.hear().await?;
    }
    if code == 354 { caller.ask(format!("{BODY}{DOT}")).await } else { Ok(code) }
}

async fn garbage(caller: &mut Caller) -> Result<u16, End> {
    caller.greet().await?;
    let octets = (0..=u8::MAX).filter(|octet| !matches!(octet, b'\r' | b'\n'));
    caller.ask(octets.chain(*b"\r\n").collect::<Vec<u8>>()).await
}

/// A server that takes the LF for an end of line has two commands to answer.
async fn bare_lf(caller: &mut Caller) -> Result<u16, End> {
    caller.greet().await?;
    let code = caller.ask("NOOP\nNOOP\r\n").await?;
    alone(code, caller).await
}

/// The message ends once. A server that saw an end before takes the rest for a second transaction.
async fn smuggle(caller: &mut Caller) -> Result<u16, End> {
    reach(Stage::Data, caller).await?;
    let ending = caller.crowd.next_ending();
    caller.example = Some(ending.text().escape_default().to_string());
    let mut message = ending.text().into_bytes();
    message.extend_from_slice(&caller.crowd.mail);
    message.extend_from_slice(&caller.crowd.rcpt);
    message.extend_from_slice(format!("DATA\r\n{BODY}{DOT}").as_bytes());
    let code = caller.ask(message).await?;
    alone(code, caller).await
}

/// Whether the reply was the only one: what comes next must be the answer to QUIT.
async fn alone(code: u16, caller: &mut Caller) -> Result<u16, End> {
    match caller.ask("QUIT\r\n").await {
        Ok(221 | 421) | Err(End::Closed | End::Reset) => Ok(code),
        Ok(_) => Err(End::Wrong(code)),
        Err(end) => Err(end),
    }
}

/// Would-be ends of data that are none, those first that servers have fallen for.
pub(super) fn would_be_endings() -> Vec<WouldBeEnd> {
    let mut endings: Vec<WouldBeEnd> = endings().filter(|ending| !ending.ends()).collect();
    let odd = |text: &str| !text.bytes().all(|octet| matches!(octet, b'\r' | b'\n' | b'\0'));
    endings.sort_by_key(|ending| {
        (ending.first, ending.dot != ".", odd(ending.prefix) || odd(ending.suffix))
    });
    endings
}
