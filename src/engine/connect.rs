//! Connecting, with a source address and socket buffers that the caller chooses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::address::Address;
use super::backend;
use super::conn::Conn;
use super::kind::current;
use super::sys;

/// Time that a connect may take unless the caller says otherwise: four SYNs of a silent host.
const CONNECT_S_DEFAULT: u64 = 15;

/// How a connection is made.
#[derive(Clone, Copy, Debug)]
pub struct Connecting {
    /// Source address; `None` lets the kernel choose.
    pub from: Option<IpAddr>,
    /// SO_RCVBUF and SO_SNDBUF in octets, set before the TCP window is agreed on.
    pub recv_buffer: Option<usize>,
    pub send_buffer: Option<usize>,
    /// Longest time that the connect may take; after it, `ErrorKind::TimedOut`.
    pub limit: Duration,
}

impl Default for Connecting {
    fn default() -> Self {
        let limit = Duration::from_secs(CONNECT_S_DEFAULT);
        Self { from: None, recv_buffer: None, send_buffer: None, limit }
    }
}

/// Connects on the current core; a TCP connection has TCP_NODELAY set.
///
/// # Errors
///
/// Those of socket(2), bind(2) and connect(2); `ErrorKind::TimedOut` after [`Connecting::limit`];
/// `ErrorKind::InvalidInput` when the source address is of another family than the target.
pub async fn connect(address: &Address, how: &Connecting) -> io::Result<Conn> {
    let kind = current()?;
    let sockaddr = address.to_sockaddr()?;
    let socket = Socket::new(sockaddr.domain(), Type::STREAM, None)?;
    if address.is_tcp() {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(octets) = how.recv_buffer {
        socket.set_recv_buffer_size(octets)?;
    }
    if let Some(octets) = how.send_buffer {
        socket.set_send_buffer_size(octets)?;
    }
    if let Some(ip) = how.from.filter(|_| address.is_tcp()) {
        bind_source(&socket, ip)?;
    }
    let link = backend::connect(kind, socket, sockaddr, how.limit).await?;
    Ok(Conn::over(link, address.is_tcp()))
}

/// Whether the kernel says that `ip` is no address of this machine; `false` when it cannot tell.
pub fn is_elsewhere(ip: IpAddr) -> bool {
    let bound = Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None)
        .and_then(|socket| bind_source(&socket, ip));
    bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn bind_source(socket: &Socket, ip: IpAddr) -> io::Result<()> {
    if socket.domain()? != Domain::for_address((ip, 0).into()) {
        let text = format!("the source address {ip} is of another family than the target");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    sys::bind_address_no_port(socket.as_fd())?;
    socket.bind(&SockAddr::from(SocketAddr::new(ip, 0)))
}
