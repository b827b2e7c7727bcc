//! What no type says of a plan: what can be refused before anything is opened is refused here.

use std::net::IpAddr;

use super::{Load, Plan};
use crate::blast::content::{ContentError, check_text};
use crate::blast::targets::WeightedTarget;
use crate::dial::{SecurityError, TlsMode};
use crate::limits::DEPTH_MAX;
use crate::run::threshold::Condition;
use crate::smtp::client::{Hello, Pipelining};
use crate::smtp::server::Protocol;

/// Sessions of one generator core; bounds the descriptors asked for.
const CONNECTIONS_MAX: usize = 1_000_000;

/// Why a plan cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("--{what} {value} is out of range; give {least} to {most}")]
    Range { what: &'static str, value: u64, least: u64, most: u64 },
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error("--{what} is not ASCII; write the A-label, xn--...")]
    NotAscii { what: &'static str },
    #[error("--depth needs --chunking: DATA cannot be sent before its 354 (RFC 2920)")]
    DepthWithoutChunking,
    #[error("--depth needs pipelining; leave out --pipelining none")]
    DepthWithoutPipelining,
    #[error(
        "--think is a pause within a session, and with --rate no message waits for another one of \
         its session; use --session-rate, or leave out --rate"
    )]
    ThinkWithRate,
    #[error(
        "--fail-if '{0}' asks for a time that a closed loop does not have; give --rate or \
         --session-rate, or ask for service."
    )]
    ConditionWithoutSchedule(Condition),
    #[error("--hello {hello} brings no extension of SMTP; leave it out, or leave out {what}")]
    HelloWithoutExtensions { hello: &'static str, what: &'static str },
    #[error("--hello {0} is none of LMTP, whose LHLO must come first; leave it out")]
    HelloOfLmtp(&'static str),
    #[error("no --source is of the family of {0}; give one that is, or leave it out")]
    SourceFamily(String),
    #[error(
        "{0}, which --source names, is no address of this machine; 'ip address' lists those that are, \
         and 'ip address add' adds one"
    )]
    SourceElsewhere(IpAddr),
    #[error("{0} is under TLS, of which the plan says nothing")]
    SchemeOfTls(String),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error("--cooldown needs an end by time: -z, or a rate with a length, and no -n")]
    CooldownWithoutEnd,
}

impl Plan {
    /// Checks what no type says. What can be refused before anything is opened is refused here.
    pub fn check(&self) -> Result<(), PlanError> {
        let misbehaving = self.misbehave.connections(self.connections) as u64;
        if misbehaving > CONNECTIONS_MAX as u64 {
            let (value, most) = (misbehaving, CONNECTIONS_MAX as u64);
            return Err(PlanError::Range { what: "misbehave", value, least: 1, most });
        }
        let counts = [
            ("connections", self.connections as u64, CONNECTIONS_MAX as u64),
            ("per-connection", self.per_connection.map_or(1, |(least, _)| least), u64::MAX),
            ("depth", self.depth as u64, DEPTH_MAX as u64),
        ];
        for (what, value, most) in counts {
            if !(1..=most).contains(&value) {
                return Err(PlanError::Range { what, value, least: 1, most });
            }
        }
        self.content.check()?;
        check_text(self.helo.as_bytes(), "--helo", false)?;
        if !self.helo.is_ascii() {
            return Err(PlanError::NotAscii { what: "helo" });
        }
        if self.depth > 1 && !self.chunking {
            return Err(PlanError::DepthWithoutChunking);
        }
        if self.depth > 1 && self.pipelining == Pipelining::None {
            return Err(PlanError::DepthWithoutPipelining);
        }
        self.check_security()?;
        self.check_hello()?;
        if self.think.is_some() && matches!(self.load, Load::Messages(_)) {
            return Err(PlanError::ThinkWithRate);
        }
        if !self.cooldown.is_zero() && self.measured().is_none() {
            return Err(PlanError::CooldownWithoutEnd);
        }
        let mut conditions = self.fail_if.0.iter();
        if self.schedule().is_none()
            && let Some(condition) = conditions.find(|condition| condition.needs_schedule())
        {
            return Err(PlanError::ConditionWithoutSchedule(*condition));
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), PlanError> {
        for WeightedTarget { target, .. } in self.targets.all() {
            match &self.tls {
                Some(tls) => drop(tls.security.of_target(target, 1)?),
                None if target.implicit_tls => {
                    return Err(PlanError::SchemeOfTls(target.url.clone()));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn check_hello(&self) -> Result<(), PlanError> {
        let hello = self.hello.name();
        if self.hello == Hello::Extended {
            return Ok(());
        }
        let is_lmtp = |of: &WeightedTarget| of.target.protocol == Protocol::Lmtp;
        if self.targets.all().iter().any(is_lmtp) {
            return Err(PlanError::HelloOfLmtp(hello));
        }
        let mode = self.tls.as_ref().and_then(|tls| tls.security.mode);
        let asked = [
            (mode == Some(TlsMode::StartTls), "--tls starttls"),
            (self.login.is_some(), "--auth"),
            (self.chunking, "--chunking"),
            (self.pipelining != Pipelining::None, "--pipelining"),
        ];
        match asked.into_iter().find(|(asked, _)| *asked) {
            Some((_, what)) => Err(PlanError::HelloWithoutExtensions { hello, what }),
            None => Ok(()),
        }
    }
}
