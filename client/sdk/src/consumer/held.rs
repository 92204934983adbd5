//! The messages that this consumer holds: delivered and not settled, whether or not the application has seen them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_proto::v1::DeliveredRange;
use tokio::time::Instant;

use super::hold::{Hold, Revoked, Slot};

/// What is known of one of them.
#[derive(Debug)]
struct Entry {
    hold: Arc<Hold>,
    /// The application has it.
    given: bool,
    /// It was refused, and nobody has confirmed that yet.
    refused: bool,
    /// When its lease is to be extended next, and how often.
    extend: Option<(Instant, Duration)>,
}

/// The held set.
#[derive(Debug, Default)]
pub(super) struct Held {
    messages: BTreeMap<(Slot, u64), Entry>,
    extensions: BTreeSet<(Instant, Slot, u64)>,
}

impl Held {
    pub(super) fn len(&self) -> u64 {
        self.messages.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// A message came. What was known of an earlier delivery of it is over. `extend`: its lease is to be extended so
    /// often, beginning at that time.
    pub(super) fn insert(&mut self, hold: Arc<Hold>, extend: Option<(Instant, Duration)>) {
        let place = hold.place();
        self.drop_one(place, Revoked::NotKept);
        if let Some((at, _)) = extend {
            self.extensions.insert((at, place.0, place.1));
        }
        self.messages.insert(place, Entry { hold, given: false, refused: false, extend });
    }

    /// Whether exactly this delivery is held.
    pub(super) fn holds(&self, hold: &Arc<Hold>) -> bool {
        self.messages.get(&hold.place()).is_some_and(|entry| Arc::ptr_eq(&entry.hold, hold))
    }

    /// Whether any delivery of it is held.
    pub(super) fn holds_place(&self, place: (Slot, u64)) -> bool {
        self.messages.contains_key(&place)
    }

    /// The application has it now. `false`: it is held no longer.
    pub(super) fn give(&mut self, hold: &Arc<Hold>) -> bool {
        let entry = self.messages.get_mut(&hold.place()).filter(|entry| Arc::ptr_eq(&entry.hold, hold));
        entry.is_some_and(|entry| {
            entry.given = true;
            true
        })
    }

    /// It is about to be given back.
    pub(super) fn refuse(&mut self, hold: &Arc<Hold>) {
        if let Some(entry) = self.messages.get_mut(&hold.place()) {
            entry.refused = true;
        }
    }

    /// What the application has of a partition up to and including this offset, in order.
    pub(super) fn given_up_to(&self, slot: Slot, offset: u64) -> Vec<Arc<Hold>> {
        let entries = self.messages.range((slot, 0)..=(slot, offset)).map(|(_, entry)| entry);
        entries.filter(|entry| entry.given && !entry.refused).map(|entry| entry.hold.clone()).collect()
    }

    /// It is done with.
    pub(super) fn settle(&mut self, place: (Slot, u64)) {
        self.drop_one(place, Revoked::Settled);
    }

    /// It is this consumer's no longer.
    pub(super) fn revoke(&mut self, place: (Slot, u64), why: Revoked) {
        self.drop_one(place, why);
    }

    /// So is everything of a partition.
    pub(super) fn revoke_all(&mut self, slot: Slot, why: Revoked) {
        self.revoke_range(slot, 0, u64::MAX, why);
    }

    /// So is everything of a partition from an offset up to, not including, another.
    pub(super) fn revoke_range(&mut self, slot: Slot, from: u64, to: u64, why: Revoked) {
        if from >= to {
            return;
        }
        let all: Vec<(Slot, u64)> =
            self.messages.range((slot, from)..(slot, to)).map(|(place, _)| *place).collect();
        all.into_iter().for_each(|place| self.drop_one(place, why));
    }

    /// What is held, by partition and seek epoch, as ranges: what the next stream begins with.
    pub(super) fn ranges(&self) -> BTreeMap<(Slot, u64), Vec<DeliveredRange>> {
        let mut held: BTreeMap<(Slot, u64), Vec<DeliveredRange>> = BTreeMap::new();
        for ((slot, offset), entry) in &self.messages {
            let of = held.entry((*slot, entry.hold.epochs.seek)).or_default();
            push(of, *offset, entry.hold.deliver_at_ms);
        }
        held
    }

    /// When a lease is to be extended next.
    pub(super) fn next_extension(&self) -> Option<Instant> {
        self.extensions.first().map(|(at, ..)| *at)
    }

    /// Whose lease is to be extended now, at most so many. Each is due again after its time.
    pub(super) fn extend(&mut self, now: Instant, max: usize) -> Vec<Arc<Hold>> {
        let mut due = Vec::new();
        while due.len() < max
            && let Some((at, slot, offset)) = self.extensions.first().copied()
            && at <= now
        {
            self.extensions.pop_first();
            let Some(entry) = self.messages.get_mut(&(slot, offset)) else { continue };
            let Some((next, every)) = &mut entry.extend else { continue };
            *next = now + *every;
            self.extensions.insert((*next, slot, offset));
            if !entry.refused {
                due.push(entry.hold.clone());
            }
        }
        due
    }

    fn drop_one(&mut self, place: (Slot, u64), why: Revoked) {
        if let Some(entry) = self.messages.remove(&place) {
            entry.hold.revoke(why);
            if let Some((at, _)) = entry.extend {
                self.extensions.remove(&(at, place.0, place.1));
            }
        }
    }
}

/// Adds a message above all that are there.
pub(super) fn push(ranges: &mut Vec<DeliveredRange>, offset: u64, deliver_at_ms: u64) {
    match ranges.last_mut() {
        Some(last) if last.to == offset && last.deliver_at_ms == deliver_at_ms => last.to += 1,
        _ => ranges.push(DeliveredRange { from: offset, to: offset + 1, deliver_at_ms }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::hold::Epochs;
    use super::*;

    fn held(offsets: &[u64]) -> (Held, Vec<Arc<Hold>>) {
        let mut held = Held::default();
        let holds: Vec<_> = offsets
            .iter()
            .map(|offset| Arc::new(Hold::new(Slot(1), *offset, *offset / 12, Epochs::default())))
            .collect();
        holds.iter().for_each(|hold| held.insert(hold.clone(), None));
        (held, holds)
    }

    #[test]
    fn what_is_held_is_named_as_ranges() {
        let (mut held, holds) = held(&[3, 4, 5, 9, 11, 12]);
        held.settle((Slot(1), 4));
        held.revoke((Slot(1), 9), Revoked::NotKept);
        let ranges = held.ranges().remove(&(Slot(1), 0)).expect("held");
        let ranges: Vec<_> = ranges.iter().map(|range| (range.from, range.to, range.deliver_at_ms)).collect();
        assert_eq!(ranges, [(3, 4, 0), (5, 6, 0), (11, 12, 0), (12, 13, 1)], "times are kept apart");
        assert_eq!((holds[3].revoked(), holds[0].revoked()), (Some(Revoked::NotKept), None));
    }

    #[test]
    fn a_message_that_comes_again_ends_its_earlier_delivery() {
        let (mut held, holds) = held(&[7]);
        assert!(held.give(&holds[0]));
        let again = Arc::new(Hold::new(Slot(1), 7, 0, Epochs { dispatch: 2, ..Epochs::default() }));
        held.insert(again.clone(), None);
        assert_eq!(holds[0].revoked(), Some(Revoked::NotKept));
        assert!(!held.holds(&holds[0]) && held.holds(&again) && !held.give(&holds[0]));
        assert_eq!((held.len(), held.given_up_to(Slot(1), 99).len()), (1, 0));
    }

    #[test]
    fn only_what_the_application_has_is_meant_by_everything_below() {
        let (mut held, holds) = held(&[1, 2, 3, 4]);
        for at in [0, 1, 3] {
            held.give(&holds[at]);
        }
        held.refuse(&holds[0]);
        let below: Vec<u64> = held.given_up_to(Slot(1), 3).iter().map(|hold| hold.offset).collect();
        assert_eq!(below, [2]);
        held.revoke_all(Slot(1), Revoked::Trimmed);
        assert!(held.is_empty() && holds.iter().all(|hold| hold.revoked() == Some(Revoked::Trimmed)));
    }

    #[tokio::test]
    async fn leases_are_extended_again_and_again_until_settled() {
        let (mut held, now, every) = (Held::default(), Instant::now(), Duration::from_secs(10));
        for offset in [1, 2] {
            let hold = Arc::new(Hold::new(Slot(1), offset, 0, Epochs::default()));
            held.insert(hold, Some((now + every, every)));
        }
        assert!(held.extend(now, 10).is_empty());
        assert_eq!(held.extend(now + every, 1).len(), 1, "no more than are asked for");
        assert_eq!(held.extend(now + every, 10).len(), 1);
        held.settle((Slot(1), 1));
        assert_eq!(held.next_extension(), Some(now + every * 2));
        assert_eq!(held.extend(now + every * 2, 10).len(), 1);
        held.settle((Slot(1), 2));
        assert_eq!(held.next_extension(), None);
    }
}
