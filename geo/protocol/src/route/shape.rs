//! The usual shapes of routes, as tables.

use super::{Leg, RouteError, Routes};
use crate::region::Region;

impl Routes {
    /// Every region ships to every other one.
    pub fn full_mesh(regions: &[Region]) -> Result<Self, RouteError> {
        Self::new(pairs(regions).map(|(origin, destination)| leg(origin, destination, origin)))
    }

    /// Everything passes the centre.
    pub fn star(centre: &Region, around: &[Region]) -> Result<Self, RouteError> {
        let out = around.iter().flat_map(|one| [leg(centre, one, centre), leg(one, centre, one)]);
        let across = pairs(around).map(|(origin, destination)| leg(origin, destination, centre));
        Self::new(out.chain(across))
    }

    /// Each region ships to its neighbours, in both directions.
    pub fn chain(regions: &[Region]) -> Result<Self, RouteError> {
        let at = |region: &Region| regions.iter().position(|other| other == region).unwrap_or_default();
        Self::new(pairs(regions).map(|(origin, destination)| {
            let (from, to) = (at(origin), at(destination));
            let before = if from < to { to.saturating_sub(1) } else { to + 1 };
            leg(origin, destination, &regions[before.min(regions.len() - 1)])
        }))
    }

    /// Many regions ship to one, which ships to none.
    pub fn aggregation(sources: &[Region], sink: &Region) -> Result<Self, RouteError> {
        Self::new(sources.iter().map(|source| leg(source, sink, source)))
    }
}

fn pairs(regions: &[Region]) -> impl Iterator<Item = (&Region, &Region)> {
    let all = regions.iter().flat_map(move |one| regions.iter().map(move |other| (one, other)));
    all.filter(|(one, other)| one != other)
}

fn leg(origin: &Region, destination: &Region, upstream: &Region) -> Leg {
    Leg { origin: origin.clone(), destination: destination.clone(), upstream: upstream.clone() }
}
