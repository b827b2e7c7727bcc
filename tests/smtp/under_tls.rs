//! Ports of one sink, in plain text and under TLS, so that what is tested without TLS is tested with it too.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use ringpost::engine::EngineKind;
use ringpost::sink::PortTls;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::server::{Policy, Protocol};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::sink::{Caller, Line, Running, connect};
use crate::tls::{call, configs};

/// `TLS_SAMPLE=1` runs what is a sample otherwise whole.
pub(crate) fn takes_all() -> bool {
    std::env::var("TLS_SAMPLE").is_ok_and(|every| every == "1")
}

impl Line for StreamOwned<ClientConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        // The peer may have closed first.
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

/// How a client comes to talk with a sink.
#[derive(Clone)]
pub(crate) enum Door {
    Plain(SocketAddr),
    Implicit(SocketAddr, Arc<ClientConfig>),
    StartTls(SocketAddr, Arc<ClientConfig>),
}

impl Door {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plain(_) => "in plain text",
            Self::Implicit(..) => "TLS from the first octet",
            Self::StartTls(..) => "after STARTTLS",
        }
    }

    /// A client that has heard nothing yet, or the reply to STARTTLS in place of the greeting.
    pub(crate) fn call(&self) -> Caller {
        match self {
            Self::Plain(port) => Caller::call(*port),
            Self::Implicit(port, config) => {
                Caller::over(call(config.clone(), connect(*port)).unwrap())
            }
            Self::StartTls(port, config) => {
                let socket = connect(*port);
                let mut plain = Caller::over(socket.try_clone().unwrap());
                plain.send(b"EHLO plain.example\r\n", []);
                while !plain.received.windows(6).any(|line| line == b"\r\n250 ") {
                    assert!(plain.read(), "closed before STARTTLS");
                }
                plain.received.clear();
                plain.send(b"STARTTLS\r\n", []);
                plain.read_lines(1);
                let mut caller = Caller::over(call(config.clone(), socket).unwrap());
                caller.received = plain.received;
                caller
            }
        }
    }
}

/// A sink, and the doors to each policy: in plain text, and under TLS in each way that the policy can have.
pub(crate) struct Doors {
    pub(crate) running: Running,
    pub(crate) of: Vec<Vec<Door>>,
}

impl Doors {
    pub(crate) fn open(engine: EngineKind, policies: &[Policy], spool: Option<PathBuf>) -> Self {
        let (server, client) = configs();
        let secure = |is_implicit| Some(PortTls { config: server.clone(), is_implicit });
        let ports = policies.iter().flat_map(|policy| {
            let extensions = policy.extensions.union(Extensions::STARTTLS);
            let offers = Policy { extensions, ..policy.clone() };
            [(policy.clone(), None), (policy.clone(), secure(true)), (offers, secure(false))]
        });
        let running = Running::start_ports(engine, &ports.collect::<Vec<_>>(), spool, None);
        let doors = |(policy, ports): (&Policy, &[SocketAddr])| {
            let mut doors = vec![Door::Plain(ports[0]), Door::Implicit(ports[1], client.clone())];
            if policy.protocol == Protocol::Smtp && policy.commands.esmtp {
                doors.push(Door::StartTls(ports[2], client.clone()));
            }
            doors
        };
        let of = policies.iter().zip(running.ports.chunks(3)).map(doors).collect();
        Self { running, of }
    }
}
