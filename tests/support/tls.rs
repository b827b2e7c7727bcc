//! Configurations of TLS for tests: a server with a certificate made on the spot, and a client that trusts it.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use ringpost::tls::{SelfSigned, ServerConfigs, ServerOptions, make, provider};
use rustls::SupportedProtocolVersion;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};

/// The name that the certificate is good for.
pub(crate) const NAME: &str = "sink.example";

/// A server's configuration, and a client's.
pub(crate) fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    configs_for(rustls::DEFAULT_VERSIONS)
}

/// The same, where the client speaks these versions.
pub(crate) fn configs_for(
    versions: &[&'static SupportedProtocolVersion],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let made = make(SelfSigned::Good, NAME, now.as_secs()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.ca).unwrap();
    let servers = ServerConfigs::new(ServerOptions::default()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (servers.config(vec![made.pair]).unwrap(), Arc::new(client))
}

/// A client with the buffers of rustls on a socket that blocks, after its handshake.
pub(crate) fn call(
    config: Arc<ClientConfig>,
    mut socket: TcpStream,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = NAME.try_into().unwrap();
    let mut client = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while client.is_handshaking() {
        client.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(client, socket))
}
