//! Which of the two protocols a session speaks.

/// SMTP (RFC 5321) or LMTP (RFC 2033).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    Smtp,
    Lmtp,
}
