//! An SMTP server under TLS whose library is driven with buffers of its own, on blocking sockets: nothing of it
//! is ours but the certificate.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use ringpost::dial::{Security, TlsMode};
use ringpost::tls::{
    ClientOptions, SelfSigned, ServerConfigs, ServerOptions, TlsSettings, Trust, make,
};
use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// What the server does in the handshake and before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// TLS from the first octet.
    Implicit,
    /// STARTTLS, offered and done.
    Offers,
    /// STARTTLS is not offered.
    Plain,
    /// STARTTLS is offered and answered with 454.
    Refuses,
    /// The 220 has another reply behind it.
    Injects,
    /// 220, and then plain text in place of the handshake.
    TalksOn,
    /// 220, and then the end of the connection.
    HangsUp,
    /// 220, and then nothing.
    Waits,
    /// STARTTLS is offered and not answered.
    IsDeaf,
    /// TLS is to come from the first octet, and nothing is ever said.
    IsMute,
    /// TLS from the first octet; hangs up when its own part of the handshake is sent.
    HangsUpInside,
    /// TLS from the first octet; no banner.
    GreetsNobody,
    /// TLS from the first octet; every other connection ends with the first octets of the client.
    Cuts,
}

/// What was seen of clients.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) full: AtomicU64,
    pub(crate) resumed: AtomicU64,
    /// Messages under TLS, and in plain text.
    pub(crate) secure: AtomicU64,
    pub(crate) plain: AtomicU64,
    /// Lines in plain text after STARTTLS.
    pub(crate) after: Mutex<Vec<String>>,
}

pub(crate) struct TlsServer {
    pub(crate) address: String,
    pub(crate) counts: Arc<Counts>,
    ca: CertificateDer<'static>,
}

impl TlsServer {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::start_with(manner, SelfSigned::Good, ServerOptions::default())
    }

    pub(crate) fn start_with(manner: Manner, kind: SelfSigned, options: ServerOptions) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let made = make(kind, "server.example", now.as_secs()).unwrap();
        let config = ServerConfigs::new(options).unwrap().config(vec![made.pair]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let manner = match manner {
                    Manner::Cuts if number % 2 == 1 => Manner::HangsUpInside,
                    Manner::Cuts => Manner::Implicit,
                    manner => manner,
                };
                let (config, counts) = (Arc::clone(&config), Arc::clone(&shared));
                let socket = socket.unwrap();
                // Clients that go away are expected.
                std::thread::spawn(move || drop(serve(socket, manner, config, &counts)));
            }
        });
        Self { address, counts, ca: made.ca }
    }

    /// Clients that trust the server's CA.
    pub(crate) fn security(&self, mode: TlsMode) -> Security {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone()).unwrap();
        let options = ClientOptions {
            settings: TlsSettings::default(),
            trust: Trust::Roots(roots),
            pair: None,
            key_log: None,
        };
        Security { mode: Some(mode), server_name: None, options }
    }

    pub(crate) fn handshakes(&self) -> (u64, u64) {
        (self.counts.full.load(SeqCst), self.counts.resumed.load(SeqCst))
    }

    pub(crate) fn messages(&self) -> (u64, u64) {
        (self.counts.secure.load(SeqCst), self.counts.plain.load(SeqCst))
    }
}

fn serve(
    mut socket: TcpStream,
    manner: Manner,
    config: Arc<ServerConfig>,
    counts: &Counts,
) -> io::Result<()> {
    if manner == Manner::IsMute {
        return io::copy(&mut socket, &mut io::sink()).map(drop);
    }
    if manner == Manner::HangsUpInside {
        let mut server = ServerConnection::new(config).map_err(io::Error::other)?;
        while !server.wants_write() {
            server.read_tls(&mut socket)?;
            server.process_new_packets().map_err(io::Error::other)?;
        }
        while server.wants_write() {
            server.write_tls(&mut socket)?;
        }
        socket.shutdown(Shutdown::Write)?;
        return io::copy(&mut socket, &mut io::sink()).map(drop);
    }
    if matches!(manner, Manner::Implicit | Manner::GreetsNobody) {
        let mut secure = secure(socket, config, counts)?;
        if manner == Manner::GreetsNobody {
            return io::copy(&mut secure, &mut io::sink()).map(drop);
        }
        secure.write_all(b"220 server.example\r\n")?;
        return talk(&mut secure, OFFERS_UNDER_TLS, &counts.secure).map(drop);
    }
    socket.write_all(b"220 server.example\r\n")?;
    let offers = if manner == Manner::Plain { OFFERS_UNDER_TLS } else { OFFERS_BEFORE };
    while talk(&mut socket, offers, &counts.plain)? {
        match manner {
            Manner::Refuses => socket.write_all(b"454 4.7.0 no TLS now\r\n")?,
            Manner::Injects => socket.write_all(b"220 go\r\n250 smuggled\r\n")?,
            Manner::IsDeaf => return io::copy(&mut socket, &mut io::sink()).map(drop),
            Manner::Waits => {
                socket.write_all(b"220 go\r\n")?;
                return io::copy(&mut socket, &mut io::sink()).map(drop);
            }
            Manner::HangsUp => {
                socket.write_all(b"220 go\r\n")?;
                socket.shutdown(Shutdown::Write)?;
                // What is not read would make the close a reset.
                return io::copy(&mut socket, &mut io::sink()).map(drop);
            }
            Manner::TalksOn => {
                socket.write_all(b"220 go\r\n")?;
                socket.read_exact(&mut [0; 5])?;
                socket.write_all(b"554 5.5.1 what is this\r\n")?;
                io::copy(&mut socket, &mut io::sink())?;
                return Ok(());
            }
            _ => {
                socket.write_all(b"220 go\r\n")?;
                let mut secure = secure(socket, config, counts)?;
                return talk(&mut secure, OFFERS_UNDER_TLS, &counts.secure).map(drop);
            }
        }
        if manner == Manner::Injects {
            while let Some(line) = line(&mut socket)? {
                counts.after.lock().unwrap().push(line);
            }
            return Ok(());
        }
    }
    Ok(())
}

const OFFERS_BEFORE: &str = "250-server.example\r\n250-SIZE 9\r\n250 STARTTLS\r\n";
const OFFERS_UNDER_TLS: &str =
    "250-server.example\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN\r\n";

fn secure(
    mut socket: TcpStream,
    config: Arc<ServerConfig>,
    counts: &Counts,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let mut server = ServerConnection::new(config).map_err(io::Error::other)?;
    while server.is_handshaking() {
        // What cannot be sent any more is no part of it.
        let done = server.complete_io(&mut socket);
        if server.is_handshaking() {
            done?;
        }
    }
    match server.handshake_kind() {
        Some(HandshakeKind::Resumed) => counts.resumed.fetch_add(1, SeqCst),
        _ => counts.full.fetch_add(1, SeqCst),
    };
    Ok(StreamOwned::new(server, socket))
}

/// Says yes to everything. Answers whether the client has said STARTTLS.
fn talk(stream: &mut (impl Read + Write), offers: &str, messages: &AtomicU64) -> io::Result<bool> {
    while let Some(command) = line(stream)? {
        let reply = match command.split([' ', ':']).next().unwrap() {
            "EHLO" | "LHLO" => offers,
            "STARTTLS" => return Ok(true),
            "AUTH" => "235 2.7.0 welcome\r\n",
            "BDAT" => {
                let size: u64 = command.split(' ').nth(1).unwrap().parse().unwrap();
                io::copy(&mut stream.take(size), &mut io::sink())?;
                messages.fetch_add(1, SeqCst);
                "250 2.0.0 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n")?;
                while line(stream)?.is_some_and(|line| line != ".") {}
                messages.fetch_add(1, SeqCst);
                "250 2.0.0 ok\r\n"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 bye\r\n")?;
                return Ok(false);
            }
            _ => "250 2.0.0 ok\r\n",
        };
        stream.write_all(reply.as_bytes())?;
    }
    Ok(false)
}

/// The next line without its end; `None` at the end of the stream.
fn line(stream: &mut impl Read) -> io::Result<Option<String>> {
    let (mut line, mut octet) = (Vec::new(), [0]);
    loop {
        if stream.read(&mut octet)? == 0 {
            return Ok(None);
        }
        line.push(octet[0]);
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
            return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
        }
    }
}
