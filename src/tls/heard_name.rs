//! The name that a client asks for (SNI, RFC 6066 §3), on its way from the choice of a certificate to the facts
//! of the connection.
//!
//! rustls tells it to whoever chooses the certificate, and to nobody else on a connection that is not buffered.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

thread_local! {
    /// Of the client hello that this thread has read last; taken right after it was read.
    static HEARD: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Notes the name that the client asks for, and lets another choose the certificate. Without it around the choice
/// of a server's configuration, [`TlsFacts::server_name`](super::TlsFacts::server_name) is `None`.
#[derive(Debug)]
pub(super) struct HearsName<R>(pub(super) R);

impl<R: ResolvesServerCert> ResolvesServerCert for HearsName<R> {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        HEARD.set(hello.server_name().map(Box::from));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// The name in the hello that was read last on this thread, once.
pub(super) fn take() -> Option<Box<str>> {
    HEARD.take()
}
