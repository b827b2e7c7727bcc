//! Listener URLs: `smtp://HOST:PORT`, `lmtp://HOST:PORT`, `smtp+unix:/PATH`, `lmtp+unix:/PATH`,
//! `HOST:PORT`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::Address;
use crate::smtp::server::Protocol;

/// Where to listen and what to speak there.
#[derive(Clone, Debug)]
pub(super) struct ListenUrl {
    pub(super) protocol: Protocol,
    pub(super) address: Address,
}

impl ListenUrl {
    /// The URL with the address that was really bound: port 0 replaced by the port it became.
    pub(super) fn with_address(&self, bound: &Address) -> String {
        let scheme = scheme(self.protocol);
        match bound {
            Address::Unix(path) => format!("{scheme}+unix:{}", path.display()),
            Address::Tcp(address) => format!("{scheme}://{address}"),
        }
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_address(&self.address))
    }
}

fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => "smtp",
        Protocol::Lmtp => "lmtp",
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        for protocol in [Protocol::Smtp, Protocol::Lmtp] {
            let Some(rest) = text.strip_prefix(scheme(protocol)) else { continue };
            if let Some(path) = rest.strip_prefix("+unix:") {
                return unix(protocol, path);
            }
            if let Some(address) = rest.strip_prefix("://") {
                return tcp(protocol, address.strip_suffix('/').unwrap_or(address));
            }
        }
        if text.contains("://") {
            return Err("the scheme must be smtp://, lmtp://, smtp+unix: or lmtp+unix:".into());
        }
        tcp(Protocol::Smtp, text)
    }
}

fn unix(protocol: Protocol, path: &str) -> Result<ListenUrl, String> {
    if path.is_empty() {
        return Err("a path must follow +unix:".into());
    }
    Ok(ListenUrl { protocol, address: Address::Unix(PathBuf::from(path)) })
}

/// Names are not resolved, with one exception: `localhost` is the loopback address.
fn tcp(protocol: Protocol, text: &str) -> Result<ListenUrl, String> {
    let numeric = match text.rsplit_once(':') {
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some(("" | "*", port)) => format!("0.0.0.0:{port}"),
        _ => text.to_owned(),
    };
    let address: SocketAddr = numeric.parse().map_err(|_| {
        format!("{text:?} is not ADDRESS:PORT, such as 127.0.0.1:1025 or [::1]:1025; the sink does not resolve names")
    })?;
    if protocol == Protocol::Lmtp && address.port() == 25 {
        return Err(
            "LMTP must not be spoken on TCP port 25 (RFC 2033 §5); take another, such as 24".into(),
        );
    }
    Ok(ListenUrl { protocol, address: Address::Tcp(address) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_alike() {
        for url in ["smtp://127.0.0.1:1025", "lmtp://[::1]:24", "smtp+unix:/tmp/s", "lmtp+unix:/l"]
        {
            assert_eq!(url.parse::<ListenUrl>().unwrap().to_string(), url);
        }
        for (short, long) in [
            ("127.0.0.1:25", "smtp://127.0.0.1:25"),
            ("localhost:25", "smtp://127.0.0.1:25"),
            (":25", "smtp://0.0.0.0:25"),
            ("smtp://127.0.0.1:25/", "smtp://127.0.0.1:25"),
        ] {
            assert_eq!(short.parse::<ListenUrl>().unwrap().to_string(), long);
        }
    }

    #[test]
    fn lmtp_keeps_off_the_port_of_smtp() {
        for bad in ["lmtp://127.0.0.1:25", "lmtp://[::1]:25", "lmtp://*:25"] {
            assert!(bad.parse::<ListenUrl>().unwrap_err().contains("RFC 2033"), "{bad}");
        }
        assert!("lmtp+unix:/run/25".parse::<ListenUrl>().is_ok());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["http://127.0.0.1:1", "mail.example:25", "smtp://", "smtp+unix:", "25", ""] {
            assert!(bad.parse::<ListenUrl>().is_err(), "{bad}");
        }
    }
}
