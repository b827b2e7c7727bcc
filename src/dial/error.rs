//! Why a conversation ended before its time.

use std::io;

use crate::smtp::client::Fault;
use crate::tls::{TlsError, TlsFault};

/// Why a conversation with a server broke off.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Fault(#[from] Fault),
    #[error("the server's certificate is not to be trusted: {0}")]
    Untrusted(TlsError),
    #[error("the server gave TLS up: {0}")]
    Alert(TlsError),
    #[error("TLS failed: {0}")]
    Tls(TlsError),
    #[error("the server closed the connection without a reply")]
    Closed,
    #[error("no reply in time")]
    Timeout,
}

impl From<TlsError> for TalkError {
    fn from(error: TlsError) -> Self {
        match error.fault() {
            TlsFault::Cut => Self::Closed,
            _ if error.is_alert() => Self::Alert(error),
            TlsFault::UnknownCa | TlsFault::WrongName | TlsFault::BadCertificate => {
                Self::Untrusted(error)
            }
            _ => Self::Tls(error),
        }
    }
}
