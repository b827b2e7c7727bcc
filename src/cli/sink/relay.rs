//! Options of the sink that let it hand mail on: ETRN and ATRN.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::relay_tls::RelayTlsOptions;
use crate::cli::exit::{Exit, ExitError};
use crate::dial::{Target, TargetError};
use crate::relay::{Grant, Grants, RelayPlan, Route, Routes};
use crate::smtp::auth::Credentials;
use crate::smtp::extension::Extensions;
use crate::smtp::node::Node;
use crate::smtp::server::{Commands, Policy};

#[derive(Debug, Args)]
#[command(next_help_heading = "Relay")]
pub(super) struct RelayOptions {
    /// Accept ETRN (RFC 1985) for this node, and send its mail to this server. NODE is a domain,
    /// @DOMAIN for a domain with its subdomains, or #QUEUE for all mail that waits. TARGET is written
    /// like a target of ringpost-blast. May be given more than once
    #[arg(long, value_name = "NODE=TARGET")]
    etrn: Vec<Pair>,

    /// Accept ATRN (RFC 2645) from this user, and send the mail of these domains on the same
    /// connection. @DOMAIN is a domain with its subdomains. Needs --auth. May be given more than once
    #[arg(long, value_name = "USER=DOMAIN[,DOMAIN]")]
    atrn: Vec<Grant>,

    /// A host that --etrn may name although its address is public. May be given more than once
    #[arg(long, value_name = "HOST")]
    allow_target: Vec<String>,

    /// Let --auth any stand beside --atrn: whoever gives the name of a user gets that user's mail
    #[arg(long)]
    allow_any_atrn: bool,

    #[command(flatten)]
    tls: RelayTlsOptions,
}

/// A node and where its mail goes.
#[derive(Clone, Debug)]
struct Pair {
    node: Node,
    target: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (node, target) = text
            .split_once('=')
            .ok_or("write NODE=TARGET, such as example.org=smtp://127.0.0.1:2525")?;
        let node = Node::parse(node.as_bytes()).ok_or_else(|| {
            format!("{node:?} is not a node; write a full domain, @DOMAIN or #QUEUE")
        })?;
        Ok(Self { node, target: target.to_owned() })
    }
}

impl RelayOptions {
    /// Checks the options and looks the targets up. `None` where nothing is to be handed on.
    pub(super) fn check<'p, P: Iterator<Item = &'p Policy>>(
        &self,
        hostname: &str,
        timeout: Duration,
        discard: bool,
        policies: impl Fn() -> P,
    ) -> Result<Option<RelayPlan>, ExitError> {
        if self.etrn.is_empty() && self.atrn.is_empty() {
            return Ok(None);
        }
        let usage = |why: &str| Err(ExitError::new(Exit::Usage, why));
        if discard {
            return usage("--etrn and --atrn need a spool: --discard leaves nothing to hand on");
        }
        let nowhere =
            |extension| !policies().any(|policy| policy.offered_under(true).contains(extension));
        if !self.etrn.is_empty() && nowhere(Extensions::ETRN) {
            return usage(
                "--etrn needs a listener that speaks SMTP, without --no-ext ETRN or --esmtp off",
            );
        }
        if !self.atrn.is_empty() && nowhere(Extensions::ATRN) {
            return usage(
                "--atrn needs --auth any or --auth FILE and a listener that speaks SMTP, without \
                 --no-ext ATRN or --esmtp off: ATRN needs a login (RFC 2645 §5.2.1)",
            );
        }
        let anybody = |policy: &Policy| matches!(policy.auth.credentials, Credentials::Any);
        if !self.atrn.is_empty() && policies().any(anybody) && !self.allow_any_atrn {
            return usage(
                "--atrn with --auth any gives the mail of each user to whoever says the name; use --auth \
                 FILE, or --allow-any-atrn if this is a test without secrets",
            );
        }
        let grants = Grants::new(self.atrn.clone());
        Ok(Some(RelayPlan { routes: self.routes()?, grants, hostname: hostname.into(), timeout }))
    }

    /// Says in `commands` what is on.
    pub(super) fn switch_on(&self, commands: &mut Commands) {
        commands.etrn = !self.etrn.is_empty();
        commands.atrn = !self.atrn.is_empty();
    }

    fn routes(&self) -> Result<Routes, ExitError> {
        let mut tls = self.tls.plan();
        let mut routes = Vec::new();
        for Pair { node, target } in &self.etrn {
            let target = Target::parse(target, &self.allow_target).map_err(|error| {
                let exit = match error {
                    TargetError::Resolve { .. } => Exit::Unavailable,
                    _ => Exit::Usage,
                };
                ExitError::new(exit, format_args!("--etrn {node}: {error}"))
            })?;
            let security = tls
                .of_target(&target)
                .map_err(|error| error.led_by(format_args!("--etrn {node}: ")))?;
            routes.push(Route { node: node.clone(), target, security });
        }
        tls.check_used()?;
        Routes::new(routes).map_err(|node| {
            ExitError::new(Exit::Usage, format_args!("--etrn {node} is given twice; leave one out"))
        })
    }
}
