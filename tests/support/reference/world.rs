//! Who is known where the two receivers are compared: the same texts for both, each read by its own
//! code.

/// What decides on a session beside its octets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Circumstances {
    /// The client may say XCLIENT.
    pub(crate) trusted: bool,
    /// TLS comes before the greeting.
    pub(crate) implicit_tls: bool,
    /// The machine has no room for a handshake.
    pub(crate) crowded: bool,
}

pub(crate) const HOSTNAME: &str = "sink.example";

/// Makes the nonces of AUTH.
pub(crate) const AUTH_SEED: u128 = 11;

/// Makes the salts of SCRAM.
pub(crate) const SALT_SECRET: u128 = 7;

/// Lines of `user:password`.
pub(crate) const ACCOUNTS: &str = "anna:secret\nb c:d: e\nm\u{fc}ller:\u{43f}\u{430}\u{440}\n";

pub(crate) const PEOPLE: &str = "\
mailbox ada@x.example Ada Lovelace
busy charles@x.example Charles Babbage
alias countess@x.example ada@x.example
alias analyst@x.example countess@x.example
forward byron@x.example byron@y.example
moved mary@x.example mary@y.example
alias shelley@x.example mary@x.example
ambiguous king@x.example ada@x.example byron@x.example
list engines@x.example ada@x.example charles@x.example who@y.example
alias machines@x.example engines@x.example
list engines@y.example ada@x.example
mailbox ada@y.example Ada Yonge
mailbox plain@y.example
";
