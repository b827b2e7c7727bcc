use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use ringpost::engine::{Buf, Watch};
use ringpost::limits::{WATCH_GRACE_TICKS, WATCH_TICK_MS};

use super::support::*;

const TICK: Duration = Duration::from_millis(WATCH_TICK_MS);

#[test]
fn deadline_fires_neither_early_nor_much_late() {
    let _quiet = with_others();
    on_both(|_| async {
        let watch = Watch::new();
        tokio::task::spawn_local(watch.clone().run());
        let (mut conn, _stream) = pair().await;
        let guard = watch.register(conn.handle());
        for wanted in [Duration::from_millis(1), TICK, TICK * 2] {
            let start = Instant::now();
            guard.arm(wanted);
            assert!(!guard.fired());
            let (result, _) = conn.recv(Buf::with_capacity(8)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
            assert!(guard.fired());
            let took = start.elapsed();
            assert!(took >= wanted, "{took:?} for {wanted:?}");
            assert!(took < wanted + TICK * 40, "{took:?} for {wanted:?}");
        }
    });
}

#[test]
fn disarmed_and_renewed_deadlines_do_not_fire() {
    let _quiet = with_others();
    on_both(|_| async {
        let watch = Watch::new();
        tokio::task::spawn_local(watch.clone().run());
        let (mut conn, stream) = pair().await;
        let guard = watch.register(conn.handle());
        guard.arm(TICK);
        guard.disarm();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(TICK * 8).await;
            drop(stream);
        });
        let renewed = watch.register(conn.handle());
        tokio::task::spawn_local(async move {
            for _ in 0..16 {
                renewed.arm(TICK * 4);
                tokio::time::sleep(TICK / 2).await;
            }
        });
        assert_eq!(conn.recv(Buf::with_capacity(8)).await.0.unwrap(), 0);
        assert!(!guard.fired());
    });
}

#[test]
fn session_stuck_in_a_send_is_shut_after_the_grace() {
    let _quiet = with_others();
    on_both(|_| async {
        let watch = Watch::new();
        tokio::task::spawn_local(watch.clone().run());
        let (mut conn, mut stream) = pair().await;
        let guard = watch.register(conn.handle());
        let start = Instant::now();
        guard.arm(TICK);
        let (sent, _) = conn.send_all(vec![0; 32 * 1024 * 1024].into()).await;
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(start.elapsed() >= TICK * WATCH_GRACE_TICKS);
        assert!(start.elapsed() < TICK * (WATCH_GRACE_TICKS + 40));
        conn.close().await;
        stream.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn drain_reaches_every_connection_and_guards_leave_nothing_behind() {
    let _quiet = with_others();
    on_both(|_| async {
        let watch = Watch::new();
        let mut sessions = Vec::new();
        let mut streams = Vec::new();
        for _ in 0..10 {
            let (mut conn, stream) = pair().await;
            streams.push(stream);
            let guard = watch.register(conn.handle());
            sessions.push(tokio::task::spawn_local(async move {
                let (result, buf) = conn.recv(Buf::with_capacity(8)).await;
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
                assert!(!guard.fired(), "nobody's deadline has passed");
                conn.recv(buf).await.0
            }));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(watch.len(), 10);
        watch.interrupt_all();
        tokio::time::sleep(Duration::from_millis(5)).await;
        watch.shutdown_all();
        for session in sessions {
            assert_eq!(session.await.unwrap().unwrap(), 0);
        }
        assert!(watch.is_empty());
    });
}
