//! Options of the sink for faults on demand.

use std::fmt::Write as _;

use clap::Args;

use crate::cli::exit::{Exit, ExitError};
use crate::cli::usage::nearest;
use crate::cli::value;
use crate::host;
use crate::notice::notice;
use crate::rules::{FaultRule, FaultRules};

#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
pub(super) struct FaultOptions {
    /// Have the sink do something wrong: ehlo:hide-starttls, starttls:454, starttls:silence,
    /// starttls:plain, handshake:delay=TIME, handshake:cut, handshake:alert=NAME, data:close-notify or
    /// close:no-notify. With :P% at the end, in so many sessions of a hundred. May be given more than
    /// once
    #[arg(long, value_name = "EVENT:ACTION[:P%]", value_parser = rule)]
    fault: Vec<FaultRule>,

    /// The seed that decides which sessions have a fault of --fault with P%; with the same one the same
    /// sessions have it [default: another one each time, which is printed]
    #[arg(long, value_name = "N", requires = "fault")]
    seed: Option<u64>,
}

impl FaultOptions {
    /// The rules; `None` where there are none.
    ///
    /// # Errors
    /// 64 where a rule could never strike.
    pub(super) fn rules(&self, has_tls: bool) -> Result<Option<FaultRules>, ExitError> {
        let Some(first) = self.fault.first() else { return Ok(None) };
        if !has_tls {
            let why = format_args!(
                "--fault {first} is about TLS and needs a certificate: --tls-cert and --tls-key; \
                 --tls-self-signed makes a certificate for tests"
            );
            return Err(ExitError::new(Exit::Usage, why));
        }
        let seed = self.seed.unwrap_or_else(host::unix_ns);
        if self.seed.is_none() && self.fault.iter().any(FaultRule::is_drawn) {
            notice!("ringpost-sink: --seed {seed} gives the same sessions the same faults again");
        }
        Ok(Some(FaultRules::new(self.fault.clone(), seed)))
    }
}

fn rule(text: &str) -> Result<FaultRule, String> {
    let time = |text: &str| u64::try_from(value::duration(text).ok()?.as_millis()).ok();
    FaultRule::parse(text, time).map_err(|error| {
        let mut told = error.to_string();
        if let Some((given, names)) = error.choices() {
            let end = match nearest(given, names.iter().copied()) {
                Some(name) => write!(told, "; did you mean {name}?"),
                None => write!(told, "; there are {}", names.join(", ")),
            };
            end.expect("a string takes all");
        }
        told
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_exist_is_answered_with_the_nearest_one() {
        for (text, words) in [
            ("startls:454", "no event 'startls'; did you mean starttls?"),
            ("starttls:silent", "no action 'silent'; did you mean silence?"),
            ("starttls:nothing", "there are 454, silence, plain"),
            ("handshake:alert=unknow_ca", "did you mean unknown_ca?"),
            ("rcpt:450", "there are ehlo, starttls, handshake, data, close"),
            ("starttls:454:ten", "'ten' is no probability"),
        ] {
            let told = rule(text).unwrap_err();
            assert!(told.contains(words), "{text}: {told}");
        }
        assert_eq!(
            rule("handshake:delay=2m30s:5%").unwrap().to_string(),
            "handshake:delay=150000ms:5%"
        );
    }

    #[test]
    fn a_fault_without_tls_could_never_strike() {
        let options = |fault: &[&str]| FaultOptions {
            fault: fault.iter().map(|text| rule(text).unwrap()).collect(),
            seed: Some(1),
        };
        let refused = options(&["starttls:454"]).rules(false).unwrap_err();
        assert_eq!(refused.code(), Exit::Usage as u8);
        assert!(refused.to_string().contains("--tls-self-signed"), "{refused}");
        assert!(options(&["starttls:454"]).rules(true).unwrap().is_some());
        assert!(options(&[]).rules(false).unwrap().is_none());
    }
}
