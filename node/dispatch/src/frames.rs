//! What consumers hear: a run of a dispatcher's actions for one consumer becomes as few frames as possible.

use std::sync::Arc;

use meridian_deliver::subscription::{Action, Delivery, Epochs, Revoked};
use meridian_model::Place;
use meridian_model::limits::RPC_BYTES_MAX;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    DeliveredBatches, DeliveredMessage, DeliveredMessages, DeliveredRange, DeliveryEpochs, RevokeReason,
    StoredBatch, StoredMessage, SubscribeConfirmed, SubscribeDrained, SubscribeRefused, SubscribeRevoked,
};

use crate::pages::Opened;
use crate::refused::of_refusal;

/// Bytes of bodies in one frame. One message may go beyond it alone.
const FRAME_BYTES: usize = RPC_BYTES_MAX / 8;

/// The frames of one consumer for one partition.
pub(crate) struct Frames {
    source: u32,
    batches: bool,
    frames: Vec<Response>,
    bytes: usize,
}

fn epochs(epochs: Epochs) -> DeliveryEpochs {
    DeliveryEpochs { dispatch: epochs.dispatch, owner: epochs.owner, seek: epochs.seek }
}

fn reason(why: Revoked) -> RevokeReason {
    match why {
        Revoked::LeaseEnded => RevokeReason::LeaseEnded,
        Revoked::Settled => RevokeReason::Settled,
        Revoked::Sought => RevokeReason::Sought,
        Revoked::Trimmed => RevokeReason::Trimmed,
        Revoked::NotKept => RevokeReason::NotKept,
    }
}

impl Frames {
    pub(crate) fn new(source: u32, batches: bool) -> Self {
        Self { source, batches, frames: Vec::new(), bytes: 0 }
    }

    pub(crate) fn into_frames(self) -> Vec<Response> {
        self.frames
    }

    /// A message, with the batch that holds it. `false`: it cannot be read.
    pub(crate) fn deliver(&mut self, delivery: &Delivery, opened: &Arc<Opened>) -> bool {
        match self.batches {
            true => {
                self.batch(delivery, opened);
                true
            }
            false => self.message(delivery, opened),
        }
    }

    fn message(&mut self, delivery: &Delivery, opened: &Opened) -> bool {
        let Ok(message) = opened.message(delivery.place.offset) else { return false };
        let header = opened.batch().header();
        let stored = StoredMessage {
            offset: delivery.place.offset.0,
            appended_at_ms: opened.stored.appended_at.0,
            key: message.key.clone(),
            properties: message.properties.iter().cloned().collect(),
            body: message.body.clone(),
            producer_id: opened.producer.clone(),
            producer_epoch: header.epoch,
            sequence: header.first_sequence + (delivery.place.offset.0 - opened.base().0),
        };
        self.bytes += message.size_bytes();
        let delivered = DeliveredMessage {
            message: Some(stored),
            attempt: delivery.attempt,
            lease_until_ms: delivery.lease_until.0,
            deliver_at_ms: delivery.place.deliver_at.0,
        };
        let (under, credit_bytes) =
            (Some(epochs(delivery.under)), opened.credit_bytes(delivery.place.offset));
        match self.frames.last_mut() {
            Some(Response::Messages(frame)) if frame.epochs == under && self.bytes <= FRAME_BYTES => {
                frame.messages.push(delivered);
                frame.credit_bytes += credit_bytes;
            }
            _ => {
                self.bytes = message.size_bytes();
                let (source, messages) = (self.source, vec![delivered]);
                let frame = DeliveredMessages { source, epochs: under, messages, credit_bytes };
                self.frames.push(Response::Messages(frame));
            }
        }
        true
    }

    fn batch(&mut self, delivery: &Delivery, opened: &Opened) {
        let under = Some(epochs(delivery.under));
        let bytes = opened.stored.bytes.len();
        let (attempt, lease_until_ms) = (delivery.attempt, delivery.lease_until.0);
        let credit_bytes = opened.credit_bytes(delivery.place.offset);
        if let Some(Response::Batches(frame)) = self.frames.last_mut()
            && frame.epochs == under
            && (frame.attempt, frame.lease_until_ms) == (attempt, lease_until_ms)
        {
            let same = frame.batches.last().is_some_and(|last| last.base_offset == opened.base().0);
            if same || self.bytes + bytes <= FRAME_BYTES {
                if !same {
                    self.bytes += bytes;
                    frame.batches.push(stored(opened));
                }
                frame.credit_bytes += credit_bytes;
                add(&mut frame.ranges, delivery.place);
                return;
            }
        }
        self.bytes = bytes;
        self.frames.push(Response::Batches(DeliveredBatches {
            source: self.source,
            epochs: under,
            batches: vec![stored(opened)],
            ranges: vec![one(delivery.place)],
            attempt,
            lease_until_ms,
            credit_bytes,
        }));
    }

    /// Anything else that a consumer is told.
    pub(crate) fn tell(&mut self, action: &Action) {
        match action {
            Action::Confirm { request, .. } => match self.frames.last_mut() {
                Some(Response::Confirmed(frame)) => frame.requests.push(*request),
                _ => {
                    let frame = SubscribeConfirmed { requests: vec![*request] };
                    self.frames.push(Response::Confirmed(frame));
                }
            },
            Action::Refuse { request, refusal, .. } => {
                let failure = Some(of_refusal(refusal));
                let request = request.unwrap_or_default();
                self.frames.push(Response::Refused(SubscribeRefused { request, failure }));
            }
            Action::Revoke { place, why, .. } => {
                let (source, why) = (self.source, reason(*why) as i32);
                match self.frames.last_mut() {
                    Some(Response::Revoked(frame)) if frame.reason == why => add(&mut frame.ranges, *place),
                    _ => {
                        let frame = SubscribeRevoked { source, ranges: vec![one(*place)], reason: why };
                        self.frames.push(Response::Revoked(frame));
                    }
                }
            }
            Action::DrainComplete(_) => self.frames.push(Response::Drained(SubscribeDrained {})),
            _ => {}
        }
    }
}

fn one(place: Place) -> DeliveredRange {
    DeliveredRange { from: place.offset.0, to: place.offset.0 + 1, deliver_at_ms: place.deliver_at.0 }
}

/// One more message, in the last range if it follows.
fn add(ranges: &mut Vec<DeliveredRange>, place: Place) {
    match ranges.last_mut() {
        Some(range) if range.to == place.offset.0 && range.deliver_at_ms == place.deliver_at.0 => {
            range.to += 1
        }
        _ => ranges.push(one(place)),
    }
}

fn stored(opened: &Opened) -> StoredBatch {
    StoredBatch {
        base_offset: opened.base().0,
        count: opened.stored.count,
        appended_at_ms: opened.stored.appended_at.0,
        batch: opened.stored.bytes.clone(),
    }
}
