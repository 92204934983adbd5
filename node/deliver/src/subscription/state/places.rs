//! Messages of both lanes, as ranges of places.

use std::collections::BTreeMap;

use meridian_model::subscription::DelayedRange;
use meridian_model::{Offset, OffsetRange, OffsetRanges, Place, UnixMs};

/// A set of places. Those of the main lane have the time zero, as everywhere.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Places {
    lanes: BTreeMap<UnixMs, OffsetRanges>,
    ranges: usize,
}

/// A place as the smallest range.
pub(in crate::subscription) fn one(place: Place) -> DelayedRange {
    DelayedRange { deliver_at: place.deliver_at, range: OffsetRange::one(place.offset) }
}

/// A range of the main lane.
pub(in crate::subscription) fn main(range: OffsetRange) -> DelayedRange {
    DelayedRange { deliver_at: UnixMs(0), range }
}

impl Places {
    pub(in crate::subscription) fn insert(&mut self, places: DelayedRange) {
        if places.range.is_empty() {
            return;
        }
        let set = self.lanes.entry(places.deliver_at).or_default();
        let before = set.ranges();
        set.insert(places.range);
        self.ranges = self.ranges - before + set.ranges();
    }

    pub(in crate::subscription) fn contains(&self, place: Place) -> bool {
        self.lanes.get(&place.deliver_at).is_some_and(|set| set.contains(place.offset))
    }

    pub(in crate::subscription) fn is_empty(&self) -> bool {
        self.ranges == 0
    }

    /// How many ranges it takes to say which these are.
    pub(in crate::subscription) fn ranges(&self) -> usize {
        self.ranges
    }

    pub(in crate::subscription) fn iter(&self) -> impl Iterator<Item = DelayedRange> + '_ {
        self.lanes.iter().flat_map(|(deliver_at, set)| ranges(*deliver_at, set))
    }

    /// Those of the main lane, and those of the delayed one.
    pub(in crate::subscription) fn by_lane(&self) -> (Vec<OffsetRange>, Vec<DelayedRange>) {
        let of_main = self.lanes.get(&UnixMs(0)).into_iter().flat_map(OffsetRanges::iter).collect();
        let delayed = self.lanes.range(UnixMs(1)..);
        (of_main, delayed.flat_map(|(deliver_at, set)| ranges(*deliver_at, set)).collect())
    }

    /// The first one of the delayed lane.
    pub(in crate::subscription) fn first_delayed(&self) -> Option<Place> {
        let (deliver_at, set) = self.lanes.range(UnixMs(1)..).next()?;
        set.iter().next().map(|range| Place { deliver_at: *deliver_at, offset: range.from })
    }

    /// Takes out what lies before a place.
    pub(in crate::subscription) fn remove_before(&mut self, place: Place) {
        while let Some(mut first) = self.lanes.first_entry()
            && *first.key() <= place.deliver_at
        {
            let before = first.get().ranges();
            if *first.key() < place.deliver_at {
                self.ranges -= before;
                first.remove();
                continue;
            }
            first.get_mut().remove(OffsetRange::new(Offset(0), place.offset));
            self.ranges = self.ranges - before + first.get().ranges();
            if first.get().is_empty() {
                first.remove();
            }
            return;
        }
    }

    /// Adds all of another set.
    pub(in crate::subscription) fn absorb(&mut self, other: Self) {
        match self.is_empty() {
            true => *self = other,
            false => other.iter().for_each(|places| self.insert(places)),
        }
    }
}

fn ranges(deliver_at: UnixMs, set: &OffsetRanges) -> impl Iterator<Item = DelayedRange> + '_ {
    set.iter().map(move |range| DelayedRange { deliver_at, range })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(deliver_at: u64, from: u64, to: u64) -> DelayedRange {
        DelayedRange { deliver_at: UnixMs(deliver_at), range: OffsetRange::new(Offset(from), Offset(to)) }
    }

    fn places(ranges: &[DelayedRange]) -> Places {
        let mut places = Places::default();
        ranges.iter().for_each(|range| places.insert(*range));
        places
    }

    #[test]
    fn ranges_of_one_time_become_one_and_others_do_not() {
        let places = places(&[at(0, 1, 2), at(0, 2, 3), at(5, 3, 4), at(6, 4, 5), at(6, 9, 9)]);
        assert_eq!(places.ranges(), 3);
        assert_eq!(places.by_lane().0, [OffsetRange::new(Offset(1), Offset(3))]);
        assert_eq!(places.first_delayed(), Some(Place { deliver_at: UnixMs(5), offset: Offset(3) }));
    }

    #[test]
    fn what_lies_before_a_place_goes_and_the_rest_stays() {
        let mut places = places(&[at(5, 1, 9), at(6, 0, 4), at(6, 6, 7), at(7, 0, 1)]);
        places.remove_before(Place { deliver_at: UnixMs(6), offset: Offset(2) });
        assert_eq!(places.iter().collect::<Vec<_>>(), [at(6, 2, 4), at(6, 6, 7), at(7, 0, 1)]);
        assert_eq!(places.ranges(), 3);
        places.remove_before(Place { deliver_at: UnixMs(6), offset: Offset(7) });
        assert_eq!((places.ranges(), places.iter().next()), (1, Some(at(7, 0, 1))));
    }
}
