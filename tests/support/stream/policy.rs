//! What listeners allow.

use std::sync::{Arc, OnceLock};

use fastrand::Rng;
use ringpost::limits::RECIPIENTS_DEFAULT;
use ringpost::smtp::auth::{Accounts, AuthPolicy, Credentials, Mechanism, Mechanisms};
use ringpost::smtp::directory::Directory;
use ringpost::smtp::extension::Extensions;
use ringpost::smtp::params::Moment;
use ringpost::smtp::server::{
    BareNewline, Commands, HoldLimits, Policy, Protocol, RecipientRule, Syntax, TlsPolicy,
};

use super::super::reference::world::{ACCOUNTS, HOSTNAME, PEOPLE, SALT_SECRET};

/// What the first version of the protocol machine offered.
const OFFERED: Extensions = Extensions::PIPELINING
    .union(Extensions::SIZE)
    .union(Extensions::EIGHT_BIT_MIME)
    .union(Extensions::SMTPUTF8)
    .union(Extensions::CHUNKING)
    .union(Extensions::BINARYMIME)
    .union(Extensions::ENHANCED_STATUS_CODES)
    .union(Extensions::HELP);

/// What came later. ETRN and ATRN are not known to the slow receiver.
const LATER: [Extensions; 13] = [
    Extensions::DSN,
    Extensions::DELIVERBY,
    Extensions::FUTURERELEASE,
    Extensions::MT_PRIORITY,
    Extensions::LIMITS,
    Extensions::REQUIRETLS,
    Extensions::VRFY,
    Extensions::EXPN,
    Extensions::SEND,
    Extensions::SOML,
    Extensions::SAML,
    Extensions::AUTH,
    Extensions::STARTTLS,
];

pub(crate) fn policy() -> Policy {
    Policy {
        hostname: HOSTNAME.into(),
        protocol: Protocol::Smtp,
        message_bytes_max: u64::MAX,
        recipients_max: RECIPIENTS_DEFAULT,
        syntax: Syntax::Strict,
        bare_newline: BareNewline::Keep,
        extensions: OFFERED,
        auth: AuthPolicy::default(),
        tls: TlsPolicy::default(),
        commands: Commands::default(),
    }
}

/// All that a listener can have, with accounts and a directory.
pub(crate) fn rich_policy() -> Policy {
    let listed = AuthPolicy {
        credentials: Credentials::Listed(accounts()),
        mechanisms: Mechanisms::ALL,
        required: false,
    };
    let commands = Commands { legacy: true, directory: Some(directory()), ..Commands::default() };
    Policy {
        extensions: LATER.into_iter().fold(OFFERED, Extensions::union),
        auth: listed,
        tls: TlsPolicy { offered: true, ..TlsPolicy::default() },
        commands,
        ..policy()
    }
}

/// Read once: the keys of SCRAM are slow to derive, and kept with the accounts.
fn accounts() -> Arc<Accounts> {
    static READ: OnceLock<Arc<Accounts>> = OnceLock::new();
    let read = || Accounts::parse(ACCOUNTS.as_bytes(), SALT_SECRET).unwrap().into();
    READ.get_or_init(read).clone()
}

fn directory() -> Arc<Directory> {
    static READ: OnceLock<Arc<Directory>> = OnceLock::new();
    READ.get_or_init(|| Directory::parse(PEOPLE).unwrap().into()).clone()
}

/// Half of them as the first version had them, half with what came later.
pub(crate) fn random_policy(random: &mut Rng) -> Policy {
    let rich = random.bool();
    let base = if rich { random_rich(random) } else { policy() };
    let mut extensions = base.extensions;
    for extension in [
        Extensions::SIZE,
        Extensions::EIGHT_BIT_MIME,
        Extensions::SMTPUTF8,
        Extensions::CHUNKING,
        Extensions::BINARYMIME,
        Extensions::ENHANCED_STATUS_CODES,
        Extensions::HELP,
    ]
    .into_iter()
    .chain(LATER)
    {
        if random.u8(..12) == 0 {
            extensions = extensions.difference(extension);
        }
    }
    // A listener for LMTP always has extensions.
    let lmtp = base.commands.esmtp && random.u8(..4) == 0;
    Policy {
        protocol: if lmtp { Protocol::Lmtp } else { Protocol::Smtp },
        message_bytes_max: *random.choice(&[0, 1, 8, 40, 40, 200, u64::MAX]).unwrap(),
        recipients_max: random.usize(1..4),
        bare_newline: if random.bool() { BareNewline::Keep } else { BareNewline::Reject },
        syntax: if random.u8(..3) == 0 { Syntax::Lenient } else { Syntax::Strict },
        extensions,
        ..base
    }
}

fn random_rich(random: &mut Rng) -> Policy {
    let mut rich = rich_policy();
    let commands = &mut rich.commands;
    commands.esmtp = random.u8(..10) > 0;
    commands.legacy = random.u8(..4) > 0;
    if random.u8(..8) == 0 {
        commands.directory = None;
    } else if random.u8(..3) == 0 {
        commands.recipients = RecipientRule::Known;
    }
    if random.bool() {
        let moment = |text: &str| Moment::parse(text.as_bytes()).unwrap();
        commands.hold = HoldLimits {
            seconds_max: 100,
            earliest: moment("2026-01-01T00:00:00Z"),
            latest: moment("2026-12-31T23:59:59Z"),
        };
    }
    rich.auth.required = random.u8(..6) == 0;
    rich.tls.offered = random.u8(..4) > 0;
    rich.tls.required = rich.tls.offered && random.u8(..6) == 0;
    rich.tls.auth_under_tls = rich.tls.offered && random.u8(..4) == 0;
    match random.u8(..6) {
        0 => rich.auth.credentials = Credentials::None,
        1 | 2 => rich.auth.credentials = Credentials::Any,
        _ => {}
    }
    for mechanism in Mechanism::ALL {
        if random.u8(..8) == 0 {
            rich.auth.mechanisms = rich.auth.mechanisms.without(mechanism);
        }
    }
    rich
}
