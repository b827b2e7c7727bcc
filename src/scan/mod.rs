//! Where is the next CRLF, the next line-leading dot, the next bare CR or LF, in a slice of octets.
//!
//! Searches stand on memchr. The census of content octets is a fold that the compiler turns into
//! vector code; `naive` holds a slow twin of everything here, which the tests believe.

mod census;
mod header;
#[cfg(test)]
mod naive;
mod search;

pub use census::{Census, Marks};
pub use header::HeaderCut;
pub use search::{find_crlf, find_lf_dot, has_bare_newline};
