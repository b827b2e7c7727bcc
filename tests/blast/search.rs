//! Sweep and search as a library does them, without the command line.

use std::ops::ControlFlow;
use std::process::Command;
use std::time::Duration;

use ringpost::blast::StopRequest;
use ringpost::blast::plan::{Plan, StopAfter};
use ringpost::blast::schedule::Spacing;
use ringpost::blast::search::{Rates, SearchError, SearchOptions, StepEvent, Steps};
use ringpost::engine::EngineKind;

use serde_json::Value;

use super::open_loop::{MS, Manner, plan, serve};
use super::scripted;

/// Far more than eight connections to a server that takes 20 ms for each message can bring.
const TOO_MANY: f64 = 6_400.0;

fn short(target: &super::open_loop::Host) -> Plan {
    let (stop, drain) = (StopAfter::Duration(300 * MS), Duration::ZERO);
    Plan { stop, drain, ..plan(target, EngineKind::Epoll) }
}

#[test]
fn a_sweep_tells_of_each_step_and_writes_it_where_it_is_asked_to() {
    let host = serve(Manner::Slow(20 * MS));
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan { out: Some(dir.path().to_owned()), ..short(&host) };
    let steps = Steps { plan: &plan, spacing: Spacing::Constant, stop: StopRequest::default() };
    let (mut asked, mut written, mut beats) = (Vec::new(), 0, 0);
    let rates = Rates::Given(vec![TOO_MANY, 20.0, 40.0, 20.0]);
    let sweep = steps.sweep(&rates, &mut |event| {
        match event {
            StepEvent::Running { rate, .. } => {
                assert!((20.0..=TOO_MANY).contains(&rate));
                beats += 1;
            }
            StepEvent::Written(dir) => {
                assert!(dir.join("run.json").is_file());
                written += 1;
            }
            StepEvent::Done(step) => asked.push(step.asked),
        }
        ControlFlow::Continue(())
    });
    let sweep = sweep.unwrap();
    assert_eq!(asked, [20.0, 40.0, TOO_MANY]);
    assert_eq!(sweep.steps.iter().map(|step| step.asked).collect::<Vec<_>>(), asked);
    let seeds: Vec<u64> = sweep.steps.iter().map(|step| step.run.plan.seed).collect();
    assert!(seeds[0] == plan.content.seed && seeds[1] != seeds[0] && seeds[2] != seeds[1]);
    assert!(written == 3 && beats >= 3, "{written} {beats}");
    assert!(dir.path().join("step-03-6400/run.hlog").is_file());
    assert!(!sweep.steps[2].kept_up(), "{:?}", sweep.steps[2].run);
    assert_ne!(sweep.knee().map(|step| step.asked), Some(TOO_MANY));
    assert!(sweep.cut_short.is_none() && sweep.early.is_none());
}

#[test]
fn an_observer_ends_a_sweep_within_a_step_and_behind_one() {
    let host = serve(Manner::Good);
    let plan = Plan { stop: StopAfter::Duration(Duration::from_secs(60)), ..short(&host) };
    let steps = Steps { plan: &plan, spacing: Spacing::Poisson, stop: StopRequest::default() };
    let rates = Rates::Doubling { start: 50.0, most: 1_000.0 };
    let within = steps.sweep(&rates, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!((within.steps.len(), within.cut_short.map(|step| step.asked)), (0, Some(50.0)));
    let plan = short(&host);
    let steps = Steps { plan: &plan, spacing: Spacing::Poisson, stop: StopRequest::default() };
    let behind = steps.sweep(&rates, &mut |event| match event {
        StepEvent::Done(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    let behind = behind.unwrap();
    assert!(behind.steps.len() == 1 && behind.cut_short.is_none(), "{behind:?}");
}

#[test]
fn the_highest_rate_is_between_what_was_kept_and_what_was_missed() {
    let host = serve(Manner::Slow(20 * MS));
    let plan = short(&host);
    let steps = Steps { plan: &plan, spacing: Spacing::Constant, stop: StopRequest::default() };
    let options = SearchOptions { start: 25.0, most: TOO_MANY, precision: 1.0, repeats: 1 };
    let slo = "p99<5s".parse().unwrap();
    let mut runs = 0;
    let found = steps.find_max(&slo, options, &mut |event| {
        runs += usize::from(matches!(event, StepEvent::Done(_)));
        ControlFlow::Continue(())
    });
    let found = found.unwrap();
    assert_eq!(found.steps.len(), runs);
    // Of a generator that had no CPU nothing can be asked.
    if found.limited.is_none() {
        let (low, high) = (found.low.unwrap().rate, found.high.unwrap().rate);
        assert!(found.settled && low < high && high <= TOO_MANY, "{low} {high}");
    }
}

#[test]
fn a_target_that_is_not_there_fails_the_first_step() {
    let host = serve(Manner::Good);
    let mut plan = short(&host);
    plan.targets = ringpost::dial::Target::parse("smtp+unix:/nowhere", &[]).unwrap().into();
    plan.connect.tries = 1;
    let steps = Steps { plan: &plan, spacing: Spacing::Constant, stop: StopRequest::default() };
    let failed = steps.sweep(&Rates::Given(vec![10.0]), &mut |_| ControlFlow::Continue(()));
    assert!(matches!(failed, Err(SearchError::Failed(_))), "{failed:?}");
}

#[test]
fn a_full_disk_costs_a_sweep_its_files_and_not_its_curve() {
    let address = scripted::serve(|_, line| scripted::good(line));
    let dir = tempfile::tempdir().unwrap();
    // A file may grow to so many blocks of 512 octets, and a write beyond is an error.
    let sweep = |task: &[&str], blocks: &str, out: &str| {
        let line = "trap '' XFSZ; ulimit -f $0 && exec \"$@\"";
        let out = dir.path().join(out);
        let short = ["--json", "--settle", "0s", "--measure", "300ms", "--out"];
        let mut shell = Command::new("sh");
        shell.args(["-c", line, blocks, env!("CARGO_BIN_EXE_ringpost-blast")]);
        let done = shell.args(task).arg(&address).args(short).arg(&out).output().unwrap();
        let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        let said = String::from_utf8(done.stderr).unwrap();
        (done.status.code(), told["steps"].as_array().map(Vec::len), said)
    };
    let rates = ["sweep", "--rates", "20,40"];
    let search = ["find-max", "--slo", "p99<10s", "--start", "20", "--most", "20"];
    for (blocks, file) in [("1", "run.msgs"), ("24", "report.html")] {
        for (number, task) in [&rates[..], &search[..]].into_iter().enumerate() {
            let (code, steps, said) = sweep(task, blocks, &format!("{blocks}-{number}"));
            assert_eq!((code, steps), (Some(74), Some(1)), "{said}");
            let last = said.lines().last().unwrap();
            assert!(last.contains(file) && last.contains("File too large"), "{last}");
        }
    }
    let taken = dir.path().join("taken/step-02-40");
    std::fs::create_dir_all(&taken).unwrap();
    std::fs::write(taken.join("run.csv"), "").unwrap();
    let (code, steps, said) = sweep(&rates, "unlimited", "taken");
    assert_eq!((code, steps), (Some(74), Some(1)), "{said}");
    assert!(said.contains("the step at 40.0 messages/s: ") && said.contains("already holds a run"));
}
