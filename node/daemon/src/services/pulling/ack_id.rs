//! What a client gives back to ack a message that it pulled: opaque to it, and all that is needed to find its lease.

use bytes::Bytes;
use meridian_model::{ConsumerId, NodeId};
use meridian_proto::v1::{DeliveredRange, DeliveryEpochs};

/// Bytes of an id: the consumer, seven numbers, and the partition's number on the consumer's stream.
const BYTES: usize = 16 + 6 * 8 + 4;

/// One delivery of one message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::services) struct AckId {
    /// The consumer that was made for the pull.
    pub(super) consumer: ConsumerId,
    /// The node where it is.
    pub(super) node: NodeId,
    pub(super) source: u32,
    pub(super) epochs: DeliveryEpochs,
    pub(super) offset: u64,
    pub(super) deliver_at_ms: u64,
}

impl AckId {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(BYTES);
        out.extend_from_slice(&self.consumer.0);
        let DeliveryEpochs { dispatch, owner, seek } = self.epochs;
        for number in [self.node.0, self.offset, self.deliver_at_ms, dispatch, owner, seek] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.source.to_le_bytes());
        out.into()
    }

    /// `None`: no id that this build gave out.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != BYTES {
            return None;
        }
        let number = |nth: usize| {
            let at = 16 + 8 * nth;
            bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
        };
        let epochs = DeliveryEpochs { dispatch: number(3)?, owner: number(4)?, seek: number(5)? };
        Some(Self {
            consumer: ConsumerId(bytes[..16].try_into().ok()?),
            node: NodeId(number(0)?),
            source: u32::from_le_bytes(bytes[BYTES - 4..].try_into().ok()?),
            epochs,
            offset: number(1)?,
            deliver_at_ms: number(2)?,
        })
    }

    /// The message, as its delivery named it.
    pub(super) fn range(&self) -> DeliveredRange {
        let to = self.offset.saturating_add(1);
        DeliveredRange { from: self.offset, to, deliver_at_ms: self.deliver_at_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_went_and_nothing_else_does() {
        let id = AckId {
            consumer: ConsumerId([7; 16]),
            node: NodeId(3),
            source: 9,
            epochs: DeliveryEpochs { dispatch: 1, owner: 2, seek: 4 },
            offset: u64::MAX,
            deliver_at_ms: 5,
        };
        assert_eq!(AckId::decode(&id.encode()), Some(id));
        assert_eq!(AckId::decode(&id.encode()[1..]), None);
        assert_eq!(AckId::decode(b""), None);
    }
}
