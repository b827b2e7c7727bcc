use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use ringpost::engine::{Address, Buf, Connecting, bind, connect, sync_data};

use super::support::*;

fn from(source: Option<IpAddr>) -> Connecting {
    Connecting { from: source, ..Connecting::default() }
}

fn within(limit: Duration) -> Connecting {
    Connecting { limit, ..Connecting::default() }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index / 7 + index / 4093) as u8).collect()
}

#[test]
fn echo_comes_back_over_tcp_and_unix() {
    let _quiet = with_others();
    on_both(|_| async {
        let dir = tempfile::tempdir().unwrap();
        for address in [loopback(), Address::Unix(dir.path().join("echo"))] {
            let mut listener = listener_on(&address);
            let target = listener.address().clone();
            let server = tokio::task::spawn_local(async move {
                let (mut conn, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.address.is_some(), address.is_tcp());
                assert!(!peer.crowded);
                let mut buf = Buf::with_capacity(1024);
                loop {
                    let (result, got) = conn.recv(buf).await;
                    if result.unwrap() == 0 {
                        break;
                    }
                    let (result, sent) = conn.send_all(got).await;
                    result.unwrap();
                    buf = sent;
                }
                conn.close().await;
            });
            let mut conn = connect(&target, &Connecting::default()).await.unwrap();
            for text in ["EHLO there\r\n", "x"] {
                let (sent, out, received, into) =
                    conn.send_recv(text.as_bytes().to_vec().into(), Buf::with_capacity(64)).await;
                sent.unwrap();
                assert_eq!(&out[..], text.as_bytes());
                assert_eq!(received.unwrap(), text.len());
                assert_eq!(&into[..], text.as_bytes());
            }
            conn.close().await;
            server.await.unwrap();
        }
    });
}

#[test]
fn recv_replaces_what_the_buffer_held_and_stops_at_its_capacity() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        stream.write_all(b"0123456789").unwrap();
        let mut buf = Buf::with_capacity(4);
        buf.vec_mut().extend_from_slice(b"old");
        let mut seen = Vec::new();
        while seen.len() < 10 {
            let (result, got) = conn.recv(buf).await;
            assert_eq!(result.unwrap(), got.len());
            assert!(got.len() <= 4);
            seen.extend_from_slice(&got);
            buf = got;
        }
        assert_eq!(seen, b"0123456789");
        drop(stream);
        let (result, got) = conn.recv(buf).await;
        assert_eq!((result.unwrap(), got.len()), (0, 0));
    });
}

#[test]
fn large_send_to_a_slow_reader_arrives_whole() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        let body = pattern(8 * 1024 * 1024 + 1);
        let expected = body.clone();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            let mut piece = vec![0; 300_000];
            while got.len() < expected.len() {
                thread::sleep(Duration::from_millis(2));
                let count = piece.len().min(expected.len() - got.len());
                stream.read_exact(&mut piece[..count]).unwrap();
                got.extend_from_slice(&piece[..count]);
            }
            assert!(got == expected);
            stream.write_all(b"250 Ok\r\n").unwrap();
            stream
        });
        let (sent, out, received, into) =
            conn.send_recv(body.into(), Buf::with_capacity(2048)).await;
        sent.unwrap();
        assert_eq!(out.len(), 8 * 1024 * 1024 + 1);
        received.unwrap();
        assert_eq!(&into[..], b"250 Ok\r\n");
        reader.join().unwrap();
    });
}

#[test]
fn send_recv_with_nothing_to_send_is_a_receive() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        stream.write_all(b"QUIT").unwrap();
        let (sent, out, received, into) =
            conn.send_recv(Buf::default(), Buf::with_capacity(8)).await;
        sent.unwrap();
        assert!(out.is_empty());
        assert_eq!((received.unwrap(), &into[..]), (4, &b"QUIT"[..]));
        conn.send_all(Buf::default()).await.0.unwrap();
    });
}

#[test]
fn send_to_a_peer_that_is_gone_fails_without_a_signal() {
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, stream) = pair().await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        let mut failed = None;
        for _ in 0..3 {
            let (sent, _, received, _) =
                conn.send_recv(vec![b'x'; 100].into(), Buf::with_capacity(16)).await;
            failed = failed.or(sent.err()).or(received.err());
        }
        let kind = failed.expect("an error").kind();
        assert!(matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{kind}");
    });
}

#[test]
fn close_is_seen_by_the_peer_and_leaves_no_descriptor() {
    let _quiet = alone();
    on_both(|_| async {
        let (warm, _stream) = pair().await;
        warm.close().await;
        drop(_stream);
        let base = open_descriptors();
        for _ in 0..50 {
            let (conn, mut stream) = pair().await;
            conn.close().await;
            assert_ends(&mut stream);
            drop(stream);
            assert_eq!(open_descriptors(), base);
        }
    });
}

#[test]
fn drop_with_a_receive_in_flight_is_seen_by_the_peer_and_leaves_no_descriptor() {
    let _quiet = alone();
    on_both(|_| async {
        let base = open_descriptors();
        for round in 0..50 {
            let (mut conn, mut stream) = pair().await;
            let recv = conn.recv(Buf::with_capacity(100));
            tokio::time::timeout(Duration::from_millis(1), recv).await.unwrap_err();
            if round % 2 == 0 {
                conn.close().await;
            } else {
                drop(conn);
            }
            let reader = thread::spawn(move || assert_ends(&mut stream));
            until("the peer sees the end", || reader.is_finished()).await;
            reader.join().unwrap();
            until("the descriptor is gone", || open_descriptors() == base).await;
        }
    });
}

#[test]
fn core_ends_with_operations_of_forgotten_tasks_in_flight() {
    let _quiet = alone();
    let base = open_descriptors();
    on_both(|_| async {
        for _ in 0..10 {
            let (mut conn, stream) = pair().await;
            let mut listener = listener();
            tokio::task::spawn_local(async move {
                let _ = conn.recv(Buf::with_capacity(100)).await;
                drop(stream);
            });
            tokio::task::spawn_local(async move { listener.accept().await.map(drop) });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    });
    assert_eq!(open_descriptors(), base);
}

#[test]
fn reset_on_close_resets() {
    let _quiet = with_others();
    on_both(|_| async {
        let (conn, mut stream) = pair().await;
        conn.reset_on_close().unwrap();
        conn.close().await;
        assert_eq!(
            stream.read_to_end(&mut Vec::new()).unwrap_err().kind(),
            ErrorKind::ConnectionReset
        );
    });
}

/// A client with Nagle's algorithm on writes a line in two pieces and waits for its answer, as
/// lettre does: the second piece leaves only when the first is acknowledged.
#[test]
fn quickack_spares_clients_the_delayed_acknowledgement() {
    // TCP_DELACK_MIN is 40 ms.
    const DELAYED: Duration = Duration::from_millis(35);
    let _quiet = with_others();
    on_both(|_| async {
        let (mut conn, mut stream) = pair().await;
        let client = thread::spawn(move || {
            let exchange = |_: &usize| {
                let start = Instant::now();
                stream.write_all(b"NO").unwrap();
                stream.write_all(b"OP\r\n").unwrap();
                stream.read_exact(&mut [0; 4]).unwrap();
                start.elapsed() >= DELAYED
            };
            (0..50).filter(exchange).count()
        });
        for _ in 0..50 {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                let (result, got) = conn.recv(Buf::with_capacity(64)).await;
                result.unwrap();
                line.extend_from_slice(&got);
                conn.quickack();
            }
            conn.send_all(b"250\n".to_vec().into()).await.0.unwrap();
        }
        let delayed = client.join().unwrap();
        assert!(delayed < 25, "{delayed} of 50 lines waited for an acknowledgement");
    });
}

#[test]
fn addresses_are_told_and_the_source_can_be_chosen() {
    let _quiet = with_others();
    on_both(|_| async {
        let mut listener = listener();
        let source: IpAddr = "127.0.0.7".parse().unwrap();
        let target = listener.address().clone();
        let client = connect(&target, &from(Some(source))).await.unwrap();
        let (conn, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), Some(source));
        assert_eq!(conn.local_address().unwrap(), target);
        assert_eq!(client.local_address().unwrap().to_string(), peer.to_string());
        if let Ok(mut bound) = bind(&["[::1]:0".parse().map(Address::Tcp).unwrap()], 1) {
            let mut six = bound[0].remove(0).attach().unwrap();
            let source = "::1".parse().ok();
            let _client = connect(&six.address().clone(), &from(source)).await.unwrap();
            assert_eq!(six.accept().await.unwrap().1.ip(), source);
        }
        let wrong = connect(&target, &from("::1".parse().ok())).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn connect_is_refused_where_nobody_listens() {
    let _quiet = with_others();
    on_both(|_| async {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = connect(&Address::Tcp(free), &Connecting::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let error = connect(&Address::Unix("/nonexistent/socket".into()), &Connecting::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn connect_to_a_silent_host_times_out_and_leaves_no_descriptor() {
    let _quiet = alone();
    on_both(|_| async {
        // A full backlog drops SYNs, as a silent host does.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let silent = silent.unwrap();
        silent.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        silent.listen(0).unwrap();
        let address = Address::Tcp(silent.local_addr().unwrap().as_socket().unwrap());
        let _first = call(&address);
        let base = open_descriptors();
        let start = Instant::now();
        let error = connect(&address, &within(Duration::from_millis(200))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(200));
        assert!(start.elapsed() < Duration::from_secs(60));
        assert_eq!(open_descriptors(), base);
    });
}

#[test]
fn connect_to_a_full_unix_backlog_waits_for_room_or_times_out() {
    let _quiet = with_others();
    on_both(|_| async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let full =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        full.listen(0).unwrap();
        let address = Address::Unix(path);
        let _first = connect(&address, &Connecting::default()).await.unwrap();
        let limit = Duration::from_millis(100);
        let error = connect(&address, &within(limit)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let server = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            full.accept().unwrap();
            full
        });
        connect(&address, &within(Duration::from_secs(5))).await.unwrap();
        server.join().unwrap();
    });
}

#[test]
fn sync_data_syncs_a_file_and_names_a_bad_descriptor() {
    let _quiet = with_others();
    on_both(|_| async {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"record").unwrap();
        sync_data(file.as_raw_fd()).await.unwrap();
        let error = sync_data(-1).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        let not_syncable = File::open("/dev/null").unwrap();
        assert!(sync_data(not_syncable.as_raw_fd()).await.is_err());
    });
}

#[test]
fn engine_outside_a_core_is_an_error() {
    let _quiet = with_others();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let result: io::Result<()> = runtime.block_on(sync_data(-1));
    assert!(result.unwrap_err().to_string().contains("no engine"));
}
