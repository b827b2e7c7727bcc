//! Why a conversation ended before its time.

use std::io;

use crate::smtp::client::Fault;

/// Why a conversation with a server broke off.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the server closed the connection without a reply")]
    Closed,
    #[error("no reply in time")]
    Timeout,
}
