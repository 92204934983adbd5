//! What a partition keeps of its subscriptions: read it, settle messages, name owners, begin to dispatch, seek.

mod error;
mod standing;

use async_trait::async_trait;
use meridian_model::subscription::Settlement;
use meridian_model::{GroupId, Offset, SubscriptionId, UnixMs};

use crate::StoredBatch;
pub use error::{CursorBound, CursorError, CursorRefusal};
pub use standing::{ConsumerId, DelayedPlace, Standing};

/// On whose behalf something is settled: what may have been overtaken since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// Which life of which subscription.
    pub subscription: SubscriptionId,
    /// The epoch of the dispatcher that asks.
    pub dispatch_epoch: u64,
    /// The epoch of the owner for whom it asks. Ignored for kinds without an owner.
    pub owner_epoch: u64,
    /// The seek epoch under which the messages were delivered.
    pub seek_epoch: u64,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The stamp of the entry that holds it.
    pub stamp: UnixMs,
    /// Dead letters for which there is room afterwards.
    pub outbox_room: usize,
}

/// Where a subscription goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekTo {
    /// The next message of the main lane. Between the ends of the log.
    pub main: Offset,
    /// The next one of the delayed lane. `None`: it stays where it is.
    pub delayed: Option<DelayedPlace>,
}

/// A page of the index of delayed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelayedPage {
    /// Batches in the order of their places.
    pub batches: Vec<StoredBatch>,
    /// Where the next page begins. `None`: there is nothing more up to the time that was asked for.
    pub next: Option<DelayedPlace>,
    /// When the first batch beyond that time is due. `None`: there is none.
    pub due_next: Option<UnixMs>,
}

/// What a partition keeps of its subscriptions.
///
/// - `Ok` of whatever changes something means: committed by a quorum and applied.
/// - A settlement is applied as a whole or not at all. [`CursorError::Indeterminate`] means that it may yet be
///   applied, but not behind a later [`Cursors::begin_dispatch`] that returned `Ok`: whatever was proposed by an
///   earlier dispatcher is in front of that one, or nowhere.
/// - What is settled already may be settled again: it stays as it is.
/// - Stamps never go back. A delayed message whose time is at or below a stamp that was seen is in the index of
///   delayed messages, for no message that is stored later can be delayed to a time at or below that stamp.
/// - Dropping a call does not take its command back.
#[async_trait]
pub trait Cursors: Send + Sync + 'static {
    /// What is committed of a subscription, on this replica, which may be behind.
    fn standing(&self, group: GroupId, subscription: SubscriptionId) -> Result<Standing, CursorError>;

    /// Ends every earlier dispatcher and begins a new one. Returns what stands right behind the command, with the
    /// new dispatch epoch in it.
    async fn begin_dispatch(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
    ) -> Result<Standing, CursorError>;

    /// Settles messages. An empty settlement only moves the stamp.
    ///
    /// For shared kinds acks and expiries of an earlier dispatch epoch are welcome while the seek epoch is the
    /// same; failed attempts and dead letters are not. For owned kinds the owner's epoch must be the latest.
    async fn settle(
        &self,
        group: GroupId,
        mandate: Mandate,
        settlement: Settlement,
    ) -> Result<Settled, CursorError>;

    /// Makes a consumer the owner of an owned subscription. Returns the epoch of its ownership, which is higher
    /// than every earlier one. Refused unless `dispatch_epoch` is the latest.
    async fn own(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        dispatch_epoch: u64,
        consumer: ConsumerId,
    ) -> Result<u64, CursorError>;

    /// Forgets what is settled and tried, and goes on at a place. Returns what stands afterwards, under a higher
    /// seek epoch.
    async fn seek(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        to: SeekTo,
    ) -> Result<Standing, CursorError>;

    /// Delayed batches that are due at or before `through`, from a place on, about `bytes` of them but at least
    /// one. Cancel safe.
    async fn delayed(
        &self,
        group: GroupId,
        from: DelayedPlace,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError>;
}
