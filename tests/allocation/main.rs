//! A session in steady state allocates nothing per message.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    rc::Rc,
};

use ringpost::{
    limits::MESSAGE_BYTES_DEFAULT,
    smtp::{
        auth::AuthPolicy,
        extension::Extensions,
        server::{BareNewline, Commands, Event, Policy, Protocol, Server, Syntax, TlsPolicy},
    },
};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; counting touches a thread-local cell
// that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Serves `wire` in pieces and answers how many messages it held.
fn serve(server: &mut Server, wire: &[u8], piece: usize, replies: &mut Vec<u8>) -> usize {
    let mut messages = 0;
    for mut input in wire.chunks(piece) {
        replies.clear();
        while let Some(event) = server.step(&mut input, replies) {
            if let Event::End(_) = event {
                server.accept("0-1-4096", replies);
                messages += 1;
            }
        }
    }
    messages
}

#[test]
fn a_message_in_steady_state_costs_no_allocation_however_it_is_cut() {
    let lines = "A line of the usual length, with words in it.\r\n..dotted\r\n".repeat(20);
    let envelope = "MAIL FROM:<sender@client.example> SIZE=1000 BODY=8BITMIME\r\n\
                    RCPT TO:<one@sink.example>\r\nRCPT TO:<two@sink.example>\r\n";
    let data = format!("{envelope}DATA\r\n{lines}.\r\n");
    let bdat = format!("{envelope}BDAT {}\r\n{lines}BDAT 0 LAST\r\n", lines.len());
    let wire = format!("{data}{bdat}{data}NOOP\r\n{bdat}RSET\r\n");
    for piece in [1, 33, 1448, wire.len()] {
        let mut server = Server::new(Rc::new(Policy {
            hostname: "sink.example".into(),
            protocol: Protocol::Smtp,
            message_bytes_max: MESSAGE_BYTES_DEFAULT,
            recipients_max: 100,
            syntax: Syntax::Strict,
            bare_newline: BareNewline::Reject,
            extensions: Extensions::ALL,
            commands: Commands::default(),
            auth: AuthPolicy::default(),
            tls: TlsPolicy::default(),
        }));
        let mut replies = Vec::with_capacity(64 * 1024);
        serve(&mut server, b"EHLO client.example\r\n", piece, &mut replies);
        // The first round is the warm-up in which the session takes its memory.
        assert_eq!(serve(&mut server, wire.as_bytes(), piece, &mut replies), 4);
        let before = ALLOCATIONS.get();
        for _ in 0..50 {
            assert_eq!(serve(&mut server, wire.as_bytes(), piece, &mut replies), 4);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "200 messages in pieces of {piece} octets");
    }
}
