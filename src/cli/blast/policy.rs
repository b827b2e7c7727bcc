//! What follows a refusal or a broken connection.

use clap::{Args, ValueEnum};

use crate::blast::policy::{ErrorPolicy, ErrorsMax, Reconnect};
use crate::cli::value;
use crate::run::threshold::Codes;

#[derive(Debug, Args)]
#[command(next_help_heading = "Refusals and breaks")]
pub(super) struct PolicyArgs {
    /// What follows a connection that could not be opened, or that the server closed. always: a new one, at
    /// once if the last one was of use. never: none. backoff:MIN..MAX: a new one after a pause that
    /// doubles, such as backoff:100ms..5s
    #[arg(long, value_name = "POLICY", value_parser = reconnect, default_value = "always")]
    reconnect: Reconnect,
    /// What follows a refusal (4xx, 5xx), a broken connection or a failed connect. continue: it is counted.
    /// stop: the run ends with its report and exit code 1
    #[arg(long, value_enum, value_name = "WHAT", default_value = "continue")]
    on_error: OnError,
    /// End the run with its report and exit code 1 at the first reply with one of these codes or classes,
    /// such as 421,5xx; may be given more than once
    #[arg(long, value_name = "CODE,...", value_delimiter = ',', value_parser = refusal)]
    stop_on: Vec<Codes>,
    /// End the run with its report and exit code 1 after more refused messages and failures without a reply
    /// than this: N, or P% of the messages begun, once there are 100
    #[arg(long, value_name = "N|P%", value_parser = errors_max)]
    max_errors: Option<ErrorsMax>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum OnError {
    Continue,
    Stop,
}

impl PolicyArgs {
    pub(super) fn policy(self) -> ErrorPolicy {
        ErrorPolicy {
            reconnect: self.reconnect,
            stop_on_error: self.on_error == OnError::Stop,
            stop_on: self.stop_on,
            errors_max: self.max_errors,
        }
    }
}

fn reconnect(text: &str) -> Result<Reconnect, String> {
    let backoff = |range: &str| {
        let (least, most) = range.split_once("..")?;
        let (least, most) = (value::span(least).ok()?, value::span(most).ok()?);
        (least <= most).then_some(Reconnect::Backoff(least, most))
    };
    match text {
        "always" => Ok(Reconnect::Always),
        "never" => Ok(Reconnect::Never),
        _ => text.strip_prefix("backoff:").and_then(backoff).ok_or_else(|| {
            "write always, never or backoff:MIN..MAX with MIN <= MAX, such as backoff:100ms..5s"
                .to_owned()
        }),
    }
}

fn refusal(text: &str) -> Result<Codes, String> {
    let codes = text.parse().ok().filter(|codes| match codes {
        Codes::One(code) => *code >= 400,
        Codes::Class(class) => *class >= 4,
    });
    codes.ok_or_else(|| {
        "not a refusal; write a code from 400 to 599, or 4xx or 5xx, with commas between them"
            .to_owned()
    })
}

fn errors_max(text: &str) -> Result<ErrorsMax, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => {
            let percent = percent.parse().ok().filter(|percent| (0.0..100.0).contains(percent));
            percent.map(ErrorsMax::Percent)
        }
        None => text.parse().ok().map(ErrorsMax::Count),
    };
    parsed.ok_or_else(|| "write a count such as 10, or a share below 100%, such as 0.5%".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn policies_are_read_as_the_help_says() {
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(5));
        assert_eq!(reconnect("backoff:100ms..5s"), Ok(Reconnect::Backoff(least, most)));
        for bad in ["", "sometimes", "backoff:", "backoff:1s", "backoff:2s..1s", "backoff:0s..1s"] {
            assert!(reconnect(bad).is_err(), "{bad}");
        }
        assert_eq!(refusal("5xx"), Ok(Codes::Class(5)));
        assert_eq!(refusal("421"), Ok(Codes::One(421)));
        for bad in ["", "2xx", "354", "600", "4x", "-1"] {
            assert!(refusal(bad).is_err(), "{bad}");
        }
        assert_eq!(errors_max("0"), Ok(ErrorsMax::Count(0)));
        assert_eq!(errors_max("0.5%"), Ok(ErrorsMax::Percent(0.5)));
        for bad in ["", "-1", "100%", "%", "nan%", "few"] {
            assert!(errors_max(bad).is_err(), "{bad}");
        }
    }
}
