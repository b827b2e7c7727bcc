//! Listeners: bound before the cores start, so that every refusal is known before anything runs.
//!
//! TCP gets one socket per core (SO_REUSEPORT: the kernel spreads connections by their addresses).
//! That option also lets a second process of the same user bind the port and take half of the
//! connections, so the first socket of an address is bound without it: any other user of the port,
//! our own kind included, is then a clash. Only afterwards is the option set for its siblings.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;

use super::address::Address;
use super::kind::current;
use super::listen::Listener;
use super::socket_file::SocketFile;

/// Listen backlog asked of the kernel, which caps it at net.core.somaxconn.
const LISTEN_BACKLOG: i32 = 4_096;

/// Pauses before an address that is in use is tried again, in milliseconds.
const LATE_PAUSES_MS: [u64; 6] = [20, 50, 100, 200, 300, 500];

/// Ports that are tried until one is free on both loopback addresses.
const LOOPBACK_TRIES: usize = 16;

#[derive(Debug, Error)]
pub enum BindError {
    #[error("{address} is in use: stop the process that listens there, or choose another address")]
    InUse { address: Address },
    #[error(
        "{address}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, a socket file needs a writable directory"
    )]
    Denied { address: Address },
    #[error(
        "{address} is no address of this machine, so nothing can listen there; 'ip address' shows those that it has, \
         and 0.0.0.0 or [::] stands for all of them"
    )]
    NotHere { address: Address },
    #[error("{} exists and is not a socket: remove it or choose another path", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen on {address}: {source}")]
    Io { address: Address, source: io::Error },
}

/// A listening socket of one core, still unattached: send it to the core's thread.
#[derive(Debug)]
pub struct BoundListener {
    fd: OwnedFd,
    address: Address,
    file: Option<Arc<SocketFile>>,
}

impl BoundListener {
    /// The bound address, with the port that the kernel chose for port 0.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Attaches to the core that runs on this thread.
    pub fn attach(self) -> io::Result<Listener> {
        let kind = current()?;
        Listener::new(kind, self.fd, self.address, self.file)
    }
}

/// [`bind_with_mode`], with the mode that the umask gives to socket files.
pub fn bind(addresses: &[Address], cores: usize) -> Result<Vec<Vec<BoundListener>>, BindError> {
    bind_with_mode(addresses, cores, None)
}

/// Binds every address for every core; socket files get the mode. Element `n` of the answer is for core `n` and holds one
/// listener per address, in the given order.
pub fn bind_with_mode(
    addresses: &[Address],
    cores: usize,
    mode: Option<u32>,
) -> Result<Vec<Vec<BoundListener>>, BindError> {
    assert!(cores > 0, "listeners need a core");
    let mut by_core: Vec<Vec<BoundListener>> = (0..cores).map(|_| Vec::new()).collect();
    let mut pauses = LATE_PAUSES_MS.into_iter();
    for address in addresses {
        let bound = loop {
            match bind_one(address, cores, mode) {
                // A process that was killed may be gone before its listeners are: those of an io_uring are
                // closed by the kernel later.
                Err(BindError::InUse { .. }) if let Some(pause_ms) = pauses.next() => {
                    thread::sleep(Duration::from_millis(pause_ms));
                }
                bound => break bound?,
            }
        };
        assert_eq!(bound.len(), cores, "each core has a listener for each address");
        for (listeners, listener) in by_core.iter_mut().zip(bound) {
            listeners.push(listener);
        }
    }
    Ok(by_core)
}

fn bind_one(
    address: &Address,
    cores: usize,
    mode: Option<u32>,
) -> Result<Vec<BoundListener>, BindError> {
    let bound = match address {
        Address::Tcp(inet) => bind_tcp(*inet, cores),
        Address::Unix(path) => bind_unix(path, cores, mode)?,
    };
    bound.map_err(|source| BindError::new(address, source))
}

/// Binds `port` on 127.0.0.1 and, where this machine has it, on ::1, for every core. Port 0 takes one
/// port that is free on both. The answer is as that of [`bind`], with one or two listeners per core.
///
/// # Errors
/// As [`bind`]; one of the two that is in use is an error.
pub fn bind_loopback(port: u16, cores: usize) -> Result<Vec<Vec<BoundListener>>, BindError> {
    for tries_left in (0..LOOPBACK_TRIES).rev() {
        let v4 = Address::Tcp((Ipv4Addr::LOCALHOST, port).into());
        let mut by_core = bind(&[v4], cores)?;
        let &Address::Tcp(bound) = by_core[0][0].address() else { return Ok(by_core) };
        let v6 = Address::Tcp((Ipv6Addr::LOCALHOST, bound.port()).into());
        match bind(&[v6], cores) {
            Ok(more) => {
                by_core.iter_mut().zip(more).for_each(|(all, more)| all.extend(more));
                assert!(by_core.iter().all(|all| all.len() == 2), "both addresses on each core");
                return Ok(by_core);
            }
            Err(error) if is_missing(&error) => return Ok(by_core),
            // Another program has the port that the kernel chose for the first address.
            Err(BindError::InUse { .. }) if port == 0 && tries_left > 0 => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last try returns")
}

/// Whether this machine lacks the address, or its family.
fn is_missing(error: &BindError) -> bool {
    match error {
        BindError::NotHere { .. } => true,
        BindError::Io { source, .. } => source.raw_os_error() == Some(libc::EAFNOSUPPORT),
        _ => false,
    }
}

impl BindError {
    fn new(address: &Address, source: io::Error) -> Self {
        let address = address.clone();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            io::ErrorKind::PermissionDenied => Self::Denied { address },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address },
            _ => Self::Io { address, source },
        }
    }
}

fn bind_tcp(asked: SocketAddr, cores: usize) -> io::Result<Vec<BoundListener>> {
    let first = tcp_socket(asked)?;
    first.bind(&SockAddr::from(asked))?;
    let address = Address::of_socket(first.as_fd())?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..cores {
        sockets[0].set_reuse_port(true)?;
        let sibling = tcp_socket(asked)?;
        sibling.set_reuse_port(true)?;
        sibling.bind(&bound)?;
        sockets.push(sibling);
    }
    let listen = |socket: Socket| {
        socket.listen(LISTEN_BACKLOG)?;
        Ok(BoundListener { fd: socket.into(), address: address.clone(), file: None })
    };
    sockets.into_iter().map(listen).collect()
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A port whose last connections are in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// All cores share one socket: there is no SO_REUSEPORT for paths.
fn bind_unix(
    path: &Path,
    cores: usize,
    mode: Option<u32>,
) -> Result<io::Result<Vec<BoundListener>>, BindError> {
    clear_stale(path)?;
    let address = Address::Unix(path.to_owned());
    Ok((|| {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = Arc::new(SocketFile::new(path)?);
        // Before listen: until then nobody can connect, whatever the umask allowed.
        if let Some(mode) = mode {
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(LISTEN_BACKLOG)?;
        (0..cores)
            .map(|_| {
                let fd = socket.try_clone()?.into();
                Ok(BoundListener { fd, address: address.clone(), file: Some(file.clone()) })
            })
            .collect()
    })())
}

/// Removes a socket file on which no process listens, such as a killed process leaves.
fn clear_stale(path: &Path) -> Result<(), BindError> {
    let address = || Address::Unix(path.to_owned());
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::new(&address(), source)),
    };
    if !found.file_type().is_socket() {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| BindError::new(&address(), source))
        }
        _ => Err(BindError::InUse { address: address() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Connecting, EngineKind, connect, run_core};

    #[test]
    fn an_address_whose_listener_goes_a_little_late_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = Address::Unix(dir.path().join("socket"));
        for asked in [Address::Tcp(([127, 0, 0, 1], 0).into()), path] {
            let before = bind(&[asked], 1).unwrap().remove(0).remove(0);
            let address = before.address().clone();
            let leaving = thread::spawn(move || {
                thread::sleep(Duration::from_millis(120));
                drop(before);
            });
            assert!(bind(std::slice::from_ref(&address), 1).is_ok(), "{address}");
            leaving.join().unwrap();
        }
    }

    #[test]
    fn an_address_is_missing_where_the_kernel_has_it_not_or_has_no_such_family() {
        let address = Address::Tcp((Ipv6Addr::LOCALHOST, 25).into());
        for (errno, missing) in [
            (libc::EADDRNOTAVAIL, true),
            (libc::EAFNOSUPPORT, true),
            (libc::EADDRINUSE, false),
            (libc::EACCES, false),
            (libc::EMFILE, false),
        ] {
            let error = BindError::new(&address, io::Error::from_raw_os_error(errno));
            assert_eq!(is_missing(&error), missing, "{error}");
        }
    }

    #[test]
    fn accepted_and_connected_sockets_send_small_packets_at_once() {
        for kind in [EngineKind::Epoll, EngineKind::Uring] {
            let ended = run_core(kind, async {
                let address = Address::Tcp(([127, 0, 0, 1], 0).into());
                let mut bound = bind(&[address], 1).unwrap();
                let mut listener = bound[0].remove(0).attach().unwrap();
                let caller =
                    connect(&listener.address().clone(), &Connecting::default()).await.unwrap();
                let (conn, _) = listener.accept().await.unwrap();
                for end in [&caller, &conn] {
                    assert!(rustix::net::sockopt::tcp_nodelay(end.fd()).unwrap());
                }
            });
            assert!(ended.is_ok() || kind == EngineKind::Uring, "a host may refuse io_uring only");
        }
    }
}
