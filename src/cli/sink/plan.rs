//! Options made into a plan: each is checked against the others, and listeners are bound.

use super::auth;
use super::listen::{self, BoundUrl};
use super::options::SinkOptions;
use super::tls::SinkTls;
use crate::cli::exit::{Exit, ExitError};
use crate::cli::value;
use crate::engine::EngineKind;
use crate::host;
use crate::human;
use crate::limits;
use crate::notice::notice;
use crate::sink::{self, Port, PortTls, SinkPlan, Store};
use crate::smtp::extension::Extensions;
use crate::smtp::server::Policy;
use crate::spool::{self, Durability, WhenFull};

/// The largest envelope, half as much for its recipients, and an eighth more of each for growth.
const ENVELOPE_MEMORY_BYTES_MIN: u64 = 4 * 1024 * 1024;
const _: () =
    assert!(ENVELOPE_MEMORY_BYTES_MIN >= limits::ENVELOPE_BYTES_MAX as u64 * 3 / 2 * 9 / 8);

pub(super) fn plan(
    options: &SinkOptions,
    engine: EngineKind,
) -> Result<(SinkPlan, Option<SinkTls>), ExitError> {
    let cpus = cpus(options)?;
    options.tls.check(&options.listen)?;
    let faults = options.faults.rules(options.tls.is_on())?;
    let mut commands = options.commands.check(&options.listen)?;
    options.relay.switch_on(&mut commands);
    let (auth, warning) =
        auth::policy(&options.auth, &options.auth_mechanisms, options.auth_required)?;
    if let Some(warning) = warning {
        notice!("ringpost-sink: {warning}");
    }
    let (store, message_bytes_max) = store(options, cpus.len())?;
    let hostname = options.hostname.clone().unwrap_or_else(value::hostname);
    let tls = options.tls.set_up(&hostname)?;
    let (listeners, bound) = listen::bind(&options.listen, cpus.len(), options.socket_mode)
        .map_err(|error| ExitError::new(Exit::Unavailable, error))?;
    warn_of_open(&bound);
    let ports: Vec<_> = bound
        .iter()
        .map(|bound| Port {
            url: bound.url.clone(),
            policy: Policy {
                hostname: hostname.clone().into(),
                protocol: bound.protocol,
                message_bytes_max,
                recipients_max: options.max_recipients,
                syntax: options.syntax.into(),
                bare_newline: options.bare_newline(),
                extensions: options.commands.extensions(),
                commands: commands.clone(),
                auth: auth.clone(),
                tls: options.tls.policy(),
            },
            tls: tls
                .as_ref()
                .map(|tls| PortTls { config: tls.config(), is_implicit: bound.implicit_tls }),
        })
        .collect();
    check_ports(options, &ports)?;
    let policies = || ports.iter().map(|port| &port.policy);
    let relay = options.relay.check(
        &hostname,
        options.peers.policy().timeout,
        options.discard,
        policies,
    )?;
    let plan = SinkPlan {
        engine,
        store,
        keep: options.keep.iter().cloned().collect(),
        cpus,
        listeners,
        ports,
        peer_policy: options.peers.policy(),
        relay,
        drain: options.drain_timeout,
        connections_max: sink::sessions_allowed(options.max_connections),
        envelope_memory_bytes: options.envelope_memory,
        messages_max: options.max_messages,
        sessions_max: options.max_sessions,
        log: options.voice.log(),
        faults,
    };
    Ok((plan, tls))
}

/// Refuses a listener that demands of its clients what it does not offer.
fn check_ports(options: &SinkOptions, ports: &[Port]) -> Result<(), ExitError> {
    let usage = |why: &str| Err(ExitError::new(Exit::Usage, why));
    if options.auth_required && ports.iter().any(|port| port.policy.mechanisms().is_empty()) {
        return usage(
            "--auth-required lets no mail in without AUTH, which --no-ext AUTH and --esmtp off take away",
        );
    }
    if options.tls.is_auth_bound() && ports.iter().all(|port| port.policy.mechanisms().is_empty()) {
        return usage(
            "--auth-tls-only needs --auth any or --auth FILE, since nobody logs in otherwise",
        );
    }
    let lets_nobody_in = |port: &Port| {
        let is_plain = port.tls.as_ref().is_none_or(|tls| !tls.is_implicit);
        let has_starttls = port.policy.offered_under(false).contains(Extensions::STARTTLS);
        is_plain && port.policy.tls.required && !has_starttls
    };
    if ports.iter().any(lets_nobody_in) {
        return usage(
            "--require-tls lets no mail in without STARTTLS, which --no-ext STARTTLS and --esmtp off take \
             away; listen on smtps:// alone",
        );
    }
    Ok(())
}

/// The CPUs of the cores.
fn cpus(options: &SinkOptions) -> Result<Vec<usize>, ExitError> {
    match &options.cores {
        Some(text) => host::cpus(text).map_err(|why| ExitError::new(Exit::Usage, why)),
        None => host::allowed().map_err(|why| ExitError::new(Exit::Os, why)),
    }
}

fn warn_of_open(bound: &[BoundUrl]) {
    for open in bound.iter().filter(|bound| bound.open) {
        notice!("ringpost-sink: other machines can reach {} and send mail here", open.url);
    }
}

/// Each core must be able to take the largest envelope.
fn check_envelope_memory(bytes: u64, cores: usize) -> Result<(), ExitError> {
    let least = ENVELOPE_MEMORY_BYTES_MIN * cores as u64;
    if bytes < least {
        let why = format_args!(
            "--envelope-memory {bytes} is too small for the largest envelope on each core; give it at least \
             {}MiB",
            least >> 20
        );
        return Err(ExitError::new(Exit::Usage, why));
    }
    Ok(())
}

/// Where messages go, and octets of the largest one.
fn store(options: &SinkOptions, cores: usize) -> Result<(Store, u64), ExitError> {
    check_envelope_memory(options.envelope_memory, cores)?;
    let default_bytes = limits::MESSAGE_BYTES_DEFAULT;
    if options.discard {
        return Ok((Store::Discard, options.max_size.unwrap_or(default_bytes)));
    }
    let mut spool = spool::Options {
        segment_bytes: options
            .segment_size
            .unwrap_or_else(|| spool::Options::segment_bytes_for(options.spool_limit, cores)),
        limit_bytes: options.spool_limit,
        when_full: options.when_full.into(),
        durability: options.durability.into(),
        cores,
        ..spool::Options::default()
    };
    let largest = spool.set_room(options.max_size, default_bytes, options.open_limit);
    spool.check().map_err(|error| ExitError::new(Exit::Usage, error))?;
    // The format can work with less, but not hold every envelope that the limits let in.
    if spool.segment_bytes < limits::SEGMENT_BYTES_MIN {
        let why = format_args!(
            "--segment-size {} is too small for the largest envelope; give it at least {}MiB",
            spool.segment_bytes,
            limits::SEGMENT_BYTES_MIN >> 20
        );
        return Err(ExitError::new(Exit::Usage, why));
    }
    Ok((Store::Spool { dir: options.spool.clone(), options: spool }, largest))
}

pub(super) fn banner(plan: &SinkPlan, options: &SinkOptions) -> String {
    let store = match &plan.store {
        Store::Discard => "messages are discarded".to_owned(),
        Store::Spool { dir, options: spool } => format!(
            "spool {} (at most {}, then {}), durability {}: {}",
            dir.display(),
            human::bytes(options.spool_limit as f64),
            match spool.when_full {
                WhenFull::Recycle => "the oldest segment is reused",
                WhenFull::Refuse => "mail is refused",
            },
            sink::durability_name(Some(spool.durability)),
            match spool.durability {
                Durability::Process => "a 250 survives this process, not a power cut",
                Durability::Sync => "a 250 survives a power cut",
            },
        ),
    };
    let cores = human::counted(plan.cpus.len() as u64, "core");
    format!("engine {}, {cores}, {store}", plan.engine.name())
}
