//! How many connections each address holds, over all cores.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// `--max-connections-per-peer`. Without it there is nothing shared to touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Option<Arc<Register>>);

#[derive(Debug)]
struct Register {
    open: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
}

/// The place of one connection, until dropped.
#[derive(Debug, Default)]
pub(super) struct Place(Option<(Arc<Register>, IpAddr)>);

impl Crowd {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self(most.map(|most| Arc::new(Register { open: Mutex::default(), most })))
    }

    /// Takes a place for one more connection of `ip`; `None` when it holds as many as it may. Callers
    /// without an address, over unix sockets, are not counted.
    pub(super) fn enter(&self, ip: Option<IpAddr>) -> Option<Place> {
        let (Some(register), Some(ip)) = (&self.0, ip) else { return Some(Place::default()) };
        let ip = ip.to_canonical();
        let mut open = register.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_insert(0);
        if *count >= register.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((register.clone(), ip))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((register, ip)) = self.0.take() else { return };
        let mut open = register.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let crowd = Crowd::new(Some(2));
        let ip = |text: &str| Some(text.parse().unwrap());
        let first = crowd.enter(ip("192.0.2.1"));
        let second = crowd.enter(ip("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(crowd.enter(ip("192.0.2.1")).is_none());
        assert!(crowd.enter(ip("192.0.2.2")).is_some());
        assert!((0..9).all(|_| crowd.enter(None).is_some()));
        drop(first);
        assert!(crowd.enter(ip("192.0.2.1")).is_some());
        drop(second);
        let register = crowd.0.as_ref().unwrap();
        assert!(register.open.lock().unwrap().is_empty(), "nothing is kept of those that left");
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let crowd = Crowd::new(None);
        let places: Vec<_> = (0..99).map(|_| crowd.enter("::1".parse().ok())).collect();
        assert!(places.iter().all(Option::is_some));
    }
}
