//! What is counted of a connection that TLS, or a server that is silent on the way to it, brings to nothing: it is
//! in every count that it belongs to, and in no other.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ringpost::blast::plan::{Load, Plan, StopAfter};
use ringpost::blast::policy::{ErrorPolicy, ErrorsMax};
use ringpost::blast::schedule::{Profile, Schedule, Spacing};
use ringpost::blast::security::TlsPlan;
use ringpost::blast::{Failure, RunOutcome};
use ringpost::dial::TlsMode;
use ringpost::measure::{ErrorKind, Outcome, Phase};
use ringpost::tls::{ClientAuth, SelfSigned, ServerOptions, TlsSettings, TlsVersion};

use crate::scripted::{go, plan};
use crate::tls_server::{Manner, TlsServer};

/// Time for a reply where none comes.
const REPLY: Duration = Duration::from_secs(2);

/// A server that lets no client in, and what one connection to it comes to.
#[derive(Clone, Debug)]
struct Case {
    manner: Manner,
    mode: TlsMode,
    options: ServerOptions,
    kind: ErrorKind,
    never_greeted: bool,
    /// Handshakes that both ends call complete.
    full: u64,
    /// Handshakes that began and are not among these.
    failed: u64,
}

impl Case {
    /// A failure of the handshake, unless more is said.
    fn new(manner: Manner, kind: ErrorKind) -> Self {
        let mode = match manner {
            Manner::IsMute | Manner::HangsUpInside | Manner::GreetsNobody => TlsMode::Implicit,
            _ => TlsMode::StartTls,
        };
        let never_greeted = mode == TlsMode::Implicit;
        let options = ServerOptions::default();
        Self { manner, mode, options, kind, never_greeted, full: 0, failed: 1 }
    }

    fn with_version(self, version: TlsVersion) -> Self {
        let settings = TlsSettings::new(&[version], &[], &[]).unwrap();
        Self { options: ServerOptions { settings, ..self.options }, ..self }
    }
}

const VERSIONS: [TlsVersion; 2] = [TlsVersion::V12, TlsVersion::V13];

fn cases() -> Vec<Case> {
    let silent = |manner, kind, failed| Case { failed, ..Case::new(manner, kind) };
    let mut cases = vec![
        silent(Manner::IsMute, ErrorKind::TlsTimeout, 1),
        silent(Manner::IsDeaf, ErrorKind::Timeout, 0),
        silent(Manner::Waits, ErrorKind::TlsTimeout, 1),
        Case::new(Manner::HangsUp, ErrorKind::Closed),
        Case::new(Manner::TalksOn, ErrorKind::Tls),
        silent(Manner::Injects, ErrorKind::Protocol, 0),
        // Plain text where TLS was to be.
        Case {
            mode: TlsMode::Implicit,
            never_greeted: true,
            ..Case::new(Manner::Offers, ErrorKind::Tls)
        },
    ];
    for version in VERSIONS {
        cases.push(Case::new(Manner::HangsUpInside, ErrorKind::Closed).with_version(version));
        // A refusal is an answer. In TLS 1.3 it comes when the client is done.
        for (manner, mode) in
            [(Manner::Implicit, TlsMode::Implicit), (Manner::Offers, TlsMode::StartTls)]
        {
            let case = Case { mode, ..Case::new(manner, ErrorKind::TlsAlert) };
            let options =
                ServerOptions { client_auth: ClientAuth::Require, ..case.options.clone() };
            cases.push(Case { options, never_greeted: false, ..case }.with_version(version));
        }
        // A ticket tells that the server has ended the handshake; without one nothing does in TLS 1.3.
        for tickets in [2, 0] {
            let full = u64::from(tickets > 0 || version == TlsVersion::V12);
            let case = Case::new(Manner::GreetsNobody, ErrorKind::Timeout);
            let options = ServerOptions { tickets, ..case.options.clone() };
            cases.push(Case { options, full, failed: 1 - full, ..case }.with_version(version));
        }
    }
    cases
}

fn server_of(case: &Case) -> TlsServer {
    TlsServer::start_with(case.manner, SelfSigned::Good, case.options.clone())
}

/// One connection to `server`, and no second try.
fn once(case: &Case, server: &TlsServer) -> Plan {
    let tls = TlsPlan {
        security: server.security(case.mode),
        share_percent: None,
        resume_percent: None,
        options: Vec::new(),
    };
    let mut plan = Plan { tls: Some(tls), reply_timeout: REPLY, ..plan(&server.address, 1, 5) };
    plan.connect.tries = 1;
    plan
}

/// The connection is in the counts of `case`, whether it failed with an error or was cut short.
fn check(case: &Case, outcome: &RunOutcome, server: &TlsServer) {
    let run = &outcome.run;
    let what = format!("{case:?}: {:?} {:?} {:?}", run.counts, run.errors, run.phases);
    let counts = &run.counts;
    assert_eq!((counts.connections_opened, counts.connections_closed), (1, 1), "{what}");
    assert_eq!(counts.connections_never_greeted, u64::from(case.never_greeted), "{what}");
    let tls = run.tls.as_ref().unwrap();
    assert_eq!((tls.full, tls.resumed, tls.plain), (case.full, 0, 0), "{what}");
    let (at_server, _) = server.handshakes();
    assert!(case.full <= at_server, "{at_server} at the server, {what}");
    // Each handshake that began is in one phase, with one outcome.
    let of = |phase: Phase| run.phases.get(&phase);
    let begun = of(Phase::Tls).map_or(0, |phase| phase.latency_ns.count);
    assert_eq!(begun, case.full + case.failed, "{what}");
    let unanswered = |phase: Phase| {
        let outcomes = of(phase).map(|phase| &phase.outcomes);
        outcomes.and_then(|all| all.get(&Outcome::Unanswered)).map_or(0, |one| one.count)
    };
    assert_eq!(unanswered(Phase::Tls), case.failed, "{what}");
    if case.mode == TlsMode::StartTls {
        let starttls = of(Phase::StartTls).map_or(0, |phase| phase.latency_ns.count);
        assert_eq!(starttls, 1, "the command is counted, whatever follows its reply: {what}");
        assert_eq!(unanswered(Phase::StartTls), u64::from(case.manner == Manner::IsDeaf), "{what}");
    }
}

#[test]
fn a_connection_that_tls_brings_to_nothing_is_in_each_count_that_it_belongs_to() {
    for case in cases() {
        let server = server_of(&case);
        let outcome = go(&once(&case, &server));
        check(&case, &outcome, &server);
        assert_eq!(outcome.run.errors, BTreeMap::from([(case.kind, 1)]), "{case:?}");
    }
}

#[test]
fn what_ends_a_run_as_an_error_is_one_that_is_counted() {
    for case in cases() {
        let server = server_of(&case);
        let errors_max = Some(ErrorsMax::Count(0));
        let policy = ErrorPolicy { errors_max, ..ErrorPolicy::default() };
        let outcome = go(&Plan { policy, ..once(&case, &server) });
        check(&case, &outcome, &server);
        assert_eq!(outcome.run.errors, BTreeMap::from([(case.kind, 1)]), "{case:?}");
        let stopped = outcome.run.stopped.as_ref().unwrap();
        assert_eq!(stopped.error, Some(case.kind), "{case:?}");
        // Where the server hung up after the last word of the client, it may be either.
        let is_known = !matches!(case.manner, Manner::HangsUpInside | Manner::GreetsNobody);
        let phase_is_tls = stopped.phase == Phase::Tls;
        assert!(!is_known || phase_is_tls == (case.failed > 0), "{case:?}: {stopped:?}");
    }
}

#[test]
fn silence_until_the_end_of_the_run_is_named_and_is_no_error() {
    for case in cases() {
        if !matches!(case.kind, ErrorKind::Timeout | ErrorKind::TlsTimeout) {
            continue;
        }
        let server = server_of(&case);
        let plan = Plan {
            stop: StopAfter::Duration(Duration::from_millis(300)),
            drain: Duration::ZERO,
            reply_timeout: Duration::from_secs(60),
            ..once(&case, &server)
        };
        let outcome = go(&plan);
        check(&case, &outcome, &server);
        assert!(outcome.run.errors.is_empty(), "{case:?}: {:?}", outcome.run.errors);
        let why = outcome.failure.unwrap();
        let text = why.to_string();
        let is_right = match case.manner {
            Manner::IsDeaf => text.contains("STARTTLS was not answered"),
            Manner::GreetsNobody => matches!(why, Failure::NeverGreeted { .. }),
            _ => matches!(why, Failure::Handshake { .. }),
        };
        assert!(is_right, "{case:?}: {text}");
    }
}

#[test]
fn the_answer_to_ehlo_is_counted_although_the_session_cannot_go_on() {
    let case = Case { failed: 0, ..Case::new(Manner::Plain, ErrorKind::Protocol) };
    let server = server_of(&case);
    let run = go(&once(&case, &server)).run;
    assert_eq!(run.phases[&Phase::Hello].latency_ns.count, 1);
    assert_eq!(run.phases[&Phase::Hello].replies.get(&250), Some(&1), "{:?}", run.phases);
    assert_eq!(run.counts.connections_never_greeted, 0);
}

/// Half of the handshakes fail, and they are in no share.
#[test]
fn the_shares_are_those_that_were_asked_for_also_where_handshakes_fail() {
    for (version, percent) in [(TlsVersion::V13, 50.0), (TlsVersion::V12, 20.0)] {
        let case = Case::new(Manner::Cuts, ErrorKind::Closed).with_version(version);
        let server = server_of(&Case { mode: TlsMode::Implicit, ..case.clone() });
        let mut plan = once(&Case { mode: TlsMode::Implicit, ..case }, &server);
        (plan.connections, plan.per_connection) = (4, Some((1, 1)));
        plan.stop = StopAfter::Messages(300);
        plan.connect.tries = 20;
        plan.tls.as_mut().unwrap().resume_percent = Some(percent);
        let run = go(&plan).run;
        let tls = run.tls.unwrap();
        assert_eq!((run.counts.messages_ok, tls.full + tls.resumed), (300, 300));
        assert_eq!((tls.full, tls.resumed), server.handshakes());
        let reached = tls.resume_percent.unwrap();
        assert!((reached - percent).abs() <= 3.0, "{reached} of {percent}, {version:?}");
    }
}

/// A client that leaves at once has said its last word of the handshake.
#[test]
fn clients_that_misbehave_have_ended_the_handshake() {
    for kind in ["drop-after-connect", "reset-after-connect"] {
        let case = Case::new(Manner::Implicit, ErrorKind::Closed).with_version(TlsVersion::V13);
        let case = Case { mode: TlsMode::Implicit, ..case };
        let server = server_of(&case);
        let schedule =
            Schedule { profile: Profile::constant(40.0).unwrap(), spacing: Spacing::Constant };
        let (load, stop) = (Load::Messages(schedule), StopAfter::Messages(20));
        let plan = Plan { load, stop, misbehave: kind.parse().unwrap(), ..once(&case, &server) };
        let run = go(&plan).run;
        let met = &run.misbehaviour[0];
        assert!(met.sessions > 0, "{met:?}");
        let known = run.tls.as_ref().unwrap().full + met.sessions;
        // The server may be behind.
        let until = Instant::now() + Duration::from_secs(20);
        while server.handshakes().0 < known && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(server.handshakes().0 >= known, "{:?} of {known}: {met:?}", server.handshakes());
    }
}
