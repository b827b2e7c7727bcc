//! Who the client is, by AUTH.

/// The logins of one session.
#[derive(Debug, Default)]
pub(super) struct Logins {
    /// Who the client is, once one has succeeded; kept until the session ends (RFC 4954 §4).
    pub(super) identity: Option<Box<[u8]>>,
    /// Makes the nonces, one for each attempt.
    pub(super) seed: u128,
    pub(super) attempts: u32,
}

impl Logins {
    /// Somebody else speaks from here on; nonces still do not repeat.
    pub(super) fn forget(&mut self) {
        self.identity = None;
    }
}
