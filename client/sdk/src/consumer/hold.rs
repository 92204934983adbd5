//! One message in the hands of this consumer, as the application and the stream's task both see it.

use std::sync::atomic::{AtomicU8, Ordering};

use meridian_proto::v1::{DeliveryEpochs, ErrorReason, Failure};

use crate::Error;

/// A partition, by the order in which the consumer came to know it. Stays the same when the stream changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

/// Under which circumstances a message was delivered; whatever is said about it gives them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epochs {
    /// The log index with which the leader began to dispatch. Leases end with it.
    pub dispatch: u64,
    /// Exclusive and failover: rises with each owner. 0: there are no owners.
    pub owner: u64,
    /// Rises with each seek.
    pub seek: u64,
}

impl Epochs {
    pub(super) fn from_wire(epochs: Option<DeliveryEpochs>) -> Self {
        let DeliveryEpochs { dispatch, owner, seek } = epochs.unwrap_or_default();
        Self { dispatch, owner, seek }
    }

    pub(super) fn to_wire(self) -> DeliveryEpochs {
        DeliveryEpochs { dispatch: self.dispatch, owner: self.owner, seek: self.seek }
    }
}

/// Why a message is this consumer's no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Revoked {
    /// Its lease ended, which counts as an attempt.
    LeaseEnded = 1,
    /// It is settled.
    Settled = 2,
    /// The subscription goes on elsewhere.
    Sought = 3,
    /// Retention removed it.
    Trimmed = 4,
    /// It is, or will be, given to others: the partition has changed hands.
    NotKept = 5,
}

impl Revoked {
    fn of(number: u8) -> Option<Self> {
        let all = [Self::LeaseEnded, Self::Settled, Self::Sought, Self::Trimmed, Self::NotKept];
        all.into_iter().find(|why| *why as u8 == number)
    }

    /// As a node would refuse what is said about the message.
    pub(super) fn refusal(self) -> Error {
        let (reason, why) = match self {
            Self::LeaseEnded => (ErrorReason::LeaseEnded, "its lease has ended"),
            Self::Settled => (ErrorReason::NotHeld, "it is settled already"),
            Self::Sought => (ErrorReason::StaleDelivery, "the subscription goes on elsewhere"),
            Self::Trimmed => (ErrorReason::NotHeld, "retention has removed it"),
            Self::NotKept => (ErrorReason::NotHeld, "it is given to others"),
        };
        Failure::new(reason, why).into()
    }

    /// What a refusal says about the message, if anything.
    pub(super) fn told_by(reason: ErrorReason) -> Option<Self> {
        match reason {
            ErrorReason::LeaseEnded => Some(Self::LeaseEnded),
            ErrorReason::StaleDelivery => Some(Self::Sought),
            ErrorReason::NotHeld => Some(Self::NotKept),
            _ => None,
        }
    }
}

/// One message in hand.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) slot: Slot,
    pub(super) offset: u64,
    /// 0: it was not delayed.
    pub(super) deliver_at_ms: u64,
    pub(super) epochs: Epochs,
    /// 0: held.
    lost: AtomicU8,
}

impl Hold {
    pub(super) fn new(slot: Slot, offset: u64, deliver_at_ms: u64, epochs: Epochs) -> Self {
        Self { slot, offset, deliver_at_ms, epochs, lost: AtomicU8::new(0) }
    }

    pub(super) fn place(&self) -> (Slot, u64) {
        (self.slot, self.offset)
    }

    /// The first reason stands.
    pub(super) fn revoke(&self, why: Revoked) {
        let _ = self.lost.compare_exchange(0, why as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    pub(super) fn revoked(&self) -> Option<Revoked> {
        Revoked::of(self.lost.load(Ordering::Acquire))
    }
}
