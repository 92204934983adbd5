//! What a dispatcher remembers of a message: everything but its body.

use meridian_model::{Offset, Place, UnixMs};

use super::event::{BatchMeta, MessageMeta};
use super::state::Seat;

/// A message that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) offset: Offset,
    /// Zero: it has no key.
    pub(super) key: u64,
    pub(super) bytes: u32,
    /// Attempts that failed and are committed.
    pub(super) attempts: u32,
    /// Zero: never.
    pub(super) expire_at: UnixMs,
    /// Zero: it is in the main lane.
    pub(super) deliver_at: UnixMs,
    /// Who had it last, in this dispatcher.
    pub(super) last: Option<Seat>,
}

impl Message {
    pub(super) fn of(batch: &BatchMeta, offset: Offset, meta: MessageMeta) -> Self {
        Self {
            offset,
            key: meta.key_hash,
            bytes: meta.bytes,
            attempts: 0,
            expire_at: batch.expire_at,
            deliver_at: if batch.is_delayed() { batch.deliver_at } else { UnixMs(0) },
            last: None,
        }
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.deliver_at > UnixMs(0)
    }

    pub(super) fn place(&self) -> Place {
        Place { deliver_at: self.deliver_at, offset: self.offset }
    }

    /// Whether it is too old to be delivered.
    pub(super) fn has_expired(&self, now: UnixMs) -> bool {
        if planted!(ExpiresLate) {
            return self.expire_at > UnixMs(0) && now.0 > self.expire_at.0 + 5;
        }
        self.expire_at > UnixMs(0) && now > self.expire_at
    }
}

impl BatchMeta {
    /// Whether its messages are in the delayed lane: as the partition decided when it stored them.
    pub fn is_delayed(&self) -> bool {
        self.deliver_at > self.appended_at
    }

    /// The offset behind its last message.
    pub fn end(&self) -> Offset {
        self.base.plus(self.messages.len() as u64)
    }
}
