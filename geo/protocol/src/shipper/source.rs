//! What a shipper reads: pieces of an origin log, as the region that ships has them.

use meridian_model::batch::Batch;
use meridian_model::{Offset, OffsetRange, UnixMs};

use crate::chain::Head;
use crate::frame::{Shipped, Skip, SkipReason};
use crate::region::Stamp;

/// The answer to [`super::Action::Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// As asked.
    pub session: u64,
    /// As asked.
    pub from: Offset,
    /// The head at `from`. `None` where it is no longer kept: then the first piece is a hole.
    pub before: Option<Head>,
    /// What follows, without gaps. Whole batches only, and at least one piece unless `from` is the end.
    pub pieces: Vec<Piece>,
    /// Batches that expired before this time are skipped. A clock that may destroy, see
    /// [`meridian_model::clock::QuorumTime::destructive`]; `None` while there is none.
    pub expired_before: Option<UnixMs>,
}

/// Some offsets of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A batch.
    Batch {
        /// Its first offset.
        base: Offset,
        /// When the origin appended it, by the origin's clock.
        appended_at: UnixMs,
        /// What the origin stamped on it.
        stamp: Stamp,
        /// Verbatim.
        batch: Batch,
        /// The head after it.
        after: Head,
    },
    /// Nothing: retention took it, this region skipped it itself, or it belongs to an older log. Not verified where
    /// any skip was not that lies in it.
    Hole(Skip),
}

impl Piece {
    pub(super) fn range(&self) -> OffsetRange {
        match self {
            Piece::Batch { base, batch, .. } => {
                OffsetRange::new(*base, base.plus(u64::from(batch.header().count)))
            }
            Piece::Hole(skip) => skip.range,
        }
    }

    pub(super) fn into_shipped(self) -> Result<Shipped, Skip> {
        match self {
            Piece::Batch { base, appended_at, stamp, batch, after } => {
                Ok(Shipped { base, appended_at, stamp, batch, after })
            }
            Piece::Hole(skip) => Err(skip),
        }
    }

    pub(super) fn skipped(&self, reason: SkipReason) -> Skip {
        match self {
            Piece::Batch { after, .. } => Skip { range: self.range(), reason, after: *after, verified: true },
            Piece::Hole(skip) => *skip,
        }
    }
}
