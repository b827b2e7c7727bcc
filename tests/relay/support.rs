//! A sink with mail in its spool, and looks at what became of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringpost::dial::Target;
use ringpost::engine::EngineKind;
use ringpost::limits::MESSAGE_BYTES_DEFAULT;
use ringpost::relay::{Grants, RelayPlan, Route, Routes};
use ringpost::sink::PortTls;
use ringpost::smtp::auth::{AuthPolicy, Credentials, Mechanisms};
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::node::Node;
use ringpost::smtp::server::{BareNewline, Commands, Policy, Protocol, Syntax, TlsPolicy};
use ringpost::spool::{Deliveries, Reader};
use ringpost::tls::ServerConfig;

use crate::sink::{Caller, Running};

pub(crate) struct Post {
    pub sink: Running,
    pub dir: tempfile::TempDir,
}

fn policy() -> Policy {
    Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        recipients_max: 1_000,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Keep,
        extensions: Extensions::ALL,
        commands: Commands { etrn: true, atrn: true, ..Commands::default() },
        auth: AuthPolicy {
            credentials: Credentials::Any,
            mechanisms: Mechanisms::ALL,
            required: false,
        },
        tls: TlsPolicy::default(),
    }
}

impl Post {
    /// A sink that sends the mail of each node to the target beside it, and `ada`'s and `tim`'s by
    /// ATRN.
    pub(crate) fn start(engine: EngineKind, routes: &[(&str, String)]) -> Self {
        Self::start_within(engine, routes, Duration::from_secs(30))
    }

    /// As `start`; a server gets `timeout` for each reply.
    pub(crate) fn start_within(
        engine: EngineKind,
        routes: &[(&str, String)],
        timeout: Duration,
    ) -> Self {
        let route = |(node, target): &(&str, String)| Route {
            node: Node::parse(node.as_bytes()).unwrap(),
            target: Target::parse(target, &[]).unwrap(),
            security: None,
        };
        Self::start_under(engine, routes.iter().map(route).collect(), timeout, None)
    }

    /// As `start_within`, with routes that may be under TLS. With `tls`, the port has STARTTLS, and a second one
    /// is under TLS from the first octet on.
    pub(crate) fn start_under(
        engine: EngineKind,
        routes: Vec<Route>,
        timeout: Duration,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let grants =
            ["ada=a.example,@b.example", "tim=c.example"].map(|text| text.parse().unwrap());
        let plan = RelayPlan {
            routes: Routes::new(routes).unwrap(),
            grants: Grants::new(grants.to_vec()),
            hostname: "sink.example".into(),
            timeout,
        };
        let spool = Some(dir.path().to_owned());
        let port = |is_implicit| {
            let tls = tls.clone().map(|config| PortTls { config, is_implicit });
            (policy(), tls)
        };
        let ports = if tls.is_some() { vec![port(false), port(true)] } else { vec![port(false)] };
        let sink = Running::start_ports(engine, &ports, spool, Some(plan));
        Self { sink, dir }
    }

    pub(crate) fn port(&self) -> SocketAddr {
        self.sink.ports[0]
    }

    /// Brings a message in with DATA.
    pub(crate) fn bring(&self, params: &str, to: &[&str], body: &[u8]) {
        let rcpts: String = to.iter().map(|to| format!("RCPT TO:{to}\r\n")).collect();
        let mut wire =
            format!("EHLO client.example\r\nMAIL FROM:<me@z.example>{params}\r\n{rcpts}DATA\r\n")
                .into_bytes();
        ringpost::smtp::body::write_data(body, &mut wire);
        self.converse(&wire, "queued as");
    }

    /// As `bring`, with BDAT.
    pub(crate) fn bring_chunk(&self, params: &str, to: &str, body: &[u8]) {
        let size = body.len();
        let head = format!(
            "EHLO client.example\r\nMAIL FROM:<me@z.example>{params}\r\nRCPT TO:{to}\r\n\
             BDAT {size} LAST\r\n"
        );
        self.converse(&[head.as_bytes(), body].concat(), "queued as");
    }

    /// Says EHLO and `command`; the reply to it.
    pub(crate) fn ask(&self, command: &str) -> String {
        let said = self.converse(format!("EHLO client.example\r\n{command}\r\n").as_bytes(), "");
        said.lines().rev().nth(1).unwrap().to_owned()
    }

    fn converse(&self, wire: &[u8], word: &str) -> String {
        let mut caller = Caller::call(self.port());
        caller.send(wire, []);
        caller.send(b"QUIT\r\n", []);
        caller.hang_up();
        let said = String::from_utf8(caller.received).unwrap();
        assert!(said.contains(word), "{said}");
        said
    }

    /// For each recipient that is settled, in the order of the spool: path, fate and code.
    pub(crate) fn settled(&self) -> Vec<(String, &'static str, u16)> {
        settled(self.dir.path())
    }

    /// As `settled`, once there are `count`.
    pub(crate) fn settled_once(&self, count: usize) -> Vec<(String, &'static str, u16)> {
        for _ in 0..2_000 {
            let settled = self.settled();
            if settled.len() >= count {
                return settled;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{count} recipients were not settled: {:?}", self.settled());
    }
}

pub(crate) fn settled(dir: &Path) -> Vec<(String, &'static str, u16)> {
    let reader = Reader::open(dir).unwrap();
    let known = Deliveries::read(dir).unwrap();
    let mut settled = Vec::new();
    for message in reader.messages() {
        let message = message.unwrap();
        for delivery in known.of(&message).unwrap().iter() {
            let to = message.envelope.recipients.get(delivery.recipient as usize).unwrap();
            let path = String::from_utf8(to.path.to_vec()).unwrap();
            settled.push((path, delivery.fate.name(), delivery.code));
        }
    }
    settled
}

/// A body without the trace field in front of it, which must be there.
pub(crate) fn without_trace(body: &[u8]) -> &[u8] {
    assert!(body.starts_with(b"Received: from client.example ([127.0.0.1])\r\n\tby sink.example"));
    let mut at = 0;
    for line in body.split_inclusive(|&b| b == b'\n') {
        if at > 0 && !line.starts_with(b"\t") {
            break;
        }
        at += line.len();
    }
    &body[at..]
}
