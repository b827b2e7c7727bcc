//! Targets as they are written on the command line: with a weight, and perhaps without a port.

use std::net::Ipv6Addr;

use super::Error;
use super::machine::MachineArgs;
use crate::blast::connect_options::ConnectOptions;
use crate::blast::plan::PlanError;
use crate::blast::targets::{self, WeightedTarget};
use crate::cli::usage::nearest;
use crate::dial::Target;
use crate::notice::notice;

/// The names of the tasks, which stand where a target may stand.
const TASKS: [&str; 3] = ["sweep", "find-max", "selftest"];

/// A target with its weight.
pub(super) fn weighted(
    text: &str,
    machine: &MachineArgs,
    connect: &ConnectOptions,
) -> Result<WeightedTarget, Error> {
    let (weight, text) = targets::weighted(text)?;
    let text = with_port(text)?;
    let mut target = Target::parse_of(&text, &machine.allow_target, machine.family())?;
    target.addresses.retain(|address| connect.fits(address));
    match target.addresses.is_empty() {
        true => Err(PlanError::SourceFamily(target.url).into()),
        false => Ok(WeightedTarget { target, weight }),
    }
}

/// `text` with a port where an SMTP server was named without one; a line on stderr says so.
fn with_port(text: &str) -> Result<String, Error> {
    if let Some(task) = TASKS.into_iter().find(|task| *task == text) {
        return Err(Error::TaskFirst { task });
    }
    if let Some(task) = nearest(text, TASKS.into_iter()) {
        let (given, task) = (text.to_owned(), task.to_owned());
        return Err(Error::TaskName { given, task });
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Err(Error::PortAlone { port });
    }
    let Some((full, port)) = default_port(text) else { return Ok(text.to_owned()) };
    notice!("ringpost-blast: {text} names no port, so port {port} is used: {full}");
    Ok(full)
}

/// `None` where there is a port already, or where none can be guessed: LMTP has no port of its own.
fn default_port(text: &str) -> Option<(String, &'static str)> {
    let (scheme, port, host) = match text.strip_prefix("smtps://") {
        Some(host) => ("smtps", "465 (SMTP over TLS)", host),
        None => ("smtp", "25 (SMTP)", text.strip_prefix("smtp://").unwrap_or(text)),
    };
    let number = port.split(' ').next().unwrap_or_default();
    let host = host.strip_suffix('/').unwrap_or(host);
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let literal = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if literal.parse::<Ipv6Addr>().is_ok() {
        return Some((format!("{scheme}://[{literal}]:{number}"), port));
    }
    let is_name = !host.is_empty() && host.chars().all(named);
    is_name.then(|| (format!("{scheme}://{host}:{number}"), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_an_smtp_server() {
        for (text, full) in [
            ("localhost", "smtp://localhost:25"),
            ("10.0.0.1", "smtp://10.0.0.1:25"),
            ("smtp://mx-1.example.org/", "smtp://mx-1.example.org:25"),
            ("[::1]", "smtp://[::1]:25"),
            ("::1", "smtp://[::1]:25"),
            ("smtp://[2001:db8::1]", "smtp://[2001:db8::1]:25"),
            ("smtps://localhost", "smtps://localhost:465"),
            ("smtps://[::1]/", "smtps://[::1]:465"),
        ] {
            assert_eq!(default_port(text).unwrap().0, full, "{text}");
        }
        for as_it_is in [
            "a:25",
            "[::1]:25",
            "lmtp://a",
            "lmtps://a",
            "smtp+unix:/x",
            "http://a",
            "",
            "/run/x",
            "a/b",
            "smtp://",
        ] {
            assert_eq!(default_port(as_it_is), None, "{as_it_is}");
        }
    }

    #[test]
    fn a_port_alone_is_no_host() {
        for text in ["1025", ":1025"] {
            let error = with_port(text).unwrap_err().to_string();
            assert!(error.contains("such as localhost:1025"), "{error}");
        }
        assert!(with_port("0.0.4.1:25").is_ok());
    }

    #[test]
    fn a_task_behind_an_option_is_told_its_place() {
        for task in TASKS {
            let error = with_port(task).unwrap_err().to_string();
            assert!(error.contains(&format!("ringpost-blast {task} ")), "{error}");
        }
    }

    #[test]
    fn a_target_that_looks_like_a_task_is_taken_for_a_slip() {
        for (slip, task) in [
            ("findmax", "find-max"),
            ("find", "find-max"),
            ("sweeep", "sweep"),
            ("selftests", "selftest"),
        ] {
            let error = with_port(slip).unwrap_err().to_string();
            assert!(error.contains(&format!("did you mean {task}?")), "{error}");
            assert!(with_port(&format!("{slip}:25")).is_ok());
        }
    }
}
