//! What a run met with, counted from its history.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Result, ensure};
use meridian_history::{AckOf, History, Kind, SubscriptionKind};

/// The figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    published: u64,
    settled: u64,
    delivered: u64,
    redelivered: u64,
    nacks: u64,
    leases_ended: u64,
    consumers: u64,
    dispatches: u64,
    leader_changes: u64,
    dead_letters: u64,
}

impl Figures {
    /// `leaders`: who led a partition before each fault, and during it.
    pub(crate) fn of(history: &History, leaders: &[(u64, u64)]) -> Self {
        let leader_changes = leaders.iter().filter(|(before, after)| before != after).count() as u64;
        let mut figures = Self { leader_changes, ..Self::default() };
        let mut times: BTreeMap<(u32, u64), u64> = BTreeMap::new();
        let (mut settled, mut dispatches) = (BTreeSet::new(), BTreeSet::new());
        for op in history.ops.iter().filter(|op| op.is_ok()) {
            match &op.kind {
                Kind::Publish(call) => figures.published += call.messages.len() as u64,
                Kind::Join(_) => figures.consumers += 1,
                Kind::Nack(_) => figures.nacks += 1,
                Kind::LeaseEnd(_) => figures.leases_ended += 1,
                Kind::DeadLetters(call) => {
                    figures.dead_letters += call.letters.iter().flatten().count() as u64
                }
                Kind::Ack(call) => match &call.of {
                    AckOf::Single(offset) => drop(settled.insert((call.by.partition, *offset))),
                    AckOf::Batch(offsets) => {
                        settled.extend(offsets.iter().map(|offset| (call.by.partition, *offset)));
                    }
                    AckOf::Cumulative(_) => {}
                },
                Kind::Deliver(call) => {
                    for delivery in call.deliveries.iter().flatten() {
                        *times.entry((delivery.partition, delivery.offset)).or_default() += 1;
                        dispatches.insert((delivery.partition, delivery.epochs.dispatch));
                    }
                }
                _ => {}
            }
        }
        figures.settled = settled.len() as u64;
        figures.dispatches = dispatches.len() as u64;
        figures.delivered = times.values().sum();
        figures.redelivered = figures.delivered - times.len() as u64;
        figures
    }

    /// A run that met with nothing shows nothing.
    pub(crate) fn expect_something_met(&self, kind: SubscriptionKind) -> Result<()> {
        let letters = if kind.is_owned() { 1 } else { self.dead_letters };
        let met =
            [self.settled, self.redelivered, self.nacks, self.leases_ended, self.leader_changes, letters];
        ensure!(met.iter().all(|count| *count > 0), "something was never met with: {self:?}");
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published {}, settled {}, delivered {}, of these again {}, nacks {}, leases that ended {}, consumers {}, \
             dispatches {}, leader changes {}, dead letters {}",
            self.published,
            self.settled,
            self.delivered,
            self.redelivered,
            self.nacks,
            self.leases_ended,
            self.consumers,
            self.dispatches,
            self.leader_changes,
            self.dead_letters,
        )
    }
}
