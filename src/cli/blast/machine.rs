//! Which hosts may be loaded, and what of this one is used for it.

use std::net::IpAddr;

use clap::{Args, ValueEnum};
use ipnet::IpNet;

use crate::blast::connect_options::ConnectOptions;
use crate::cli::value::{self, IoArg};
use crate::dial::Family;
use crate::host::{self, CoresError};
use crate::limits::UNREACHED_TRIES;

#[derive(Debug, Args)]
#[command(next_help_heading = "Machine")]
pub(super) struct MachineArgs {
    /// Allow this host although its address is public; may be given more than once
    #[arg(long, value_name = "HOST")]
    pub(super) allow_target: Vec<String>,
    /// Connect only to IPv4 addresses
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Connect only to IPv6 addresses
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Give up a target after this many failed attempts in a row on one core, if it never accepted a
    /// connection. The pause between two attempts grows from 10 ms to 1 s
    #[arg(long, value_name = "N", default_value_t = UNREACHED_TRIES, value_parser = clap::value_parser!(u32).range(1..))]
    connect_tries: u32,
    /// The local address of the connections, or a network of addresses that are used in turn; may be given
    /// more than once [default: the kernel chooses]
    #[arg(long, value_name = "ADDR|CIDR", value_parser = source)]
    source: Vec<IpNet>,
    /// Receive buffer of each socket (SO_RCVBUF). The kernel doubles the value and limits it to
    /// net.core.rmem_max [default: the kernel chooses]
    #[arg(long, value_name = "SIZE", value_parser = buffer)]
    recv_buffer: Option<usize>,
    /// Send buffer of each socket (SO_SNDBUF). The kernel doubles the value and limits it to
    /// net.core.wmem_max [default: the kernel chooses]
    #[arg(long, value_name = "SIZE", value_parser = buffer)]
    send_buffer: Option<usize>,
    /// How a connection is closed; rst leaves no socket in TIME_WAIT
    #[arg(long, value_enum, value_name = "HOW", default_value = "fin")]
    close: CloseArg,
    /// The CPUs to use. A number counts from the last CPU down, because servers start with the first. A
    /// list is written as 0,2-3 [default: half of the CPUs]
    #[arg(long, value_name = "N|LIST")]
    cores: Option<String>,
    /// Kernel interface; auto uses epoll if io_uring is not allowed
    #[arg(long, value_enum, value_name = "ENGINE", default_value = "auto")]
    pub(super) io: IoArg,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum CloseArg {
    Fin,
    Rst,
}

/// One address is a network of one.
fn source(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| {
        format!("'{text}' is not a source; write an address or a network, such as 127.0.0.2 or 127.1.0.0/16")
    })
}

/// What a socket option can carry.
fn buffer(text: &str) -> Result<usize, String> {
    let octets = value::size(text).map_err(|error| error.to_string())?;
    match i32::try_from(octets) {
        Ok(1..) => Ok(octets as usize),
        _ => Err(format!("'{text}' is out of range; give 1 octet to {}", i32::MAX)),
    }
}

impl MachineArgs {
    pub(super) fn connect_options(&self) -> ConnectOptions {
        ConnectOptions {
            sources: self.source.clone(),
            family: self.family(),
            recv_buffer: self.recv_buffer,
            send_buffer: self.send_buffer,
            reset: self.close == CloseArg::Rst,
            tries: self.connect_tries,
        }
    }

    pub(super) fn family(&self) -> Option<Family> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(Family::V4),
            (_, true) => Some(Family::V6),
            _ => None,
        }
    }

    /// Counted from the last CPU down, so that a server pinned to the first ones is left alone.
    pub(super) fn cpus(&self) -> Result<Vec<usize>, CoresError> {
        let allowed = host::allowed().map_err(CoresError::Mask)?;
        let half = (allowed.len() / 2).max(1).to_string();
        let text = self.cores.as_deref().unwrap_or(&half);
        let chosen = host::cpus(text)?;
        match text.trim().parse::<usize>() {
            Ok(count) => Ok(allowed.into_iter().rev().take(count).collect()),
            Err(_) => Ok(chosen),
        }
    }
}
