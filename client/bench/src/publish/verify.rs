//! Reading everything back: each acknowledged message is where its ack said, once, byte for byte.

use std::sync::Arc;
use std::time::Instant;

use meridian_sdk::{Client, Item, Start};
use serde::Serialize;
use tokio::task::JoinSet;

use super::bodies::Bodies;
use super::ledger::{Acked, Ledger};
use crate::BenchError;

/// What reading back found.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Verified {
    /// Messages read.
    pub(crate) read: u64,
    /// Acknowledged messages that were where their acks said.
    pub(crate) right: u64,
    /// Acknowledged, and not there.
    pub(crate) lost: u64,
    /// There, with other bytes.
    pub(crate) wrong: u64,
    /// Two messages acknowledged at one offset.
    pub(crate) overlapping: u64,
    /// Read without an ack. Fine as long as no more messages were left without an answer.
    pub(crate) unclaimed: u64,
    /// Offsets left out, or read twice.
    pub(crate) gaps: u64,
    /// How long it took.
    pub(crate) seconds: f64,
    /// All is as it was acknowledged.
    pub(crate) passed: bool,
}

/// Reads every partition to its end.
pub(super) async fn verify(
    client: &Client,
    topic: &str,
    partitions: u32,
    bodies: Arc<super::load::Plan>,
    ledger: &Ledger,
) -> Result<Verified, BenchError> {
    let began = Instant::now();
    let mut reading = JoinSet::new();
    for partition in 0..partitions {
        let check = Check::new(ledger.of_partition(partition));
        reading.spawn(read(client.clone(), topic.to_string(), partition, Arc::clone(&bodies), check));
    }
    let mut sum = Verified::default();
    while let Some(found) = reading.join_next().await {
        let found = found.map_err(|error| BenchError::Local(error.to_string()))??;
        sum.read += found.read;
        sum.right += found.right;
        sum.lost += found.lost;
        sum.wrong += found.wrong;
        sum.overlapping += found.overlapping;
        sum.unclaimed += found.unclaimed;
        sum.gaps += found.gaps;
    }
    sum.seconds = began.elapsed().as_secs_f64();
    let faults = sum.lost + sum.wrong + sum.overlapping + sum.gaps;
    sum.passed = faults == 0 && sum.right == ledger.acked && sum.unclaimed <= ledger.failed();
    Ok(sum)
}

async fn read(
    client: Client,
    topic: String,
    partition: u32,
    plan: Arc<super::load::Plan>,
    mut check: Check,
) -> Result<Verified, BenchError> {
    let mut reader = client.reader(topic).partition(partition).start(Start::Earliest).open().await?;
    while let Some(item) = reader.next().await {
        match item? {
            Item::Record(record) => check.record(record.offset.0, &record.body, &plan.bodies),
            Item::Skipped { .. } => check.found.gaps += 1,
        }
    }
    Ok(check.finish())
}

/// Walks the acked runs of a partition and its records side by side.
struct Check {
    runs: std::vec::IntoIter<Acked>,
    run: Option<Acked>,
    next: u64,
    found: Verified,
}

impl Check {
    fn new(runs: Vec<Acked>) -> Self {
        let overlap = |pair: &[Acked]| (pair[0].offset + pair[0].count).saturating_sub(pair[1].offset);
        let overlapping = runs.windows(2).map(overlap).sum();
        let mut runs = runs.into_iter();
        let run = runs.next();
        Self { runs, run, next: 0, found: Verified { overlapping, ..Verified::default() } }
    }

    fn record(&mut self, offset: u64, body: &[u8], bodies: &Bodies) {
        self.found.read += 1;
        self.found.gaps += u64::from(offset != self.next);
        let expected = std::mem::replace(&mut self.next, offset + 1);
        while let Some(run) = self.run.filter(|run| run.offset + run.count <= offset) {
            self.found.lost += (run.offset + run.count).saturating_sub(expected.max(run.offset));
            self.run = self.runs.next();
        }
        let Some(run) = self.run.filter(|run| run.offset <= offset) else {
            self.found.unclaimed += 1;
            return;
        };
        self.found.lost += offset.saturating_sub(expected.max(run.offset));
        match bodies.is(run.producer, run.counter + (offset - run.offset), body) {
            true => self.found.right += 1,
            false => self.found.wrong += 1,
        }
    }

    fn finish(mut self) -> Verified {
        for run in self.run.into_iter().chain(self.runs) {
            self.found.lost += (run.offset + run.count).saturating_sub(self.next.max(run.offset));
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODIES: Bodies = Bodies::Random { seed: 3, size: 16 };

    /// Two producers' messages in one partition: offsets 0 to 9 and 10 to 14.
    fn claimed() -> Vec<Acked> {
        let run = |offset, producer, counter, count| Acked { partition: 0, offset, producer, counter, count };
        vec![run(0, 0, 0, 10), run(10, 1, 7, 5)]
    }

    fn stored() -> Vec<(u64, Vec<u8>)> {
        let of = |producer: u32, counter: usize| {
            let mut bodies = BODIES.of(producer);
            (0..counter).for_each(|_| drop(bodies.take()));
            bodies.take().to_vec()
        };
        (0..15).map(|at| (at, if at < 10 { of(0, at as usize) } else { of(1, at as usize - 3) })).collect()
    }

    fn checked(claimed: Vec<Acked>, stored: &[(u64, Vec<u8>)]) -> Verified {
        let mut check = Check::new(claimed);
        stored.iter().for_each(|(offset, body)| check.record(*offset, body, &BODIES));
        check.finish()
    }

    #[test]
    fn what_was_acked_and_is_there_is_right() {
        let found = checked(claimed(), &stored());
        assert_eq!((found.read, found.right, found.unclaimed), (15, 15, 0));
        assert_eq!(found.lost + found.wrong + found.gaps + found.overlapping, 0);
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        assert_eq!(checked(claimed(), &stored()[..12]).lost, 3);
        assert_eq!(checked(claimed(), &[]).lost, 15);
    }

    #[test]
    fn other_bytes_are_wrong() {
        let mut stored = stored();
        stored[4].1[3] ^= 1;
        let found = checked(claimed(), &stored);
        assert_eq!((found.right, found.wrong), (14, 1));
    }

    #[test]
    fn a_hole_is_a_gap_and_what_was_in_it_is_lost() {
        for hole in [4..5, 0..3, 2..12, 8..10, 10..13] {
            let mut stored = stored();
            stored.drain(hole.clone());
            let (found, lost) = (checked(claimed(), &stored), hole.len() as u64);
            assert_eq!((found.right, found.gaps, found.lost), (15 - lost, 1, lost), "{hole:?}");
        }
    }

    #[test]
    fn a_second_copy_is_unclaimed() {
        let mut stored = stored();
        stored.push((15, stored[0].1.clone()));
        assert_eq!(checked(claimed(), &stored).unclaimed, 1);
    }

    #[test]
    fn two_acks_for_one_offset_are_seen() {
        let mut claims = claimed();
        claims[1].offset = 8;
        let found = checked(claims, &stored());
        assert_eq!((found.overlapping, found.lost), (2, 0));
    }
}
