//! What a partition keeps of its subscriptions: read it, settle messages, name owners, begin to dispatch, seek.

mod error;
mod standing;

use async_trait::async_trait;
use meridian_model::subscription::Settlement;
use meridian_model::{ConsumerId, GroupId, Offset, Place, SubscriptionId, UnixMs};

use crate::StoredBatch;
pub use error::{CursorBound, CursorError, CursorRefusal};
pub use standing::Standing;

/// On whose behalf something is settled: what may have been overtaken since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mandate {
    /// Which life of which subscription.
    pub subscription: SubscriptionId,
    /// The seek epoch under which the messages were delivered.
    pub seek_epoch: u64,
    /// The epoch of the owner for whom it asks. `None` for kinds without an owner.
    pub owner_epoch: Option<u64>,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The stamp of the entry that holds it.
    pub stamp: UnixMs,
    /// Dead letters for which there is room afterwards.
    pub outbox_room: usize,
}

/// Where a subscription goes on, in both lanes: what lies below is not delivered, everything else is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTo {
    /// At the oldest message kept when the command is applied.
    Earliest,
    /// Behind the newest message when the command is applied.
    Latest,
    /// At this offset; at the oldest message kept, where that is later.
    Offset(Offset),
}

/// A page of the index of delayed messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DelayedPage {
    /// Batches in the order of their places. The first one may begin before the place that was asked for.
    pub batches: Vec<StoredBatch>,
    /// Where the next page begins. `None`: there is nothing more up to the time that was asked for.
    pub next: Option<Place>,
    /// When the first batch beyond that time is due. `None`: there is none.
    pub due_next: Option<UnixMs>,
}

/// Where a partition stands that this node leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// The first offset kept.
    pub start: Offset,
    /// The next offset.
    pub end: Offset,
    /// The last stamp.
    pub stamp: UnixMs,
    /// Delayed messages since the log began: it tells that there are new ones.
    pub delayed_messages: u64,
}

/// The little of a subscription that others than its dispatcher change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// How often it went elsewhere.
    pub seek_epoch: u64,
    /// The control index of its rules.
    pub rules_at: u64,
    /// Dead letters for which there is room.
    pub outbox_room: usize,
    /// Messages that are still to be settled.
    pub backlog_messages: u64,
}

/// What a partition keeps of its subscriptions.
///
/// - `Ok` of whatever changes something means: committed by a quorum and applied.
/// - What one subscription settles in one call is applied as a whole or not at all.
///   [`CursorError::Indeterminate`] means that it may yet be applied, but not behind a [`Cursors::begin_dispatch`] that
///   was called afterwards, on whatever node, and returned `Ok`: whatever was proposed before is in front of that one,
///   or nowhere. Nothing else tells an old settlement from a new one, so who does not know what became of one begins
///   anew and looks.
/// - What is settled already may be settled again: it stays as it is, and no dead letter leaves twice. A failed attempt
///   that is named again counts again.
/// - Delayed messages ([`Place::is_delayed`]) are pending in both lanes: settled in the main lane as
///   `DelayedSettlement::passed`, and in their own by their place.
/// - Stamps never go back. A delayed message whose time is at or below a stamp that was seen is in the index of
///   delayed messages, for no message that is stored later can be delayed to a time at or below that stamp.
/// - Dropping a call does not take its command back.
#[async_trait]
pub trait Cursors: Send + Sync + 'static {
    /// Where the partition stands. Fails unless this node leads it, as far as it knows. Cheap.
    fn tail(&self, group: GroupId) -> Result<Tail, CursorError>;

    /// What others may have changed of a subscription. Fails as [`Cursors::tail`], or where there is no such
    /// subscription. Cheap.
    fn glance(&self, group: GroupId, subscription: SubscriptionId) -> Result<Glance, CursorError>;

    /// What is applied of a subscription, on this replica, which may be behind. Right after a call that changed
    /// something it is at least as new as that.
    fn standing(&self, group: GroupId, subscription: SubscriptionId) -> Result<Standing, CursorError>;

    /// Begins to dispatch, for all subscriptions of the partition. Returns the new dispatch epoch.
    async fn begin_dispatch(&self, group: GroupId) -> Result<u64, CursorError>;

    /// Settles messages of several subscriptions in one round. One outcome for each part, in order. An empty
    /// settlement only moves the stamp.
    ///
    /// For shared kinds whatever was delivered under the seek epoch may be settled, by whichever dispatcher. For owned
    /// kinds the owner's epoch must be the latest.
    async fn settle(
        &self,
        group: GroupId,
        parts: Vec<(Mandate, Settlement)>,
    ) -> Result<Vec<Result<Settled, CursorRefusal>>, CursorError>;

    /// Makes a consumer the owner of an owned subscription, or nobody. Returns the epoch of the ownership, which is
    /// higher than every earlier one.
    async fn own(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        owner: Option<ConsumerId>,
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
        from: Place,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError>;
}
