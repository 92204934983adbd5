//! Why nothing was settled, or perhaps nothing.

use meridian_model::{NodeId, Offset};

/// Something that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorBound {
    /// Settled ranges above the floor.
    #[error("settled ranges")]
    SettledRanges,
    /// Settled delayed messages above their floor.
    #[error("settled delayed messages")]
    SettledDelayed,
    /// Messages with failed attempts.
    #[error("messages with attempts")]
    Attempts,
    /// Dead letters on their way.
    #[error("dead letters")]
    DeadLetters,
}

/// Why the partition refuses: nothing was changed, and the same again is refused again until something else changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorRefusal {
    /// There is no such subscription here, or not this life of it.
    #[error("the subscription is not known here")]
    UnknownSubscription,
    /// A later dispatcher began.
    #[error("a later dispatcher began, with epoch {current}")]
    StaleDispatch {
        /// Its epoch.
        current: u64,
    },
    /// A later owner was named.
    #[error("a later owner was named, with epoch {current}")]
    StaleOwner {
        /// Its epoch.
        current: u64,
    },
    /// Somebody sought since.
    #[error("the subscription was moved, its seek epoch is {current}")]
    StaleSeek {
        /// The seek epoch now.
        current: u64,
    },
    /// The kind has no owners.
    #[error("the kind of the subscription has no owner")]
    NotOwned,
    /// A delayed message is not due at the stamp of the command.
    #[error("message {offset} is not due yet")]
    NotDue {
        /// Which.
        offset: Offset,
    },
    /// Above the end of the log, or below its start.
    #[error("offset {offset} is outside {start}..{end}")]
    OutOfRange {
        /// What was named.
        offset: Offset,
        /// The first offset kept.
        start: Offset,
        /// The next offset.
        end: Offset,
    },
    /// A bound would be passed.
    #[error("full: {0}")]
    Full(CursorBound),
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Nothing was changed: another node leads the partition.
    #[error("this node does not lead the partition")]
    NotLeader {
        /// The node that does, if known.
        leader: Option<NodeId>,
    },
    /// Nothing was changed: no quorum, or the partition is not ready. Try again.
    #[error("the partition is not available: {0}")]
    Unavailable(String),
    /// Proposed, and nobody knows whether it will be applied. Begin to dispatch anew, and look.
    #[error("the outcome is unknown: {0}")]
    Indeterminate(String),
    /// Nothing was changed: the partition refuses it.
    #[error(transparent)]
    Refused(#[from] CursorRefusal),
}
