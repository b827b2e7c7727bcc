//! What `ringpost-blast` does where a server refuses or breaks connections: goes on, connects again, or
//! ends the run and says why.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What a server answers to the n-th command of its kind, counted over all connections; `None` closes
/// the connection instead. Kinds are the verbs, `BANNER`, and `.` for the end of data.
type Manner = fn(kind: &str, n: u64) -> Option<&'static str>;

fn good(kind: &str, _: u64) -> Option<&'static str> {
    Some(match kind {
        "BANNER" => "220 yes",
        "DATA" => "354 go",
        "QUIT" => "221 2.0.0 Bye",
        _ => "250 2.0.0 Ok",
    })
}

#[derive(Default)]
struct Seen {
    accepted: AtomicU64,
    connected: Mutex<Vec<Instant>>,
    commands: Mutex<Vec<String>>,
}

struct Host {
    address: String,
    seen: Arc<Seen>,
}

fn serve(manner: Manner) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seen = Arc::new(Seen::default());
    let theirs = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), Arc::clone(&theirs));
            seen.connected.lock().unwrap().push(Instant::now());
            // Clients that go away are expected.
            std::thread::spawn(move || drop(talk(&stream, manner, &seen)));
        }
    });
    Host { address, seen }
}

fn talk(mut stream: &TcpStream, manner: Manner, seen: &Seen) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let answer = |kind: &str| {
        let mut commands = seen.commands.lock().unwrap();
        let n = commands.iter().filter(|seen| *seen == kind).count() as u64 + 1;
        commands.push(kind.to_owned());
        manner(kind, n)
    };
    let mut say = |reply: Option<&str>| match reply {
        Some(reply) => {
            stream.write_all(format!("{reply}\r\n").as_bytes()).map(|()| reply[..1] == *"3")
        }
        None => Err(std::io::ErrorKind::ConnectionAborted.into()),
    };
    say(answer("BANNER"))?;
    while let Some(line) = lines.next().transpose()? {
        let kind = line.get(..4).unwrap_or(&line).to_owned();
        if say(answer(&kind))? {
            while lines.next().transpose()?.is_some_and(|line| line != ".") {}
            let reply = answer(".");
            seen.accepted
                .fetch_add(u64::from(reply.is_some_and(|reply| reply.starts_with("250"))), SeqCst);
            say(reply)?;
        } else if kind == "QUIT" {
            break;
        }
    }
    Ok(())
}

fn start(host: &Host, options: &[&str]) -> Child {
    let common = [host.address.as_str(), "--json", "--live", "off"];
    spawn(&[&common, options].concat())
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ringpost-blast"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn blast(host: &Host, options: &[&str]) -> (Option<i32>, Value, String) {
    report(&start(host, options).wait_with_output().unwrap())
}

/// Short steps of a `sweep` or `find-max`.
fn steps(task: &str, host: &Host, options: &[&str]) -> (Option<i32>, Value, String) {
    let common = [task, &host.address, "--json", "--settle", "0s", "--measure", "1s"];
    report(&spawn(&[&common, options].concat()).wait_with_output().unwrap())
}

fn said(told: &Value) -> String {
    let sentences = told["said"].as_array().unwrap_or_else(|| panic!("no sentences in {told}"));
    sentences.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

fn report(done: &Output) -> (Option<i32>, Value, String) {
    let run = serde_json::from_slice(&done.stdout).unwrap_or_default();
    (done.status.code(), run, String::from_utf8_lossy(&done.stderr).into_owned())
}

fn number(run: &Value, name: &str) -> u64 {
    run[name].as_u64().unwrap_or_else(|| panic!("{name} in {run}"))
}

#[test]
fn the_first_reply_that_was_named_ends_the_run_and_stands_in_its_verdict() {
    let host = serve(|kind, n| match (kind, n) {
        ("RCPT", 20) => Some("550 5.1.1 no such user\u{7}"),
        ("RCPT", 10) => Some("450 4.2.1 busy"),
        _ => good(kind, n),
    });
    let options = ["-n", "100000", "-c", "4", "--stop-on", "421,5xx", "--fail-if", "failed>0"];
    let (code, run, stderr) = blast(&host, &options);
    assert_eq!((code, &run["verdict"]), (Some(1), &"stopped".into()), "{stderr}");
    let stopped = &run["stopped"];
    assert_eq!(stopped["by"], "--stop-on 5xx");
    assert_eq!((&stopped["phase"], &stopped["code"]), (&"rcpt".into(), &550.into()));
    assert_eq!(
        (&stopped["text"], &stopped["error"]),
        (&"5.1.1 no such user?".into(), &Value::Null)
    );
    let reason = run["verdict_reasons"][0].as_str().unwrap();
    assert!(reason.starts_with("--stop-on 5xx ended the run after "), "{reason}");
    assert!(reason.ends_with(" s: rcpt was answered 550 5.1.1 no such user?"), "{reason}");
    assert_eq!(number(&run, "messages_ok"), host.seen.accepted.load(SeqCst));
    assert_eq!((number(&run, "messages_failed"), number(&run, "messages_unanswered")), (2, 0));
    assert!(number(&run, "messages_ok") >= 14, "what was under way is finished");
    let quits = host.seen.commands.lock().unwrap().iter().filter(|kind| *kind == "QUIT").count();
    assert_eq!(quits as u64, number(&run, "connections_opened"), "every session takes leave");
}

#[test]
fn of_several_targets_the_one_that_refused_is_named() {
    let (yes, no) = (
        serve(good),
        serve(|kind, n| match (kind, n) {
            (".", 3) => Some("554 5.6.0 no"),
            _ => good(kind, n),
        }),
    );
    let options = [&no.address, "-n", "100000", "-c", "2", "--stop-on", "554"];
    let (code, run, stderr) = blast(&yes, &options);
    assert_eq!((code, &run["verdict"]), (Some(1), &"stopped".into()), "{stderr}");
    let named = format!("smtp://{}", no.address);
    assert_eq!(run["stopped"]["target"], named.as_str());
    let reason = run["verdict_reasons"][0].as_str().unwrap();
    assert!(
        reason.ends_with(&format!(" s: {named}: end_of_data was answered 554 5.6.0 no")),
        "{reason}"
    );
}

#[test]
fn refusals_that_were_not_named_are_counted_and_the_run_goes_on() {
    let host = serve(|kind, n| match (kind, n % 10) {
        ("MAIL", 5) => Some("450 4.3.2 later"),
        _ => good(kind, n),
    });
    let (code, run, _) = blast(&host, &["-n", "100", "-c", "3", "--stop-on", "5xx,451"]);
    assert_eq!((code, &run["stopped"]), (Some(1), &Value::Null), "90 % is not what was asked");
    assert_eq!((number(&run, "messages_ok"), number(&run, "messages_failed")), (90, 10));
}

#[test]
fn a_banner_that_refuses_can_end_the_run_too() {
    let host = serve(|_, _| Some("554 5.7.1 not you"));
    let (code, run, stderr) = blast(&host, &["-n", "5", "-c", "1", "--stop-on", "554"]);
    assert_eq!((code, &run["verdict"]), (Some(1), &"stopped".into()), "{stderr}");
    assert_eq!(
        (&run["stopped"]["phase"], &run["stopped"]["code"]),
        (&"banner".into(), &554.into())
    );
}

#[test]
fn on_error_stop_ends_at_any_refusal_but_not_at_an_ehlo_that_helo_follows() {
    let host = serve(|kind, n| match (kind, n) {
        ("EHLO", _) => Some("502 5.5.1 what"),
        (".", 7) => Some("452 4.3.1 full"),
        _ => good(kind, n),
    });
    let (code, run, _) = blast(&host, &["-n", "100000", "-c", "1", "--on-error", "stop"]);
    assert_eq!((code, &run["stopped"]["by"]), (Some(1), &"--on-error stop".into()));
    assert_eq!(
        (&run["stopped"]["phase"], &run["stopped"]["code"]),
        (&"end_of_data".into(), &452.into())
    );
    assert_eq!((number(&run, "messages_ok"), number(&run, "messages_failed")), (6, 1));
}

#[test]
fn on_error_stop_ends_at_a_connection_that_breaks_and_without_a_server_at_once() {
    let host = serve(|kind, n| if (kind, n) == ("DATA", 4) { None } else { good(kind, n) });
    let (code, run, _) = blast(&host, &["-n", "100000", "-c", "1", "--on-error", "stop"]);
    assert_eq!((code, &run["verdict"]), (Some(1), &"stopped".into()));
    let stopped = &run["stopped"];
    assert_eq!((&stopped["phase"], &stopped["code"]), (&"data".into(), &Value::Null));
    assert!(["closed", "reset"].contains(&stopped["error"].as_str().unwrap()), "{stopped}");
    assert_eq!((number(&run, "messages_ok"), number(&run, "messages_unanswered")), (3, 1));

    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let nobody = Host { address: gone, seen: Arc::default() };
    let (code, _, stderr) = blast(&nobody, &["-n", "5", "--on-error", "stop"]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("cannot reach"), "{stderr}");
}

#[test]
fn so_many_errors_end_the_run_and_no_fewer() {
    let half: Manner = |kind, n| match (kind, n % 2) {
        ("RCPT", 0) => Some("451 4.7.1 grey"),
        _ => good(kind, n),
    };
    let host = serve(half);
    let (code, run, _) = blast(&host, &["-n", "100000", "-c", "1", "--max-errors", "3"]);
    assert_eq!((code, &run["stopped"]["by"]), (Some(1), &"--max-errors 3".into()));
    assert_eq!((number(&run, "messages_failed"), &run["stopped"]["code"]), (4, &451.into()));

    let (code, run, _) = blast(&host, &["-n", "100000", "-c", "1", "--max-errors", "20%"]);
    assert_eq!((code, &run["stopped"]["by"]), (Some(1), &"--max-errors 20%".into()));
    let text = run["stopped"]["text"].as_str().unwrap();
    assert!(text.contains(" errors in ") && text.ends_with(" messages"), "{text}");
    // Too few for a share while the run lasts, and all that there is at its end.
    let (code, run, _) = blast(&host, &["-n", "40", "-c", "1", "--max-errors", "20%"]);
    assert_eq!((code, &run["stopped"]["by"]), (Some(1), &"--max-errors 20%".into()));
    assert_eq!(number(&run, "messages_failed"), 20);
    for enough in ["300", "60%"] {
        let (code, run, _) = blast(&host, &["-n", "600", "-c", "2", "--max-errors", enough]);
        assert_eq!((code, &run["stopped"]), (Some(1), &Value::Null), "{enough}");
        assert_eq!(number(&run, "messages_failed"), 300);
    }
}

/// Closes at every fifth MAIL.
fn brief(kind: &str, n: u64) -> Option<&'static str> {
    if kind == "MAIL" && n.is_multiple_of(5) { None } else { good(kind, n) }
}

#[test]
fn connections_that_break_are_made_again_or_not_as_asked() {
    let host = serve(brief);
    let (code, run, _) = blast(&host, &["-n", "20", "-c", "1"]);
    assert_eq!(
        (code, number(&run, "messages_ok"), number(&run, "connections_opened")),
        (Some(1), 16, 4)
    );

    let host = serve(brief);
    let (code, run, _) = blast(&host, &["-n", "20", "-c", "1", "--reconnect", "never"]);
    assert_eq!((code, &run["verdict"]), (Some(1), &"failures".into()));
    assert_eq!((number(&run, "messages_ok"), number(&run, "connections_opened")), (4, 1));
    let lost = ["messages_due", "messages_failed", "messages_not_begun"];
    assert_eq!(lost.map(|name| number(&run, name)), [20, 16, 15]);
    let reasons = run["verdict_reasons"].to_string();
    assert!(
        reasons.contains("1 of 1 connection broke, and --reconnect never makes no other"),
        "{reasons}"
    );

    // What ends by our own leave is no break.
    let host = serve(good);
    let shape = ["-n", "6", "-c", "1", "--per-connection", "2", "--reconnect", "never"];
    let (_, run, _) = blast(&host, &shape);
    assert_eq!((number(&run, "messages_ok"), number(&run, "connections_opened")), (6, 3));
}

#[test]
fn a_backoff_waits_before_each_connection() {
    let host = serve(brief);
    let options = ["-n", "12", "-c", "1", "--reconnect", "backoff:300ms..300ms"];
    let (code, run, _) = blast(&host, &options);
    assert_eq!((code, number(&run, "messages_ok")), (Some(1), 10));
    let connected = host.seen.connected.lock().unwrap();
    assert_eq!(connected.len(), 3);
    for pair in connected.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(300));
    }
}

#[test]
fn a_signal_ends_a_backoff() {
    let host = serve(|_, _| Some("421 4.3.2 closing"));
    let child = start(&host, &["-n", "5", "-c", "1", "--reconnect", "backoff:1h..1h"]);
    while host.seen.connected.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let (code, run, stderr) = report(&child.wait_with_output().unwrap());
    assert_eq!((code, number(&run, "messages_ok")), (Some(1), 0), "{stderr}");
}

#[test]
fn a_policy_that_cannot_be_read_is_a_usage_error() {
    let host = serve(good);
    for (options, says) in [
        (["--stop-on", "2xx"], "not a refusal"),
        (["--reconnect", "backoff:5s..1s"], "MIN <= MAX"),
        (["--on-error", "panic"], "possible values: continue, stop"),
        (["--max-errors", "100%"], "below 100%"),
    ] {
        let (code, _, stderr) = blast(&host, &options);
        assert_eq!(code, Some(2), "{options:?}");
        assert!(stderr.contains(says), "{options:?}: {stderr}");
    }
}

/// The first step has 50 messages at most, so that it is one of the second or a later one.
fn the_sixtieth_is_refused(kind: &str, n: u64) -> Option<&'static str> {
    match (kind, n) {
        (".", 60) => Some("451 4.3.0 later"),
        _ => good(kind, n),
    }
}

fn at_once_refused(kind: &str, n: u64) -> Option<&'static str> {
    match kind {
        "." => Some("451 4.3.0 later"),
        _ => good(kind, n),
    }
}

#[test]
fn what_ends_a_run_ends_the_sweep_with_the_curve_up_to_there() {
    let host = serve(the_sixtieth_is_refused);
    let options = ["--rates", "50,100,200,400", "-c", "4", "--stop-on", "4xx"];
    let (code, told, stderr) = steps("sweep", &host, &options);
    assert_eq!(code, Some(1), "{stderr}");
    let steps = told["steps"].as_array().unwrap();
    assert!((2..4).contains(&steps.len()), "{told}");
    let said = said(&told);
    assert!(said.contains("messages/s: --stop-on 4xx ended the run after"), "{said}");
    assert!(said.contains("end_of_data was answered 451 4.3.0 later"), "{said}");
    // On a busy machine the generator may be the limit of any step; then that is the verdict, and there is no knee.
    if steps.iter().any(|step| step["verdict"] == "generator-limited") {
        return;
    }
    assert_eq!(steps.last().unwrap()["verdict"], "stopped");
    assert!(said.contains("knee") && !said.contains("broken off"), "{said}");
    let (code, told, stderr) = self::steps("sweep", &serve(at_once_refused), &options);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(told["steps"].as_array().unwrap().len(), 1, "{told}");
    assert!(!self::said(&told).contains("knee"), "{told}");
}

#[test]
fn what_ends_a_run_ends_a_search_which_says_how_to_go_on() {
    let host = serve(the_sixtieth_is_refused);
    let options = ["--slo", "errors<50%", "--start", "50", "-c", "4", "--on-error", "stop"];
    let (code, told, stderr) = steps("find-max", &host, &options);
    assert_eq!(code, Some(1), "{stderr}");
    let last = told["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["verdict"], &last["kept"]), (&"stopped".into(), &Value::Null));
    let said = said(&told);
    assert!(said.contains("bound them in --slo and leave out --on-error stop"), "{said}");
    assert!(!said.contains("Nothing was missed"), "{said}");
}

#[test]
fn errors_that_are_let_pass_do_not_end_a_sweep() {
    let host = serve(the_sixtieth_is_refused);
    let options = ["--rates", "50,100", "-c", "4", "--max-errors", "1", "--exit-zero"];
    let (code, told, stderr) = steps("sweep", &host, &options);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(told["steps"].as_array().unwrap().len(), 2, "{told}");
}

#[test]
fn each_step_of_a_sweep_keeps_to_the_policy_for_connections() {
    let host = serve(|kind, n| match (kind, n) {
        (".", 5) => None,
        _ => good(kind, n),
    });
    // A machine that is busy with other tests may be the limit itself.
    let shape = ["--rates", "20,30", "-c", "1", "--drain", "0s"];
    let options = [&shape[..], &["--reconnect", "never", "--exit-zero"]].concat();
    let (code, told, stderr) = steps("sweep", &host, &options);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(host.seen.connected.lock().unwrap().len(), 2, "one for each step: {told}");
}

#[test]
fn a_sweep_deals_its_sessions_to_several_targets_by_weight() {
    let (first, second) = (serve(good), serve(good));
    let weighted = format!("3={}", second.address);
    let (code, told, stderr) =
        steps("sweep", &first, &[&weighted, "--rates", "40,80", "-c", "8", "--exit-zero"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(told["target"], format!("smtp://{}, 3=smtp://{}", first.address, second.address));
    for step in told["steps"].as_array().unwrap() {
        let of = |name: &str| [0, 1].map(|n| number(&step["targets"][n], name));
        assert_eq!((of("weight"), of("connections_opened")), ([1, 3], [2, 6]), "{step}");
        assert_eq!(of("messages_ok").iter().sum::<u64>(), number(step, "messages_ok"));
    }
    assert_eq!(second.seen.connected.lock().unwrap().len(), 12);
}

/// Takes a connection and says nothing.
fn mute(_: &str, _: u64) -> Option<&'static str> {
    std::thread::sleep(Duration::from_secs(3_600));
    None
}

#[test]
fn where_nothing_is_begun_every_condition_fails_in_both_loops() {
    for load in [&["-z", "200ms"][..], &["-q", "50", "-z", "200ms"]] {
        for condition in ["failed>0", "failed>1%", "unanswered>0", "accepted<1", "rate<1", "rate>1"]
        {
            let host = serve(mute);
            let shape = ["-c", "2", "--drain", "0s", "--fail-if", condition];
            let (code, run, stderr) = blast(&host, &[load, &shape[..]].concat());
            assert!([Some(1), Some(3)].contains(&code), "{load:?} {condition}: {code:?} {stderr}");
            let judged = &run["thresholds"][0];
            assert_ne!(judged["holds"], false, "{load:?} {condition}: {run}");
            let of = |name| number(&run, name);
            assert_eq!(of("messages_due"), of("messages_not_begun"), "{run}");
            assert_eq!(of("messages_failed"), of("messages_unanswered"), "{run}");
            assert!(of("messages_due") >= 2, "{run}");
        }
    }
}

#[test]
fn a_report_alone_is_exit_code_0_whatever_it_says() {
    let half: Manner = |kind, n| match (kind, n % 2) {
        ("RCPT", 0) => Some("451 4.7.1 grey"),
        _ => good(kind, n),
    };
    let (host, load) = (serve(half), ["-n", "10", "-c", "1"]);
    assert_eq!(blast(&host, &load).0, Some(1));
    let (code, run, _) = blast(&host, &[&load[..], &["--exit-zero"]].concat());
    assert_eq!((code, number(&run, "messages_failed")), (Some(0), 5));
    let conditions = ["--exit-zero", "--fail-if", "failed>0"];
    let (code, run, _) = blast(&host, &[&load[..], &conditions].concat());
    assert_eq!((code, &run["verdict"]), (Some(0), &"threshold-failed".into()));
}

#[test]
fn the_time_of_quit_is_no_part_of_the_length_of_a_run() {
    let quit = Duration::from_secs(2);
    let host = serve(|kind, n| {
        if kind == "QUIT" {
            std::thread::sleep(Duration::from_secs(2));
        }
        good(kind, n)
    });
    let begun = Instant::now();
    let (code, run, stderr) = blast(&host, &["-n", "20", "-c", "1"]);
    assert_eq!((code, number(&run, "messages_ok")), (Some(0), 20), "{stderr}");
    let elapsed = Duration::from_secs_f64(run["elapsed_s"].as_f64().unwrap());
    assert!(elapsed + quit <= begun.elapsed(), "{elapsed:?}");
}

#[test]
fn a_run_of_so_many_messages_does_not_wait_for_a_goodbye_as_long_as_for_a_message() {
    let host = serve(|kind, n| match kind {
        "QUIT" => mute(kind, n),
        _ => good(kind, n),
    });
    let options = ["-n", "20", "-c", "1", "--drain", "0s", "--reply-timeout", "10m"];
    let (code, run, stderr) = blast(&host, &options);
    assert_eq!((code, number(&run, "messages_ok")), (Some(0), 20), "{stderr}");
    assert_eq!(run["errors"]["timeout"], 1, "{run}");
}

#[test]
fn an_answer_that_comes_late_behind_a_pipelined_quit_is_waited_for() {
    let host = serve(|kind, n| {
        if kind == "." {
            std::thread::sleep(Duration::from_secs(3));
        }
        if kind == "EHLO" { Some("250-x\r\n250 PIPELINING") } else { good(kind, n) }
    });
    let options = ["-n", "1", "-c", "1", "--drain", "0s", "--pipelining", "full"];
    let (code, run, stderr) = blast(&host, &options);
    assert_eq!((code, number(&run, "messages_ok")), (Some(0), 1), "{stderr}");
}
