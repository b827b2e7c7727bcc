//! CPU that one core spends per round trip: 64 sessions, each a command of 100 octets answered with
//! 30, on either engine. The caller is the epoll engine on another CPU and is not counted.
//!
//! Wall time would measure both sides and the scheduler; the thread's CPU time is what bounds a core.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ringpost::engine::{
    Address, Buf, Conn, Connecting, EngineKind, Io, bind, choose, connect, run_core,
};
use ringpost::host::{allowed, pin};
use rustix::time::{ClockId, clock_gettime};

const SESSIONS: usize = 64;
const COMMAND_BYTES: usize = 100;
const REPLY_BYTES: usize = 30;

fn cpu_per_round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cpu_per_round_trip");
    let engines = match choose(Io::Uring) {
        Ok(_) => vec![EngineKind::Uring, EngineKind::Epoll],
        Err(refusal) => {
            eprintln!("epoll only: {refusal}");
            vec![EngineKind::Epoll]
        }
    };
    for kind in engines {
        group.bench_function(BenchmarkId::from_parameter(kind.name()), |bencher| {
            bencher.iter_custom(|round_trips| serve(kind, round_trips));
        });
    }
    group.finish();
}

/// The serving thread's CPU time for about `round_trips`, scaled to exactly that many.
fn serve(kind: EngineKind, round_trips: u64) -> Duration {
    let each = round_trips.div_ceil(SESSIONS as u64);
    let cpus = allowed().expect("affinity mask");
    let mut bound = bind(&[Address::Tcp(([127, 0, 0, 1], 0).into())], 1).expect("a free port");
    let listener = bound[0].remove(0);
    let target = listener.address().clone();
    let (tell, told) = mpsc::channel();
    let server = thread::spawn(move || {
        pin(cpus[0]).expect("pin");
        run_core(kind, async {
            let mut listener = listener.attach().expect("attach");
            let mut sessions = Vec::new();
            for _ in 0..SESSIONS {
                let (conn, _) = listener.accept().await.expect("accept");
                sessions.push(tokio::task::spawn_local(answer(conn)));
            }
            let start = thread_cpu();
            for session in sessions {
                session.await.expect("session");
            }
            tell.send(thread_cpu() - start).expect("tell");
        })
    });
    let caller = thread::spawn(move || {
        pin(*allowed().expect("affinity mask").last().expect("a CPU")).expect("pin");
        run_core(EngineKind::Epoll, async {
            let mut sessions = Vec::new();
            for _ in 0..SESSIONS {
                let conn = connect(&target, &Connecting::default()).await.expect("connect");
                sessions.push(tokio::task::spawn_local(ask(conn, each)));
            }
            for session in sessions {
                session.await.expect("session");
            }
        })
    });
    caller.join().expect("caller").expect("caller's core");
    server.join().expect("server").expect("server's core");
    let spent: Duration = told.recv().expect("told");
    spent.mul_f64(round_trips as f64 / (each * SESSIONS as u64) as f64)
}

async fn answer(mut conn: Conn) {
    let (mut received, mut buf) = conn.recv(Buf::with_capacity(2048)).await;
    let mut reply = Buf::with_capacity(REPLY_BYTES);
    while received.expect("receive") > 0 {
        reply.vec_mut().clear();
        reply.vec_mut().resize(REPLY_BYTES, b'r');
        let sent;
        (sent, reply, received, buf) = conn.send_recv(reply, buf).await;
        sent.expect("send");
    }
}

async fn ask(mut conn: Conn, round_trips: u64) {
    let mut command = Buf::from(vec![b'c'; COMMAND_BYTES]);
    let mut buf = Buf::with_capacity(2048);
    for _ in 0..round_trips {
        let (sent, received);
        (sent, command, received, buf) = conn.send_recv(command, buf).await;
        sent.expect("send");
        assert_eq!(received.expect("receive"), REPLY_BYTES);
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

criterion_group!(benches, cpu_per_round_trip);
criterion_main!(benches);
