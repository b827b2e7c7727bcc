//! What the server answers within an exchange.

/// What the server says next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SaslStep {
    /// 334 with this, in base64.
    Challenge(Vec<u8>),
    /// 235; the client is this one.
    Accepted(Vec<u8>),
    /// 535.
    Refused,
    /// 501: not what the mechanism prescribes.
    Malformed,
}
