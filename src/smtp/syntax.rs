//! How strictly commands are read.

/// What a server makes of commands that break the grammar of RFC 5321 §4.1.
///
/// In both only CRLF ends a line and only CRLF . CRLF a message (§2.3.8), and no name may hold controls.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Syntax {
    /// What servers in use take is taken, Postfix 3.7 as it comes being the measure, and
    /// [named](super::deviation::Deviations).
    #[default]
    Lenient,
    /// The grammar is kept, but for a few old habits that nobody refuses.
    Strict,
}
