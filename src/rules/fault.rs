//! Where faults strike, and what they do there.

use std::fmt;

use super::alert::TlsAlert;

/// The moment of a session at which a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultEvent {
    /// The answer to EHLO.
    Ehlo,
    /// The answer to STARTTLS.
    StartTls,
    /// A handshake that is about to begin.
    Handshake,
    /// DATA was answered with 354, or a first BDAT came, under TLS.
    Data,
    /// The sink closes a session that is under TLS.
    Close,
}

impl FaultEvent {
    pub const ALL: [Self; 5] =
        [Self::Ehlo, Self::StartTls, Self::Handshake, Self::Data, Self::Close];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Handshake => "handshake",
            Self::Data => "data",
            Self::Close => "close",
        }
    }

    /// The names of the actions that it may have.
    pub const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Ehlo => &["hide-starttls"],
            Self::StartTls => &["454", "silence", "plain"],
            Self::Handshake => &["delay", "cut", "alert"],
            Self::Data => &["close-notify"],
            Self::Close => &["no-notify"],
        }
    }
}

/// What a fault does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultAction {
    /// STARTTLS is not announced, and gets 502.
    HideStartTls,
    /// STARTTLS gets 454.
    RefuseStartTls,
    /// Nothing is said any more, until the client leaves or its time is over.
    Silence,
    /// A line in plain text stands behind the 220.
    PlainBehind,
    /// It goes on only after so many milliseconds.
    Delay(u64),
    /// The connection ends where the first octets of the client have come.
    Cut,
    /// The same, with an alert before the end.
    Alert(TlsAlert),
    /// The session ends with close_notify.
    CloseNotify,
    /// The session ends without close_notify.
    NoNotify,
}

impl FaultAction {
    /// Whether the rules behind it have their turn too.
    pub const fn goes_on(self) -> bool {
        matches!(self, Self::Delay(_))
    }
}

impl fmt::Display for FaultAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HideStartTls => f.write_str("hide-starttls"),
            Self::RefuseStartTls => f.write_str("454"),
            Self::Silence => f.write_str("silence"),
            Self::PlainBehind => f.write_str("plain"),
            Self::Delay(ms) => write!(f, "delay={ms}ms"),
            Self::Cut => f.write_str("cut"),
            Self::Alert(alert) => write!(f, "alert={}", alert.name),
            Self::CloseNotify => f.write_str("close-notify"),
            Self::NoNotify => f.write_str("no-notify"),
        }
    }
}

/// One rule: at this event this happens, with this probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    pub event: FaultEvent,
    pub action: FaultAction,
    /// 0 to 1.
    pub probability: f64,
}

impl FaultRule {
    /// Whether a seed decides it.
    pub fn is_drawn(&self) -> bool {
        self.probability > 0.0 && self.probability < 1.0
    }
}

/// In the short form: `starttls:454:10%`.
impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.event.name(), self.action)?;
        if self.probability < 1.0 {
            write!(f, ":{}%", self.probability * 100.0)?;
        }
        Ok(())
    }
}
