//! What the sink says on stderr of each session, where it was asked to: a line when the session ends, and
//! the dialogue while it goes on.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use crate::engine::Peer;
use crate::human::counted;
use crate::notice::{notice, say_event};
use crate::printable::printable;
use crate::smtp::server::Refusal;

/// Kinds of refusals that the line of one session tells apart.
const KINDS_MAX: usize = 32;

/// How the lines are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogFormat {
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// What is said of sessions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogLevel {
    #[default]
    Off,
    /// A line when a session ends.
    Sessions,
    /// Commands and replies too.
    Dialogue,
}

/// What is said of sessions, and how.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogPlan {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SessionEnd {
    Quit,
    ClientClosed,
    ClosedInMessage,
    #[default]
    ConnectionLost,
    Timeout,
    Shutdown,
    ClosedBySink,
    /// ATRN swapped the roles.
    Turned,
    /// There was no greeting.
    NotAdmitted,
    /// No handshake, or a broken record.
    TlsFailed,
    /// By a fault that was asked for.
    Fault,
}

impl SessionEnd {
    fn phrase(self) -> &'static str {
        match self {
            Self::Quit => "ended by QUIT",
            Self::ClientClosed => "closed by the client without QUIT",
            Self::ClosedInMessage => "closed by the client inside a message",
            Self::ConnectionLost => "connection lost",
            Self::Timeout => "timed out",
            Self::Shutdown => "ended because the sink ends",
            Self::ClosedBySink => "closed by the sink",
            Self::Turned => "roles swapped by ATRN",
            Self::NotAdmitted => "not admitted",
            Self::TlsFailed => "ended because TLS failed",
            Self::Fault => "ended by a fault that was asked for",
        }
    }
}

/// The log of one session.
#[derive(Debug)]
pub(super) struct SessionLog {
    plan: LogPlan,
    /// Core and number.
    name: String,
    peer: Peer,
    listener: String,
    begun: Instant,
    messages: u64,
    bytes: u64,
    /// INVARIANT: each kind once, at most [`KINDS_MAX`].
    refusals: Vec<(Refusal, u64)>,
}

impl SessionLog {
    /// `None` where nothing is to be said.
    pub(super) fn begin(
        plan: LogPlan,
        name: (usize, u64),
        peer: Peer,
        listener: &str,
    ) -> Option<Box<Self>> {
        (plan.level != LogLevel::Off).then(|| {
            Box::new(Self {
                plan,
                name: format!("{}-{}", name.0, name.1),
                peer,
                listener: listener.to_owned(),
                begun: Instant::now(),
                messages: 0,
                bytes: 0,
                refusals: Vec::new(),
            })
        })
    }

    pub(super) fn wants_dialogue(&self) -> bool {
        self.plan.level == LogLevel::Dialogue
    }

    /// The client's address, where a proxy named another one.
    pub(super) fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
    }

    /// A message got its 250.
    pub(super) fn message(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }

    pub(super) fn refused(&mut self, refusal: Refusal, times: u32) {
        if let Some((_, count)) = self.refusals.iter_mut().find(|(known, _)| *known == refusal) {
            *count += u64::from(times);
        } else if self.refusals.len() < KINDS_MAX {
            self.refusals.push((refusal, times.into()));
        }
        debug_assert!(self.refusals.len() <= KINDS_MAX, "the kinds of one session are bounded");
    }

    /// Says what the client sent and what it is sent now: whole lines, in this order.
    pub(super) fn dialogue(&self, heard: &[String], replies: &[u8]) {
        if heard.is_empty() && replies.is_empty() {
            return;
        }
        let replies = String::from_utf8_lossy(replies);
        let heard = heard.iter().map(|line| ("C", "command", &**line));
        let said = heard.chain(replies.lines().map(|line| ("S", "reply", line)));
        match self.plan.format {
            LogFormat::Text => {
                let line = |(side, _, line)| format!("{} {side}: {}", self.name, printable(line));
                notice!("{}", said.map(line).collect::<Vec<_>>().join("\n"));
            }
            LogFormat::Json => said.for_each(|(_, event, line)| {
                say_event(json!({ "event": event, "session": self.name, "line": line }));
            }),
        }
    }

    /// The line of the whole session. `hello` is the name that the client gave itself.
    pub(super) fn end(&self, hello: &[u8], end: SessionEnd) {
        let hello = String::from_utf8_lossy(hello);
        let elapsed_s = self.begun.elapsed().as_secs_f64();
        match self.plan.format {
            LogFormat::Text => notice!("{}", self.text(&hello, elapsed_s, end)),
            LogFormat::Json => {
                let refusals = self.refusals.iter().map(|(refusal, count)| {
                    json!({
                        "phase": refusal.phase.name(),
                        "code": refusal.code,
                        "enhanced": refusal.enhanced.map(|code| code.to_string()),
                        "count": count,
                    })
                });
                say_event(json!({
                    "event": "session",
                    "session": self.name,
                    "peer": self.peer.to_string(),
                    "listener": self.listener,
                    "helo": hello,
                    "messages": self.messages,
                    "bytes": self.bytes,
                    "refusals": refusals.collect::<Vec<_>>(),
                    "elapsed_s": elapsed_s,
                    "end": end,
                }));
            }
        }
    }

    fn text(&self, hello: &str, elapsed_s: f64, end: SessionEnd) -> String {
        let Self { name, peer, listener, messages, bytes, .. } = self;
        let mut line = format!("session {name}: {peer}");
        let _ = match printable(hello) {
            hello if hello.is_empty() => write!(line, " on {listener}: "),
            hello => write!(line, " ({hello}) on {listener}: "),
        };
        let _ = write!(line, "{}, {}", counted(*messages, "message"), counted(*bytes, "octet"));
        for (place, (refusal, count)) in self.refusals.iter().enumerate() {
            let lead = if place == 0 { ", refused " } else { ", " };
            let _ = write!(line, "{lead}{count} × {refusal}");
        }
        let _ = write!(line, "; {} after {elapsed_s:.3} s", end.phrase());
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::server::RefusalPhase;

    #[test]
    fn the_line_of_a_session_is_one_line_whatever_the_client_said() {
        let plan = LogPlan { level: LogLevel::Sessions, format: LogFormat::Text };
        let peer = Peer { address: None, crowded: false };
        let mut log = SessionLog::begin(plan, (0, 3), peer, "smtp+unix:/s").unwrap();
        log.message(5);
        let refusal = Refusal::read(RefusalPhase::Rcpt, b"550 5.1.1 no\r\n").unwrap();
        log.refused(refusal, 1);
        log.refused(refusal, 81);
        assert_eq!(
            log.text("a\x1b[2Jb\nc", 0.25, SessionEnd::Quit),
            "session 0-3: unix (a?[2Jb?c) on smtp+unix:/s: 1 message, 5 octets, refused 82 × 550 5.1.1 to \
             RCPT; ended by QUIT after 0.250 s"
        );
        assert!(SessionLog::begin(LogPlan::default(), (0, 0), peer, "").is_none());
    }
}
