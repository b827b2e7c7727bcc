//! A server that takes mail, or refuses it by a seed, and writes down what it took.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use ringpost::smtp::auth::AuthPolicy;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::reply::Reply;
use ringpost::smtp::server::{
    BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy,
};

/// One message at the end of its data.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub octets: Vec<u8>,
    pub recipients: Vec<Vec<u8>>,
    pub accepted: bool,
}

pub(crate) struct Host {
    pub address: SocketAddr,
    pub taken: Arc<Mutex<Vec<Taken>>>,
}

/// Refuses a message where `refuses` says so of its number.
pub(crate) fn serve(refuses: fn(u64, u64) -> bool, seed: u64) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, taken) = (stream.unwrap(), Arc::clone(&shared));
            std::thread::spawn(move || talk(stream, &taken, |number| refuses(seed, number)));
        }
    });
    Host { address, taken }
}

fn talk(mut stream: TcpStream, taken: &Mutex<Vec<Taken>>, refuses: impl Fn(u64) -> bool) {
    stream.set_nodelay(true).unwrap();
    let policy = Policy {
        hostname: "server.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: u64::MAX,
        recipients_max: 1_000,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Reject,
        extensions: Extensions::ALL,
        commands: Commands::default(),
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
    };
    let mut server = Server::new(Rc::new(policy));
    let (mut replies, mut open) = (Vec::new(), Vec::new());
    let mut received = vec![0; 65_536];
    server.greet(&mut replies);
    loop {
        if stream.write_all(&replies).is_err() {
            return;
        }
        replies.clear();
        let Ok(count @ 1..) = stream.read(&mut received) else { return };
        let mut input = &received[..count];
        while let Some(event) = server.step(&mut input, &mut replies) {
            match event {
                Event::Begin | Event::Discard => open.clear(),
                Event::Body(piece) => open.extend_from_slice(piece),
                Event::End(_) => {
                    let recipients =
                        server.envelope().recipients().map(|(path, _)| path.to_vec()).collect();
                    let mut taken = taken.lock().unwrap();
                    let accepted = !refuses(taken.len() as u64);
                    taken.push(Taken { octets: open.clone(), recipients, accepted });
                    match accepted {
                        true => server.accept("x", &mut replies),
                        false => server.refuse(Reply::new(550, 7, 1, "no"), &mut replies),
                    }
                }
                Event::Close => {
                    let _ = stream.write_all(&replies);
                    return;
                }
                Event::Request | Event::StartTls => panic!("there is no relay and no TLS here"),
            }
        }
    }
}
