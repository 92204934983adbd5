//! Appending.

use async_trait::async_trait;
use futures::future::BoxFuture;
use meridian_model::{Batch, GroupId, NodeId, Offset, Refusal, UnixMs};

/// A stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first message.
    pub base: Offset,
    /// An earlier send of the same batch stored it.
    pub duplicate: bool,
}

/// Why a batch was not stored, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Not stored: another node leads the partition.
    #[error("this node does not lead the partition")]
    NotLeader {
        /// The node that does, if known.
        leader: Option<NodeId>,
    },
    /// Not stored: no quorum, or the partition is not ready. Try again.
    #[error("the partition is not available: {0}")]
    Unavailable(String),
    /// Proposed, and nobody knows whether it will be stored. Resend the same batch.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
    /// Not stored: the partition refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What a batch occupies while it is on its way, such as a permit for its bytes. The log drops it once the batch
/// is answered, whether or not anybody still waits for the answer.
pub type Share = Box<dyn Send + Sync>;

/// The outcome of an append, to be awaited. Dropping it does not take the batch back.
pub type Ticket = BoxFuture<'static, Result<Appended, AppendError>>;

/// Appends to partitions that this node leads.
///
/// - Batches whose `append` calls returned in an order are proposed in that order.
/// - `Ok` from a ticket means: fsynced by a quorum, and readable.
/// - An error other than `Indeterminate` means: not stored and never will be.
#[async_trait]
pub trait Append: Send + Sync + 'static {
    /// Queues a verified batch, and holds its share until it is answered. `opened_at` is the token that opening
    /// the producer returned. Waits while the partition's queue is full; cancel safe until it returns.
    async fn append(
        &self,
        group: GroupId,
        batch: Batch,
        opened_at: UnixMs,
        share: Share,
    ) -> Result<Ticket, AppendError>;
}
