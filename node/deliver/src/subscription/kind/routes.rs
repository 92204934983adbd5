//! Which consumer a key belongs to: by ranges that consumers name, or spread over all of them.

use std::collections::BTreeMap;

use meridian_model::ConsumerId;
use meridian_model::hash::key_hash;

use super::{Refusal, Seat};
use crate::subscription::event::KeyRange;

/// Points of one consumer on the ring. The more, the more even; each costs a row.
const POINTS: u64 = 64;

/// Where keys go. Either every consumer names ranges, or none does.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// Ring: a key belongs to the next point at or above its hash. So a consumer that comes or goes moves the keys
    /// of its own points, and no others.
    points: BTreeMap<u64, Seat>,
    /// Named ranges, by their first.
    named: BTreeMap<u16, (u16, Seat)>,
}

impl Routes {
    pub(super) fn of(&self, hash: u64) -> Option<Seat> {
        if self.named.is_empty() {
            let next = self.points.range(hash..).next().or_else(|| self.points.first_key_value());
            return next.map(|(_, seat)| *seat);
        }
        let slot = (hash >> 48) as u16;
        let (_, (last, seat)) = self.named.range(..=slot).next_back()?;
        (slot <= *last).then_some(*seat)
    }

    /// Whether these ranges fit beside those of others.
    pub(super) fn admits(&self, ranges: &[KeyRange], seat: Option<Seat>) -> Result<(), Refusal> {
        let others = |holder: &Seat| Some(*holder) != seat;
        let mixed = match ranges.is_empty() {
            true => self.named.values().any(|(_, holder)| others(holder)),
            false => self.points.values().any(others),
        };
        if mixed {
            return Err(Refusal::RangesMixed);
        }
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable();
        let crossed = sorted.windows(2).any(|pair| pair[1].first <= pair[0].last);
        let taken = |range: &KeyRange| {
            let below = self.named.range(..=range.last).filter(|(_, (_, holder))| others(holder));
            below.into_iter().any(|(_, (last, _))| *last >= range.first)
        };
        let wrong = sorted.iter().any(|range| range.last < range.first || taken(range));
        if crossed || wrong { Err(Refusal::RangeTaken) } else { Ok(()) }
    }

    pub(super) fn add(&mut self, seat: Seat, consumer: ConsumerId, ranges: &[KeyRange]) {
        if !ranges.is_empty() {
            self.named.extend(ranges.iter().map(|range| (range.first, (range.last, seat))));
            return;
        }
        for point in 0..POINTS {
            let place = [&consumer.0[..], &point.to_be_bytes()].concat();
            // Two consumers on one point: the first one has it.
            self.points.entry(key_hash(&place)).or_insert(seat);
        }
    }

    pub(super) fn remove(&mut self, seat: Seat) {
        self.points.retain(|_, holder| *holder != seat);
        self.named.retain(|_, (_, holder)| *holder != seat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(keys: u64) -> impl Iterator<Item = u64> {
        (0..keys).map(|key| key_hash(&key.to_be_bytes()))
    }

    #[test]
    fn keys_are_spread_and_only_those_of_who_leaves_move() {
        let mut routes = Routes::default();
        (0..8).for_each(|number| {
            routes.add(Seat(number), ConsumerId::from_u128(u128::from(number) + 100), &[])
        });
        let before: Vec<Option<Seat>> = spread(8_000).map(|hash| routes.of(hash)).collect();
        for number in 0..8 {
            let has = before.iter().filter(|seat| **seat == Some(Seat(number))).count();
            assert!((500..1_700).contains(&has), "consumer {number} has {has} of 8000 keys");
        }
        routes.remove(Seat(3));
        for (hash, before) in spread(8_000).zip(before) {
            let moved = routes.of(hash) != before;
            assert_eq!(moved, before == Some(Seat(3)));
        }
    }

    #[test]
    fn ranges_are_whole_and_belong_to_one_consumer() {
        let (mut routes, range) = (Routes::default(), |first, last| KeyRange { first, last });
        routes.add(Seat(1), ConsumerId::from_u128(1), &[range(0, 9), range(20, 29)]);
        for wrong in
            [vec![range(9, 9)], vec![range(10, 20)], vec![range(5, 4)], vec![range(40, 50), range(50, 60)]]
        {
            assert_eq!(routes.admits(&wrong, None), Err(Refusal::RangeTaken), "{wrong:?}");
        }
        assert_eq!(routes.admits(&[], None), Err(Refusal::RangesMixed));
        assert_eq!(routes.admits(&[range(10, 19), range(30, u16::MAX)], None), Ok(()));
        assert_eq!(routes.admits(&[range(0, 5)], Some(Seat(1))), Ok(()), "its own may be named anew");
        assert_eq!((routes.of(25 << 48), routes.of(10 << 48)), (Some(Seat(1)), None));
    }
}
