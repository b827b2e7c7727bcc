use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ringpost::engine::Buf;

use super::support::*;

/// A writer dribbles numbered octets while another task interrupts the reader all the time.
#[test]
fn interrupted_receives_lose_no_octet() {
    let _quiet = with_others();
    const OCTETS: usize = 20_000;
    on_both(|kind| async move {
        let (mut conn, mut stream) = pair().await;
        let writer = thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(7);
            let mut next = 0;
            while next < OCTETS {
                let count = rng.usize(1..20).min(OCTETS - next);
                let piece: Vec<u8> = (next..next + count).map(|octet| octet as u8).collect();
                stream.write_all(&piece).unwrap();
                next += count;
                if rng.bool() {
                    thread::sleep(Duration::from_micros(rng.u64(0..400)));
                }
            }
        });
        let handle = conn.handle();
        let done = Rc::new(Cell::new(false));
        let stop = done.clone();
        let nagger = tokio::task::spawn_local(async move {
            while !stop.get() {
                handle.interrupt();
                turn_of_the_loop().await;
            }
        });
        let (mut seen, mut interrupts) = (0, 0);
        let mut buf = Buf::with_capacity(64);
        while seen < OCTETS {
            let (result, got) = conn.recv(buf).await;
            match result {
                Ok(count) => {
                    assert_ne!(count, 0, "the stream ended early");
                    for &octet in &got[..] {
                        assert_eq!(octet, seen as u8, "at {seen}");
                        seen += 1;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => interrupts += 1,
                Err(error) => panic!("{error}"),
            }
            buf = got;
        }
        done.set(true);
        nagger.await.unwrap();
        writer.join().unwrap();
        println!("{}: {interrupts} interrupts", kind.name());
        assert!(interrupts > 2_000, "{interrupts}");
    });
}

#[test]
fn interrupt_ends_a_pending_receive_which_then_goes_on() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        for round in 0..20_u8 {
            let handle = conn.handle();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(2)).await;
                handle.interrupt();
            });
            let (result, buf) = conn.recv(Buf::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
            assert!(buf.is_empty());
            stream.write_all(&[round]).unwrap();
            let (result, buf) = conn.recv(buf).await;
            assert_eq!((result.unwrap(), &buf[..]), (1, &[round][..]));
        }
    });
}

#[test]
fn interrupt_before_a_receive_is_kept_for_it_once() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        stream.write_all(b"x").unwrap();
        conn.handle().interrupt();
        conn.handle().interrupt();
        let (result, buf) = conn.recv(Buf::with_capacity(8)).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
        let (result, buf) = conn.recv(buf).await;
        assert_eq!((result.unwrap(), &buf[..]), (1, &b"x"[..]));
    });
}

#[test]
fn interrupt_lets_the_send_beside_a_receive_through() {
    let _quiet = with_others();
    const OCTETS: usize = 6 * 1024 * 1024;
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        let handle = conn.handle();
        let nagger = tokio::task::spawn_local(async move {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                handle.interrupt();
            }
        });
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let mut got = vec![0; OCTETS];
            stream.read_exact(&mut got).unwrap();
            assert!(got.iter().enumerate().all(|(index, &octet)| octet == (index / 999) as u8));
            stream.write_all(b"250").unwrap();
            stream
        });
        let body: Vec<u8> = (0..OCTETS).map(|index| (index / 999) as u8).collect();
        let (sent, _, received, buf) = conn.send_recv(body.into(), Buf::with_capacity(8)).await;
        sent.unwrap();
        nagger.await.unwrap();
        let _stream = reader.join().unwrap();
        let (mut received, mut buf) = (received, buf);
        while let Err(error) = received {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            (received, buf) = conn.recv(buf).await;
        }
        assert_eq!(&buf[..], b"250");
    });
}

#[test]
fn interrupt_during_the_send_ends_the_receive_when_the_send_is_through() {
    let _quiet = with_others();
    const OCTETS: usize = 6 * 1024 * 1024;
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        let handle = conn.handle();
        // A task of its own: the core's first one is polled whenever any of them is.
        let exchange = tokio::task::spawn_local(async move {
            conn.send_recv(vec![0; OCTETS].into(), Buf::with_capacity(8)).await
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        handle.interrupt();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let reader = thread::spawn(move || {
            stream.read_exact(&mut vec![0; OCTETS]).unwrap();
            stream
        });
        let (sent, out, received, _) = exchange.await.unwrap();
        sent.unwrap();
        assert_eq!(out.len(), OCTETS);
        assert_eq!(received.unwrap_err().kind(), ErrorKind::Interrupted);
        reader.join().unwrap();
    });
}

#[test]
fn interrupt_before_send_recv_still_sends() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        conn.handle().interrupt();
        let (sent, _, received, _) =
            conn.send_recv(b"421\r\n".to_vec().into(), Buf::with_capacity(8)).await;
        sent.unwrap();
        assert_eq!(received.unwrap_err().kind(), ErrorKind::Interrupted);
        let mut got = [0; 5];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"421\r\n");
    });
}

#[test]
fn shutdown_ends_a_send_to_a_peer_that_never_reads() {
    let _quiet = with_others();
    on_both(|_| async {
        for with_receive in [false, true] {
            let (mut conn, stream) = pair().await;
            let handle = conn.handle();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                handle.shutdown();
            });
            let body = Buf::from(vec![0; 32 * 1024 * 1024]);
            let sent = if with_receive {
                conn.send_recv(body, Buf::with_capacity(8)).await.0
            } else {
                conn.send_all(body).await.0
            };
            assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
            conn.close().await;
            drop(stream);
        }
    });
}

#[test]
fn handle_of_a_closed_connection_does_nothing() {
    let _quiet = with_others();
    on_both(|_| async {
        let (conn, _stream) = pair().await;
        let handle = conn.handle();
        conn.close().await;
        handle.interrupt();
        handle.shutdown();
    });
}
