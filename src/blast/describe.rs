//! The plan as the result carries it. Two runs whose descriptions are the same sent the same, in the same way:
//! every field of the plan is met here by name, so that a new option cannot be left out.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::connect_options::ConnectOptions;
use super::content::mail::Mail;
use super::content::{self, Bodies, Choice, Content};
use super::plan::{DRAIN_DEFAULT, Load, Plan, StopAfter};
use super::schedule::Schedule;
use super::security::TlsPlan;
use super::targets::WeightedTarget;
use crate::dial::{Family, Security};
use crate::limits::{REPLY_S_MAX, UNREACHED_TRIES};
use crate::run::{self, LAG_LIMIT_PERCENT_DEFAULT, PlannedTarget};
use crate::smtp::auth::{Login, Mechanism};
use crate::smtp::client::Pipelining;
use crate::stamp::body_crc;

/// Engine and conditions are reported elsewhere; `transcripts` and `out` change nothing that is sent.
pub(super) fn describe(plan: &Plan) -> run::RunPlan {
    let Plan {
        targets,
        connections,
        load,
        stop,
        warmup,
        cooldown,
        drain: _,
        reply_timeout: _,
        think,
        content,
        per_connection,
        pipelining,
        chunking,
        depth,
        hello,
        helo,
        tls: _,
        login,
        cpus: _,
        engine: _,
        connect: _,
        policy: _,
        misbehave,
        transcripts: _,
        out: _,
        fail_if: _,
        lag_limit_percent,
        command,
        name,
        note,
    } = plan;
    let (messages, duration_s) = bounds(*stop);
    let (schedule, arrivals_of) = schedule(load);
    run::RunPlan {
        command: command.clone(),
        name: name.clone(),
        note: note.clone(),
        target: targets.names(),
        targets: targets.all().iter().filter(|_| targets.several()).map(planned).collect(),
        connections: *connections as u64,
        cores: plan.cores() as u64,
        messages,
        duration_s,
        warmup_s: warmup.as_secs_f64(),
        cooldown_s: cooldown.as_secs_f64(),
        rate_msg_s: plan.mean_rate(),
        rate: schedule.map(|schedule| schedule.profile.to_string()),
        arrivals: schedule.map(|schedule| schedule.spacing.name().to_owned()),
        arrivals_of: arrivals_of.map(str::to_owned),
        lag_limit_percent: schedule.and_then(|_| other_limit(*lag_limit_percent)),
        size: content.sizes(),
        recipients: content.recipients.mean().round() as u64,
        per_connection: per_connection.map(|(least, most)| least.midpoint(most)),
        think: think.map(|think| think.to_string()),
        misbehave: (!misbehave.is_empty()).then(|| misbehave.to_string()),
        pipelining: pipelining_mode(*pipelining).to_owned(),
        chunking: *chunking,
        depth: *depth as u64,
        auth: login.as_ref().map(mechanism),
        hello: hello.name().to_owned(),
        helo: helo.clone(),
        from: content::in_words(&content.from),
        to: content::in_words(&content.to),
        seed: content.seed,
        options: options(plan),
        ..under_tls(plan)
    }
}

/// The fields that are about TLS.
fn under_tls(plan: &Plan) -> run::RunPlan {
    let described = run::RunPlan { tls: tls_modes(plan), ..run::RunPlan::default() };
    let Some(tls) = &plan.tls else { return described };
    // The mode is told for each target, and what `options` has as words: versions, ciphers and groups, the name of
    // the server, our certificate. Which CAs are trusted changes nothing that is sent.
    let TlsPlan { security, share_percent, resume_percent, options: _ } = tls;
    let Security { mode: _, server_name: _, options: _ } = security;
    run::RunPlan {
        tls_insecure: !security.verifies(),
        tls_share_percent: *share_percent,
        tls_resume_percent: *resume_percent,
        ..described
    }
}

/// When sessions go under TLS; of targets that differ in it, each way once.
fn tls_modes(plan: &Plan) -> String {
    let asked = plan.tls.as_ref().and_then(|tls| tls.security.mode);
    let mut modes: Vec<&str> = Vec::new();
    for of in plan.targets.all() {
        // What cannot be done was refused before.
        let mode = of.target.tls_mode(asked).unwrap_or_default().name();
        if !modes.contains(&mode) {
            modes.push(mode);
        }
    }
    modes.join(", ")
}

fn mechanism(login: &Arc<Login>) -> String {
    login.mechanism().map_or("best offered", Mechanism::name).to_owned()
}

/// A limit that is not the default.
fn other_limit(percent: f64) -> Option<f64> {
    (percent != LAG_LIMIT_PERCENT_DEFAULT).then_some(percent)
}

/// The number of messages or the seconds that end the run.
fn bounds(stop: StopAfter) -> (Option<u64>, Option<f64>) {
    match stop {
        StopAfter::Messages(messages) => (Some(messages), None),
        StopAfter::Duration(duration) => (None, Some(duration.as_secs_f64())),
    }
}

/// The schedule of an open loop, and what it makes due.
fn schedule(load: &Load) -> (Option<&Schedule>, Option<&'static str>) {
    match load {
        Load::Closed => (None, None),
        Load::Messages(schedule) => (Some(schedule), Some("messages")),
        Load::Sessions(schedule) => (Some(schedule), Some("sessions")),
    }
}

/// As `--pipelining` names it.
fn pipelining_mode(pipelining: Pipelining) -> &'static str {
    match pipelining {
        Pipelining::None => "none",
        Pipelining::Commands => "commands",
        Pipelining::Full => "full",
    }
}

fn planned(of: &WeightedTarget) -> PlannedTarget {
    PlannedTarget { target: of.target.url.clone(), weight: of.weight }
}

/// What the other fields of a description do not say, or say as a mean alone: each as the option that asks for
/// it, where it is not the default. What came from a file is named by its checksum.
fn options(plan: &Plan) -> Vec<String> {
    let mut options = Vec::new();
    if let Some((least, most)) = plan.per_connection.filter(|(least, most)| least < most) {
        options.push(format!("--per-connection {least}..{most}"));
    }
    if plan.drain != DRAIN_DEFAULT {
        options.push(format!("--drain {:?}", plan.drain));
    }
    if plan.reply_timeout != Duration::from_secs(REPLY_S_MAX) {
        options.push(format!("--reply-timeout {:?}", plan.reply_timeout));
    }
    options_of_content(&plan.content, &mut options);
    options_of_connections(&plan.connect, &mut options);
    options.extend(plan.policy.in_words());
    options.extend(plan.tls.iter().flat_map(|tls| tls.options.iter().cloned()));
    options
}

fn options_of_content(content: &Content, options: &mut Vec<String>) {
    // `memory_max` refuses messages and changes none, and the seed has a field of its own.
    let Content {
        bodies,
        recipients,
        from,
        to,
        to_domains,
        bare,
        headers,
        table,
        mail_params,
        rcpt_params,
        size_unsaid,
        memory_max: _,
        seed: _,
    } = content;
    match bodies {
        Bodies::Sizes(_) => {}
        Bodies::Given(body) => options.push(from_file("--body", body.text().bytes())),
        Bodies::Kept(kept) => {
            let sums = kept.mails.iter().flat_map(|mail| {
                let sum = body_crc(&mail.octets).to_be_bytes();
                mail.size.to_be_bytes().into_iter().chain(sum).chain(envelope(mail))
            });
            options.push(from_file("--corpus", sums));
            if kept.mails.iter().any(|mail| mail.envelope.is_some()) {
                options.push("--recorded-envelopes".to_owned());
            }
        }
    }
    if !recipients.is_one() {
        options.push(format!("--recipients {recipients}"));
    }
    for (option, choices) in [("--from", from), ("--to", to)] {
        if choices.len() > 1 {
            options.push(from_file(option, choices.iter().flat_map(octets)));
        }
    }
    options.extend(to_domains.iter().map(|(name, weight)| format!("--to-domain {name}:{weight}")));
    if *bare {
        options.push("--no-headers".to_owned());
    }
    options.extend(headers.iter().map(|header| format!("--header {}", header.text())));
    if let Some(table) = table {
        let fields = table.rows.iter().flat_map(|row| &row.fields);
        let fields = table.columns.iter().chain(fields);
        options.push(from_file("--csv", fields.flat_map(|field| field.bytes().chain([0]))));
    }
    options.extend(mail_params.iter().map(|param| format!("--param MAIL:{param}")));
    options.extend(rcpt_params.iter().map(|param| format!("--param RCPT:{param}")));
    options.extend(size_unsaid.then(|| "--no-size".to_owned()));
}

fn options_of_connections(connect: &ConnectOptions, options: &mut Vec<String>) {
    // The sources are those of one machine: shards of one load have different ones.
    let ConnectOptions { sources: _, family, recv_buffer, send_buffer, reset, tries } = connect;
    options.extend(family.map(|family| match family {
        Family::V4 => "--ipv4".to_owned(),
        Family::V6 => "--ipv6".to_owned(),
    }));
    options.extend(recv_buffer.map(|octets| format!("--recv-buffer {octets}")));
    options.extend(send_buffer.map(|octets| format!("--send-buffer {octets}")));
    if *reset {
        options.push("--close rst".to_owned());
    }
    if *tries != UNREACHED_TRIES {
        options.push(format!("--connect-tries {tries}"));
    }
}

/// Octets that differ between any two different choices.
fn octets(choice: &Choice) -> Vec<u8> {
    let mut text = choice.pattern.text();
    // Writing to a string does not fail.
    let _ = write!(text, "\0{}\0", choice.weight);
    text.into_bytes()
}

/// Octets that differ between any two different recorded envelopes.
fn envelope(mail: &Mail) -> Vec<u8> {
    mail.envelope.as_ref().map_or_else(Vec::new, |envelope| format!("{envelope:?}").into_bytes())
}

fn from_file(option: &str, octets: impl IntoIterator<Item = u8>) -> String {
    let octets: Vec<u8> = octets.into_iter().collect();
    format!("{option} (CRC-32C {:08x})", body_crc(&octets))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blast::content::mail::{MailSource, Mails};
    use crate::blast::content::spread::Spread;
    use crate::blast::content::template::Template;
    use crate::blast::policy::{ErrorPolicy, Reconnect};
    use crate::dial::Target;
    use crate::engine::EngineKind;

    fn plan() -> Plan {
        let content = Content::plain(Spread::one(1_024), "a@b.example", "c@d.example");
        let targets = Target::parse("smtp+unix:/x", &[]).unwrap().into();
        Plan::new(targets, content, vec![0], EngineKind::Epoll)
    }

    fn with(change: impl FnOnce(&mut Plan)) -> run::RunPlan {
        let mut plan = plan();
        change(&mut plan);
        describe(&plan)
    }

    /// A change of the plan, by the option that asks for it.
    type Change = (&'static str, fn(&mut Plan));

    const CHANGES: [Change; 20] = [
        ("--per-connection", |plan| plan.per_connection = Some((1, 5))),
        ("--drain", |plan| plan.drain = Duration::from_secs(2)),
        ("--reply-timeout", |plan| plan.reply_timeout = Duration::from_secs(2)),
        ("--no-headers", |plan| plan.content.bare = true),
        ("--recipients", |plan| plan.content.recipients = Spread::Even(1, 5)),
        ("--to-domain", |plan| plan.content.to_domains = vec![("e.example".to_owned(), 1)]),
        ("--header", |plan| plan.content.headers = vec![Template::literal(b"A: b")]),
        ("--param MAIL", |plan| plan.content.mail_params = vec!["RET=HDRS".to_owned()]),
        ("--no-size", |plan| plan.content.size_unsaid = true),
        ("--param RCPT", |plan| plan.content.rcpt_params = vec!["NOTIFY=NEVER".to_owned()]),
        ("--body", |plan| plan.content.bodies = Bodies::Given(Template::literal(b"A: b\r\n\r\n"))),
        ("--from", |plan| {
            plan.content.from = vec![Choice::literal("x", ""), Choice::literal("y", "")];
        }),
        ("--close", |plan| plan.connect.reset = true),
        ("--ipv6", |plan| plan.connect.family = Some(Family::V6)),
        ("--recv-buffer", |plan| plan.connect.recv_buffer = Some(4_096)),
        ("--send-buffer", |plan| plan.connect.send_buffer = Some(4_096)),
        ("--connect-tries", |plan| plan.connect.tries = 1),
        ("--reconnect", |plan| plan.policy.reconnect = Reconnect::Never),
        ("--on-error", |plan| {
            plan.policy = ErrorPolicy { stop_on_error: true, ..ErrorPolicy::default() }
        }),
        ("--corpus", |plan| plan.content.bodies = kept(b"A: b\r\n\r\nx\r\n")),
    ];

    fn kept(octets: &[u8]) -> Bodies {
        let mails = [Mail::new(octets.to_vec(), true, None)].into();
        Bodies::Kept(Mails { path: "x".into(), kind: MailSource::File, raw: true, mails })
    }

    #[test]
    fn a_plan_without_an_option_has_none_and_each_option_makes_it_another_plan() {
        assert_eq!(describe(&plan()).options, [""; 0]);
        for (option, change) in CHANGES {
            let options = with(change).options;
            assert_eq!(options.len(), 1, "{option}: {options:?}");
            assert!(options[0].starts_with(option), "{option}: {options:?}");
        }
    }

    #[test]
    fn a_range_differs_from_its_mean_and_one_file_from_another_of_that_size() {
        let range = with(|plan| plan.per_connection = Some((1, 5)));
        let mean = with(|plan| plan.per_connection = Some((3, 3)));
        assert_eq!(range.per_connection, mean.per_connection);
        assert_ne!(range.options, mean.options);
        let one = with(|plan| plan.content.bodies = kept(b"A: b\r\n\r\nx\r\n"));
        let other = with(|plan| plan.content.bodies = kept(b"A: b\r\n\r\ny\r\n"));
        assert_eq!(one.size, other.size);
        assert_ne!(one.options, other.options);
        let headed = with(|plan| plan.content.bodies = kept(b"A: c\r\n\r\nx\r\n"));
        assert_eq!(one.size, headed.size);
        assert_ne!(one.options, headed.options);
    }
}
