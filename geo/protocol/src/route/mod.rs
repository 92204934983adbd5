//! Routes: over which regions the messages of an origin reach a destination (section 6 of the design).
//!
//! For each (origin, destination) there is exactly one upstream, the region that ships to the destination. The origin
//! is part of every message and a destination asks nobody else, so nothing loops and nothing arrives on two ways.

mod change;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use self::change::{ChangeError, RouteChange};
use crate::region::{Region, RegionSet};

/// Which version of the route of one (origin, destination). Counts up; ingress takes the present one only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteEpoch(pub u64);

impl fmt::Display for RouteEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One line of a table of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Whose messages.
    pub origin: Region,
    /// To whom.
    pub destination: Region,
    /// Who ships to the destination: the origin itself, or a region that gets these messages too.
    pub upstream: Region,
}

/// A table of routes in which every message arrives and none goes round. Made only by [`Routes::new`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// The upstream by (origin, destination).
    upstreams: BTreeMap<(Region, Region), Region>,
}

/// Why a table is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Two upstreams for one destination: its messages would race each other.
    #[error("{destination} has two upstreams for the messages of {origin}")]
    TwoUpstreams {
        /// Whose messages.
        origin: Region,
        /// To whom.
        destination: Region,
    },
    /// A region ships to itself, or an origin is sent its own messages.
    #[error("{0} is at both ends of a leg")]
    ToItself(Region),
    /// The upstream does not get these messages.
    #[error("{upstream} should ship the messages of {origin}, but gets none")]
    Broken {
        /// Whose messages.
        origin: Region,
        /// Who lacks them.
        upstream: Region,
    },
    /// Going up from the destination never reaches the origin.
    #[error("the messages of {origin} for {destination} would come from {destination} itself")]
    Loop {
        /// Whose messages.
        origin: Region,
        /// To whom.
        destination: Region,
    },
}

/// A region set that cannot be served: a batch for the destination would have to pass a region it must not enter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("messages for {destination} pass {hop}, which the region set omits")]
pub struct OmitsHop {
    /// For whom.
    pub destination: Region,
    /// Which region is missing in the set.
    pub hop: Region,
}

impl Routes {
    /// Checks a table.
    pub fn new(legs: impl IntoIterator<Item = Leg>) -> Result<Self, RouteError> {
        let mut upstreams = BTreeMap::new();
        for Leg { origin, destination, upstream } in legs {
            if destination == origin || destination == upstream {
                return Err(RouteError::ToItself(destination));
            }
            if upstreams.insert((origin.clone(), destination.clone()), upstream).is_some() {
                return Err(RouteError::TwoUpstreams { origin, destination });
            }
        }
        let routes = Self { upstreams };
        routes.upstreams.keys().try_for_each(|(origin, destination)| routes.check(origin, destination))?;
        Ok(routes)
    }

    fn check(&self, origin: &Region, destination: &Region) -> Result<(), RouteError> {
        let mut passed = BTreeSet::new();
        let mut at = destination;
        while at != origin {
            if !passed.insert(at) {
                return Err(RouteError::Loop { origin: origin.clone(), destination: at.clone() });
            }
            at = self
                .upstream(origin, at)
                .ok_or_else(|| RouteError::Broken { origin: origin.clone(), upstream: at.clone() })?;
        }
        Ok(())
    }

    /// Who ships the messages of an origin to a destination. `None`: they do not go there.
    pub fn upstream(&self, origin: &Region, destination: &Region) -> Option<&Region> {
        self.upstreams.get(&(origin.clone(), destination.clone()))
    }

    /// To whom a region ships the messages of an origin.
    pub fn downstreams<'a>(
        &'a self,
        origin: &'a Region,
        from: &'a Region,
    ) -> impl Iterator<Item = &'a Region> {
        let legs = self.upstreams.iter().filter(move |((o, _), upstream)| o == origin && *upstream == from);
        legs.map(|((_, destination), _)| destination)
    }

    /// The regions between an origin and a destination, nearest to the destination first.
    pub fn hops<'a>(&'a self, origin: &'a Region, destination: &'a Region) -> Vec<&'a Region> {
        let ups = std::iter::successors(self.upstream(origin, destination), |at| self.upstream(origin, at));
        ups.take_while(|at| *at != origin).collect()
    }

    /// Whether a region set can be served from an origin: it names every hop to every region that it names. Asked
    /// at publish; a batch that fails is refused there and stored nowhere.
    pub fn check_set(&self, origin: &Region, set: &RegionSet) -> Result<(), OmitsHop> {
        let destinations = self.upstreams.keys().filter(|(o, d)| o == origin && set.contains(d));
        for (_, destination) in destinations {
            if let Some(hop) = self.hops(origin, destination).into_iter().find(|hop| !set.contains(hop)) {
                return Err(OmitsHop { destination: destination.clone(), hop: hop.clone() });
            }
        }
        Ok(())
    }
}
