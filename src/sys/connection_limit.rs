//! Places for connections, and never a queue for one.
//!
//! A stranger holds a connection open for nothing, or opens new ones as fast as it can. Whoever comes gets a place at once:
//! where all are taken somebody else loses his. That is the oldest connection of the address that has the most: an honest
//! peer speaks at once and has one, so it loses its place only to a flood from its own address, and then only if it takes
//! longer than it takes the flood to fill all places.
//!
//! Peers that have proven themselves have places of their own, and no stranger takes one of those. They are told apart by the
//! names of their pods: behind a mesh or NAT all have one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// So many places.
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

/// Where a connection comes from, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Who has one IPv6 address has all of its network.
    Network(IpAddr),
    Pod(String),
}

struct Entry {
    number: u64,
    origin: Origin,
    /// Dropped when the place is another's.
    _kept: oneshot::Sender<()>,
}

/// One of them, for as long as this lives or until it is lost.
pub struct Place {
    places: Arc<Places>,
    number: u64,
    kept: oneshot::Receiver<()>,
}

impl Places {
    pub fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, held: Mutex::default() })
    }

    /// A place for a connection from there, if need be another's.
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
    /// Who has to go.
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
    /// Completes when the place is another's.
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
    fn a_flood_from_one_address_takes_places_from_itself() {
        let places = Places::new(4);
        let mut honest = [places.take(address(1)), places.take(address(2))];
        let mut flood: Vec<Place> = (0..100).map(|_| places.take(address(9))).collect();
        assert!(!honest.iter_mut().any(is_lost));
        let left = flood.iter_mut().filter_map(|place| (!is_lost(place)).then_some(place.number)).collect::<Vec<_>>();
        assert_eq!(left, [100, 101]);
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin() {
        let places = Places::new(4);
        let mut honest = [places.take(address(1)), places.take(address(2))];
        let all: Vec<Place> =
            (1..100u16).map(|last| places.take(IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]).into())).collect();
        assert!(!honest.iter_mut().any(is_lost));
        drop(all);
    }

    #[test]
    fn a_pod_that_floods_takes_places_from_itself() {
        let places = Places::new(4);
        let pod = |ordinal: u32| Origin::Pod(format!("mysql-{ordinal}"));
        let mut honest = [places.take(pod(1)), places.take(pod(2))];
        let all: Vec<Place> = (0..100).map(|_| places.take(pod(9))).collect();
        assert!(!honest.iter_mut().any(is_lost));
        drop(all);
    }

    #[test]
    fn among_equals_the_oldest_goes() {
        let places = Places::new(3);
        let mut all: Vec<Place> = (0..4).map(|last| places.take(address(last))).collect();
        assert_eq!(all.iter_mut().map(is_lost).collect::<Vec<_>>(), [true, false, false, false]);
    }

    #[test]
    fn who_leaves_gives_his_place_back() {
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
