//! What to do when a client wants what this sink does not have: one line on stderr for each kind, the
//! first time that it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::engine::Peer;
use crate::notice::notice;
use crate::smtp::server::ClientWant;
use crate::tls::{TlsError, TlsFault};

/// Which hints were given, for all cores. It is touched by refusals of a rare kind alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints {
    given: Arc<AtomicU8>,
    /// Which faults of TLS were told of.
    faults: Arc<AtomicU32>,
}

impl Hints {
    #[cold]
    pub(super) fn give(&self, want: ClientWant, peer: Peer) {
        let bit = 1 << want as u8;
        if self.given.fetch_or(bit, Relaxed) & bit == 0 {
            notice!("ringpost-sink: {}", hint(want, peer));
        }
    }

    /// Tells of the first client of each kind with which TLS fails; all of them are counted.
    #[cold]
    pub(super) fn give_tls(&self, error: &TlsError, peer: Peer) {
        let bit = 1 << error.fault() as u32;
        if self.faults.fetch_or(bit, Relaxed) & bit == 0 {
            notice!(
                "ringpost-sink: TLS with a client ({peer}) failed: {error}{}",
                remedy(error.fault())
            );
        }
    }
}

/// What the operator can do, as the end of a sentence.
fn remedy(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::PlainText => {
            "; if it means to begin in plain text, it needs the smtp:// port and STARTTLS"
        }
        TlsFault::UnknownCa => {
            "; it does not know the CA of this sink's certificate, which --tls-ca-out writes"
        }
        TlsFault::WrongName => "; it must call this sink by a name that the certificate has",
        TlsFault::NoCertificate => "; see --tls-client-auth",
        TlsFault::NoCommonVersion | TlsFault::NoCommonSuite => {
            "; --tls-versions, --tls-ciphers and --tls-groups say what this sink speaks"
        }
        TlsFault::NoRoom => {
            "; too many clients of one core stop there, and this one has waited longest"
        }
        _ => "",
    }
}

fn hint(want: ClientWant, peer: Peer) -> String {
    match want {
        ClientWant::Starttls => format!(
            "a client ({peer}) wants STARTTLS, and this sink has no certificate: start the sink with \
             --tls-self-signed or --tls-cert, or switch encryption off in the client"
        ),
        ClientWant::ImplicitTls => format!(
            "a client ({peer}) speaks TLS from its first octet, and this port begins in plain text: give the \
             sink a port for it, such as --listen smtps://127.0.0.1:1465 with --tls-self-signed, or switch \
             encryption (SSL/TLS, smtps://) off in the client"
        ),
        ClientWant::Extension => format!(
            "a client ({peer}) left after EHLO without a message, as clients do that insist on STARTTLS or on \
             a login: start the sink with --tls-self-signed or --auth any, or switch encryption off in the \
             client"
        ),
        ClientWant::Encryption => format!(
            "a client ({peer}) left after EHLO without a message, as clients do that insist on STARTTLS: start \
             the sink with --tls-self-signed, or switch encryption off in the client"
        ),
        ClientWant::Login => format!(
            "a client ({peer}) left after EHLO without a message, as clients do that insist on a login: start \
             the sink with --auth any, or switch the login off in the client"
        ),
        ClientWant::LineEnd => format!(
            "a client ({peer}) ends its lines with LF alone, so this sink waited for their end (RFC 5321 §2.3.8): \
             have the client send CRLF"
        ),
        ClientWant::Http => format!(
            "a client ({peer}) speaks HTTP, and this port is for SMTP: to see the messages, use \
             ringpost spool ls"
        ),
        ClientWant::ProxyHeader => {
            let from = peer.ip().map_or_else(|| "unix".to_owned(), |ip| ip.to_string());
            format!(
                "a client ({peer}) sends a PROXY header, and none is expected of it: start the sink \
                 with --proxy-protocol {from}, or switch the header off in the proxy"
            )
        }
    }
}
