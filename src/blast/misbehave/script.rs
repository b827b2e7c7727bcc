//! What a client does in each way to misbehave.

use std::time::Duration;

use super::client::{BadClient, BadClientEnd};
use super::kind::{Allowed, DialogueStage, Farewell, MisbehaviourKind};
use crate::limits::{MISBEHAVIOUR_RECIPIENTS, RECIPIENTS_GRANTED};
use crate::smtp::ending::{WouldBeEnd, endings};
use crate::smtp::extension::Extensions;

/// Time between two octets of a slow client.
const SLOW_OCTET_MS: u64 = 50;

/// Octets of commands that a client sends whose replies it does not read: more than the kernel keeps for
/// both sides, so that a server which stops reading is seen to do so.
const MISBEHAVIOUR_FLOOD_BYTES: u64 = 64 * 1024 * 1024;

/// Limit of a server beyond which no message is sent to try it.
const MISBEHAVIOUR_BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A message without its end.
const BODY: &str = "Subject: bad\r\n\r\nThis client means no good.\r\n";
const DOT: &str = ".\r\n";
/// Octets of a line that is longer than any server has to take.
const LINE_BYTES: usize = 8 * 1024;
const TEXT_LINE_BYTES: usize = 256 * 1024;
/// Octets of a BDAT chunk; only half of them are sent.
const CHUNK_BYTES: usize = 2_000;
const PIECE_BYTES: u64 = 64 * 1024;

/// Misbehaves once.
pub(super) async fn perform(kind: MisbehaviourKind, client: &mut BadClient) -> BadClientEnd {
    let end = script(kind, client).await.map_or_else(|end| end, BadClientEnd::Reply);
    judge(kind.allowed(), end)
}

async fn script(kind: MisbehaviourKind, client: &mut BadClient) -> Result<u16, BadClientEnd> {
    match kind {
        MisbehaviourKind::Slow => slow(client).await,
        MisbehaviourKind::Leave(stage, farewell) => leave(stage, farewell, client).await,
        MisbehaviourKind::NeverRead => never_read(client).await,
        MisbehaviourKind::LongLine => long_line(client).await,
        MisbehaviourKind::LongTextLine => long_text_line(client).await,
        MisbehaviourKind::Oversize => oversize(client).await,
        MisbehaviourKind::OversizeBody => oversize_body(client).await,
        MisbehaviourKind::ManyRecipients => many_recipients(client).await,
        MisbehaviourKind::RcptFirst => {
            client.greet().await?;
            let rcpt = client.state.parts.rcpt.clone();
            client.ask(rcpt).await
        }
        MisbehaviourKind::DataFirst => {
            client.greet().await?;
            client.ask("DATA\r\n").await
        }
        MisbehaviourKind::MailTwice => {
            reach(DialogueStage::Mail, client).await?;
            let mail = client.state.parts.mail.clone();
            client.ask(mail).await
        }
        MisbehaviourKind::EarlyTalk => {
            let hello = client.hello();
            client.ask(hello).await
        }
        MisbehaviourKind::Pipeline => pipeline(client).await,
        MisbehaviourKind::Garbage => garbage(client).await,
        MisbehaviourKind::BareLf => bare_lf(client).await,
        MisbehaviourKind::Smuggle => smuggle(client).await,
        MisbehaviourKind::Idle => {
            client.greet().await?;
            client.hear_ever().await
        }
    }
}

fn judge(allowed: Allowed, end: BadClientEnd) -> BadClientEnd {
    let BadClientEnd::Reply(code) = end else { return end };
    let fine = match allowed {
        Allowed::Anything | Allowed::Reply => true,
        Allowed::Refusal => code >= 400,
        Allowed::NoSuccess => code / 100 != 2,
    };
    if fine { end } else { BadClientEnd::Wrong(code) }
}

/// Goes through the dialogue as the protocol wants it, up to a stage.
async fn reach(stage: DialogueStage, client: &mut BadClient) -> Result<(), BadClientEnd> {
    if stage == DialogueStage::Banner {
        return client.banner().await;
    }
    if stage >= DialogueStage::Ehlo {
        client.greet().await?;
    }
    if stage == DialogueStage::Bdat && !client.offered.has(Extensions::CHUNKING) {
        return Err(BadClientEnd::NotOffered);
    }
    if stage >= DialogueStage::Mail {
        let mail = client.state.parts.mail.clone();
        client.say(mail).await;
        client.pass(2).await?;
    }
    if stage >= DialogueStage::Rcpt {
        let rcpt = client.state.parts.rcpt.clone();
        client.say(rcpt).await;
        client.pass(2).await?;
    }
    if matches!(stage, DialogueStage::Data | DialogueStage::Body | DialogueStage::Dot) {
        client.say("DATA\r\n").await;
        client.pass(3).await?;
    }
    match stage {
        DialogueStage::Body => client.say(&BODY.as_bytes()[..BODY.len() / 2]).await,
        DialogueStage::Dot => client.say(format!("{BODY}{DOT}")).await,
        DialogueStage::Bdat => {
            let half = "x".repeat(CHUNK_BYTES / 2);
            client.say(format!("BDAT {CHUNK_BYTES} LAST\r\n{half}")).await;
        }
        _ => {}
    }
    Ok(())
}

/// Leaves at a stage. A client that ends only its own direction hears what the server makes of that.
async fn leave(
    stage: DialogueStage,
    farewell: Farewell,
    client: &mut BadClient,
) -> Result<u16, BadClientEnd> {
    reach(stage, client).await?;
    if farewell == Farewell::Reset {
        // Where the connection is gone already, there is nothing to reset.
        drop(client.wire.stream().reset_on_close());
        return Err(BadClientEnd::Left);
    }
    if stage == DialogueStage::Dot || client.wire.stream().shutdown_write().is_err() {
        return Err(BadClientEnd::Left);
    }
    let mut said = None;
    loop {
        match client.hear().await {
            // The greeting was on its way.
            Ok(220) => {}
            Ok(code) => said = Some(code),
            Err(end) => return said.ok_or(end),
        }
    }
}

async fn slow(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    reach(DialogueStage::Data, client).await?;
    for octet in format!("{BODY}{DOT}").into_bytes() {
        client.say([octet]).await;
        client.state.pause(Duration::from_millis(SLOW_OCTET_MS)).await;
        if client.ended() {
            break;
        }
    }
    client.hear().await
}

async fn never_read(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.greet().await?;
    let hello = client.hello();
    let piece = hello.repeat(PIECE_BYTES as usize / hello.len() + 1);
    for _ in 0..MISBEHAVIOUR_FLOOD_BYTES / PIECE_BYTES {
        client.try_say(&*piece).await?;
    }
    Err(BadClientEnd::Left)
}

async fn long_line(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.greet().await?;
    client.ask(format!("NOOP {}\r\n", "x".repeat(LINE_BYTES))).await
}

async fn long_text_line(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    reach(DialogueStage::Data, client).await?;
    client.ask(format!("{BODY}{}\r\n{DOT}", "x".repeat(TEXT_LINE_BYTES))).await
}

/// One octet more than the limit that the server names.
fn beyond_limit(client: &BadClient) -> Result<u64, BadClientEnd> {
    let size = Some(client.offered.size).filter(|size| *size > 0);
    size.and_then(|size| size.checked_add(1)).ok_or(BadClientEnd::NotOffered)
}

async fn oversize(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.greet().await?;
    let size = beyond_limit(client)?;
    let mut mail = client.state.parts.mail.clone();
    mail.truncate(mail.len() - 2);
    mail.extend_from_slice(format!(" SIZE={size}\r\n").as_bytes());
    client.ask(mail).await
}

async fn oversize_body(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    reach(DialogueStage::Rcpt, client).await?;
    let size = beyond_limit(client)?;
    if size > MISBEHAVIOUR_BODY_BYTES_MAX {
        return Err(BadClientEnd::NotOffered);
    }
    client.say("DATA\r\n").await;
    client.pass(3).await?;
    let line = format!("{}\r\n", "x".repeat(70));
    let piece = line.repeat(PIECE_BYTES as usize / line.len());
    for _ in 0..=size / piece.len() as u64 {
        client.say(piece.as_bytes()).await;
        if client.ended() {
            break;
        }
    }
    client.ask(DOT).await
}

async fn many_recipients(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    reach(DialogueStage::Rcpt, client).await?;
    let rcpt = client.state.parts.rcpt.clone();
    for count in 1..MISBEHAVIOUR_RECIPIENTS {
        let code = client.ask(&*rcpt).await?;
        if code / 100 != 2 {
            let soon = count < RECIPIENTS_GRANTED && code != 421;
            return if soon { Err(BadClientEnd::Wrong(code)) } else { Ok(code) };
        }
    }
    Ok(250)
}

async fn pipeline(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.banner().await?;
    let mut group = client.hello();
    group.extend_from_slice(&client.state.parts.mail);
    group.extend_from_slice(&client.state.parts.rcpt);
    group.extend_from_slice(b"DATA\r\n");
    let mut code = client.ask(group).await?;
    for _ in 0..3 {
        code = client.hear().await?;
    }
    if code == 354 { client.ask(format!("{BODY}{DOT}")).await } else { Ok(code) }
}

async fn garbage(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.greet().await?;
    let octets = (0..=u8::MAX).filter(|octet| !matches!(octet, b'\r' | b'\n'));
    client.ask(octets.chain(*b"\r\n").collect::<Vec<u8>>()).await
}

/// A server that takes a bare LF for an end of line answers two commands.
async fn bare_lf(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    client.greet().await?;
    let code = client.ask("NOOP\nNOOP\r\n").await?;
    alone(code, client).await
}

/// The message ends once. A server that sees an end before takes the rest for a second transaction.
async fn smuggle(client: &mut BadClient) -> Result<u16, BadClientEnd> {
    reach(DialogueStage::Data, client).await?;
    let ending = client.state.next_ending();
    client.example = Some(ending.text().escape_default().to_string());
    let mut message = ending.text().into_bytes();
    message.extend_from_slice(&client.state.parts.mail);
    message.extend_from_slice(&client.state.parts.rcpt);
    message.extend_from_slice(format!("DATA\r\n{BODY}{DOT}").as_bytes());
    let code = client.ask(message).await?;
    alone(code, client).await
}

/// Hears whether the reply with `code` was the only one: the next must be the reply to QUIT.
async fn alone(code: u16, client: &mut BadClient) -> Result<u16, BadClientEnd> {
    match client.ask("QUIT\r\n").await {
        Ok(221 | 421) | Err(BadClientEnd::Closed | BadClientEnd::Reset) => Ok(code),
        Ok(_) => Err(BadClientEnd::Wrong(code)),
        Err(end) => Err(end),
    }
}

/// Octets that look like an end of data and are none. Those that servers have fallen for come first.
pub(super) fn would_be_endings() -> Vec<WouldBeEnd> {
    let mut endings: Vec<WouldBeEnd> = endings().filter(|ending| !ending.ends()).collect();
    let odd = |text: &str| !text.bytes().all(|octet| matches!(octet, b'\r' | b'\n' | b'\0'));
    endings.sort_by_key(|ending| {
        (ending.first, ending.dot != ".", odd(ending.prefix) || odd(ending.suffix))
    });
    endings
}
