//! What one message costs in the server machine alone: commands, scanning, replies; no socket, no
//! spool. Input is a receive buffer full of pipelined transactions.

use std::{hint::black_box, rc::Rc};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringpost::{
    limits::{MESSAGE_BYTES_DEFAULT, RECIPIENTS_DEFAULT},
    smtp::{
        auth::AuthPolicy,
        body,
        command::{write_bdat, write_mail, write_rcpt},
        extension::Extensions,
        server::{BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy},
    },
};

/// Transactions in one flight; with 1 KiB each they fill a large receive buffer.
const DEPTH: usize = 56;
const MESSAGE_BYTES: usize = 1024;

fn server() -> Server {
    let mut server = Server::new(Rc::new(Policy {
        hostname: "sink.example".into(),
        protocol: Protocol::Smtp,
        message_bytes_max: MESSAGE_BYTES_DEFAULT,
        recipients_max: RECIPIENTS_DEFAULT,
        syntax: Syntax::Lenient,
        bare_newline: BareNewline::Keep,
        extensions: Extensions::ALL,
        commands: Commands::default(),
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
    }));
    serve(&mut server, b"EHLO client.example\r\n", &mut Vec::new());
    server
}

fn serve(server: &mut Server, mut input: &[u8], replies: &mut Vec<u8>) -> usize {
    let mut messages = 0;
    while let Some(event) = server.step(&mut input, replies) {
        match event {
            Event::Body(piece) => {
                black_box(piece);
            }
            Event::End(_) => {
                server.accept("0-1-4096", replies);
                messages += 1;
            }
            Event::Begin | Event::Discard | Event::Request | Event::StartTls | Event::Close => {}
        }
    }
    messages
}

fn message() -> Vec<u8> {
    let line = b"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do.\r\n";
    let mut message: Vec<_> = line.iter().copied().cycle().take(MESSAGE_BYTES - 2).collect();
    message.extend_from_slice(b"\r\n");
    message
}

fn flight(with_bdat: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..DEPTH {
        write_mail(&mut wire, b"sender@client.example", b" SIZE=1024");
        write_rcpt(&mut wire, b"recipient@sink.example", b"");
        if with_bdat {
            write_bdat(&mut wire, MESSAGE_BYTES as u64, true);
            wire.extend_from_slice(&message());
        } else {
            wire.extend_from_slice(b"DATA\r\n");
            body::write_data(&message(), &mut wire);
        }
    }
    wire
}

fn transactions(c: &mut Criterion) {
    let mut group = c.benchmark_group("server");
    group.throughput(Throughput::Elements(DEPTH as u64));
    for (name, with_bdat) in [("bdat_1_kib", true), ("data_1_kib", false)] {
        let wire = flight(with_bdat);
        let mut server = server();
        let mut replies = Vec::with_capacity(64 * 1024);
        group.bench_function(name, |b| {
            b.iter(|| {
                replies.clear();
                assert_eq!(serve(&mut server, black_box(&wire), &mut replies), DEPTH);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, transactions);
criterion_main!(benches);
