//! The CAs that this machine trusts.

use rustls::RootCertStore;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
#[error("no certificate of a CA was found on this machine{0}")]
pub struct NoSystemRoots(String);

/// The CAs that this machine trusts: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, or of the place where the
/// system has them. Those that cannot be read are passed over.
///
/// # Errors
/// [`NoSystemRoots`] when there is none.
pub fn system_roots() -> Result<RootCertStore, NoSystemRoots> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(NoSystemRoots(why));
    }
    Ok(roots)
}
