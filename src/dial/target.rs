//! A server that mail is sent to, and whether it is safe to send test mail there.

use std::fmt;
use std::io;
use std::net::IpAddr;

use crate::engine::Address;
use crate::smtp::server::Protocol;

/// A server to send to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    pub protocol: Protocol,
    /// Whether its scheme says that TLS begins with the first octet (`smtps`, `lmtps`: RFC 8314 §3).
    pub implicit_tls: bool,
    /// As the user gave it, with its scheme.
    pub url: String,
    /// The name or address of the host as it was written: what a certificate must hold. `None` for a socket
    /// in the file system.
    pub host: Option<String>,
    /// All addresses of the host name, tried in turn.
    pub addresses: Vec<Address>,
}

/// The kind of addresses to use where a name has both kinds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    fn has(self, address: &Address) -> bool {
        match address {
            Address::Tcp(address) => address.is_ipv6() == (self == Self::V6),
            Address::Unix(_) => false,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "4",
            Self::V6 => "6",
        })
    }
}

/// Why a text names no target, or none that may be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(
        "'{0}' is no target; write smtp://HOST:PORT, smtps://HOST:PORT, lmtp://HOST:PORT, \
         lmtps://HOST:PORT, smtp+unix:/PATH, lmtp+unix:/PATH or HOST:PORT"
    )]
    Syntax(String),
    #[error("'{0}': {1} is not a port; a port is a number from 1 to 65535")]
    Port(String, String),
    #[error("cannot find {host}: {error}; check the name and the port")]
    Resolve { host: String, error: io::Error },
    #[error("{host} has no IPv{family} address; leave out -{family}, or name another host")]
    Family { host: String, family: Family },
    #[error(
        "{host} ({ip}) is a public address, and test mail on other people's servers is abuse; if it \
         is yours, add --allow-target {host}"
    )]
    Public { host: String, ip: IpAddr },
}

impl Target {
    /// Reads a target and looks its host up, which blocks. Addresses outside of loopback, private
    /// and documentation ranges must be named in `allowed`, by host or by address.
    pub fn parse(text: &str, allowed: &[String]) -> Result<Self, TargetError> {
        Self::parse_of(text, allowed, None)
    }

    /// Like [`Self::parse`], but keeps only the addresses of `family` if there is one.
    pub fn parse_of(
        text: &str,
        allowed: &[String],
        family: Option<Family>,
    ) -> Result<Self, TargetError> {
        let syntax = || TargetError::Syntax(text.to_owned());
        let (protocol, implicit_tls, endpoint) = split(text).ok_or_else(syntax)?;
        let host = match endpoint {
            Endpoint::Unix(path) => {
                let addresses = of_family(vec![Address::Unix(path.into())], text, family)?;
                let url = text.to_owned();
                return Ok(Self { protocol, implicit_tls, url, host: None, addresses });
            }
            Endpoint::Tcp(host) => host,
        };
        let (name, port) = host.rsplit_once(':').ok_or_else(syntax)?;
        let is_number = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
        port.parse::<u16>().map_err(|_| match is_number {
            true => TargetError::Port(text.to_owned(), port.to_owned()),
            false => syntax(),
        })?;
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let addresses = Address::resolve(host)
            .map_err(|error| TargetError::Resolve { host: host.to_owned(), error })?;
        let addresses = of_family(addresses, host, family)?;
        for ip in addresses.iter().filter_map(ip_of) {
            let named = allowed.iter().any(|a| a == name || a.parse() == Ok(ip));
            if !named && !is_safe(ip) {
                return Err(TargetError::Public { host: name.to_owned(), ip });
            }
        }
        let url = if text.contains("://") { text.to_owned() } else { format!("smtp://{text}") };
        Ok(Self { protocol, implicit_tls, url, host: Some(name.to_owned()), addresses })
    }
}

/// Where the server of a target listens, as it was written.
enum Endpoint<'a> {
    Tcp(&'a str),
    Unix(&'a str),
}

/// The protocol, whether TLS begins at once, and the place.
fn split(text: &str) -> Option<(Protocol, bool, Endpoint<'_>)> {
    let path = |path: &'_ str| path.starts_with('/');
    if let Some(rest) = text.strip_prefix("smtp+unix:").filter(|p| path(p)) {
        return Some((Protocol::Smtp, false, Endpoint::Unix(rest)));
    }
    if let Some(rest) = text.strip_prefix("lmtp+unix:").filter(|p| path(p)) {
        return Some((Protocol::Lmtp, false, Endpoint::Unix(rest)));
    }
    let (protocol, implicit_tls, host) = match text.split_once("://") {
        Some(("smtp", host)) => (Protocol::Smtp, false, host),
        Some(("smtps", host)) => (Protocol::Smtp, true, host),
        Some(("lmtp", host)) => (Protocol::Lmtp, false, host),
        Some(("lmtps", host)) => (Protocol::Lmtp, true, host),
        Some(_) => return None,
        None => (Protocol::Smtp, false, text),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains('/');
    is_host.then_some((protocol, implicit_tls, Endpoint::Tcp(host)))
}

/// The addresses of `host` that are of `family`; at least one.
fn of_family(
    mut addresses: Vec<Address>,
    host: &str,
    family: Option<Family>,
) -> Result<Vec<Address>, TargetError> {
    let Some(family) = family else { return Ok(addresses) };
    addresses.retain(|address| family.has(address));
    match addresses.is_empty() {
        true => Err(TargetError::Family { host: host.to_owned(), family }),
        false => Ok(addresses),
    }
}

fn ip_of(address: &Address) -> Option<IpAddr> {
    match address {
        Address::Tcp(address) => Some(address.ip().to_canonical()),
        Address::Unix(_) => None,
    }
}

/// Loopback, link-local, private (RFC 1918, RFC 4193), benchmarking (RFC 2544) and documentation
/// (RFC 5737, RFC 3849) addresses.
fn is_safe(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let benchmarking = matches!(v4.octets(), [198, 18 | 19, ..]);
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || benchmarking
        }
        IpAddr::V6(v6) => {
            let documentation = v6.segments()[..2] == [0x2001, 0x0db8];
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || documentation
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        for (text, protocol, address) in [
            ("smtp://127.0.0.1:25", Protocol::Smtp, tcp("127.0.0.1:25")),
            ("127.0.0.1:2525", Protocol::Smtp, tcp("127.0.0.1:2525")),
            ("lmtp://[::1]:24/", Protocol::Lmtp, tcp("[::1]:24")),
            ("smtp+unix:/run/a", Protocol::Smtp, Address::Unix("/run/a".into())),
            ("lmtp+unix:/run/a", Protocol::Lmtp, Address::Unix("/run/a".into())),
        ] {
            let target = Target::parse(text, &[]).unwrap();
            assert_eq!((target.protocol, &target.addresses[0]), (protocol, &address), "{text}");
        }
    }

    #[test]
    fn a_scheme_says_whether_tls_comes_first_and_the_host_is_kept_as_written() {
        for (text, protocol, implicit_tls, host) in [
            ("smtps://127.0.0.1:465", Protocol::Smtp, true, Some("127.0.0.1")),
            ("lmtps://[::1]:24/", Protocol::Lmtp, true, Some("::1")),
            ("smtp://localhost:25", Protocol::Smtp, false, Some("localhost")),
            ("lmtp+unix:/run/a", Protocol::Lmtp, false, None),
        ] {
            let target = Target::parse(text, &[]).unwrap();
            let Target { host: found, .. } = &target;
            assert_eq!((target.protocol, target.implicit_tls), (protocol, implicit_tls), "{text}");
            assert_eq!((found.as_deref(), &*target.url), (host, text));
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for bad in ["", "host", "http://a:1", "smtp://", "a:b", "smtp+unix:rel", "smtp://a:1/x"] {
            let error = Target::parse(bad, &[]).unwrap_err();
            assert!(matches!(error, TargetError::Syntax(_)), "{bad}: {error}");
        }
        for bad in ["127.0.0.1:99999", "smtp://[::1]:65536"] {
            let error = Target::parse(bad, &[]).unwrap_err();
            assert!(matches!(error, TargetError::Port(..)), "{bad}: {error}");
        }
    }

    #[test]
    fn a_family_leaves_out_the_other_one() {
        let tcp = |text: &str| Address::Tcp(text.parse().unwrap());
        let both = || vec![tcp("[::1]:25"), tcp("127.0.0.1:25"), tcp("[fd00::1]:25")];
        let kept = |family| of_family(both(), "both.example:25", family).unwrap();
        assert_eq!(kept(Some(Family::V4)), [tcp("127.0.0.1:25")]);
        assert_eq!(kept(Some(Family::V6)), [tcp("[::1]:25"), tcp("[fd00::1]:25")]);
        assert_eq!(kept(None), both());
        for (text, family) in
            [("[::1]:25", Family::V4), ("127.0.0.1:25", Family::V6), ("smtp+unix:/x", Family::V4)]
        {
            let error = Target::parse_of(text, &[], Some(family)).unwrap_err();
            assert!(matches!(error, TargetError::Family { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn public_addresses_must_be_named() {
        for public in ["8.8.8.8:25", "[2606:4700::1]:25", "[::ffff:8.8.8.8]:25", "198.20.0.1:25"] {
            let error = Target::parse(public, &[]).unwrap_err();
            assert!(matches!(error, TargetError::Public { .. }), "{public}: {error}");
        }
        assert!(Target::parse("8.8.8.8:25", &["8.8.8.8".to_owned()]).is_ok());
        for safe in
            ["10.1.2.3:25", "192.0.2.9:25", "198.18.0.1:25", "[fd00::1]:25", "[2001:db8::1]:1"]
        {
            assert!(Target::parse(safe, &[]).is_ok(), "{safe}");
        }
    }
}
