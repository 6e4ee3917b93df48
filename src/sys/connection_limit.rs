//! Decides which connections keep a place when all places are taken. New connections never queue.
//!
//! A stranger may hold idle connections or open new ones as fast as it can. A new connection gets a place at
//! once. If all are taken, another connection loses its place: the oldest one of the address that has the most.
//!
//! An honest peer has one connection and speaks at once. It loses its place only to a flood from its own address.
//! Even then the flood has to fill all places before the peer has spoken.
//!
//! Authenticated peers have places of their own that strangers cannot take. Those are counted by pod name,
//! because behind a mesh or NAT all pods share one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A fixed number of places.
pub struct Places {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    next: u64,
    /// The oldest first.
    all: Vec<Entry>,
}

/// The origin of a connection, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// An IPv6 network counts as one origin, because a host can use all its addresses.
    Network(IpAddr),
    Pod(String),
}

struct Entry {
    number: u64,
    origin: Origin,
    /// Dropped when another connection takes the place.
    _kept: oneshot::Sender<()>,
}

/// One place, held until it is dropped or lost.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    kept: oneshot::Receiver<()>,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, held: Mutex::default() })
    }

    /// Takes a place for a connection from this origin, from another connection if need be.
    pub fn take(self: &Arc<Places>, origin: Origin) -> Place {
        let mut held = self.held();
        if held.all.len() >= self.most
            && let Some(victim) = held.victim()
        {
            held.all.remove(victim);
        }
        let number = held.next;
        held.next += 1;
        let (sender, kept) = oneshot::channel();
        held.all.push(Entry { number, origin, _kept: sender });
        drop(held);
        Place { places: self.clone(), number, kept }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The connection that has to give up its place.
    fn victim(&self) -> Option<usize> {
        let mut counts: HashMap<&Origin, usize> = HashMap::new();
        self.all.iter().for_each(|entry| *counts.entry(&entry.origin).or_default() += 1);
        let most = counts.values().max()?;
        self.all.iter().position(|entry| counts.get(&entry.origin) == Some(most))
    }
}

impl From<IpAddr> for Origin {
    fn from(peer: IpAddr) -> Origin {
        match peer {
            IpAddr::V4(_) => Origin::Network(peer),
            IpAddr::V6(address) => Origin::Network((u128::from(address) >> 64 << 64).to_be_bytes().into()),
        }
    }
}

impl Place {
    /// Completes when another connection has taken the place.
    pub async fn lost(&mut self) {
        let _ = (&mut self.kept).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held().all.retain(|entry| entry.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Origin {
        IpAddr::from([10, 0, 0, last]).into()
    }

    fn is_lost(place: &mut Place) -> bool {
        place.kept.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn a_flood_from_one_address_evicts_its_own_connections() {
        let places = Places::new(4);
        let mut honest = [places.take(address(1)), places.take(address(2))];
        let mut flood: Vec<Place> = (0..100).map(|_| places.take(address(9))).collect();
        assert!(!honest.iter_mut().any(is_lost));
        let left = flood.iter_mut().filter_map(|place| (!is_lost(place)).then_some(place.number)).collect::<Vec<_>>();
        assert_eq!(left, [100, 101]);
    }

    #[test]
    fn an_ipv6_network_is_one_origin() {
        let places = Places::new(4);
        let mut honest = [places.take(address(1)), places.take(address(2))];
        let all: Vec<Place> =
            (1..100u16).map(|last| places.take(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]).into())).collect();
        assert!(!honest.iter_mut().any(is_lost));
        drop(all);
    }

    #[test]
    fn a_flooding_pod_evicts_its_own_connections() {
        let places = Places::new(4);
        let pod = |ordinal: u32| Origin::Pod(format!("mysql-{ordinal}"));
        let mut honest = [places.take(pod(1)), places.take(pod(2))];
        let all: Vec<Place> = (0..100).map(|_| places.take(pod(9))).collect();
        assert!(!honest.iter_mut().any(is_lost));
        drop(all);
    }

    #[test]
    fn among_equal_origins_the_oldest_connection_goes() {
        let places = Places::new(3);
        let mut all: Vec<Place> = (0..4).map(|last| places.take(address(last))).collect();
        assert_eq!(all.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn a_dropped_place_is_free_again() {
        let places = Places::new(2);
        let mut first = places.take(address(1));
        for _ in 0..10 {
            drop(places.take(address(2)));
        }
        assert!(!is_lost(&mut first));
        drop(first);
        assert!(places.held().all.is_empty());
    }
}
