//! A set of offsets as half-open ranges: what is settled above a floor, what was skipped, what is missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Offset;

/// Offsets from `from` up to, and without, `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OffsetRange {
    /// The first.
    pub from: Offset,
    /// The one after the last.
    pub to: Offset,
}

impl OffsetRange {
    /// `[from, to)`. Empty where `to` is not above `from`.
    pub fn new(from: Offset, to: Offset) -> Self {
        Self { from, to: to.max(from) }
    }

    /// One offset.
    pub fn one(offset: Offset) -> Self {
        Self { from: offset, to: offset.plus(1) }
    }

    /// How many offsets.
    pub fn len(&self) -> u64 {
        self.to.0 - self.from.0
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Whether it holds an offset.
    pub fn contains(&self, offset: Offset) -> bool {
        self.from <= offset && offset < self.to
    }
}

/// A set of offsets. Ranges in it neither overlap nor touch, so equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetRanges {
    /// The end of each range by its begin.
    ends: BTreeMap<Offset, Offset>,
}

impl OffsetRanges {
    /// No offsets.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many ranges it takes to say which offsets these are.
    pub fn ranges(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no offsets.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many offsets.
    pub fn offsets(&self) -> u64 {
        self.iter().map(|range| range.len()).sum()
    }

    /// In order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = OffsetRange> + '_ {
        self.ends.iter().map(|(from, to)| OffsetRange { from: *from, to: *to })
    }

    /// The range that holds an offset.
    pub fn around(&self, offset: Offset) -> Option<OffsetRange> {
        let (from, to) = self.ends.range(..=offset).next_back()?;
        (offset < *to).then_some(OffsetRange { from: *from, to: *to })
    }

    /// Whether it holds an offset.
    pub fn contains(&self, offset: Offset) -> bool {
        self.around(offset).is_some()
    }

    /// The first offset at or after this one that is not in the set.
    pub fn first_absent(&self, from: Offset) -> Offset {
        self.around(from).map_or(from, |range| range.to)
    }

    /// The ranges that overlap this one or touch it, last first: what [`Self::insert`] would make one of.
    pub fn touching(&self, range: OffsetRange) -> impl Iterator<Item = OffsetRange> + '_ {
        let ends = self.ends.range(..=range.to).rev().map(|(from, to)| OffsetRange { from: *from, to: *to });
        ends.take_while(move |known| known.to >= range.from)
    }

    /// Adds a range. Returns how many offsets are new.
    pub fn insert(&mut self, range: OffsetRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut from, mut to, mut known) = (range.from, range.to, 0);
        // Every range that overlaps or touches becomes part of the new one; they lie next to each other.
        while let Some((begin, end)) = self.ends.range(..=to).next_back().map(|(b, e)| (*b, *e)) {
            if end < from {
                break;
            }
            self.ends.remove(&begin);
            known += overlap(range, begin, end);
            (from, to) = (from.min(begin), to.max(end));
        }
        self.ends.insert(from, to);
        range.len() - known
    }

    /// Takes a range out. Returns how many offsets went.
    pub fn remove(&mut self, range: OffsetRange) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let mut gone = 0;
        while let Some((begin, end)) = self.ends.range(..range.to).next_back().map(|(b, e)| (*b, *e)) {
            if end <= range.from {
                break;
            }
            self.ends.remove(&begin);
            gone += overlap(range, begin, end);
            if begin < range.from {
                self.ends.insert(begin, range.from);
            }
            if end > range.to {
                self.ends.insert(range.to, end);
            }
        }
        gone
    }

    /// The offsets of a range that are not in the set, in order.
    pub fn absent_in(&self, range: OffsetRange) -> Vec<OffsetRange> {
        let (mut absent, mut at) = (Vec::new(), range.from);
        while at < range.to {
            let from = self.first_absent(at);
            let next = self.ends.range(from..).next().map_or(range.to, |(begin, _)| *begin);
            let to = next.min(range.to);
            if from < to {
                absent.push(OffsetRange { from, to });
            }
            at = to.max(from);
        }
        absent
    }
}

impl FromIterator<OffsetRange> for OffsetRanges {
    fn from_iter<I: IntoIterator<Item = OffsetRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

fn overlap(range: OffsetRange, begin: Offset, end: Offset) -> u64 {
    range.to.min(end).0.saturating_sub(range.from.max(begin).0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(from: u64, to: u64) -> OffsetRange {
        OffsetRange::new(Offset(from), Offset(to))
    }

    fn of(set: &BTreeSet<u64>) -> OffsetRanges {
        set.iter().map(|offset| OffsetRange::one(Offset(*offset))).collect()
    }

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = OffsetRanges::from_iter([range(0, 2), range(4, 6)]);
        assert_eq!(set.insert(range(1, 5)), 2);
        assert_eq!(set.iter().collect::<Vec<_>>(), [range(0, 6)]);
    }

    #[test]
    fn taking_nothing_out_of_the_middle_of_a_range_leaves_it_whole() {
        let mut set = OffsetRanges::from_iter([range(0, 6)]);
        assert_eq!(set.remove(range(3, 3)), 0);
        assert_eq!(set.ranges(), 1);
    }

    proptest! {
        /// Every operation does what the same operation on a plain set of numbers does.
        #[test]
        fn it_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..12), 1..60)) {
            let (mut set, mut plain) = (OffsetRanges::new(), BTreeSet::new());
            for (insert, from, len) in steps {
                let before = plain.len();
                let numbers = from..from + len;
                let touched: Vec<_> = set.iter().filter(|r| r.from.0 <= from + len && r.to.0 >= from).collect();
                prop_assert_eq!(set.touching(range(from, from + len)).collect::<Vec<_>>(),
                    touched.into_iter().rev().collect::<Vec<_>>());
                match insert {
                    true => {
                        plain.extend(numbers);
                        prop_assert_eq!(set.insert(range(from, from + len)), (plain.len() - before) as u64);
                    }
                    false => {
                        plain.retain(|offset| !numbers.contains(offset));
                        prop_assert_eq!(set.remove(range(from, from + len)), (before - plain.len()) as u64);
                    }
                }
                prop_assert_eq!(&set, &of(&plain));
                prop_assert_eq!(set.offsets(), plain.len() as u64);
                let absent: Vec<u64> =
                    set.absent_in(range(3, 50)).iter().flat_map(|r| r.from.0..r.to.0).collect();
                prop_assert_eq!(absent, (3..50).filter(|o| !plain.contains(o)).collect::<Vec<_>>());
                for offset in 0..60 {
                    prop_assert_eq!(set.contains(Offset(offset)), plain.contains(&offset));
                    let first = (offset..).find(|o| !plain.contains(o)).map(Offset);
                    prop_assert_eq!(Some(set.first_absent(Offset(offset))), first);
                }
            }
        }
    }
}
