//! Source addresses, buffers and closing of connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::dial::Family;
use crate::engine::{self, Address};
use crate::limits::UNREACHED_TRIES;

/// How connections are made and closed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectOptions {
    /// Our addresses that connections come from, in turn; empty lets the kernel choose.
    pub sources: Vec<IpNet>,
    /// The family of all addresses of targets, if the user chose one. The others were left out already.
    pub family: Option<Family>,
    /// Sizes in octets of the kernel's buffers of each socket; `None` lets the kernel choose.
    pub recv_buffer: Option<usize>,
    pub send_buffer: Option<usize>,
    /// Close with a reset, which leaves nothing in TIME_WAIT.
    pub reset: bool,
    /// Failures in a row of a core after which a target that never let it in counts as unreachable.
    pub tries: u32,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            family: None,
            recv_buffer: None,
            send_buffer: None,
            reset: false,
            tries: UNREACHED_TRIES,
        }
    }
}

impl ConnectOptions {
    /// Whether connections to this address come from where the user wants them to come from.
    pub fn fits(&self, to: &Address) -> bool {
        self.sources.is_empty()
            || match to {
                Address::Tcp(to) => self.source(0, to.is_ipv6()).is_some(),
                Address::Unix(_) => false,
            }
    }

    /// A source that this machine does not have. Of a network only the first host is looked at: there may
    /// be millions.
    pub fn elsewhere(&self) -> Option<IpAddr> {
        self.sources.iter().map(|net| host(net, 0)).find(|&ip| engine::is_elsewhere(ip))
    }

    /// The source of connection number `n` to an address of this family, from 0 on: one network after
    /// the other, and within each one host after the other. `None` where no network is of that family.
    pub fn source(&self, n: u64, v6: bool) -> Option<IpAddr> {
        let fitting = |net: &&IpNet| matches!(net, IpNet::V6(_)) == v6;
        let count = self.sources.iter().filter(fitting).count() as u64;
        let net = self.sources.iter().filter(fitting).nth(n.checked_rem(count)? as usize)?;
        Some(host(net, n / count))
    }
}

/// Host `n` of a network, from the first again after the last. The first and the last address of an
/// IPv4 network are none of a host's.
fn host(net: &IpNet, n: u64) -> IpAddr {
    match net {
        IpNet::V4(v4) => {
            let size = 1u64 << (32 - v4.prefix_len());
            let (skip, hosts) = if size > 2 { (1, size - 2) } else { (0, size) };
            let first = u32::from(v4.network());
            IpAddr::V4(Ipv4Addr::from(first + (skip + n % hosts) as u32))
        }
        IpNet::V6(v6) => {
            let bits = 128 - u32::from(v6.prefix_len());
            let offset = if bits < 64 { u128::from(n) % (1u128 << bits) } else { u128::from(n) };
            IpAddr::V6(Ipv6Addr::from(u128::from(v6.network()) + offset))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(nets: &[&str], v6: bool, count: u64) -> Vec<String> {
        let sources = nets.iter().map(|net| net.parse().unwrap()).collect();
        let options = ConnectOptions { sources, ..ConnectOptions::default() };
        (0..count).filter_map(|n| options.source(n, v6)).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn sources_are_taken_in_turn_by_family() {
        let nets = ["127.0.0.4/30", "::1/128", "127.9.0.1/32"];
        let expected = ["127.0.0.5", "127.9.0.1", "127.0.0.6", "127.9.0.1", "127.0.0.5"];
        assert_eq!(sources(&nets, false, 5), expected);
        assert_eq!(sources(&nets, true, 2), ["::1", "::1"]);
        assert_eq!(sources(&["10.0.0.0/8"], true, 2), [""; 0]);
        assert_eq!(sources(&[], false, 2), [""; 0]);
        assert_eq!(sources(&["fd00::/127"], true, 3), ["fd00::", "fd00::1", "fd00::"]);
        assert_eq!(sources(&["0.0.0.0/0", "::/0"], false, 1), ["0.0.0.1"]);
    }

    #[test]
    fn an_address_that_no_source_can_reach_does_not_fit() {
        let options = |nets: &[&str]| ConnectOptions {
            sources: nets.iter().map(|net| net.parse().unwrap()).collect(),
            ..ConnectOptions::default()
        };
        let (v4, v6) = ("127.0.0.1:25".parse().unwrap(), "[::1]:25".parse().unwrap());
        let (v4, v6, unix) = (Address::Tcp(v4), Address::Tcp(v6), Address::Unix("/x".into()));
        for (nets, expected) in [
            (&[][..], [true, true, true]),
            (&["127.0.0.2/32"], [true, false, false]),
            (&["::1/128"], [false, true, false]),
            (&["::1/128", "127.0.0.2/32"], [true, true, false]),
        ] {
            assert_eq!([&v4, &v6, &unix].map(|to| options(nets).fits(to)), expected, "{nets:?}");
        }
    }
}
