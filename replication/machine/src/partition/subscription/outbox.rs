//! Dead letters on their way: for each destination in a dense order, from 0, for ever (SUB-6).

use std::collections::BTreeMap;

use meridian_model::{LogId, Place, SubscriptionId};

use super::journal::Journal;
use super::{SubscriptionRefusal, keys};
use crate::Table;

/// What goes to one history of another partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// What the next dead letter gets.
    pub next_sequence: u64,
    /// Those that have not arrived, by sequence: where each stands here.
    pub letters: BTreeMap<u64, Place>,
}

/// Every dead letter of a subscription that has not arrived. A destination is never forgotten: its sequence must go
/// on where it was, or the destination would take a new letter for an old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    pub(super) destinations: BTreeMap<LogId, Destination>,
    /// Dead letters over all destinations.
    pub(super) letters: usize,
}

impl Outbox {
    /// A message leaves.
    pub(super) fn send(&mut self, id: SubscriptionId, to: LogId, place: Place, journal: &mut Journal) {
        let known = self.destinations.contains_key(&to);
        let destination = self.destinations.entry(to).or_default();
        let sequence = destination.next_sequence;
        destination.letters.insert(sequence, place);
        destination.next_sequence += 1;
        self.letters += 1;
        let key = keys::letter(id, to, sequence);
        journal.insert(
            Table::DeadLetter,
            key,
            [place.deliver_at.0, place.offset.0].map(u64::to_le_bytes).concat(),
        );
        let (key, value) = (keys::destination(id, to), destination.row());
        match known {
            true => journal.update(Table::Destination, key, value),
            false => journal.insert(Table::Destination, key, value),
        }
    }

    /// Letters arrived. Returns how many are still on their way there.
    pub(super) fn moved(
        &mut self,
        id: SubscriptionId,
        to: LogId,
        through: u64,
        journal: &mut Journal,
    ) -> Result<u64, SubscriptionRefusal> {
        let destination = self.destinations.get_mut(&to);
        let destination = destination.filter(|d| through < d.next_sequence);
        let destination = destination.ok_or(SubscriptionRefusal::NeverSent)?;
        let through = if planted!(MovesOneTooFew) { through.saturating_sub(1) } else { through };
        let left = destination.letters.split_off(&(through + 1));
        let arrived = std::mem::replace(&mut destination.letters, left);
        self.letters -= arrived.len();
        for sequence in arrived.keys() {
            journal.delete(Table::DeadLetter, keys::letter(id, to, *sequence));
        }
        if planted!(MovedForgetsSequence) && destination.letters.is_empty() {
            destination.next_sequence = 0;
        }
        journal.update(Table::Destination, keys::destination(id, to), destination.row());
        Ok(destination.letters.len() as u64)
    }

    /// The places of all letters on their way.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.destinations.values().flat_map(|destination| destination.letters.values().copied())
    }

    pub(super) fn delete_rows(&self, id: SubscriptionId, journal: &mut Journal) {
        for (to, destination) in &self.destinations {
            journal.delete(Table::Destination, keys::destination(id, *to));
            for sequence in destination.letters.keys() {
                journal.delete(Table::DeadLetter, keys::letter(id, *to, *sequence));
            }
        }
    }
}

impl Destination {
    /// Bytes: next sequence 8, letters on their way 4.
    fn row(&self) -> Vec<u8> {
        [&self.next_sequence.to_le_bytes()[..], &(self.letters.len() as u32).to_le_bytes()].concat()
    }
}
