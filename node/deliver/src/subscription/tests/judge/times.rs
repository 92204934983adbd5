//! SUB-6: never early, never after expiry, never after the last attempt; attempts are counted.

use super::super::replica::Fate;
use super::{Delivery, Judge, Scene, ensure};
use meridian_model::subscription::Settlement;

/// More messages with attempts than a run can have.
pub(in crate::subscription::tests) const ATTEMPTS_AMPLE: usize = 1_000;

impl Judge {
    pub(super) fn in_time(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let (replica, offset) = (scene.replica, delivery.offset.0);
        let stored = replica.log[offset as usize];
        let said = |what: &str| format!("SUB-6: {delivery:?}: {what}, now {}, {stored:?}", scene.now);
        if stored.is_delayed() {
            ensure(stored.deliver_at <= replica.stamp, || said("early"))?;
        }
        ensure(stored.expire_at == 0 || scene.now <= stored.expire_at, || said("expired"))?;
        let attempts = replica.attempts.get(&offset).copied().unwrap_or_default();
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
        for nack in &settlement.nacked {
            let count = replica.attempts.get(&nack.offset.0).map_or(0, |attempts| attempts.count);
            ensure(count < failures(nack.offset.0), || {
                format!("SUB-6: {nack:?} after {count} counted, {} failed", failures(nack.offset.0))
            })?;
        }
        let open = |offset: u64| replica.fate[offset as usize] == Fate::Open;
        for dead in settlement.dead.iter().filter(|dead| open(dead.offset.0)) {
            let count = replica.attempts.get(&dead.offset.0).map_or(0, |attempts| attempts.count);
            let needed = replica.rules.attempts_max.unwrap_or(u32::MAX);
            let enough = count + 1 >= needed && failures(dead.offset.0) >= needed;
            ensure(enough, || format!("SUB-6: {dead:?} with {count} attempts of {needed}"))?;
        }
        let stored = |offset: u64| replica.log[offset as usize];
        for offset in settlement.expired.iter().flat_map(|range| range.from.0..range.to.0) {
            let expired = stored(offset).expire_at > 0 && stored(offset).expire_at < scene.now;
            ensure(expired, || format!("SUB-6: {offset} is said to be expired, now {}", scene.now))?;
        }
        Ok(())
    }
}
