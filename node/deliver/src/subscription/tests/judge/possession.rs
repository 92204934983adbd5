//! SUB-4: one possession at a time, and no more than there is room and credit for.

use meridian_model::ConsumerId;

use super::{Delivery, Judge, Scene, ensure};

impl Judge {
    pub(super) fn one_possession(&self, delivery: &Delivery, scene: &Scene<'_>) -> Result<(), String> {
        let said = |what: &str| format!("SUB-4: {delivery:?}: {what}");
        if let Some((holder, until)) = self.held.get(&delivery.place.offset.0) {
            let over = *until <= scene.now || gone(*holder, scene);
            ensure(over, || said(&format!("{holder:?} has it until {until}, now {}", scene.now)))?;
        }
        let client = scene.clients.iter().find(|client| client.id == delivery.consumer);
        let client = client.ok_or_else(|| said("to nobody"))?;
        ensure(client.connected && client.lost_at.is_none(), || said("not connected"))?;
        ensure(!client.draining, || said("draining"))?;
        ensure(client.messages > 0 && client.bytes > 0, || said("no credit"))?;
        let open = |offset: u64| scene.replica.is_open(offset);
        let held = self.held.iter().filter(|(offset, (_, until))| *until > scene.now && open(**offset));
        let held: Vec<ConsumerId> = held.map(|(_, (holder, _))| *holder).collect();
        let has = held.iter().filter(|holder| **holder == delivery.consumer).count();
        ensure(has < scene.bounds.unacked_consumer_max, || said("the consumer has too many"))?;
        ensure(held.len() < scene.bounds.unacked_max, || said("too many are out"))?;
        ensure(delivery.lease_until.0 > scene.now, || said("no lease"))
    }
}

/// Whether a consumer had its time to come back.
fn gone(consumer: ConsumerId, scene: &Scene<'_>) -> bool {
    let client = scene.clients.iter().find(|client| client.id == consumer);
    let lost = client.and_then(|client| client.lost_at);
    lost.is_some_and(|lost| lost + scene.bounds.grace_ms <= scene.now)
}
