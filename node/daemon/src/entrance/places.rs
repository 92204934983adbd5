//! Places for connections: so many in all, so many for one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Bounds;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The listener has as many as it may.
    Listener,
    /// The address has.
    Address,
}

impl Full {
    pub(super) fn why(self) -> &'static str {
        match self {
            Full::Listener => "this listener has as many connections as it may; try again later",
            Full::Address => "this address has as many connections as it may",
        }
    }
}

/// The places of one listener.
pub(super) struct Places {
    bounds: Bounds,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A place that is taken until this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    remote: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, taken: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>, remote: Option<IpAddr>) -> Result<Place, Full> {
        let mut taken = self.taken.lock();
        if taken.all >= self.bounds.connections_max {
            return Err(Full::Listener);
        }
        if let Some(remote) = remote {
            let count = taken.by_address.entry(remote).or_default();
            if *count >= self.bounds.per_address_max {
                return Err(Full::Address);
            }
            *count += 1;
        }
        taken.all += 1;
        Ok(Place { places: Arc::clone(self), remote })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.all -= 1;
        if let Some(remote) = self.remote
            && let Some(count) = taken.by_address.get_mut(&remote)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&remote);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_place_comes_back_when_its_connection_goes() {
        let second = Duration::from_secs(1);
        let places = Places::new(Bounds {
            connections_max: 3,
            per_address_max: 2,
            handshake_max: second,
            idle_max: second,
            control_frames_per_second_max: 1,
        });
        let here = Some(IpAddr::from([127, 0, 0, 1]));
        let there = Some(IpAddr::from([127, 0, 0, 2]));
        let first = places.take(here).expect("a place");
        let _second = places.take(here).expect("a place");
        assert_eq!(places.take(here).err(), Some(Full::Address));
        let _third = places.take(there).expect("a place");
        assert_eq!(places.take(there).err(), Some(Full::Listener));
        drop(first);
        let _fourth = places.take(here).expect("the place of the first");
        assert_eq!(places.taken.lock().by_address.len(), 2);
    }
}
