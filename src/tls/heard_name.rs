//! The name that a client asks for (SNI, RFC 6066 §3), on its way from the choice of a certificate to the facts
//! of the connection.
//!
//! rustls tells it to whoever chooses the certificate, and to nobody else on a connection that is not buffered.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A fatal alert `access_denied` in plain text (RFC 8446 §6), and in its place `unrecognized_name`.
const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
const UNRECOGNIZED_NAME: u8 = 112;

thread_local! {
    /// Whether nothing was chosen for the client hello that this thread has read last.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
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
        let chosen = self.0.resolve(hello);
        REFUSED.set(chosen.is_none());
        chosen
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// Whether the hello that was read last on this thread was refused for its name, once. rustls then has the alert
/// `access_denied` for the client in `ready`; what RFC 6066 §3 asks for takes its place.
pub(super) fn take_refused(ready: &mut [u8]) -> bool {
    let is_refused = REFUSED.replace(false);
    if is_refused
        && ready.ends_with(&ACCESS_DENIED)
        && let Some(description) = ready.last_mut()
    {
        *description = UNRECOGNIZED_NAME;
    }
    is_refused
}

/// The name in the hello that was read last on this thread, once.
pub(super) fn take() -> Option<Box<str>> {
    HEARD.take()
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::super::client_config::{ClientOptions, Trust};
    use super::super::connection::Tls;
    use super::super::error::TlsFault;
    use super::super::self_signed::{SelfSigned, make};
    use super::super::server_config::{ServerConfigs, ServerOptions};
    use super::super::settings::TlsSettings;
    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let options = ClientOptions {
            settings: TlsSettings::default(),
            trust: Trust::Anybody,
            pair: None,
            key_log: None,
        };
        let configs = options.configs(name, 1).unwrap();
        let mut out = Vec::new();
        Tls::client(configs.full, configs.server).unwrap().take_ready(&mut out);
        out
    }

    #[test]
    fn a_name_that_no_certificate_has_is_answered_with_its_own_alert() {
        let options = ServerOptions { sni_strict: true, ..ServerOptions::default() };
        let pair = make(SelfSigned::Good, "mx.example", 1_700_000_000).unwrap().pair;
        let config = ServerConfigs::new(options).unwrap().config(vec![pair]).unwrap();
        for (name, is_known) in [("mx.example", true), ("other.example", false), ("::1", false)] {
            let mut server = Tls::server(Arc::clone(&config)).unwrap();
            let opened = server.open(&mut hello(name), |_| ControlFlow::Continue(()));
            assert_eq!(opened.is_ok(), is_known, "{name}");
            let mut ready = Vec::new();
            server.take_ready(&mut ready);
            if let Err(error) = opened {
                assert_eq!(error.fault(), TlsFault::WrongName, "{name}");
                assert_eq!(ready, [21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME], "{name}");
            }
        }
        // What was refused before says nothing of a hello that is broken.
        let mut server = Tls::server(config).unwrap();
        let opened = server.open(&mut b"EHLO me\r\n".to_vec(), |_| ControlFlow::Continue(()));
        assert_ne!(opened.unwrap_err().fault(), TlsFault::WrongName);
    }
}
