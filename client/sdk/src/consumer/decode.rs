//! From what a node sends to messages in hand.

use std::sync::Arc;

use meridian_model::batch::decode_range;
use meridian_model::{Batch, BatchError, Offset, ProducerId, UnixMs};
use meridian_proto::v1::{DeliveredBatches, DeliveredMessage, DeliveredRange, StoredBatch};

use super::delivery::Delivery;
use super::hold::{Epochs, Hold, Slot};
use super::sources::Source;
use crate::Error;
use crate::metadata::log_id;

/// Where messages come from, and what they have in common.
pub(super) struct Origin<'a> {
    pub(super) slot: Slot,
    pub(super) source: &'a Source,
    pub(super) epochs: Epochs,
}

impl Origin<'_> {
    /// A single message. `None`: the node named none.
    pub(super) fn message(&self, delivered: DeliveredMessage) -> Option<Delivery> {
        let DeliveredMessage { message, attempt, lease_until_ms, deliver_at_ms } = delivered;
        let message = message?;
        let mut properties: Vec<_> = message.properties.into_iter().collect();
        properties.sort_unstable();
        Some(Delivery {
            topic: self.source.topic.clone(),
            partition: self.source.partition,
            log: self.source.log,
            offset: Offset(message.offset),
            appended_at: UnixMs(message.appended_at_ms),
            producer: ProducerId(log_id(&message.producer_id).unwrap_or_default().0),
            epoch: message.producer_epoch,
            sequence: message.sequence,
            key: message.key,
            properties,
            body: message.body,
            attempt,
            lease_until: UnixMs(lease_until_ms),
            deliver_at: UnixMs(deliver_at_ms),
            cost_bytes: 0,
            hold: self.hold(message.offset, deliver_at_ms),
        })
    }

    /// Whole batches, verified: the messages of them that are delivered, in order, or what is wrong with one.
    pub(super) fn batches(&self, delivered: DeliveredBatches) -> Vec<Result<Delivery, Error>> {
        let DeliveredBatches { batches, ranges, attempt, lease_until_ms, .. } = delivered;
        let mut all = Vec::new();
        for stored in batches {
            match self.batch(&stored, &ranges) {
                Ok(messages) => all.extend(messages.into_iter().map(|delivery| {
                    Ok(Delivery { attempt, lease_until: UnixMs(lease_until_ms), ..delivery })
                })),
                Err(source) => all.push(Err(Error::Corrupt {
                    topic: self.source.topic.to_string(),
                    partition: self.source.partition,
                    offset: Offset(stored.base_offset),
                    source,
                })),
            }
        }
        all
    }

    fn batch(&self, stored: &StoredBatch, ranges: &[DeliveredRange]) -> Result<Vec<Delivery>, BatchError> {
        let batch = Batch::verify(stored.batch.clone())?;
        let (base, header) = (stored.base_offset, batch.header());
        if header.count != stored.count {
            let (expected, got) = (stored.count as usize, header.count as usize);
            return Err(BatchError::Length { expected, got });
        }
        let end = base.saturating_add(u64::from(header.count));
        let mut deliveries = Vec::new();
        for range in ranges {
            let (from, to) = (range.from.max(base), range.to.min(end));
            if from >= to {
                continue;
            }
            let messages = decode_range(&batch, (from - base) as u32, (to - from) as u32)?;
            deliveries.extend(messages.into_iter().zip(from..).map(|(message, offset)| Delivery {
                topic: self.source.topic.clone(),
                partition: self.source.partition,
                log: self.source.log,
                offset: Offset(offset),
                appended_at: UnixMs(stored.appended_at_ms),
                producer: header.producer,
                epoch: header.epoch,
                sequence: header.first_sequence + (offset - base),
                key: message.key,
                properties: message.properties,
                body: message.body,
                attempt: 1,
                lease_until: UnixMs(0),
                deliver_at: UnixMs(range.deliver_at_ms),
                cost_bytes: 0,
                hold: self.hold(offset, range.deliver_at_ms),
            }));
        }
        Ok(deliveries)
    }

    fn hold(&self, offset: u64, deliver_at_ms: u64) -> Arc<Hold> {
        Arc::new(Hold::new(self.slot, offset, deliver_at_ms, self.epochs))
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::{BatchBuilder, Codec, LogId, Message};
    use meridian_proto::v1::SubscribeSource;

    use super::super::sources::Sources;
    use super::*;

    fn origin(test: impl FnOnce(Origin<'_>)) {
        let mut sources = Sources::default();
        let log_id = vec![7; 16].into();
        let told = SubscribeSource { topic: "t".into(), partition: 3, log_id, ..Default::default() };
        let slot = sources.name(&told).expect("named").slot;
        test(Origin { slot, source: sources.get(slot), epochs: Epochs { owner: 4, ..Epochs::default() } });
    }

    fn stored(base: u64, bodies: &[&str]) -> StoredBatch {
        let mut builder = BatchBuilder::new(Codec::Lz4).producer(ProducerId([1; 16]), 2, 100);
        bodies.iter().for_each(|body| builder.push(&Message::new(body.to_string()).with_key("k")));
        let batch = builder.build().expect("a batch").into_bytes();
        StoredBatch { base_offset: base, count: bodies.len() as u32, appended_at_ms: 9, batch }
    }

    #[test]
    fn only_the_messages_of_the_ranges_are_delivered() {
        origin(|origin| {
            let batches = vec![stored(10, &["a", "b", "c"]), stored(13, &["d", "e"])];
            let range = |from, to| DeliveredRange { from, to, deliver_at_ms: 0 };
            let ranges = vec![range(0, 11), range(12, 14)];
            let delivered =
                DeliveredBatches { batches, ranges, attempt: 2, lease_until_ms: 5, ..Default::default() };
            let all: Result<Vec<Delivery>, Error> = origin.batches(delivered).into_iter().collect();
            let all = all.expect("good batches");
            let seen: Vec<_> = all.iter().map(|one| (one.offset.0, &one.body[..], one.sequence)).collect();
            assert_eq!(seen, [(10, &b"a"[..], 100), (12, b"c", 102), (13, b"d", 100)]);
            let last = &all[2];
            assert_eq!((last.attempt, last.lease_until, last.epochs().owner), (2, UnixMs(5), 4));
            assert_eq!((last.partition, last.log), (3, LogId([7; 16])));
        });
    }

    #[test]
    fn damage_is_told_and_costs_one_batch() {
        origin(|origin| {
            let (mut bad, good) = (stored(0, &["a"]), stored(1, &["b"]));
            let mut bytes = bad.batch.to_vec();
            *bytes.last_mut().expect("bytes") ^= 1;
            bad.batch = bytes.into();
            let ranges = vec![DeliveredRange { from: 0, to: 2, deliver_at_ms: 0 }];
            let delivered = DeliveredBatches { batches: vec![bad, good], ranges, ..Default::default() };
            let all = origin.batches(delivered);
            assert!(matches!(&all[0], Err(Error::Corrupt { partition: 3, .. })));
            assert!(matches!(&all[1], Ok(delivery) if delivery.offset.0 == 1));
        });
    }
}
