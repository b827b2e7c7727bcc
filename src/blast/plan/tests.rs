use super::*;
use crate::blast::content::spread::Spread;
use crate::blast::content::template::Template;
use crate::blast::content::{Bodies, Choice, check_text};
use crate::blast::schedule::{Leg, Profile, Spacing};
use crate::limits::PATH_BYTES_MAX;

fn content() -> Content {
    Content::plain(Spread::one(1024), "a@b.example", "c@d.example")
}

fn plan() -> Plan {
    let target = Target::parse("smtp+unix:/x", &[]).unwrap();
    let plan = Plan::new(target.into(), content(), vec![0, 1, 2], EngineKind::Epoll);
    Plan { connections: 8, stop: StopAfter::Messages(100), ..plan }
}

#[test]
fn shares_add_up_and_differ_by_one_at_most() {
    for (total, cores) in [(0, 1), (1, 3), (10, 3), (64, 7), (1_000_001, 16)] {
        let shares: Vec<u64> = (0..cores).map(|n| share(total, cores, n)).collect();
        assert_eq!(shares.iter().sum::<u64>(), total);
        assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
    }
}

#[test]
fn a_sound_plan_passes_and_uses_no_idle_core() {
    plan().check().unwrap();
    assert_eq!(plan().cores(), 3);
    assert_eq!(Plan { connections: 2, ..plan() }.cores(), 2);
    assert_eq!(Plan { stop: StopAfter::Messages(1), ..plan() }.cores(), 1);
    let from = vec![Choice::literal("", "--from")];
    Plan { content: Content { from, ..content() }, ..plan() }.check().unwrap();
}

#[test]
fn text_that_could_forge_commands_is_refused() {
    let error = |content| Plan { content, ..plan() }.check().unwrap_err().to_string();
    for bad in ["a@b\r\nRCPT TO:<x@y>", "a\nb", "a\0b"] {
        let to = vec![Choice::literal(bad, "--to")];
        let said = error(Content { to, ..content() });
        assert!(said.starts_with("--to holds a CR, LF or NUL"), "{said}");
    }
    for bad in ["X=1\r\nRSET", "X\n", "X\0", "X Y", ""] {
        let params = vec!["RET=FULL".to_owned(), bad.to_owned()];
        error(Content { mail_params: params.clone(), ..content() });
        error(Content { rcpt_params: params, ..content() });
    }
    for bad in ["Subject: a\r\nTo: b", "no colon", ": x", "a b: c", "\u{fc}: c"] {
        let headers = vec![Template::literal(bad.as_bytes())];
        assert!(error(Content { headers, ..content() }).contains("--header"), "{bad:?}");
    }
    assert!(Plan { helo: "b\u{fc}cher.example".to_owned(), ..plan() }.check().is_err());
    assert!(Plan { helo: String::new(), ..plan() }.check().is_err());
    assert!(Plan { helo: "x".repeat(PATH_BYTES_MAX + 1), ..plan() }.check().is_err());
}

#[test]
fn quotes_hold_what_cannot_stand_without_and_parameters_hold_brackets() {
    let judge = |text: &str| check_text(text.as_bytes(), "--to", false);
    for good in ["a@b", "\"a b\"@c", "\"<a>\"@c", "\"a\\\" b\"@c", "\"a\\\\\"@c", "\"a b\""] {
        judge(good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    let open = ["\"a b@c", "\"a\" b@c", "\"a\\\\\" b@c", "a \"b\"@c", "x\"a b\"@c", "\"a\"<@c>"];
    for bad in open.into_iter().chain(["<a@b>", "a b@c", "\"a\nb\"@c"]) {
        assert!(judge(bad).is_err(), "{bad}");
    }
    let mail_params = ["AUTH=<>", "AUTH=a@b"].map(str::to_owned).to_vec();
    Plan { content: Content { mail_params, ..content() }, ..plan() }.check().unwrap();
}

#[test]
fn a_pause_needs_a_session_and_a_cool_down_an_end() {
    let profile = Profile::constant(100.0).unwrap();
    let schedule = Schedule { profile, spacing: Spacing::Constant };
    let pause = Duration::from_millis(5);
    let think = Some(Think::Even { least: pause, most: pause });
    let open = Plan { think, load: Load::Messages(schedule.clone()), ..plan() };
    assert!(matches!(open.check(), Err(PlanError::ThinkWithRate)));
    Plan { load: Load::Sessions(schedule), ..open }.check().unwrap();
    Plan { think, ..plan() }.check().unwrap();
    let endless = Plan { cooldown: pause, ..plan() };
    assert!(matches!(endless.check(), Err(PlanError::CooldownWithoutEnd)));
    Plan { stop: StopAfter::Duration(pause), ..endless }.check().unwrap();
}

#[test]
fn the_schedule_is_led_by_the_warm_up_and_its_mean_is_that_of_the_measured_time() {
    let second = Duration::from_secs(1);
    let ramp = Profile::of(vec![Leg { from: 100.0, to: 300.0, length: 4 * second }]).unwrap();
    let load = Load::Messages(Schedule { profile: ramp, spacing: Spacing::Constant });
    let (stop, warmup, cooldown) = (StopAfter::Duration(4 * second), 2 * second, second);
    let timed = Plan { load: load.clone(), stop, warmup, cooldown, ..plan() };
    assert_eq!(timed.mean_rate(), Some(200.0));
    assert_eq!(timed.arrivals_end(), Some(6 * second));
    assert_eq!(timed.last_start(), Some(7 * second));
    assert_eq!(timed.due(), Some(200.0 + 800.0 + 300.0));
    let counted = Plan { load, stop: StopAfter::Messages(1_100), ..plan() };
    assert_eq!((counted.arrivals_end(), counted.mean_rate()), (Some(5 * second), Some(220.0)));
    let Load::Messages(schedule) = counted.load.clone() else { unreachable!() };
    let (load, per_connection) = (Load::Sessions(schedule), Some((1, 3)));
    let sessions =
        Plan { load, stop: StopAfter::Messages(2_200), per_connection, ..counted.clone() };
    assert_eq!((sessions.arrivals_end(), sessions.mean_rate()), (Some(5 * second), Some(220.0)));
    assert_eq!((plan().arrivals_end(), plan().mean_rate()), (None, None));
    assert_eq!((plan().due(), counted.due()), (None, None));
}

#[test]
fn a_rate_is_told_where_all_is_warm_up_and_where_the_schedule_ends_before_the_messages() {
    let second = Duration::from_secs(1);
    let load = |profile| Load::Messages(Schedule { profile, spacing: Spacing::Constant });
    let stop = StopAfter::Messages(1_000);
    let steady = Profile::constant(1_000.0).unwrap();
    let warming = Plan { load: load(steady), stop, warmup: second, ..plan() };
    assert_eq!((warming.arrivals_end(), warming.mean_rate()), (Some(second), Some(1_000.0)));
    let down = Profile::of(vec![Leg { from: 100.0, to: 0.0, length: second }]).unwrap();
    let short = Plan { load: load(down), stop, ..plan() };
    assert_eq!((short.arrivals_end(), short.mean_rate()), (Some(second), Some(50.0)));
    assert_eq!((short.due(), warming.due()), (Some(50.0), None));
}

#[test]
fn cores_are_busy_in_the_measured_time_and_messages_cost_until_the_last_answer() {
    let second = Duration::from_secs(1);
    let read = |mut cuts: Cuts<u64>| {
        (0..9).for_each(|s| cuts.pass(Duration::from_secs(s), || Some(s)));
        cuts.end(|| Some(99)).unwrap()
    };
    let schedule =
        Schedule { profile: Profile::constant(10.0).unwrap(), spacing: Spacing::Constant };
    let (timed, counted) = (StopAfter::Duration(4 * second), StopAfter::Messages(50));
    let closed = Plan { warmup: second, stop: timed, ..plan() };
    let open = Plan { load: Load::Messages(schedule), ..closed.clone() };
    for (plan, busy, spent) in [
        (closed.clone(), (1, 5), (1, 99)),
        (open.clone(), (1, 5), (1, 99)),
        (Plan { cooldown: 2 * second, ..open.clone() }, (1, 5), (1, 5)),
        (Plan { stop: counted, ..open }, (1, 5), (1, 99)),
        (Plan { stop: counted, ..closed }, (1, 99), (1, 99)),
    ] {
        assert_eq!((read(plan.busy_cuts()), read(plan.cuts())), (busy, spent), "{plan:?}");
    }
}

#[test]
fn numbers_out_of_range_are_named() {
    let none = Plan { connections: 0, ..plan() }.check().unwrap_err();
    assert!(none.to_string().contains("--connections 0"), "{none}");
    let sizes = Bodies::Sizes(Spread::Even(10, 2000));
    let small = Plan { content: Content { bodies: sizes, ..content() }, ..plan() };
    let small = small.check().unwrap_err();
    assert!(small.to_string().contains("--size 10 is too small"), "{small}");
    let recipients = Spread::List(vec![(1, 1), (5_000, 1)]);
    let many = Plan { content: Content { recipients, ..content() }, ..plan() };
    let many = many.check().unwrap_err();
    assert!(many.to_string().contains("--recipients 5000"), "{many}");
    let deep = Plan { depth: 4, ..plan() }.check().unwrap_err();
    assert!(matches!(deep, PlanError::DepthWithoutChunking));
    let slow = Plan { depth: 4, chunking: true, ..plan() }.check().unwrap_err();
    assert!(matches!(slow, PlanError::DepthWithoutPipelining));
}
