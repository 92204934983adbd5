//! Who watches what a dispatcher does. One promise, one file.

mod acks;
mod keys;
mod owners;
mod possession;
pub(super) mod times;

use std::collections::{BTreeMap, BTreeSet};

use meridian_model::subscription::DelayedRange;
use meridian_model::{ConsumerId, Offset, OffsetRange, Place, UnixMs};

use super::client::Client;
use super::replica::Replica;
use crate::subscription::{Delivery, DispatchBounds};

/// What the promises are about.
pub(super) struct Scene<'a> {
    pub(super) now: u64,
    pub(super) replica: &'a Replica,
    pub(super) clients: &'a [Client],
    pub(super) bounds: &'a DispatchBounds,
}

/// What was seen so far.
#[derive(Default)]
pub(super) struct Judge {
    /// SUB-4: who has a message, and at least until when.
    pub(super) held: BTreeMap<u64, (ConsumerId, u64)>,
    /// SUB-2: acks of these were confirmed.
    pub(super) confirmed: BTreeSet<u64>,
    /// SUB-1: some consumer said that these are done.
    pub(super) said_done: BTreeSet<u64>,
    /// SUB-5: delivered at least once since the last seek.
    pub(super) delivered: BTreeSet<u64>,
    /// SUB-5: who had a message last, in this dispatch.
    pub(super) last_holder: BTreeMap<u64, ConsumerId>,
    /// SUB-6: how often a message failed, since the last seek.
    pub(super) failures: BTreeMap<u64, u32>,
    /// SUB-6: the last attempt that was delivered in this dispatch, and whether it failed.
    pub(super) tried: BTreeMap<u64, (u32, bool)>,
    /// Nothing is delivered before, in this dispatch, unless the owner came back.
    pub(super) grace_until: u64,
}

impl Judge {
    pub(super) fn delivery(&mut self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        self.owner_and_epochs(delivery, scene)?;
        self.one_possession(delivery, scene)?;
        self.not_after_ack(delivery, scene)?;
        self.key_order(delivery, scene)?;
        self.in_time(delivery, scene)?;
        let offset = delivery.place.offset.0;
        self.held.insert(offset, (delivery.consumer, delivery.lease_until.0));
        self.delivered.insert(offset);
        self.last_holder.insert(offset, delivery.consumer);
        self.tried.insert(offset, (delivery.attempt, false));
        Ok(())
    }

    /// A consumer has a message no longer.
    pub(super) fn released(&mut self, offset: u64, failed: bool) {
        self.held.remove(&offset);
        if failed {
            *self.failures.entry(offset).or_default() += 1;
            if let Some(tried) = self.tried.get_mut(&offset) {
                tried.1 = true;
            }
        }
    }

    /// A consumer has nothing any more.
    pub(super) fn released_all(&mut self, consumer: ConsumerId, failed: bool) {
        let held = self.held.iter().filter(|(_, (holder, _))| *holder == consumer);
        let held: Vec<u64> = held.map(|(offset, _)| *offset).collect();
        held.into_iter().for_each(|offset| self.released(offset, failed));
    }

    /// Another dispatcher begins.
    pub(super) fn leader_changed(&mut self) {
        self.held.clear();
        self.last_holder.clear();
        self.tried.clear();
    }

    pub(super) fn sought(&mut self) {
        *self = Self { grace_until: self.grace_until, ..Self::default() };
    }
}

/// Each place that is named, in whichever lane.
fn places<'a>(main: &'a [OffsetRange], delayed: &'a [DelayedRange]) -> impl Iterator<Item = Place> + 'a {
    let main = main.iter().map(|range| DelayedRange { deliver_at: UnixMs(0), range: *range });
    main.chain(delayed.iter().copied()).flat_map(|named| {
        let offsets = named.range.from.0..named.range.to.0;
        offsets.map(move |offset| Place { deliver_at: named.deliver_at, offset: Offset(offset) })
    })
}

pub(super) fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
