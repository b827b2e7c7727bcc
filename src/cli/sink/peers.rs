//! What peers may do: the sink's options against abuse, and for proxies in front of it.

use std::time::Duration;

use clap::Args;

use crate::cli::value;
use crate::limits;
use crate::sink::{Networks, PeerPolicy};

#[derive(Debug, Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct Peers {
    /// Time for each command, whatever the pieces it comes in, and for a pause in a message; then
    /// 421 and close
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = value::span)]
    timeout: Duration,

    /// Octets per second that a message must keep on average, beyond one --timeout of grace; slower
    /// gets 421. 0 asks for no rate
    #[arg(long, value_name = "OCTETS", default_value_t = limits::DATA_RATE_MIN_DEFAULT)]
    min_data_rate: u64,

    /// Wait so long before the greeting, and turn clients away with 554 that speak meanwhile. Kept
    /// to half a second
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = value::duration)]
    greet_delay: Duration,

    /// Connections of one address at once; more get 421
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    max_connections_per_peer: Option<usize>,

    /// Peers that must send a PROXY header, version 1 or 2, and are believed: networks, and unix for
    /// callers over unix sockets
    #[arg(long, value_name = "CIDR[,CIDR]")]
    proxy_protocol: Option<Networks>,

    /// Peers that may say XCLIENT and are believed, listed alike
    #[arg(long, value_name = "CIDR[,CIDR]")]
    xclient: Option<Networks>,
}

impl Peers {
    pub(super) fn policy(&self) -> PeerPolicy {
        PeerPolicy {
            timeout: self.timeout,
            data_rate_min: self.min_data_rate,
            greet_delay: self.greet_delay,
            connections_per_peer_max: self.max_connections_per_peer,
            proxies: self.proxy_protocol.clone().unwrap_or_default(),
            xclient: self.xclient.clone().unwrap_or_default(),
        }
    }
}
