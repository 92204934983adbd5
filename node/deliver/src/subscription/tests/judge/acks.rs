//! SUB-1 and SUB-2: what is confirmed is settled, what is settled was said to be done, and stays so.

use meridian_model::subscription::Settlement;

use super::super::client::Sent;
use super::super::replica::Fate;
use super::times::ATTEMPTS_AMPLE;
use super::{Delivery, Judge, Scene, ensure};

impl Judge {
    pub(super) fn not_after_ack(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let offset = delivery.offset.0;
        ensure(!self.confirmed.contains(&offset), || format!("SUB-2: {delivery:?} after a confirmed ack"))?;
        let fate = scene.replica.fate[offset as usize];
        ensure(fate == Fate::Open && offset >= scene.replica.start, || {
            format!("SUB-2: {delivery:?} is {fate:?}")
        })
    }

    /// Nothing is acked that no consumer said is done.
    pub(in crate::subscription::tests) fn acks_are_true(
        &self,
        settlement: &Settlement,
    ) -> Result<(), String> {
        ensure(settlement.cumulative.is_none(), || "SUB-1: more than was said".into())?;
        let mut acked = settlement.acked.iter().flat_map(|range| range.from.0..range.to.0);
        match acked.find(|offset| !self.said_done.contains(offset)) {
            None => Ok(()),
            Some(offset) => Err(format!("SUB-1: {offset} is acked and nobody said so")),
        }
    }

    pub(in crate::subscription::tests) fn confirmation(
        &mut self,
        sent: &Sent,
        scene: &Scene<'_>,
    ) -> Result<(), String> {
        if sent.seek_epoch != scene.replica.seek_epoch {
            return Ok(());
        }
        for offset in &sent.acked {
            let fate = scene.replica.fate[*offset as usize];
            ensure(fate != Fate::Open, || {
                format!("SUB-2: the ack of {offset} is confirmed and not durable")
            })?;
            self.confirmed.insert(*offset);
        }
        for (offset, before) in &sent.nacked {
            let count = scene.replica.attempts.get(offset).map_or(0, |attempts| attempts.count);
            let settled = scene.replica.fate[*offset as usize] != Fate::Open;
            let full = scene.bounds.attempts_max < ATTEMPTS_AMPLE;
            ensure(settled || full || count > *before, || {
                format!("SUB-6: the nack of {offset} is confirmed and not counted")
            })?;
        }
        Ok(())
    }
}
