//! The generator under TLS, against a server with another way to drive the library.

use std::sync::Arc;

use ringpost::blast::plan::Plan;
use ringpost::blast::security::TlsPlan;
use ringpost::blast::{Failure, RunOutcome};
use ringpost::dial::TlsMode;
use ringpost::engine::EngineKind;
use ringpost::measure::{ErrorKind, Outcome, Phase};
use ringpost::run::Verdict;
use ringpost::smtp::auth::Login;
use ringpost::smtp::client::Pipelining;
use ringpost::tls::{ClientAuth, SelfSigned, ServerOptions, TlsSettings, TlsVersion};

use crate::scripted::{go, plan};
use crate::tls_server::{Manner, TlsServer};

/// A plan for `server` under TLS in this way.
fn secured(server: &TlsServer, mode: TlsMode, connections: usize, messages: u64) -> Plan {
    let tls = TlsPlan {
        security: server.security(mode),
        share_percent: None,
        resume_percent: None,
        options: Vec::new(),
    };
    Plan { tls: Some(tls), ..plan(&server.address, connections, messages) }
}

/// All messages were accepted, and each of them counts once on both sides.
fn check_all(outcome: &RunOutcome, server: &TlsServer, messages: u64) {
    let run = &outcome.run;
    assert_eq!(run.verdict, Verdict::Ok, "{:?} {:?}", run.verdict_reasons, outcome.failure);
    assert_eq!((run.counts.messages_ok, run.counts.messages_failed), (messages, 0));
    let (secure, plain) = server.messages();
    assert_eq!(secure + plain, messages);
    let told = run.tls.as_ref().unwrap();
    assert_eq!((told.full, told.resumed), server.handshakes(), "both ends count alike");
    assert_eq!(run.counts.connections_opened, told.full + told.resumed + told.plain);
}

#[test]
fn messages_travel_under_tls_in_every_shape_on_both_engines() {
    let shapes = [
        (Pipelining::None, false, 1),
        (Pipelining::Commands, false, 1),
        (Pipelining::Full, false, 1),
        (Pipelining::Full, true, 32),
    ];
    for (manner, mode) in
        [(Manner::Implicit, TlsMode::Implicit), (Manner::Offers, TlsMode::StartTls)]
    {
        for engine in [EngineKind::Epoll, EngineKind::Uring] {
            let few = if engine == EngineKind::Uring { &shapes[3..] } else { &shapes[..] };
            for &(pipelining, chunking, depth) in few {
                let server = TlsServer::start(manner);
                let login = Login::new("tim".to_owned(), "secret".to_owned(), None);
                let plan = Plan {
                    engine,
                    pipelining,
                    chunking,
                    depth,
                    login: Some(Arc::new(login)),
                    ..secured(&server, mode, 4, 200)
                };
                let outcome = go(&plan);
                check_all(&outcome, &server, 200);
                assert_eq!(server.messages(), (200, 0));
                let run = &outcome.run;
                assert_eq!(run.phases[&Phase::Tls].latency_ns.count, 4);
                assert_eq!(run.phases[&Phase::Auth].latency_ns.count, 4);
                assert_eq!(run.phases.contains_key(&Phase::StartTls), mode == TlsMode::StartTls);
                let [agreed] = &run.tls.as_ref().unwrap().agreed[..] else { panic!("{run:?}") };
                assert_eq!(
                    (&*agreed.version, &*agreed.suite, agreed.group.as_deref()),
                    ("TLSv1.3", "TLS_AES_128_GCM_SHA256", Some("X25519MLKEM768"))
                );
                assert_eq!(run.plan.tls, mode.name());
            }
        }
    }
}

#[test]
fn a_large_message_goes_out_in_many_records() {
    use ringpost::blast::content::Content;
    use ringpost::blast::content::spread::Spread;
    for chunking in [false, true] {
        let server = TlsServer::start(Manner::Implicit);
        let content = Content::plain(Spread::one(3_000_000), "a@client.example", "b@s.example");
        let plan = Plan { content, chunking, ..secured(&server, TlsMode::Implicit, 2, 4) };
        check_all(&go(&plan), &server, 4);
    }
}

#[test]
fn the_share_that_resumes_is_the_one_asked_for_and_both_ends_count_it() {
    for (version, percent) in
        [(TlsVersion::V13, 90.0), (TlsVersion::V12, 90.0), (TlsVersion::V13, 100.0)]
    {
        let options = ServerOptions {
            settings: TlsSettings::new(&[version], &[], &[]).unwrap(),
            ..ServerOptions::default()
        };
        let server = TlsServer::start_with(Manner::Offers, SelfSigned::Good, options);
        let mut plan = secured(&server, TlsMode::StartTls, 8, 800);
        plan.per_connection = Some((1, 1));
        plan.tls.as_mut().unwrap().resume_percent = Some(percent);
        let outcome = go(&plan);
        check_all(&outcome, &server, 800);
        let told = outcome.run.tls.unwrap();
        let reached = told.resume_percent.unwrap();
        // The first on each connection have nothing to resume.
        let possible = f64::min(percent, 792.0 / 8.0);
        assert!((reached - possible).abs() <= 1.0, "{reached} of {percent}");
        let resumed = &outcome.run.phases[&Phase::TlsResumed].latency_ns;
        assert_eq!(resumed.count, told.resumed);
        assert_eq!(outcome.run.phases[&Phase::Tls].latency_ns.count, told.full);
        assert_eq!(outcome.run.plan.tls_resume_percent, Some(percent));
    }
}

#[test]
fn a_part_of_the_sessions_stays_in_plain_text() {
    let server = TlsServer::start(Manner::Offers);
    let mut plan = secured(&server, TlsMode::StartTls, 4, 500);
    plan.per_connection = Some((1, 1));
    plan.tls.as_mut().unwrap().share_percent = Some(80.0);
    let outcome = go(&plan);
    check_all(&outcome, &server, 500);
    assert_eq!(server.messages(), (400, 100));
    let told = outcome.run.tls.unwrap();
    assert_eq!((told.plain, told.share_percent), (100, Some(80.0)));
}

#[test]
fn what_is_opportunistic_takes_plain_text_and_what_must_be_does_not() {
    for manner in [Manner::Plain, Manner::Refuses] {
        let server = TlsServer::start(manner);
        let outcome = go(&secured(&server, TlsMode::Opportunistic, 2, 20));
        assert_eq!(outcome.run.counts.messages_ok, 20, "{:?}", outcome.failure);
        assert_eq!((server.messages(), server.handshakes()), ((0, 20), (0, 0)));
        assert_eq!(outcome.run.tls.unwrap().plain, 2);
        let outcome = go(&secured(&server, TlsMode::StartTls, 2, 20));
        assert_eq!(outcome.run.verdict, Verdict::Unreachable);
        let why = outcome.failure.unwrap().to_string();
        let said = match manner {
            Manner::Plain => "does not offer STARTTLS; leave out --tls starttls",
            _ => "STARTTLS was answered 454 4.7.0 no TLS now",
        };
        assert!(why.contains(said), "{why}");
        assert_eq!(server.messages(), (0, 20), "nothing more came in plain text");
    }
    let server = TlsServer::start(Manner::Offers);
    check_all(&go(&secured(&server, TlsMode::Opportunistic, 2, 20)), &server, 20);
    assert_eq!(server.messages(), (20, 0));
}

#[test]
fn a_certificate_that_does_not_hold_ends_the_run_before_a_message() {
    for (kind, says) in [
        (SelfSigned::UnknownCa, "unknown certificate authority"),
        (SelfSigned::WrongName, "another name"),
        (SelfSigned::Expired, "certificate expired"),
        (SelfSigned::NotYet, "not valid yet"),
    ] {
        for (manner, mode) in
            [(Manner::Implicit, TlsMode::Implicit), (Manner::Offers, TlsMode::StartTls)]
        {
            let server = TlsServer::start_with(manner, kind, ServerOptions::default());
            let outcome = go(&secured(&server, mode, 2, 20));
            assert_eq!(outcome.run.verdict, Verdict::Unreachable, "{kind:?}");
            let why = outcome.failure.unwrap();
            assert!(matches!(why, Failure::Untrusted { .. }), "{why}");
            assert!(
                why.to_string().contains(says) && why.to_string().contains("--tls-ca"),
                "{why}"
            );
            let kinds: Vec<_> = outcome.run.errors.keys().copied().collect();
            assert_eq!(kinds, [ErrorKind::TlsVerify]);
            assert_eq!(server.messages(), (0, 0));
            let failed = &outcome.run.phases[&Phase::Tls].outcomes;
            assert!(failed.contains_key(&Outcome::Unanswered), "a handshake that failed");
        }
    }
    let server =
        TlsServer::start_with(Manner::Implicit, SelfSigned::UnknownCa, ServerOptions::default());
    let mut plan = secured(&server, TlsMode::Implicit, 2, 20);
    let security = &mut plan.tls.as_mut().unwrap().security;
    security.options.trust = ringpost::tls::Trust::Anybody;
    let outcome = go(&plan);
    check_all(&outcome, &server, 20);
    assert!(outcome.run.plan.tls_insecure);
}

#[test]
fn a_handshake_that_fails_is_told_as_what_it_is() {
    let with_auth = ServerOptions { client_auth: ClientAuth::Require, ..ServerOptions::default() };
    for (manner, mode, options, kind, says) in [
        (
            Manner::Offers,
            TlsMode::Implicit,
            ServerOptions::default(),
            ErrorKind::Tls,
            "it may want --tls starttls",
        ),
        (
            Manner::TalksOn,
            TlsMode::StartTls,
            ServerOptions::default(),
            ErrorKind::Tls,
            "plain text",
        ),
        (
            Manner::HangsUp,
            TlsMode::StartTls,
            ServerOptions::default(),
            ErrorKind::Closed,
            "closed the connection",
        ),
        (
            Manner::Injects,
            TlsMode::StartTls,
            ServerOptions::default(),
            ErrorKind::Protocol,
            "behind its 220 to STARTTLS",
        ),
        (
            Manner::Implicit,
            TlsMode::Implicit,
            with_auth,
            ErrorKind::TlsAlert,
            "give one with --tls-client-cert",
        ),
    ] {
        let server = TlsServer::start_with(manner, SelfSigned::Good, options);
        let outcome = go(&secured(&server, mode, 1, 5));
        let why = outcome.failure.as_ref().unwrap().to_string();
        assert!(why.contains(says), "{manner:?}: {why}");
        let kinds: Vec<_> = outcome.run.errors.keys().copied().collect();
        assert_eq!(kinds, [kind], "{manner:?}: {why}");
        assert_eq!(outcome.run.verdict, Verdict::Unreachable);
        assert_eq!(server.messages(), (0, 0));
        let after = server.counts.after.lock().unwrap();
        assert!(after.is_empty(), "in plain text after STARTTLS: {after:?}");
    }
}
