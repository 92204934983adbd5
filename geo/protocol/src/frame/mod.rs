//! A frame: what one region ships to another of one origin log, every offset of `[from, to)` accounted for.
//!
//! Batches travel verbatim. An offset that does not travel is in a skip, with the reason. Each item says what the
//! origin's chain hashes to after it, so that the receiver can tell that both have the same history. A frame is
//! applied whole or not at all.

mod decode;
mod encode;
mod skip;
#[cfg(test)]
mod tests;

use meridian_model::batch::{Batch, BatchError};
use meridian_model::{LogId, Offset, OffsetRange, UnixMs, limits};

pub use self::decode::DecodeError;
pub(crate) use self::encode::PREFIX_BYTES;
pub use self::skip::{Skip, SkipReason};
use crate::chain::{Head, Leaf};
use crate::region::Stamp;
use crate::route::RouteEpoch;

/// A batch on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// The origin's offset of its first message.
    pub base: Offset,
    /// When the origin appended it, by the origin's clock.
    pub appended_at: UnixMs,
    /// What the origin stamped on it.
    pub stamp: Stamp,
    /// Verbatim.
    pub batch: Batch,
    /// The origin's head after it.
    pub after: Head,
}

/// What a frame says of some offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// They travel.
    Batch(Shipped),
    /// They do not.
    Skip(Skip),
}

impl Item {
    /// The origin's offsets that it accounts for.
    pub fn range(&self) -> OffsetRange {
        match self {
            Item::Batch(shipped) => {
                let count = u64::from(shipped.batch.header().count);
                OffsetRange::new(shipped.base, shipped.base.plus(count))
            }
            Item::Skip(skip) => skip.range,
        }
    }

    /// The origin's head after it.
    pub fn after(&self) -> Head {
        match self {
            Item::Batch(shipped) => shipped.after,
            Item::Skip(skip) => skip.after,
        }
    }

    /// Encoded bytes.
    pub fn bytes(&self) -> usize {
        encode::item_bytes(self)
    }
}

/// Consecutive offsets of one origin log, whose structure was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    log: LogId,
    epoch: RouteEpoch,
    from: Offset,
    before: Option<Head>,
    items: Vec<Item>,
}

impl Frame {
    /// A frame of items that follow each other without gaps. `before` is the origin's head at `from`; a sender that
    /// no longer knows it may leave it out where the frame begins with a skip that says so.
    pub fn new(
        log: LogId,
        epoch: RouteEpoch,
        from: Offset,
        before: Option<Head>,
        items: Vec<Item>,
    ) -> Result<Self, FrameError> {
        let mut at = from;
        for item in &items {
            let range = item.range();
            if range.from != at || range.is_empty() {
                return Err(FrameError::NotContiguous { at });
            }
            at = range.to;
        }
        let first = items.first().ok_or(FrameError::Empty)?;
        let unverified = matches!(first, Item::Skip(skip) if !skip.verified);
        if before.is_none() && !unverified {
            return Err(FrameError::HeadMissing);
        }
        let frame = Self { log, epoch, from, before, items };
        let fits = frame.items.iter().all(|item| match item {
            Item::Batch(shipped) => shipped.stamp.regions.fits() && shipped.stamp.allowed.fits(),
            Item::Skip(_) => true,
        });
        let (bytes, count) = (frame.bytes(), frame.items.len());
        if !fits || bytes > limits::GEO_FRAME_BYTES_MAX || count > limits::GEO_FRAME_ITEMS_MAX {
            return Err(FrameError::Oversized { bytes, items: count });
        }
        Ok(frame)
    }

    /// Whose offsets these are.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The route epoch under which it was sent.
    pub fn epoch(&self) -> RouteEpoch {
        self.epoch
    }

    /// The first offset that it accounts for.
    pub fn from(&self) -> Offset {
        self.from
    }

    /// The offset after the last.
    pub fn to(&self) -> Offset {
        self.items.last().map_or(self.from, |item| item.range().to)
    }

    /// The origin's head at [`Frame::from`], where the sender knows it.
    pub fn before(&self) -> Option<Head> {
        self.before
    }

    /// The origin's head at [`Frame::to`].
    pub fn after(&self) -> Option<Head> {
        self.items.last().map(Item::after)
    }

    /// In order, without gaps, at least one.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Encoded bytes.
    pub fn bytes(&self) -> usize {
        encode::frame_bytes(self)
    }

    /// Hashes every batch and compares with the heads that the frame gives. Costs as much as reading the bytes
    /// twice, so it is done once, before the frame is proposed.
    pub fn verify(self) -> Result<Verified, FrameError> {
        let mut head = self.before;
        let mut leaves = Vec::with_capacity(self.items.len());
        for item in &self.items {
            if let Item::Batch(shipped) = item {
                let leaf = Leaf::of(shipped.batch.bytes());
                let expected = head.map(|head| head.after(shipped.base, &leaf));
                if expected != Some(shipped.after) {
                    return Err(FrameError::Chain { at: shipped.base });
                }
                shipped.batch.header().verify_payload(shipped.batch.bytes())?;
                leaves.push(leaf);
            }
            head = Some(item.after());
        }
        Ok(Verified { frame: self, leaves })
    }
}

/// A frame whose batches hash to the heads it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    frame: Frame,
    leaves: Vec<Leaf>,
}

impl Verified {
    /// The frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The leaf of each of its batches, in order.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }
}

/// Why items make no frame, or a frame is not what it says. Nothing of it is stored, and sending the same again does
/// not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Nothing in it.
    #[error("a frame without items")]
    Empty,
    /// An item does not begin where the one before it ends.
    #[error("the item at {at} does not follow the one before it")]
    NotContiguous {
        /// Where it should begin.
        at: Offset,
    },
    /// It does not say on which history it stands, and does not begin with a skip that says so.
    #[error("a frame must give the head before it, or begin with an unverified skip")]
    HeadMissing,
    /// A bound of [`limits`] is exceeded.
    #[error("a frame of {bytes} bytes and {items} items, or a region set in it, is over its limit")]
    Oversized {
        /// Encoded.
        bytes: usize,
        /// Items.
        items: usize,
    },
    /// The bytes of a batch do not hash to the head given after it.
    #[error("the batch at {at} is not what its sender's chain says")]
    Chain {
        /// Its first offset.
        at: Offset,
    },
    /// A batch is damaged, and was when its origin stored it.
    #[error(transparent)]
    Batch(#[from] BatchError),
}
