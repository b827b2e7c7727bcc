//! Addresses to listen on and to connect to, and the peer of an accepted connection.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use socket2::{SockAddr, SockRef};

/// An address that one socket can be bound or connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Every address that `text` names: a path when it begins with `/` or `unix:`, else
    /// `HOST:PORT`. A host name is looked up here and now, which blocks: call it before the cores
    /// start.
    pub fn resolve(text: &str) -> io::Result<Vec<Self>> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(vec![Self::Unix(path.into())]);
        }
        if text.starts_with('/') {
            return Ok(vec![Self::Unix(text.into())]);
        }
        let mut found: Vec<Self> = text.to_socket_addrs()?.map(Self::Tcp).collect();
        found.dedup();
        if found.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{text} has no address")));
        }
        Ok(found)
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    pub(super) fn to_sockaddr(&self) -> io::Result<SockAddr> {
        match self {
            Self::Tcp(address) => Ok(SockAddr::from(*address)),
            Self::Unix(path) => SockAddr::unix(path),
        }
    }

    /// The address that a socket is bound to.
    pub(super) fn of_socket(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::from_sockaddr(&SockRef::from(&fd).local_addr()?))
    }

    fn from_sockaddr(address: &SockAddr) -> Self {
        match address.as_socket() {
            Some(inet) => Self::Tcp(inet),
            None => Self::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default()),
        }
    }
}

/// `127.0.0.1:25`, `[::1]:25` or the path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The other end of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `None` on a unix socket: its clients have no address.
    pub address: Option<SocketAddr>,
    /// The process is out of descriptors, and this connection has the spare one. Answer 421 and close
    /// at once: until then no further connection can be accepted.
    pub crowded: bool,
}

impl Peer {
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.map(|address| address.ip())
    }
}

/// `127.0.0.1:40000`, `[::1]:40000` or `unix`.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}
