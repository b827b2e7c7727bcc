//! A rule in one word, as a command line gives it: `EVENT:ACTION[=VALUE][:P%]`.

use super::alert::TlsAlert;
use super::fault::{FaultAction, FaultEvent, FaultRule};

/// Why a text is no rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RuleError {
    #[error("write EVENT:ACTION or EVENT:ACTION:P%, such as starttls:454 or handshake:cut:10%")]
    Form,
    #[error("there is no event '{0}'")]
    Event(String),
    #[error("{} has no action '{text}'", .event.name())]
    Action { event: FaultEvent, text: String },
    #[error("there is no alert '{0}'")]
    Alert(String),
    #[error("'{0}' is no time; write handshake:delay=TIME, such as handshake:delay=2s")]
    Time(String),
    #[error("{0} takes no value")]
    Value(String),
    #[error("'{0}' is no probability; write 0% to 100%, such as starttls:454:10%")]
    Probability(String),
}

impl RuleError {
    /// A name that does not exist, and those that do.
    pub fn choices(&self) -> Option<(&str, Vec<&'static str>)> {
        match self {
            Self::Event(text) => Some((text, FaultEvent::ALL.map(FaultEvent::name).to_vec())),
            Self::Action { event, text } => Some((text, event.actions().to_vec())),
            Self::Alert(text) => Some((text, TlsAlert::ALL.map(|alert| alert.name).to_vec())),
            Self::Form | Self::Time(_) | Self::Value(_) | Self::Probability(_) => None,
        }
    }
}

impl FaultRule {
    /// Reads the short form. `time` reads a duration, in milliseconds.
    ///
    /// # Errors
    /// [`RuleError`] says what is wrong.
    pub fn parse(text: &str, time: impl Fn(&str) -> Option<u64>) -> Result<Self, RuleError> {
        let mut parts = text.split(':');
        let (Some(event), Some(action)) = (parts.next(), parts.next()) else {
            return Err(RuleError::Form);
        };
        let probability = parts.next().map_or(Ok(1.0), probability)?;
        if parts.next().is_some() || action.is_empty() {
            return Err(RuleError::Form);
        }
        let known = FaultEvent::ALL.into_iter().find(|known| known.name() == event);
        let event = known.ok_or_else(|| RuleError::Event(event.to_owned()))?;
        Ok(Self { event, action: read_action(event, action, time)?, probability })
    }
}

fn read_action(
    event: FaultEvent,
    text: &str,
    time: impl Fn(&str) -> Option<u64>,
) -> Result<FaultAction, RuleError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let action = match (event, name) {
        (FaultEvent::Ehlo, "hide-starttls") => FaultAction::HideStartTls,
        (FaultEvent::StartTls, "454") => FaultAction::RefuseStartTls,
        (FaultEvent::StartTls, "silence") => FaultAction::Silence,
        (FaultEvent::StartTls, "plain") => FaultAction::PlainBehind,
        (FaultEvent::Handshake, "cut") => FaultAction::Cut,
        (FaultEvent::Data, "close-notify") => FaultAction::CloseNotify,
        (FaultEvent::Close, "no-notify") => FaultAction::NoNotify,
        (FaultEvent::Handshake, "delay") => {
            let text = value.unwrap_or_default();
            let ms = time(text).ok_or_else(|| RuleError::Time(text.to_owned()))?;
            return Ok(FaultAction::Delay(ms));
        }
        (FaultEvent::Handshake, "alert") => {
            let text = value.unwrap_or_default();
            let alert =
                TlsAlert::from_name(text).ok_or_else(|| RuleError::Alert(text.to_owned()))?;
            return Ok(FaultAction::Alert(alert));
        }
        _ => return Err(RuleError::Action { event, text: name.to_owned() }),
    };
    match value {
        None => Ok(action),
        Some(_) => Err(RuleError::Value(name.to_owned())),
    }
}

fn probability(text: &str) -> Result<f64, RuleError> {
    let percent = text.strip_suffix('%').and_then(|number| number.parse::<f64>().ok());
    let is_share = |percent: &f64| (0.0..=100.0).contains(percent);
    let percent =
        percent.filter(is_share).ok_or_else(|| RuleError::Probability(text.to_owned()))?;
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FaultRule, RuleError> {
        let seconds = |text: &str| Some(1_000 * text.strip_suffix('s')?.parse::<u64>().ok()?);
        FaultRule::parse(text, seconds)
    }

    #[test]
    fn every_action_is_read_and_written_again() {
        for event in FaultEvent::ALL {
            for action in event.actions() {
                let value = match *action {
                    "delay" => "=2s",
                    "alert" => "=handshake-failure",
                    _ => "",
                };
                for (end, probability) in
                    [("", 1.0), (":100%", 1.0), (":12.5%", 0.125), (":0%", 0.0)]
                {
                    let text = format!("{}:{action}{value}{end}", event.name());
                    let rule = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                    assert_eq!((rule.event, rule.probability), (event, probability), "{text}");
                    let told = rule.to_string();
                    let is_exact = value.is_empty() && end != ":100%";
                    assert_eq!(told == text, is_exact, "{told}");
                }
            }
        }
        let delay = parse("handshake:delay=2s").unwrap();
        assert_eq!(delay.action, FaultAction::Delay(2_000));
        assert_eq!(delay.to_string(), "handshake:delay=2000ms");
        let alert = parse("handshake:alert=unknown_ca:1%").unwrap();
        assert_eq!(alert.to_string(), "handshake:alert=unknown_ca:1%");
        let FaultAction::Alert(alert) = alert.action else { panic!("{alert:?}") };
        assert_eq!(alert.plain_record(), [21, 3, 3, 0, 2, 2, 48]);
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, words) in [
            ("", "write EVENT:ACTION"),
            ("starttls", "write EVENT:ACTION"),
            ("starttls:", "write EVENT:ACTION"),
            ("starttls:454:1%:2%", "write EVENT:ACTION"),
            ("startls:454", "there is no event 'startls'"),
            ("starttls:445", "starttls has no action '445'"),
            ("ehlo:454", "ehlo has no action '454'"),
            ("handshake:delay", "'' is no time"),
            ("handshake:delay=soon", "'soon' is no time"),
            ("handshake:alert=unknown", "there is no alert 'unknown'"),
            ("handshake:cut=1", "cut takes no value"),
            ("starttls:454:10", "'10' is no probability"),
            ("starttls:454:101%", "'101%' is no probability"),
            ("starttls:454:-1%", "'-1%' is no probability"),
            ("starttls:454:NaN%", "'NaN%' is no probability"),
        ] {
            let told = parse(text).unwrap_err().to_string();
            assert!(told.starts_with(words), "{text}: {told}");
        }
        let (text, names) = match parse("handshake:alert=unknown-c").unwrap_err() {
            error @ RuleError::Alert(_) => {
                let (text, names) = error.choices().unwrap();
                (text.to_owned(), names)
            }
            error => panic!("{error}"),
        };
        assert!(text == "unknown-c" && names.contains(&"unknown_ca"));
    }
}
