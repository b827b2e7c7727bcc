use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ringpost::engine::{Address, BindError, EngineKind, bind, run_core};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::*;

#[test]
fn interrupted_accepts_lose_no_connection_and_no_descriptor() {
    let _quiet = alone();
    const CALLERS: usize = 1_000;
    on_both(|kind| async move {
        let base = open_descriptors();
        let mut listener = listener();
        let address = listener.address().clone();
        let callers = thread::spawn(move || {
            for _ in 0..CALLERS {
                let mut stream = call(&address);
                let mut greeting = [0; 3];
                stream.read_exact(&mut greeting).unwrap();
                assert_eq!(&greeting, b"220");
            }
        });
        let handle = listener.handle();
        let done = Rc::new(Cell::new(false));
        let stop = done.clone();
        let nagger = tokio::task::spawn_local(async move {
            while !stop.get() {
                handle.interrupt();
                turn_of_the_loop().await;
            }
        });
        let (mut accepted, mut interrupts) = (0, 0);
        while accepted < CALLERS {
            match listener.accept().await {
                Ok((mut conn, _)) => {
                    accepted += 1;
                    conn.send_all(b"220".to_vec().into()).await.0.unwrap();
                    conn.close().await;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => interrupts += 1,
                Err(error) => panic!("{error}"),
            }
        }
        done.set(true);
        nagger.await.unwrap();
        callers.join().unwrap();
        drop(listener);
        println!("{}: {interrupts} interrupts", kind.name());
        assert!(interrupts > 100, "{interrupts}");
        until("descriptors are back", || open_descriptors() == base).await;
    });
}

#[test]
fn callers_in_the_backlog_can_be_turned_away_after_the_stop() {
    let _quiet = with_others();
    on_both(|_| async {
        let mut listener = listener();
        assert!(listener.accept_waiting().await.unwrap().is_none());
        listener.handle().interrupt();
        assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::Interrupted);
        let mut waiting: Vec<TcpStream> = (0..5).map(|_| call(listener.address())).collect();
        let mut found = 0;
        while let Some((mut conn, _)) = listener.accept_waiting().await.unwrap() {
            found += 1;
            conn.send_all(b"421".to_vec().into()).await.0.unwrap();
            conn.close().await;
        }
        assert_eq!(found, 5);
        for stream in &mut waiting {
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            assert_eq!(text, "421");
        }
    });
}

#[test]
fn second_listener_on_a_port_is_a_clash_that_names_it() {
    let _quiet = with_others();
    for cores in [1, 3] {
        let first = bind(&[loopback()], cores).unwrap();
        let taken = first[0][0].address().clone();
        for cores in [1, 2] {
            let error = bind(std::slice::from_ref(&taken), cores).unwrap_err();
            assert!(matches!(&error, BindError::InUse { address } if *address == taken));
            assert!(error.to_string().contains(&taken.to_string()), "{error}");
        }
        drop(first);
        bind(&[taken], cores).unwrap();
    }
}

#[test]
fn foreign_listener_that_shares_its_port_is_a_clash_too() {
    let _quiet = with_others();
    let foreign = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    foreign.set_reuse_port(true).unwrap();
    foreign.set_reuse_address(true).unwrap();
    foreign.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    foreign.listen(1).unwrap();
    let taken = Address::Tcp(foreign.local_addr().unwrap().as_socket().unwrap());
    assert!(matches!(bind(&[taken], 2), Err(BindError::InUse { .. })));
}

#[test]
fn port_zero_is_one_port_on_all_cores_and_all_of_them_get_callers() {
    let _quiet = with_others();
    const CORES: usize = 3;
    for kind in engines() {
        let mut bound = bind(&[loopback(), loopback()], CORES).unwrap();
        let address = bound[0][0].address().clone();
        let other = bound[0][1].address().clone();
        assert_ne!(address, other);
        for listeners in &bound {
            assert_eq!((listeners[0].address(), listeners[1].address()), (&address, &other));
        }
        let (tell, told) = mpsc::channel();
        let cores: Vec<_> = bound
            .drain(..)
            .map(|mut listeners| {
                let tell = tell.clone();
                thread::spawn(move || {
                    run_core(kind, async {
                        let mut listener = listeners.remove(0).attach().unwrap();
                        let handle = listener.handle();
                        let stop = async {
                            tokio::time::sleep(Duration::from_millis(300)).await;
                            handle.interrupt();
                        };
                        let mut count = 0;
                        let serve = async {
                            while let Ok((conn, _)) = listener.accept().await {
                                count += 1;
                                conn.close().await;
                            }
                        };
                        tokio::join!(stop, serve);
                        tell.send(count).unwrap();
                    })
                    .unwrap();
                })
            })
            .collect();
        for _ in 0..100 {
            assert_ends(&mut call(&address));
        }
        for core in cores {
            core.join().unwrap();
        }
        let counts: Vec<usize> = told.try_iter().collect();
        assert_eq!(counts.iter().sum::<usize>(), 100);
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }
}

#[test]
fn unix_socket_is_shared_by_cores_and_removed_with_the_last() {
    let _quiet = with_others();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut bound = bind(&[Address::Unix(path.clone())], 2).unwrap();
    bound.pop();
    assert!(path.exists());
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn stale_unix_socket_is_replaced_and_a_living_one_is_a_clash() {
    let _quiet = with_others();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let address = Address::Unix(path.clone());

    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "the file of a dead listener stays");
    let bound = bind(std::slice::from_ref(&address), 1).unwrap();
    UnixStream::connect(&path).unwrap();

    let error = bind(std::slice::from_ref(&address), 1).unwrap_err();
    assert!(matches!(error, BindError::InUse { .. }));
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    UnixStream::connect(&path).unwrap();
    drop(bound);

    std::fs::write(&path, "mail").unwrap();
    let error = bind(&[address], 1).unwrap_err();
    assert!(matches!(error, BindError::NotASocket { .. }));
    assert_eq!(std::fs::read(&path).unwrap(), b"mail");
}

#[test]
fn socket_file_of_a_successor_is_left_alone() {
    let _quiet = with_others();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let bound = bind(&[Address::Unix(path.clone())], 1).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    drop(bound);
    UnixStream::connect(&path).unwrap();
}

#[test]
fn unbindable_address_says_why() {
    let _quiet = with_others();
    let elsewhere = Address::Tcp("192.0.2.1:0".parse().unwrap());
    assert!(bind(&[elsewhere], 1).unwrap_err().to_string().contains("192.0.2.1"));
    let nowhere = Address::Unix("/nonexistent/s".into());
    assert!(bind(&[nowhere], 1).unwrap_err().to_string().contains("/nonexistent/s"));
}

const CROWD: usize = 30;

/// The child has a few descriptors left and more callers than those. Everyone is greeted, by a 421
/// at least; and while it is full with callers waiting, it costs no CPU.
#[test]
fn full_process_greets_everyone_and_does_not_spin() {
    if let Some(role) = role() {
        let kind = if role == "uring" { EngineKind::Uring } else { EngineKind::Epoll };
        return run_core(kind, crowded_server()).unwrap();
    }
    let _quiet = with_others();
    for kind in engines() {
        let name = "accept::full_process_greets_everyone_and_does_not_spin";
        let mut child = child(name, kind.name(), &[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut told = |word: &str| {
            lines.find_map(|line| line.split_once(word).map(|(_, told)| told.to_owned()))
        };
        let port = told("port ").expect("the child's port");
        let address = Address::resolve(&format!("127.0.0.1:{port}")).unwrap().remove(0);
        let mut callers: Vec<TcpStream> = (0..CROWD).map(|_| call(&address)).collect();
        let mut counts = [0; 2];
        for stream in &mut callers {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).unwrap();
            counts[usize::from(&greeting == b"421")] += 1;
        }
        let _waiting: Vec<TcpStream> = (0..3).map(|_| call(&address)).collect();
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        let cpu = told("cpu_ms ");
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let cpu_ms: u64 = cpu.expect("the child's CPU time").parse().unwrap();
        println!("{}: 220 {} 421 {}, {cpu_ms} ms CPU", kind.name(), counts[0], counts[1]);
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
        assert!(cpu_ms < 50, "{cpu_ms} ms of CPU in 500 ms full");
    }
}

async fn crowded_server() {
    let mut listener = listener();
    let Address::Tcp(inet) = listener.address() else { unreachable!() };
    println!("port {}", inet.port());
    let hard = getrlimit(Resource::Nofile).maximum;
    let current = Some(open_descriptors() as u64 + 8);
    setrlimit(Resource::Nofile, Rlimit { current, maximum: hard }).unwrap();

    let mut kept = Vec::new();
    let mut turned_away = 0;
    while kept.len() + turned_away < CROWD {
        let (mut conn, peer) = listener.accept().await.unwrap();
        let greeting = if peer.crowded { b"421" } else { b"220" };
        conn.send_all(greeting.to_vec().into()).await.0.unwrap();
        if peer.crowded {
            turned_away += 1;
            conn.close().await;
        } else {
            kept.push(conn);
        }
    }
    // Full, and somebody holds the spare: the state in which accept has nothing to give up.
    let fill: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    let before = cpu_ms();
    let handle = listener.handle();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        handle.interrupt();
    });
    let ended = loop {
        match listener.accept().await {
            Ok((conn, peer)) => {
                assert!(peer.crowded);
                kept.push(conn);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(ended.kind(), ErrorKind::Interrupted);
    println!("cpu_ms {}", cpu_ms() - before);
    drop(fill);
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn cpu_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000
}
