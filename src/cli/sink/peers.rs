//! The options of the sink for its peers: limits against abuse, and trust in proxies.

use std::time::Duration;

use clap::Args;

use crate::cli::value;
use crate::limits;
use crate::sink::{Networks, PeerPolicy};

#[derive(Debug, Args)]
#[command(next_help_heading = "Peers")]
pub(super) struct Peers {
    /// Time for one command, even if it arrives in pieces, and the longest pause in a message. Then
    /// the client gets 421
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = value::span)]
    timeout: Duration,

    /// Average rate that a message must keep after a first --timeout, in octets per second; a slower
    /// message gets 421. 0 means no minimum
    #[arg(long, value_name = "OCTETS", default_value_t = limits::DATA_RATE_MIN_DEFAULT, value_parser = value::whole)]
    min_data_rate: u64,

    /// Time before the greeting. A client that speaks earlier gets 554; with 0 it
    /// may speak early
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = value::duration)]
    greet_delay: Duration,

    /// Connections of one address at the same time; one more gets 421
    #[arg(long, value_name = "N", value_parser = value::at_least_one)]
    max_connections_per_peer: Option<usize>,

    /// Proxies that must send a PROXY header (version 1 or 2), and that the sink believes. unix means
    /// clients on Unix sockets
    #[arg(long, value_name = "CIDR[,CIDR]")]
    proxy_protocol: Option<Networks>,

    /// Clients that may use XCLIENT, and that the sink believes
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
