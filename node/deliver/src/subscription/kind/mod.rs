//! Who gets which message: each kind of subscription on its own.

mod key_shared;
mod key_state;
mod owned;
mod queue;
mod routes;
mod shared;
mod turns;

use meridian_model::Offset;
use meridian_model::subscription::SubscriptionKind;

use super::event::Join;
use super::message::Message;
use super::refusal::Refusal;
use super::state::{Consumers, DelayedLedger, Ledger, Seat};
use key_shared::KeyShared;
pub(super) use owned::Owned;
pub(super) use queue::{Gates, Popped};
use shared::Shared;

/// What a change to the key of a message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyChange {
    /// A new message, or one that a consumer kept from before, is in its hands.
    Taken(Seat),
    /// A loose message is in its hands.
    TakenAgain(Seat),
    /// Nobody has it any more, and it is not settled.
    Loosened,
    /// It was held, and is being settled.
    HeldDecided,
    /// It was loose, and is being settled.
    LooseDecided,
    /// What was being decided is committed as a failed attempt: it is loose.
    DecidedLoose,
    /// What was being decided is settled.
    Settled,
    /// It was read, and somebody had it before this dispatcher began: it is loose.
    ReadLoose,
    /// It was held, and is gone.
    HeldGone,
    /// It was loose, and is gone.
    LooseGone,
}

/// The kind of the subscription, with the messages that wait for a consumer.
#[derive(Debug)]
pub(super) enum Kind {
    Owned(Owned),
    Shared(Shared),
    KeyShared(KeyShared),
}

impl Kind {
    pub(super) fn new(kind: SubscriptionKind) -> Self {
        match kind {
            SubscriptionKind::Exclusive | SubscriptionKind::Failover => Kind::Owned(Owned::default()),
            SubscriptionKind::Shared => Kind::Shared(Shared::default()),
            SubscriptionKind::KeyShared => Kind::KeyShared(KeyShared::default()),
        }
    }

    /// Whether a consumer may join, as far as keys are concerned. `seat`: it is here already.
    pub(super) fn admits(&self, join: &Join, seat: Option<Seat>) -> Result<(), Refusal> {
        match self {
            Kind::KeyShared(keys) => keys.admits(&join.ranges, seat),
            _ => Ok(()),
        }
    }

    /// A consumer came, or came back.
    pub(super) fn joined(&mut self, seat: Seat, join: &Join) {
        if let Kind::KeyShared(keys) = self {
            keys.joined(seat, join.consumer, &join.ranges);
        }
    }

    /// A consumer gets nothing new any more; it may still hold messages.
    pub(super) fn draining(&mut self, seat: Seat) {
        if let Kind::KeyShared(keys) = self {
            keys.draining(seat);
        }
    }

    /// A consumer went. What it held is loose by now, or being decided.
    pub(super) fn left(&mut self, seat: Seat) {
        match self {
            Kind::Owned(owned) => owned.left(seat),
            Kind::Shared(_) => {}
            Kind::KeyShared(keys) => keys.left(seat),
        }
    }

    /// There may be room at a consumer.
    pub(super) fn has_room(&mut self, seat: Seat) {
        match self {
            Kind::Owned(_) => {}
            Kind::Shared(shared) => shared.has_room(seat),
            Kind::KeyShared(keys) => keys.has_room(seat),
        }
    }

    /// A message that was never delivered by this dispatcher waits for a consumer.
    pub(super) fn push(&mut self, message: Message) {
        match self {
            Kind::Owned(owned) => owned.queue.push(message),
            Kind::Shared(shared) => shared.queue.push(message),
            Kind::KeyShared(keys) => keys.push(message),
        }
    }

    /// A loose message waits for a consumer.
    pub(super) fn push_again(&mut self, message: &Message) {
        match self {
            Kind::Owned(owned) => owned.queue.push_again(message.offset, message.key),
            Kind::Shared(shared) => shared.queue.push_again(message.offset, message.key),
            Kind::KeyShared(keys) => keys.push_again(message.offset, message.key),
        }
    }

    /// The next message, and whom it goes to.
    pub(super) fn next(
        &mut self,
        consumers: &Consumers,
        held_max: usize,
        gates: &Gates<'_>,
    ) -> Option<(Seat, Popped)> {
        match self {
            Kind::Owned(owned) => owned.next(consumers, held_max, gates),
            Kind::Shared(shared) => shared.next(consumers, held_max, gates),
            Kind::KeyShared(keys) => keys.next(consumers, held_max, gates),
        }
    }

    /// Something changed about a message with this key.
    pub(super) fn key(&mut self, key: u64, change: KeyChange) {
        if let Kind::KeyShared(keys) = self
            && key != 0
        {
            keys.change(key, change);
        }
    }

    /// Something was committed, so more may go out than before.
    pub(super) fn committed(&mut self) {
        if let Kind::KeyShared(keys) = self {
            keys.committed();
        }
    }

    pub(super) fn keeps_keys(&self) -> bool {
        matches!(self, Kind::KeyShared(_))
    }

    /// Forgets every message. Consumers stay.
    pub(super) fn clear(&mut self) {
        match self {
            Kind::Owned(owned) => owned.queue.clear(),
            Kind::Shared(shared) => shared.queue.clear(),
            Kind::KeyShared(keys) => keys.clear(),
        }
    }
}
