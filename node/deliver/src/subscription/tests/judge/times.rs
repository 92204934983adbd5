//! SUB-6: never early, never after expiry, never after the last attempt; attempts are counted.

use meridian_model::subscription::{DeadLetter, Nack, Settlement};
use meridian_model::{Place, UnixMs};

use super::{Delivery, Judge, Scene, ensure, places};

/// More messages with attempts than a run can have.
pub(in crate::subscription::tests) const ATTEMPTS_AMPLE: usize = 1_000;

impl Judge {
    pub(super) fn in_time(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let (replica, offset) = (scene.replica, delivery.place.offset.0);
        let stored = replica.log[offset as usize];
        let said = |what: &str| format!("SUB-6: {delivery:?}: {what}, now {}, {stored:?}", scene.now);
        if stored.is_delayed() {
            ensure(stored.deliver_at <= replica.stamp(), || said("early"))?;
        }
        ensure(stored.expire_at == 0 || scene.now <= stored.expire_at, || said("expired"))?;
        let attempts = replica.attempts(offset);
        ensure(delivery.attempt == attempts.count + 1, || said(&format!("{attempts:?}")))?;
        ensure(attempts.not_before.0 <= scene.now, || said(&format!("{attempts:?}")))?;
        let last = replica.rules.attempts_max.unwrap_or(u32::MAX);
        ensure(delivery.attempt <= last, || said("after the last attempt"))?;
        if let Some((before, failed)) = self.tried.get(&offset) {
            // Where few messages may have attempts one may not be counted.
            let full = scene.bounds.attempts_max < ATTEMPTS_AMPLE;
            ensure(full || !failed || delivery.attempt > *before, || {
                said("a failed attempt was not counted")
            })?;
        }
        Ok(())
    }

    /// Attempts come from failures, and dead letters from the last one.
    pub(in crate::subscription::tests) fn attempts_are_true(
        &self,
        settlement: &Settlement,
        scene: &Scene<'_>,
    ) -> Result<(), String> {
        let replica = scene.replica;
        let failures = |offset: u64| self.failures.get(&offset).copied().unwrap_or_default();
        for (place, nack) in nacked(settlement) {
            let (offset, count) = (nack.offset.0, replica.attempts(nack.offset.0).count);
            ensure(replica.place(offset) == place, || format!("SUB-6: {place:?} failed, in no lane"))?;
            let known = !replica.is_open(offset) || count < failures(offset);
            ensure(known, || format!("SUB-6: {nack:?} after {count} counted, {} failed", failures(offset)))?;
        }
        for (place, dead) in dead(settlement).filter(|(_, dead)| replica.is_open(dead.offset.0)) {
            let (offset, count) = (dead.offset.0, replica.attempts(dead.offset.0).count);
            let needed = replica.rules.attempts_max.unwrap_or(u32::MAX);
            let enough = count + 1 >= needed && failures(offset) >= needed && replica.place(offset) == place;
            ensure(enough, || format!("SUB-6: {dead:?} with {count} attempts of {needed}"))?;
        }
        for place in places(&settlement.expired, &settlement.delayed.expired) {
            let stored = replica.log[place.offset.0 as usize];
            let expired = stored.expire_at > 0 && stored.expire_at < scene.now;
            ensure(expired, || format!("SUB-6: {place:?} is said to be expired, now {}", scene.now))?;
        }
        Ok(())
    }
}

fn nacked(settlement: &Settlement) -> impl Iterator<Item = (Place, Nack)> + '_ {
    let main = settlement.nacked.iter().map(|nack| (UnixMs(0), *nack));
    let all = main.chain(settlement.delayed.nacked.iter().copied());
    all.map(|(deliver_at, nack)| (Place { deliver_at, offset: nack.offset }, nack))
}

fn dead(settlement: &Settlement) -> impl Iterator<Item = (Place, DeadLetter)> + '_ {
    let main = settlement.dead.iter().map(|dead| (UnixMs(0), *dead));
    let all = main.chain(settlement.delayed.dead.iter().copied());
    all.map(|(deliver_at, dead)| (Place { deliver_at, offset: dead.offset }, dead))
}
