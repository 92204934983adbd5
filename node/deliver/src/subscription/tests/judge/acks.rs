//! SUB-1 and SUB-2: what is confirmed is settled, what is settled was said to be done, and stays so.

use meridian_model::subscription::Settlement;

use super::super::client::Sent;
use super::times::ATTEMPTS_AMPLE;
use super::{Delivery, Judge, Scene, ensure, places};

impl Judge {
    pub(super) fn not_after_ack(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let offset = delivery.place.offset.0;
        ensure(!self.confirmed.contains(&offset), || format!("SUB-2: {delivery:?} after a confirmed ack"))?;
        ensure(delivery.place == scene.replica.place(offset), || {
            format!("SUB-2: {delivery:?}: a wrong place")
        })?;
        ensure(scene.replica.is_open(offset), || format!("SUB-2: {delivery:?} is settled, or gone"))
    }

    /// Nothing is acked that no consumer said is done, everything in its own lane, and what is passed is delayed.
    pub(in crate::subscription::tests) fn acks_are_true(
        &self,
        settlement: &Settlement,
        scene: &Scene<'_>,
    ) -> Result<(), String> {
        ensure(settlement.cumulative.is_none(), || "SUB-1: more than was said".into())?;
        for place in places(&settlement.acked, &settlement.delayed.acked) {
            let offset = place.offset.0;
            ensure(self.said_done.contains(&offset), || {
                format!("SUB-1: {offset} is acked and nobody said so")
            })?;
            ensure(scene.replica.place(offset) == place, || {
                format!("SUB-1: {place:?} is acked, in no lane")
            })?;
        }
        let mut passed = settlement.delayed.passed.iter().flat_map(|range| range.from.0..range.to.0);
        match passed.find(|offset| !scene.replica.place(*offset).is_delayed()) {
            None => Ok(()),
            Some(offset) => Err(format!("SUB-1: {offset} is passed and not delayed")),
        }
    }

    pub(in crate::subscription::tests) fn confirmation(
        &mut self,
        sent: &Sent,
        scene: &Scene<'_>,
    ) -> Result<(), String> {
        if sent.seek_epoch != scene.replica.view().seek_epoch() {
            return Ok(());
        }
        for offset in &sent.acked {
            ensure(!scene.replica.is_open(*offset), || {
                format!("SUB-2: the ack of {offset} is confirmed and not durable")
            })?;
            self.confirmed.insert(*offset);
        }
        for (offset, before) in &sent.nacked {
            let count = scene.replica.attempts(*offset).count;
            let settled = !scene.replica.is_open(*offset);
            let full = scene.bounds.attempts_max < ATTEMPTS_AMPLE;
            ensure(settled || full || count > *before, || {
                format!("SUB-6: the nack of {offset} is confirmed and not counted")
            })?;
        }
        Ok(())
    }
}
