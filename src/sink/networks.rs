//! Sets of peers that the sink trusts, by network.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::engine::Peer;

/// A list of networks such as `10.0.0.0/8,::1`; `unix` means callers on Unix sockets. An empty list
/// contains no peer.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    nets: Vec<IpNet>,
    unix: bool,
}

/// A word that does not name a network.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("'{0}' is no network; write ADDRESS, ADDRESS/BITS or unix, such as 127.0.0.1, 10.0.0.0/8")]
pub struct NetworkError(String);

impl FromStr for Networks {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut networks = Self::default();
        for word in text.split(',').map(str::trim) {
            if word == "unix" {
                networks.unix = true;
                continue;
            }
            let net = match word.parse::<IpAddr>() {
                Ok(ip) => Ok(IpNet::from(ip)),
                Err(_) => word.parse::<IpNet>().map_err(|_| NetworkError(word.to_owned())),
            };
            networks.nets.push(net?);
        }
        Ok(networks)
    }
}

impl Networks {
    pub fn is_empty(&self) -> bool {
        self.nets.is_empty() && !self.unix
    }

    /// Whether the caller is in one of the networks. For an IPv4 caller of an IPv6 socket its IPv4 address
    /// counts.
    pub(super) fn contains(&self, peer: &Peer) -> bool {
        match peer.ip() {
            None => self.unix,
            Some(ip) => {
                let ip = ip.to_canonical();
                self.nets.iter().any(|net| net.contains(&ip))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(address: &str) -> Peer {
        Peer { address: address.parse().ok(), crowded: false }
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let networks: Networks = "10.0.0.0/8, 192.0.2.1,2001:db8::/32".parse().unwrap();
        for inside in ["10.255.0.1:1", "192.0.2.1:1", "[2001:db8::9]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(networks.contains(&peer(inside)), "{inside}");
        }
        for outside in ["11.0.0.1:1", "192.0.2.2:1", "[2001:db9::9]:1", "unix"] {
            assert!(!networks.contains(&peer(outside)), "{outside}");
        }
    }

    #[test]
    fn unix_callers_are_trusted_by_name_and_nobody_by_default() {
        assert!("unix".parse::<Networks>().unwrap().contains(&peer("unix")));
        assert!(!Networks::default().contains(&peer("unix")));
        assert!(!Networks::default().contains(&peer("127.0.0.1:1")));
        assert!(Networks::default().is_empty());
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8,", "10.0.0"] {
            assert!(bad.parse::<Networks>().is_err(), "{bad}");
        }
    }
}
