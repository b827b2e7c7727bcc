//! Listener URLs: `smtp://HOST:PORT`, `lmtp://HOST:PORT`, `smtps://HOST:PORT`, `lmtps://HOST:PORT`,
//! `smtp+unix:/PATH`, `lmtp+unix:/PATH`, `HOST:PORT`, `PORT`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::{self, Address, BindError, BoundListener};
use crate::smtp::server::Protocol;

/// Where to listen and what to speak there.
#[derive(Clone, Debug)]
pub(super) struct ListenUrl {
    pub(super) protocol: Protocol,
    /// TLS from the first octet on.
    pub(super) implicit_tls: bool,
    place: ListenPlace,
}

#[derive(Clone, Debug)]
enum ListenPlace {
    /// This port of 127.0.0.1 and of ::1.
    Loopback(u16),
    Exactly(Address),
}

/// A listener that is bound on each core.
pub(super) struct BoundUrl {
    pub(super) protocol: Protocol,
    pub(super) implicit_tls: bool,
    /// With the port that was really bound.
    pub(super) url: String,
    /// Whether other machines may reach it.
    pub(super) open: bool,
}

/// Binds all of them. For each core there is one listener for each element of the second list.
pub(super) fn bind(
    urls: &[ListenUrl],
    cores: usize,
    mode: Option<u32>,
) -> Result<(Vec<Vec<BoundListener>>, Vec<BoundUrl>), BindError> {
    let mut by_core: Vec<Vec<BoundListener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut bound_urls = Vec::new();
    for ListenUrl { protocol, implicit_tls, place } in urls {
        let scheme = scheme(*protocol, *implicit_tls);
        let bound = match place {
            ListenPlace::Loopback(port) => engine::bind_loopback(*port, cores)?,
            ListenPlace::Exactly(address) => {
                engine::bind_with_mode(std::slice::from_ref(address), cores, mode)?
            }
        };
        bound_urls.extend(bound[0].iter().map(|listener| BoundUrl {
            protocol: *protocol,
            implicit_tls: *implicit_tls,
            url: url(scheme, listener.address()),
            open: is_open(listener.address()),
        }));
        for (listeners, more) in by_core.iter_mut().zip(bound) {
            listeners.extend(more);
        }
    }
    Ok((by_core, bound_urls))
}

fn is_open(address: &Address) -> bool {
    matches!(address, Address::Tcp(inet) if !inet.ip().to_canonical().is_loopback())
}

fn url(scheme: &str, address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("{scheme}+unix:{}", path.display()),
        Address::Tcp(address) => format!("{scheme}://{address}"),
    }
}

impl fmt::Display for ListenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = scheme(self.protocol, self.implicit_tls);
        match &self.place {
            ListenPlace::Loopback(port) => write!(f, "{scheme}://localhost:{port}"),
            ListenPlace::Exactly(address) => f.write_str(&url(scheme, address)),
        }
    }
}

fn scheme(protocol: Protocol, implicit_tls: bool) -> &'static str {
    match (protocol, implicit_tls) {
        (Protocol::Smtp, false) => "smtp",
        (Protocol::Lmtp, false) => "lmtp",
        (Protocol::Smtp, true) => "smtps",
        (Protocol::Lmtp, true) => "lmtps",
    }
}

impl FromStr for ListenUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (smtp, lmtp) = (Protocol::Smtp, Protocol::Lmtp);
        for (protocol, implicit_tls) in [(smtp, false), (lmtp, false), (smtp, true), (lmtp, true)] {
            let Some(rest) = text.strip_prefix(scheme(protocol, implicit_tls)) else { continue };
            if let Some(path) = rest.strip_prefix("+unix:") {
                if implicit_tls {
                    return Err(
                        "TLS on a Unix socket begins with STARTTLS: smtp+unix: or lmtp+unix:"
                            .into(),
                    );
                }
                return unix(protocol, path);
            }
            if let Some(address) = rest.strip_prefix("://") {
                return tcp(protocol, implicit_tls, address.strip_suffix('/').unwrap_or(address));
            }
        }
        if text.contains("://") {
            return Err(
                "the scheme must be smtp://, lmtp://, smtps://, lmtps://, smtp+unix: or lmtp+unix:"
                    .into(),
            );
        }
        tcp(Protocol::Smtp, false, text)
    }
}

fn unix(protocol: Protocol, path: &str) -> Result<ListenUrl, String> {
    if path.is_empty() {
        return Err("a path must follow +unix:".into());
    }
    let place = ListenPlace::Exactly(Address::Unix(PathBuf::from(path)));
    Ok(ListenUrl { protocol, implicit_tls: false, place })
}

/// A port by itself, or with `localhost`, is on the loopback addresses. Other names are refused.
fn tcp(protocol: Protocol, implicit_tls: bool, text: &str) -> Result<ListenUrl, String> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let (port, place) = if matches!(host, "" | "localhost") {
        let port = port.parse().map_err(|_| refusal(text))?;
        (port, ListenPlace::Loopback(port))
    } else {
        let numeric = if host == "*" { format!("0.0.0.0:{port}") } else { text.to_owned() };
        let address: SocketAddr = numeric.parse().map_err(|_| refusal(text))?;
        (address.port(), ListenPlace::Exactly(Address::Tcp(address)))
    };
    if protocol == Protocol::Lmtp && port == 25 {
        return Err(
            "LMTP must not be spoken on TCP port 25 (RFC 2033 §5); take another, such as 24".into(),
        );
    }
    Ok(ListenUrl { protocol, implicit_tls, place })
}

/// Why `text` is no address to listen on.
fn refusal(text: &str) -> String {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if is_number && port.parse::<u16>().is_err() && text.parse::<Ipv6Addr>().is_err() {
        return format!("{port} is not a port: a port is a number from 0 to 65535");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return format!("an IPv6 address stands in brackets before its port: [{text}]:1025");
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return format!("a port must follow the address: {text}:1025");
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return format!("{text} is not a port: a port is a number from 0 to 65535");
    }
    if !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
        let port = if port.parse::<u16>().is_ok() { port } else { "1025" };
        return format!(
            "{host:?} is a name, and a name may have several addresses or get another one: give the \
             address that is meant, such as 127.0.0.1:{port}, or 0.0.0.0:{port} for all of this machine"
        );
    }
    format!("{text:?} is not PORT or ADDRESS:PORT, such as 1025, 127.0.0.1:1025 or [::1]:1025")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_alike() {
        for url in [
            "smtp://127.0.0.1:1025",
            "lmtp://[::1]:24",
            "smtps://127.0.0.1:465",
            "lmtps://[::1]:24",
            "smtp+unix:/tmp/s",
            "lmtp+unix:/l",
        ] {
            assert_eq!(url.parse::<ListenUrl>().unwrap().to_string(), url);
        }
        for (short, long) in [
            ("127.0.0.1:25", "smtp://127.0.0.1:25"),
            ("localhost:25", "smtp://localhost:25"),
            (":25", "smtp://localhost:25"),
            ("25", "smtp://localhost:25"),
            ("lmtp://:24", "lmtp://localhost:24"),
            ("0.0.0.0:25", "smtp://0.0.0.0:25"),
            ("*:25", "smtp://0.0.0.0:25"),
            ("[::]:25", "smtp://[::]:25"),
            ("smtp://127.0.0.1:25/", "smtp://127.0.0.1:25"),
            ("smtps://:465", "smtps://localhost:465"),
        ] {
            assert_eq!(short.parse::<ListenUrl>().unwrap().to_string(), long);
        }
    }

    #[test]
    fn lmtp_keeps_off_the_port_of_smtp() {
        for bad in ["lmtp://127.0.0.1:25", "lmtp://[::1]:25", "lmtp://*:25", "lmtps://localhost:25"]
        {
            assert!(bad.parse::<ListenUrl>().unwrap_err().contains("RFC 2033"), "{bad}");
        }
        assert!("lmtp+unix:/run/25".parse::<ListenUrl>().is_ok());
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for bad in ["http://127.0.0.1:1", "smtp://", "smtp+unix:", "", ":", "localhost:", "1 2"] {
            assert!(bad.parse::<ListenUrl>().is_err(), "{bad}");
        }
        for (bad, why) in [
            ("mail.example:25", "0.0.0.0:25"),
            ("mail.example", "is a name"),
            ("localhost", "is a name"),
            ("::1", "[::1]:1025"),
            ("10.0.0.1", "10.0.0.1:1025"),
            ("65536", "from 0 to 65535"),
            ("127.0.0.1:80000", "80000 is not a port"),
            ("smtp://[::1]:65536", "65536 is not a port"),
            ("localhost:99999", "99999 is not a port"),
            ("smtps+unix:/s", "begins with STARTTLS"),
            ("smtpss://127.0.0.1:1", "smtps://"),
        ] {
            let refusal = bad.parse::<ListenUrl>().unwrap_err();
            assert!(refusal.contains(why), "{bad}: {refusal}");
        }
    }

    #[test]
    fn a_port_by_itself_stays_on_this_machine_and_other_addresses_may_not() {
        for (address, open) in [
            ("127.0.0.1:1", false),
            ("[::1]:1", false),
            ("127.9.9.9:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            assert_eq!(is_open(&Address::Tcp(address.parse().unwrap())), open, "{address}");
        }
        assert!(!is_open(&Address::Unix("/tmp/s".into())));
        let urls = ["0".parse().unwrap(), "smtp://127.0.0.1:0".parse().unwrap()];
        let (by_core, bound) = bind(&urls, 2, None).unwrap();
        assert!(by_core.iter().all(|listeners| listeners.len() == bound.len()));
        assert!(bound.iter().all(|url| !url.open));
        let port = |url: &BoundUrl| url.url.rsplit_once(':').unwrap().1.to_owned();
        match bound.as_slice() {
            [v4, v6, _] => assert!(v6.url.contains("[::1]") && port(v4) == port(v6)),
            // A machine without IPv6.
            [v4, _] => assert!(v4.url.starts_with("smtp://127.0.0.1:")),
            other => panic!("{} listeners", other.len()),
        }
    }
}
