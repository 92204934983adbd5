//! Subscriptions: what is settled, what failed, what leaves for another topic, and who owns what.
//!
//! Everything that must survive a leader is here; consumers, credit and leases are the leader's alone.

mod delayed_lane;
mod delayed_log;
mod hold;
mod journal;
mod keys;
mod lifecycle;
mod main_lane;
mod outbox;
mod refusal;
mod restore;
mod seek;
mod settle;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use meridian_model::SubscriptionId;
use serde::{Deserialize, Serialize};

pub use self::delayed_log::DelayedBatch;
use self::delayed_log::DelayedLog;
pub(super) use self::hold::Waits;
pub use self::hold::{DroppedBacklog, HeldBy, TrimHold};
use self::journal::Journal;
pub use self::outbox::Destination;
pub use self::refusal::{SubscriptionBound, SubscriptionRefusal};
pub(super) use self::restore::{FoundSubscriptions, Log};
use self::settle::Now;
pub use self::state::Dropped;
use self::state::Subscription;
pub use self::view::{Backlog, SubscriptionView};
use super::{PartitionMachine, PartitionReply};
use crate::command::{SettlePart, SubscriptionCommand};
use crate::{At, Effect, Table};

/// What became of one part of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettleOutcome {
    /// All of it is in force.
    Applied,
    /// Nothing of it is.
    Refused(SubscriptionRefusal),
}

/// Numbers about subscriptions in the core row: see [`Subscriptions::scalars`].
pub(super) const SCALARS: usize = 9;

/// Every subscription of a partition, and its delayed batches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscriptions {
    rows: BTreeMap<SubscriptionId, Subscription>,
    /// Subscriptions that were dropped, and the control index of that.
    gone: BTreeMap<SubscriptionId, u64>,
    dispatch_epoch: u64,
    /// The last entry after which delayed messages may be live that were settled before it.
    revived_at: u64,
    delayed: DelayedLog,
    journal: Journal,
}

impl Subscriptions {
    /// For the core row: epochs, what is counted of delayed messages, and how many rows each table has.
    pub(super) fn scalars(&self) -> [u64; SCALARS] {
        let delayed = &self.delayed;
        [
            self.dispatch_epoch,
            self.revived_at,
            delayed.messages,
            delayed.trimmed,
            delayed.open.batches,
            delayed.open.messages,
            delayed.segments.len() as u64,
            self.rows.len() as u64,
            self.gone.len() as u64,
        ]
    }

    /// A batch was stored that is due later than now.
    pub(super) fn store_delayed(&mut self, first: meridian_model::Place, count: u32) {
        self.delayed.store(first, count, &mut self.journal);
    }

    pub(super) fn segment_closed(&mut self, index: u64) {
        self.delayed.close(index, &mut self.journal);
    }

    pub(super) fn segment_removed(&mut self, index: u64) {
        self.delayed.remove(index, &mut self.journal);
    }

    /// Writes each changed row once.
    pub(super) fn flush(&mut self, effects: &mut Vec<Effect>) {
        self.journal.flush(effects);
    }

    /// A subscription, for a command that names it.
    fn known(&mut self, id: SubscriptionId) -> Result<&mut Subscription, SubscriptionRefusal> {
        self.rows.get_mut(&id).ok_or(SubscriptionRefusal::Unknown)
    }

    /// Writes a subscription's row.
    fn write(&mut self, id: SubscriptionId) {
        if let Some(sub) = self.rows.get(&id) {
            self.journal.update(Table::Subscription, keys::subscription(id), sub.row());
        }
    }
}

impl PartitionMachine {
    pub(super) fn apply_subscription(
        &mut self,
        at: At,
        command: &SubscriptionCommand,
        effects: &mut Vec<Effect>,
    ) -> PartitionReply {
        let done = match command {
            SubscriptionCommand::SetSubscription { control_index, id, rules, start, .. } => {
                self.set_subscription(at, *control_index, *id, rules, *start)
            }
            SubscriptionCommand::DropSubscription { control_index, id, .. } => {
                self.subscriptions.drop_subscription(*control_index, *id, &self.bounds)
            }
            SubscriptionCommand::BeginDispatch { .. } => {
                self.subscriptions.dispatch_epoch = at.index;
                Ok(PartitionReply::DispatchBegun { epoch: at.index })
            }
            SubscriptionCommand::Own { id, owner, .. } => self.subscriptions.own(*id, *owner),
            SubscriptionCommand::Settle { parts, .. } => Ok(self.settle(parts)),
            SubscriptionCommand::Seek { id, to, .. } => self.seek(at, *id, *to),
            SubscriptionCommand::Moved { id, destination, through_sequence, .. } => {
                let subs = &mut self.subscriptions;
                let left = subs.rows.get_mut(id).ok_or(SubscriptionRefusal::Unknown).and_then(|sub| {
                    sub.outbox.moved(*id, *destination, *through_sequence, &mut subs.journal)
                });
                left.map(|left| PartitionReply::DeadLettersMoved { left })
            }
            SubscriptionCommand::SweepDelayed { batches, .. } => Ok(self.sweep_delayed(batches, effects)),
            SubscriptionCommand::TrimBacklog {
                before,
                keep_bytes,
                forget_producers_before,
                live_delayed,
                drop_backlog,
                ..
            } => {
                self.forget_producers(*forget_producers_before, effects);
                let waits = Waits { live_delayed: *live_delayed, drop_backlog: *drop_backlog };
                Ok(self.trim(at, *before, *keep_bytes, waits, effects))
            }
        };
        done.unwrap_or_else(PartitionReply::SubscriptionRefused)
    }

    fn settle(&mut self, parts: &[SettlePart]) -> PartitionReply {
        let start = self.start();
        let subs = &mut self.subscriptions;
        let now = Now {
            start,
            end: self.core.end,
            stamp: self.core.last_stamp,
            delayed: subs.delayed.messages,
            bounds: &self.bounds,
        };
        let mut outcomes = Vec::with_capacity(parts.len());
        for (part, nth) in parts.iter().zip(0..) {
            let settled = match subs.rows.get_mut(&part.id) {
                _ if nth >= self.bounds.settle_parts_max => {
                    Err(SubscriptionRefusal::Bound(SubscriptionBound::Parts))
                }
                None => Err(SubscriptionRefusal::Unknown),
                Some(sub) => sub.settle(part, &now, &mut subs.journal),
            };
            outcomes.push(match settled {
                Ok(()) => {
                    subs.write(part.id);
                    SettleOutcome::Applied
                }
                Err(refusal) => SettleOutcome::Refused(refusal),
            });
        }
        PartitionReply::Settled(outcomes)
    }

    /// Removes rows of delayed batches, but only below the log's start, where they mean nothing.
    fn sweep_delayed(&self, batches: &[meridian_model::Place], effects: &mut Vec<Effect>) -> PartitionReply {
        let swept: std::collections::BTreeSet<_> = batches
            .iter()
            .filter(|first| first.offset < self.start() || planted!(SweepsLive))
            .take(self.bounds.delayed_swept_max)
            .collect();
        for first in &swept {
            let (by_time, by_offset) = (keys::by_time(**first), keys::by_offset(first.offset));
            effects.push(Effect::Delete { table: Table::DelayedByTime, key: by_time });
            effects.push(Effect::Delete { table: Table::DelayedByOffset, key: by_offset });
        }
        PartitionReply::DelayedSwept { batches: swept.len() as u64 }
    }
}

/// Bounds so small that random runs meet every one of them.
#[cfg(test)]
pub(super) const SMALL_BOUNDS: super::Bounds = super::Bounds {
    producers_max: 5,
    window_batches: 4,
    horizon_ms: 45,
    segment_age_ms: 60,
    forgotten_per_trim_max: 1,
    subscriptions_max: 3,
    dropped_max: 2,
    settled_ranges_max: 3,
    settled_delayed_max: 2,
    attempts_max: 2,
    dead_letters_max: 3,
    destinations_max: 2,
    settle_parts_max: 3,
    settle_items_max: 5,
    delayed_swept_max: 2,
};
