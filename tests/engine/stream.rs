//! Connections under TLS: the peers have the buffers of rustls and sockets that block.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow::{Break, Continue};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use ringpost::engine::{Buf, HandshakeError, Loans, Pool, Stream, Taken};
use ringpost::limits::RECV_RECORD_BYTES;
use ringpost::tls::{Tls, TlsFault};
use rustls::{ClientConnection, StreamOwned};

use super::support::*;
use super::tls::{call as secure_call, configs};

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A stream of ours after the handshake, the buffer with what came behind it, and a thread with the peer.
async fn secured<T: Send + 'static>(
    peer: impl FnOnce(Client) -> T + Send + 'static,
) -> (Stream, Buf, Rc<Pool>, thread::JoinHandle<T>) {
    secured_in(Rc::new(Loans::new(usize::MAX)), peer).await
}

/// The same, and the buffers of the stream are among those loans.
async fn secured_in<T: Send + 'static>(
    loans: Rc<Loans>,
    peer: impl FnOnce(Client) -> T + Send + 'static,
) -> (Stream, Buf, Rc<Pool>, thread::JoinHandle<T>) {
    let (server, client) = configs();
    let (conn, socket) = pair().await;
    let peer = thread::spawn(move || peer(secure_call(client, socket).unwrap()));
    let pool = Rc::new(Pool::new());
    let mut stream = Stream::from(conn);
    stream.begin(Tls::server(server).unwrap(), pool.clone());
    stream.bound_by(loans);
    let (done, buf) = stream.handshake(pool.small()).await;
    done.unwrap();
    (stream, buf, pool, peer)
}

/// Appends all that is in `buf` to `seen`.
fn take_all(stream: &mut Stream, buf: &mut Buf, seen: &mut Vec<u8>) -> Taken {
    let taken = stream.take(buf, |piece| {
        seen.extend_from_slice(piece);
        Continue(())
    });
    taken.unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 7 + index / 4093) as u8).collect()
}

#[test]
fn without_tls_a_stream_is_a_connection() {
    let _quiet = with_others();
    on_both(|_| async {
        let (conn, mut peer) = pair().await;
        let mut stream = Stream::from(conn);
        peer.write_all(b"one two").unwrap();
        let (received, mut buf) = stream.recv(Buf::with_capacity(64)).await;
        assert_eq!((received.unwrap(), &buf[..]), (7, &b"one two"[..]));
        // Broken off, the rest stays.
        let taken = stream.take(&mut buf, |piece| Break(piece.len() - 3)).unwrap();
        assert_eq!((taken, &buf[..]), (Taken::Part, &b"two"[..]));
        let mut seen = Vec::new();
        assert_eq!(take_all(&mut stream, &mut buf, &mut seen), Taken::All);
        assert_eq!((seen, buf.len()), (b"two".to_vec(), 0));
        assert!(stream.is_idle(&[]) && !stream.is_secure() && stream.facts().is_none());
        let (sent, _) = stream.send_last(b"bye".to_vec().into()).await;
        sent.unwrap();
        stream.close().await;
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");
    });
}

#[test]
fn what_is_sealed_arrives_and_what_arrives_is_opened_whatever_its_size() {
    let _quiet = with_others();
    on_both(|_| async {
        // Of one octet, of one record and one octet more, of many records.
        let sizes = [1, 700, 2_048, 16_384, 16_385, 300_000];
        let (mut stream, mut buf, pool, peer) = secured(move |mut client| {
            for size in sizes {
                client.write_all(&pattern(size)).unwrap();
                let mut back = vec![0; size];
                client.read_exact(&mut back).unwrap();
                assert!(back == pattern(size), "{size} octets");
            }
            client.conn.send_close_notify();
            client.flush().unwrap();
            let mut rest = Vec::new();
            // An end without close_notify would be an error here.
            client.read_to_end(&mut rest).unwrap();
            rest
        })
        .await;
        assert_eq!(stream.facts().unwrap().server_name.as_deref(), Some(super::tls::NAME));
        let mut out = pool.small();
        let mut last = Taken::All;
        for size in sizes {
            let mut seen = Vec::new();
            take_all(&mut stream, &mut buf, &mut seen);
            while seen.len() < size {
                let (sent, received);
                (sent, out, received, buf) = stream.send_recv(out, buf).await;
                out.clear();
                sent.unwrap();
                assert!(received.unwrap() > 0);
                // As a session does that reads on into a large buffer.
                let mut large = pool.large();
                large.vec_mut().extend_from_slice(&buf);
                buf.clear();
                last = take_all(&mut stream, &mut large, &mut seen);
                buf = stream.carry(&pool, large, buf);
                assert!(buf.capacity() < 48 * 1024, "a session waits with no large buffer");
            }
            assert!(seen == pattern(size), "{size} octets");
            out.vec_mut().extend_from_slice(&seen);
            let sent;
            (sent, out) = stream.send_all(out).await;
            sent.unwrap();
            out.clear();
        }
        while last != Taken::PeerClosed {
            let received;
            (received, buf) = stream.recv(buf).await;
            assert!(received.unwrap() > 0);
            last = take_all(&mut stream, &mut buf, &mut Vec::new());
        }
        assert!(buf.capacity() < 4_096, "small again");
        out.vec_mut().extend_from_slice(b"221 bye\r\n");
        stream.send_last(out).await.0.unwrap();
        stream.shutdown_write().unwrap();
        assert_eq!(peer.join().unwrap(), b"221 bye\r\n");
        stream.close().await;
    });
}

#[test]
fn records_after_a_break_wait_for_the_next_take() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut stream, mut buf, pool, peer) = secured(|mut client| {
            for text in [&b"one two"[..], b"three", b"four"] {
                client.write_all(text).unwrap();
            }
            let mut end = Vec::new();
            client.read_to_end(&mut end).unwrap();
            end
        })
        .await;
        let mut seen = Vec::new();
        let mut answered = 0;
        loop {
            let mut broke = false;
            let taken = stream.take(&mut buf, |piece| {
                broke = true;
                // Four octets at a time.
                let taken = piece.len().min(4);
                seen.extend_from_slice(&piece[..taken]);
                seen.push(b'|');
                Break(taken)
            });
            if taken.unwrap() == Taken::All {
                assert!(!broke);
                let received;
                (received, buf) = stream.recv(buf).await;
                assert!(received.unwrap() > 0);
                continue;
            }
            // A reply may go out in the middle of a record.
            let mut out = pool.small();
            out.vec_mut().extend_from_slice(b"ok.");
            stream.send_all(out).await.0.unwrap();
            answered += 1;
            if seen == b"one |two|thre|e|four|" {
                break;
            }
        }
        assert_eq!(String::from_utf8(seen).unwrap(), "one |two|thre|e|four|");
        stream.send_last(pool.small()).await.0.unwrap();
        stream.shutdown_write().unwrap();
        assert_eq!(peer.join().unwrap(), b"ok.".repeat(answered));
        stream.close().await;
    });
}

#[test]
fn both_sides_of_a_stream_shake_hands_also_after_an_interrupt() {
    let _quiet = with_others();
    on_both(|_| async {
        let (server, client) = configs();
        let mut listener = listener();
        let to = listener.address().clone();
        let ours = tokio::task::spawn_local(async move {
            let conn = ringpost::engine::connect(&to, &Default::default()).await.unwrap();
            let pool = Rc::new(Pool::new());
            let mut stream = Stream::from(conn);
            let name = super::tls::NAME.try_into().unwrap();
            stream.begin(Tls::client(client, name).unwrap(), pool.clone());
            let (done, mut buf) = stream.handshake(pool.small()).await;
            done.unwrap();
            let mut out = pool.small();
            out.vec_mut().extend_from_slice(b"EHLO x\r\n");
            let (sent, _, received, got) = stream.send_recv(out, buf).await;
            sent.unwrap();
            received.unwrap();
            buf = got;
            let mut seen = Vec::new();
            take_all(&mut stream, &mut buf, &mut seen);
            assert_eq!(seen, b"250 x\r\n");
            stream.close().await;
        });
        let (conn, _) = listener.accept().await.unwrap();
        let pool = Rc::new(Pool::new());
        let mut stream = Stream::from(conn);
        stream.begin(Tls::server(server).unwrap(), pool.clone());
        stream.handle().interrupt();
        let (done, mut buf) = stream.handshake(pool.small()).await;
        let Err(HandshakeError::Io(error)) = done else { panic!("interrupted: {done:?}") };
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        let (done, got) = stream.handshake(buf).await;
        done.unwrap();
        buf = got;
        let mut seen = Vec::new();
        while seen != b"EHLO x\r\n" {
            take_all(&mut stream, &mut buf, &mut seen);
            if seen.is_empty() {
                let received;
                (received, buf) = stream.recv(buf).await;
                assert!(received.unwrap() > 0);
            }
        }
        let mut out = pool.small();
        out.vec_mut().extend_from_slice(b"250 x\r\n");
        stream.send_all(out).await.0.unwrap();
        ours.await.unwrap();
        stream.close().await;
    });
}

#[test]
fn strangers_get_an_alert_and_those_who_leave_are_told_apart() {
    let _quiet = with_others();
    on_both(|_| async {
        for (said, fault, answered) in [
            (&b"EHLO x\r\n"[..], TlsFault::PlainText, 7),
            (b"\x16\x03\x01\x02\x00\x01", TlsFault::Cut, 0),
            (b"", TlsFault::Cut, 0),
        ] {
            let (server, _) = configs();
            let (conn, mut peer) = pair().await;
            peer.write_all(said).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            let pool = Rc::new(Pool::new());
            let mut stream = Stream::from(conn);
            stream.begin(Tls::server(server).unwrap(), pool.clone());
            let (done, _) = stream.handshake(pool.small()).await;
            let Err(HandshakeError::Tls(error)) = done else { panic!("{done:?}") };
            assert_eq!(error.fault(), fault);
            // What is to be said in plain text is not.
            let (sent, _) = stream.send_last(b"421 no\r\n".to_vec().into()).await;
            sent.unwrap();
            stream.close().await;
            let mut alert = Vec::new();
            peer.read_to_end(&mut alert).unwrap();
            assert_eq!(alert.len(), answered, "{alert:?}");
        }
    });
}

#[test]
fn handshakes_that_never_end_are_kept_up_to_a_bound() {
    let _quiet = with_others();
    on_both(|_| async {
        let (server, _) = configs();
        let (conn, mut peer) = pair().await;
        // A hello of 16 KiB, one octet in each record.
        let head = [[22, 3, 1, 0, 1, 1], [22, 3, 1, 0, 1, 0], [22, 3, 1, 0, 1, 0x40]].concat();
        let tail = [22, 3, 1, 0, 1, 0].repeat(8_000);
        let peer = thread::spawn(move || {
            // The server stops to read before all of it is sent.
            let _ = peer.write_all(&[head, tail].concat());
            let mut alert = Vec::new();
            let _ = peer.read_to_end(&mut alert);
            alert
        });
        let pool = Rc::new(Pool::new());
        let mut stream = Stream::from(conn);
        stream.begin(Tls::server(server).unwrap(), pool.clone());
        let (done, buf) = stream.handshake(pool.small()).await;
        let Err(HandshakeError::Tls(error)) = done else { panic!("{done:?}") };
        assert_eq!(error.fault(), TlsFault::TooLarge);
        assert!(buf.capacity() <= 64 * 1024);
        stream.shutdown_write().unwrap();
        drop(buf);
        stream.close().await;
        let alert = peer.join().unwrap();
        assert!(alert.is_empty() || alert[0] == 21, "{alert:?}");
    });
}

/// A client that sends one record of 16,000 octets, so many octets of it each time as it is told, and answers what it
/// hears at the end.
fn in_pieces(told: mpsc::Receiver<usize>) -> impl FnOnce(Client) -> String + Send + 'static {
    move |mut client| {
        client.conn.writer().write_all(&[b'x'; 16_000]).unwrap();
        let mut record = Vec::new();
        client.conn.write_tls(&mut record).unwrap();
        let mut rest = record.as_slice();
        for octets in told {
            let (piece, later) = rest.split_at(octets.min(rest.len()));
            client.sock.write_all(piece).unwrap();
            rest = later;
        }
        let mut heard = String::new();
        client.read_to_string(&mut heard).unwrap();
        heard
    }
}

/// Receives until `buf` holds so many octets of a record that is cut.
async fn hold(stream: &mut Stream, mut buf: Buf, octets: usize) -> Buf {
    while buf.len() < octets {
        let received;
        (received, buf) = stream.recv(buf).await;
        assert!(received.unwrap() > 0);
    }
    buf
}

#[test]
fn a_record_takes_room_as_it_comes_and_gives_it_back_to_those_who_get_on() {
    let _quiet = with_others();
    on_both(|_| async {
        // Room for one, whatever the allocator makes of its size.
        let loans = Rc::new(Loans::new(2 * RECV_RECORD_BYTES - 1));
        let ((tell, told), (tell_other, told_other)) = (mpsc::channel(), mpsc::channel());
        let (mut stream, buf, pool, peer) = secured_in(loans.clone(), in_pieces(told)).await;
        // The header alone says that it will be long.
        tell.send(5).unwrap();
        let buf = hold(&mut stream, buf, 5).await;
        assert_eq!((loans.bytes(), buf.capacity() < 4_096), (0, true));
        tell.send(3_000).unwrap();
        let buf = hold(&mut stream, buf, 3_005).await;
        assert!(loans.bytes() >= RECV_RECORD_BYTES);
        let (mut other, got, _, peer_of_other) =
            secured_in(loans.clone(), in_pieces(told_other)).await;
        tell_other.send(3_005).unwrap();
        let mut got = hold(&mut other, got, 3_005).await;
        assert!(loans.bytes() < 2 * RECV_RECORD_BYTES, "the first was called back");
        let (received, buf) = stream.recv(buf).await;
        assert_eq!(received.unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert!(buf.is_empty() && buf.capacity() < 4_096);
        assert_eq!(stream.recv(pool.small()).await.0.unwrap(), 0, "nothing more comes");
        stream.send_last(b"421 full\r\n".to_vec().into()).await.0.unwrap();
        stream.close().await;
        drop(tell);
        assert_eq!(peer.join().unwrap(), "421 full\r\n");
        // The other one gets on.
        tell_other.send(usize::MAX).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 16_000 {
            let received;
            (received, got) = other.recv(got).await;
            assert!(received.unwrap() > 0);
            take_all(&mut other, &mut got, &mut seen);
        }
        other.send_last(b"221 bye\r\n".to_vec().into()).await.0.unwrap();
        assert_eq!(loans.bytes(), 0);
        other.close().await;
        drop(tell_other);
        assert_eq!(peer_of_other.join().unwrap(), "221 bye\r\n");
    });
}
