//! What must be true at all times, and what must be true in the end. Shares no code with the protocol's decisions.

use std::collections::BTreeSet;

use meridian_model::{LogId, Offset};

use super::coverage::{Coverage as Counts, Met};
use super::image::Image;
use super::receiver::Receiver;
use super::world::{LEGS, Leg, Origin, World, region};
use crate::frame::{Item, Skip, SkipReason};
use crate::region::{Region, Stamp};

/// Rounds in which a healthy world has everything.
const ROUNDS_MAX: usize = 60;

/// Whether a message is to be in a region, by both of its sets.
pub(super) fn goes(stamp: &Stamp, region: &Region) -> bool {
    stamp.regions.contains(region) && stamp.allowed.contains(region)
}

impl World {
    /// GEO-1, GEO-3, GEO-5 for both receivers.
    pub(super) fn check(&self) -> Result<(), String> {
        [&self.hop, &self.destination].into_iter().try_for_each(|receiver| self.check_receiver(receiver))
    }

    fn check_receiver(&self, receiver: &Receiver) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (log, image) in &receiver.images {
            let why = |what: &str, at: Offset| Err(format!("{}: {log} at {at}: {what}", receiver.name));
            let origin = self.origin(*log).ok_or("a log that nobody made")?;
            let mut at = Offset(0);
            let mut history = None;
            for item in &image.items {
                let range = item.range();
                if range.from != at {
                    return why("a gap or an overlap", at);
                }
                at = range.to;
                if matches!(item, Item::Skip(skip) if !skip.verified) {
                    // A sender's heads were gone, and it said so: another history may begin after this skip.
                    history = None;
                    continue;
                }
                match item {
                    Item::Batch(shipped) => {
                        if !seen.insert(shipped.batch.bytes().clone()) {
                            return why("stored twice", range.from);
                        }
                        if !goes(&shipped.stamp, &region(receiver.name)) {
                            return why("must not be here", range.from);
                        }
                        let of = [Some(&origin.image), origin.before.as_ref()].map(|held| holds(held, item));
                        if of == [false, false] {
                            return why("never was there", range.from);
                        }
                        let before: [bool; 2] = history.unwrap_or([true, true]);
                        history = Some([before[0] && of[0], before[1] && of[1]]);
                        if history == Some([false, false]) {
                            return why("of another history than what is before it", range.from);
                        }
                    }
                    Item::Skip(skip) if self.is_true(origin, skip, receiver) => {}
                    Item::Skip(skip) => {
                        return why(&format!("a skip that lies: {:?}", skip.reason), range.from);
                    }
                }
            }
            let open = receiver.coverage.row(*log);
            if open.is_some_and(|row| row.watermark != at) {
                return why("is not the watermark", at);
            }
        }
        Ok(())
    }

    fn origin(&self, log: LogId) -> Option<&Origin> {
        self.origins.iter().find(|origin| origin.image.log == log)
    }

    /// Whether the reason holds for every message of a skip, in some history.
    fn is_true(&self, origin: &Origin, skip: &Skip, receiver: &Receiver) -> bool {
        let here = region(receiver.name);
        let hop = self.hop.images.get(&origin.image.log).map_or(Offset(0), |image| image.start);
        let before = origin.before.as_ref().map_or(Offset(0), |image| image.start);
        let trimmed = origin.image.start.max(before).max(hop);
        let in_history = |image: &Image| {
            let inside = image
                .items
                .iter()
                .filter(|item| item.range().from < skip.range.to && item.range().to > skip.range.from);
            let all: Vec<&Item> = inside.collect();
            image.end() >= skip.range.to
                && all.iter().all(|item| match (item, skip.reason) {
                    (Item::Skip(known), reason) => known.reason == reason || reason == SkipReason::Trimmed,
                    (Item::Batch(_), SkipReason::Trimmed) => skip.range.to <= trimmed,
                    (Item::Batch(_), SkipReason::BeforeLink) => skip.range.to <= origin.base,
                    (Item::Batch(b), SkipReason::Narrowed | SkipReason::Residency) => {
                        // A barrier is of the origin's history; a hop that is still on the one before the disks were
                        // rolled back lacks what was for the destination alone, and the origin lacks it too.
                        !goes(&b.stamp, &here) || (origin.before.is_some() && !goes(&b.stamp, &region("h")))
                    }
                    (Item::Batch(b), SkipReason::Expired) => b.batch.header().expire_at < self.now,
                })
        };
        in_history(&origin.image) || origin.before.as_ref().is_some_and(in_history)
    }

    /// A good network, nobody fails, everybody is told: rounds until nothing moves.
    pub(super) fn heal(&mut self, counts: &mut Counts) -> Result<(), String> {
        self.network.clear();
        self.open_all();
        for receiver in [&mut self.hop, &mut self.destination] {
            receiver.proposed.clear();
        }
        let logs: Vec<LogId> = self.origins.iter().map(|origin| origin.image.log).collect();
        for (leg, log) in LEGS.iter().flat_map(|leg| logs.iter().map(move |log| (*leg, *log))) {
            self.start(leg, log, counts)?;
        }
        for _ in 0..ROUNDS_MAX {
            while !self.network.is_empty() {
                let packet = self.network.remove(0);
                self.arrive(packet, counts)?;
                for receiver in [&mut self.hop, &mut self.destination] {
                    while let Some(reply) = receiver.apply(counts)? {
                        self.network.push(reply);
                    }
                }
                self.check()?;
            }
            for log in &logs {
                self.tell_end(Leg::HopToDestination, *log, counts)?;
            }
            if self.network.is_empty() {
                return Ok(());
            }
        }
        Err("does not come to rest".into())
    }

    /// GEO-2: everything has arrived, except where an origin changed its past.
    pub(super) fn check_complete(&self, counts: &mut Counts) -> Result<(), String> {
        for origin in self.origins.iter().filter(|origin| !origin.deleted && origin.before.is_none()) {
            let (log, end) = (origin.image.log, origin.image.end());
            let (at, hop) = (self.destination.watermark(log), self.hop.watermark(log));
            if (at, hop) != (end, end) {
                return Err(format!(
                    "{log} ends at {end}; the hop is at {hop}, the destination at {at}; {:?}",
                    self.stopped
                ));
            }
            counts.met(Met::HealedComplete);
            let row = self.destination.coverage.row(log);
            if row.is_some_and(|row| row.upstream == region("h")) {
                counts.met(Met::HealedOverHop);
            }
        }
        Ok(())
    }
}

fn holds(image: Option<&Image>, item: &Item) -> bool {
    image.is_some_and(|image| image.items.contains(item))
}
