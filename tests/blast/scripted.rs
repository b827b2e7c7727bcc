//! A server that answers each line as a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Plan, StopAfter};
use ringpost::blast::{self, RunOutcome};
use ringpost::dial::Target;
use ringpost::engine::EngineKind;

/// What the server does when it has read a line.
pub(crate) enum Answer {
    /// It says this, with CRLF behind each line.
    Say(String),
    /// It says this and closes the connection.
    Close(String),
    /// It says this, an octet every 50 ms.
    Drip(String),
    /// It says nothing, then or ever.
    Mute,
}

pub(crate) fn say(text: &str) -> Answer {
    Answer::Say(text.to_owned())
}

/// What a server without a will of its own answers.
pub(crate) fn good(line: &str) -> Answer {
    say(match line.split([' ', ':']).next().unwrap_or("") {
        "BANNER" => "220 server.example ESMTP",
        "EHLO" | "LHLO" => "250-server.example\n250-PIPELINING\n250 AUTH PLAIN",
        "AUTH" => "235 2.7.0 welcome",
        "DATA" => "354 go on",
        "QUIT" => return Answer::Close("221 2.0.0 bye".to_owned()),
        _ => "250 2.0.0 ok",
    })
}

/// Serves in the background and gives its address. `manner` is asked with the number of the connection, from
/// 0 on, and each line; `BANNER` stands for the begin of a connection, and `.` for the end of a message.
pub(crate) fn serve(manner: impl Fn(u64, &str) -> Answer + Send + Sync + 'static) -> String {
    serve_and_read(manner, |_| ())
}

/// As [`serve`]; `read` sees each line of each message.
pub(crate) fn serve_and_read(
    manner: impl Fn(u64, &str) -> Answer + Send + Sync + 'static,
    read: impl Fn(&str) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (manner, read) = (Arc::new(manner), Arc::new(read));
    std::thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming()) {
            let stream = stream.unwrap();
            let (manner, read) = (Arc::clone(&manner), Arc::clone(&read));
            // Clients that go away are expected.
            std::thread::spawn(move || {
                drop(talk(&stream, |line: &str| manner(number, line), &*read));
            });
        }
    });
    address
}

fn talk(
    mut stream: &TcpStream,
    manner: impl Fn(&str) -> Answer,
    read: impl Fn(&str),
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let mut line = "BANNER".to_owned();
    loop {
        let (text, closes) = match manner(&line) {
            Answer::Say(text) => (text, false),
            Answer::Close(text) => (text, true),
            Answer::Drip(text) => {
                for octet in (text.replace('\n', "\r\n") + "\r\n").bytes() {
                    stream.write_all(&[octet])?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                (String::new(), false)
            }
            Answer::Mute => return lines.try_for_each(|line| line.map(drop)),
        };
        if !text.is_empty() {
            stream.write_all((text.replace('\n', "\r\n") + "\r\n").as_bytes())?;
        }
        if closes {
            return Ok(());
        }
        let in_message = line == "DATA" && text.starts_with("354");
        loop {
            let Some(next) = lines.next().transpose()? else { return Ok(()) };
            if !in_message || next == "." {
                line = next;
                break;
            }
            read(&next);
        }
    }
}

/// A closed loop of `messages` messages over `connections` connections on one core.
pub(crate) fn plan(url: &str, connections: usize, messages: u64) -> Plan {
    let content = Content::plain(Spread::one(512), "a@client.example", "b@server.example");
    let targets = Target::parse(url, &[]).unwrap().into();
    let cpus = ringpost::host::allowed().unwrap().into_iter().take(1).collect();
    let plan = Plan::new(targets, content, cpus, EngineKind::Epoll);
    Plan { connections, stop: StopAfter::Messages(messages), ..plan }
}

pub(crate) fn go(plan: &Plan) -> RunOutcome {
    plan.check().unwrap();
    blast::run(plan, Arc::new(AtomicBool::new(false)), &mut |_, _, _| ()).unwrap()
}
