//! How many connections each address holds, over all cores.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// `--max-connections-per-peer`. Without the option the cores share nothing here.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerLimit(Option<Arc<Register>>);

#[derive(Debug)]
struct Register {
    /// INVARIANT: each count is 1 to `most`; an address without connections has no entry.
    open: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
}

/// The place of one connection. Dropping it gives the place back.
#[derive(Debug, Default)]
pub(super) struct PeerPlace(Option<(Arc<Register>, IpAddr)>);

impl PeerLimit {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self(most.map(|most| Arc::new(Register { open: Mutex::default(), most })))
    }

    /// Takes a place for one more connection of `ip`. `None`: the address has as many as it may have.
    /// Callers on Unix sockets have no address and are not counted.
    pub(super) fn enter(&self, ip: Option<IpAddr>) -> Option<PeerPlace> {
        let (Some(register), Some(ip)) = (&self.0, ip) else { return Some(PeerPlace::default()) };
        let ip = ip.to_canonical();
        let mut open = register.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_insert(0);
        if *count >= register.most {
            return None;
        }
        *count += 1;
        Some(PeerPlace(Some((register.clone(), ip))))
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let Some((register, ip)) = self.0.take() else { return };
        let mut open = register.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = open.get_mut(&ip) else {
            debug_assert!(false, "a place is given back that was never taken");
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let peer_limit = PeerLimit::new(Some(2));
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = peer_limit.enter(ip("192.0.2.1"));
        let second = peer_limit.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(peer_limit.enter(ip("192.0.2.1")).is_none());
        assert!(peer_limit.enter(ip("192.0.2.2")).is_some());
        assert!((0..9).all(|_| peer_limit.enter(None).is_some()));
        drop(first);
        assert!(peer_limit.enter(ip("192.0.2.1")).is_some());
        drop(second);
        let register = peer_limit.0.as_ref().unwrap();
        assert!(register.open.lock().unwrap().is_empty(), "nothing is kept of those that left");
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let peer_limit = PeerLimit::new(None);
        let places: Vec<_> = (0..99).map(|_| peer_limit.enter("::1".parse().ok())).collect();
        assert!(places.iter().all(Option::is_some));
    }
}
