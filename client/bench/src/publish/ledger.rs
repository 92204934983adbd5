//! Which message was acknowledged where: runs of neighbours, so that millions of acks take little memory.

use std::collections::BTreeMap;

use meridian_sdk::{Error, Receipt};

/// Messages of one producer, one after the other both in its counting and in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acked {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) producer: u32,
    pub(super) counter: u64,
    pub(super) count: u64,
}

/// What became of messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    runs: Vec<Acked>,
    pub(super) acked: u64,
    /// Acks of a batch that an earlier copy had stored already.
    pub(super) duplicates: u64,
    /// Failed messages by reason.
    pub(super) errors: BTreeMap<&'static str, u64>,
}

impl Ledger {
    pub(super) fn note(&mut self, producer: u32, counter: u64, outcome: &Result<Receipt, Error>) {
        match outcome {
            Ok(receipt) => {
                self.acked += 1;
                self.duplicates += u64::from(receipt.duplicate);
                self.extend(producer, counter, receipt.partition, receipt.offset.0);
            }
            Err(error) => *self.errors.entry(error.reason()).or_default() += 1,
        }
    }

    fn extend(&mut self, producer: u32, counter: u64, partition: u32, offset: u64) {
        if let Some(last) = self.runs.last_mut() {
            let follows = last.counter + last.count == counter && last.offset + last.count == offset;
            if follows && (last.producer, last.partition) == (producer, partition) {
                last.count += 1;
                return;
            }
        }
        self.runs.push(Acked { partition, offset, producer, counter, count: 1 });
    }

    pub(super) fn merge(&mut self, other: Ledger) {
        self.runs.extend(other.runs);
        self.acked += other.acked;
        self.duplicates += other.duplicates;
        for (reason, count) in other.errors {
            *self.errors.entry(reason).or_default() += count;
        }
    }

    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// What a partition was acknowledged to hold, in the order of its offsets.
    pub(super) fn of_partition(&self, partition: u32) -> Vec<Acked> {
        let mut runs: Vec<Acked> =
            self.runs.iter().filter(|run| run.partition == partition).copied().collect();
        runs.sort_unstable_by_key(|run| run.offset);
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_one_run() {
        let mut ledger = Ledger::default();
        (0..100).for_each(|i| ledger.extend(0, i, 2, 50 + i));
        ledger.extend(0, 100, 1, 150);
        ledger.extend(0, 101, 2, 10);
        ledger.extend(0, 103, 2, 11);
        let first = Acked { partition: 2, offset: 50, producer: 0, counter: 0, count: 100 };
        let offsets: Vec<(u64, u64)> =
            ledger.of_partition(2).iter().map(|run| (run.offset, run.count)).collect();
        assert_eq!(offsets, [(10, 1), (11, 1), (50, 100)]);
        assert_eq!(ledger.of_partition(2)[2], first);
    }
}
