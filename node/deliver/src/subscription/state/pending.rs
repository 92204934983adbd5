//! Decisions that wait for a commit: one settlement is in flight at most, the rest is collected.

use std::collections::{BTreeMap, VecDeque};

use meridian_model::subscription::{DeadLetter, DelayedRange, DelayedSettlement, Nack, Settlement};
use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, Place, UnixMs};

use super::{Places, Seat, one};
use crate::subscription::Token;

/// A request of a consumer that is answered when what it said is committed.
#[derive(Clone, Copy, Debug)]
pub(in crate::subscription) struct Request {
    pub(in crate::subscription) seat: Seat,
    /// On which of its streams it was asked.
    pub(in crate::subscription) stream: u64,
    pub(in crate::subscription) number: u64,
}

/// Decisions in the order of nothing: they are about different messages.
#[derive(Debug, Default)]
pub(in crate::subscription) struct Pending {
    pub(in crate::subscription) acked: Places,
    pub(in crate::subscription) expired: Places,
    /// Delayed messages that the reader of the main lane came across.
    pub(in crate::subscription) passed: OffsetRanges,
    /// Not to be delivered again before these times.
    pub(in crate::subscription) nacked: BTreeMap<Place, UnixMs>,
    pub(in crate::subscription) dead: BTreeMap<Place, LogId>,
    pub(in crate::subscription) requests: Vec<Request>,
    /// Keys of messages that are settled by this, for the kind that keeps keys together.
    pub(in crate::subscription) keys: Vec<u64>,
    /// What left the window in the main lane, or was passed there, and is settled by this.
    pub(in crate::subscription) main: usize,
    /// Messages of the delayed lane.
    pub(in crate::subscription) delayed: usize,
    /// Nothing is to be settled, but the stamp is to move.
    pub(in crate::subscription) stamp_wanted: bool,
}

/// Settlements whose outcome is awaited: what was collected when the last one was answered.
#[derive(Debug)]
pub(in crate::subscription) struct InFlight {
    pub(in crate::subscription) token: Token,
    /// What is on its way.
    pub(in crate::subscription) pending: Pending,
    /// What follows, where it was more than one settlement may name.
    pub(in crate::subscription) rest: VecDeque<Pending>,
    /// The floor of the delayed lane that goes with it.
    pub(in crate::subscription) floor: Option<Place>,
    /// The seek epoch under which it was decided.
    pub(in crate::subscription) seek_epoch: u64,
}

/// One of the things that a settlement names, by its first place.
#[derive(Clone, Copy, Debug)]
enum Item {
    Acked(DelayedRange),
    Expired(DelayedRange),
    Passed(OffsetRange),
    Nacked(UnixMs),
    Dead(LogId),
}

impl InFlight {
    /// All of it.
    pub(in crate::subscription) fn parts(&self) -> impl Iterator<Item = &Pending> {
        std::iter::once(&self.pending).chain(&self.rest)
    }

    pub(in crate::subscription) fn parts_mut(&mut self) -> impl Iterator<Item = &mut Pending> {
        std::iter::once(&mut self.pending).chain(&mut self.rest)
    }

    /// All of it, taken apart.
    pub(in crate::subscription) fn into_parts(self) -> impl Iterator<Item = Pending> {
        std::iter::once(self.pending).chain(self.rest)
    }
}

impl Pending {
    pub(in crate::subscription) fn is_empty(&self) -> bool {
        !self.stamp_wanted && self.requests.is_empty() && self.items() == 0
    }

    /// How many ranges, nacks and dead letters these are, as the partition counts them.
    pub(in crate::subscription) fn items(&self) -> usize {
        let ranges = self.acked.ranges() + self.expired.ranges() + self.passed.ranges();
        ranges + self.nacked.len() + self.dead.len()
    }

    /// The first message of the delayed lane that this is about.
    pub(in crate::subscription) fn first_delayed(&self) -> Option<Place> {
        let nacked = self.nacked.range(DELAYED_FIRST..).next().map(|(place, _)| *place);
        let dead = self.dead.range(DELAYED_FIRST..).next().map(|(place, _)| *place);
        let places = [self.acked.first_delayed(), self.expired.first_delayed(), nacked, dead];
        places.into_iter().flatten().min()
    }

    /// In the partition's words.
    pub(in crate::subscription) fn settlement(&self, floor: Option<Place>) -> Settlement {
        let ((acked, delayed_acked), (expired, delayed_expired)) =
            (self.acked.by_lane(), self.expired.by_lane());
        let nack =
            |(place, not_before): (&Place, &UnixMs)| Nack { offset: place.offset, not_before: *not_before };
        let letter = |(place, to): (&Place, &LogId)| DeadLetter { offset: place.offset, destination: *to };
        let (main, late) = (..DELAYED_FIRST, DELAYED_FIRST..);
        Settlement {
            cumulative: None,
            acked,
            expired,
            nacked: self.nacked.range(main).map(nack).collect(),
            dead: self.dead.range(main).map(letter).collect(),
            delayed: DelayedSettlement {
                passed: self.passed.iter().collect(),
                acked: delayed_acked,
                expired: delayed_expired,
                nacked: self.nacked.range(late.clone()).map(|row| (row.0.deliver_at, nack(row))).collect(),
                dead: self.dead.range(late).map(|row| (row.0.deliver_at, letter(row))).collect(),
                floor,
            },
        }
    }

    /// Takes it apart, so that none names more than `items_max`. In the order of places: whatever is settled of it is
    /// settled from below, so it leaves no more holes than all of it. Whoever asked is answered after the last one.
    pub(in crate::subscription) fn split(self, items_max: usize) -> VecDeque<Pending> {
        if self.items() <= items_max {
            return VecDeque::from([self]);
        }
        let mut items: Vec<(Place, Item)> = self.named().collect();
        items.sort_unstable_by_key(|(place, _)| *place);
        if planted!(SettlesInDisorder) {
            items.sort_by_key(|(_, item)| !matches!(item, Item::Passed(_)));
        }
        let mut parts: VecDeque<Pending> = items.chunks(items_max.max(1)).map(Pending::of).collect();
        if let Some(last) = parts.back_mut() {
            (last.requests, last.keys) = (self.requests, self.keys);
            (last.main, last.delayed, last.stamp_wanted) = (self.main, self.delayed, self.stamp_wanted);
        }
        parts
    }

    fn named(&self) -> impl Iterator<Item = (Place, Item)> + '_ {
        let from = |places: &DelayedRange| Place { deliver_at: places.deliver_at, offset: places.range.from };
        let acked = self.acked.iter().map(move |places| (from(&places), Item::Acked(places)));
        let expired = self.expired.iter().map(move |places| (from(&places), Item::Expired(places)));
        let passed = self.passed.iter().map(|range| (Place::main(range.from), Item::Passed(range)));
        let nacked = self.nacked.iter().map(|(place, not_before)| (*place, Item::Nacked(*not_before)));
        let dead = self.dead.iter().map(|(place, to)| (*place, Item::Dead(*to)));
        acked.chain(expired).chain(passed).chain(nacked).chain(dead)
    }

    fn of(items: &[(Place, Item)]) -> Self {
        let mut pending = Self::default();
        for (place, item) in items {
            match item {
                Item::Acked(places) => pending.acked.insert(*places),
                Item::Expired(places) => pending.expired.insert(*places),
                Item::Passed(range) => {
                    pending.passed.insert(*range);
                }
                Item::Nacked(not_before) => {
                    pending.nacked.insert(*place, *not_before);
                }
                Item::Dead(to) => {
                    pending.dead.insert(*place, *to);
                }
            }
        }
        pending
    }

    /// What consumers said is done did not fail.
    pub(in crate::subscription) fn forget_nacks(&mut self, places: DelayedRange) {
        if !self.nacked.is_empty() {
            self.nacked.retain(|place, _| {
                place.deliver_at != places.deliver_at || !places.range.contains(place.offset)
            });
        }
    }

    /// Takes back what was not committed.
    pub(in crate::subscription) fn absorb(&mut self, other: Pending) {
        self.acked.absorb(other.acked);
        self.expired.absorb(other.expired);
        for range in other.passed.iter() {
            self.passed.insert(range);
        }
        self.nacked.extend(other.nacked);
        // What was settled meanwhile did not fail.
        self.nacked.retain(|place, _| !self.acked.contains(*place));
        self.dead.extend(other.dead);
        self.requests.splice(0..0, other.requests);
        self.keys.extend(other.keys);
        self.main += other.main;
        self.delayed += other.delayed;
        self.stamp_wanted |= other.stamp_wanted;
    }

    /// Whether a message is settled by this.
    pub(in crate::subscription) fn settles(&self, place: Place) -> bool {
        self.acked.contains(place) || self.expired.contains(place) || self.dead.contains_key(&place)
    }

    pub(in crate::subscription) fn ack(&mut self, place: Place) {
        self.acked.insert(one(place));
    }
}

/// Nothing in the delayed lane comes before.
pub(in crate::subscription) const DELAYED_FIRST: Place = Place { deliver_at: UnixMs(1), offset: Offset(0) };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_for_one_settlement_is_taken_apart_and_nothing_is_lost() {
        let place = |deliver_at, offset| Place { deliver_at: UnixMs(deliver_at), offset: Offset(offset) };
        let mut pending = Pending::default();
        for offset in [0, 2, 4] {
            pending.ack(place(0, offset));
            pending.ack(place(7, offset + 20));
            pending.expired.insert(one(place(0, offset + 40)));
            pending.nacked.insert(place(0, offset + 60), UnixMs(1));
            pending.dead.insert(place(8, offset + 80), LogId::from_u128(1));
            pending.passed.insert(OffsetRange::one(Offset(offset + 100)));
        }
        pending.requests.push(Request { seat: Seat(1), stream: 0, number: 5 });
        let whole = pending.settlement(None);
        let parts = pending.split(4);
        assert_eq!(parts.iter().map(Pending::items).collect::<Vec<_>>(), [4, 4, 4, 4, 2]);
        assert_eq!(parts.iter().map(|part| part.requests.len()).collect::<Vec<_>>(), [0, 0, 0, 0, 1]);
        let last = |part: &Pending| part.named().map(|(place, _)| place).max();
        let first = |part: &Pending| part.named().map(|(place, _)| place).min();
        assert!(
            parts.iter().zip(parts.iter().skip(1)).all(|(one, next)| last(one) < first(next)),
            "from below"
        );
        let mut again = Pending::default();
        parts.into_iter().for_each(|part| again.absorb(part));
        assert_eq!(again.settlement(None), whole);
    }
}
