//! Reading a frame that another region sent. Whatever the bytes, it ends with a frame or a reason.

use bytes::Bytes;
use meridian_model::batch::{Batch, BatchError};
use meridian_model::{LogId, Offset, OffsetRange, UnixMs, limits};

use super::encode::{TAG_BATCH, TAG_SKIP, VERSION};
use super::{Frame, FrameError, Item, Shipped, Skip, SkipReason};
use crate::chain::Head;
use crate::region::{RegionSet, Stamp};
use crate::route::RouteEpoch;
use crate::wire::{OutOfBytes, Reader};

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Newer than this build.
    #[error("frame version {0} is not known to this build")]
    Version(u8),
    /// More bytes than a frame may have.
    #[error("a frame of {0} bytes is over its limit")]
    Bytes(usize),
    /// Cut short, with something left over, or with a value that no build writes.
    #[error("the bytes are not those of a frame")]
    Malformed,
    /// The offsets of the items do not add up to what the frame says.
    #[error("the items do not end at {to}, where the frame does")]
    End {
        /// By the frame.
        to: Offset,
    },
    /// A batch in it is none.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The items make no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl From<OutOfBytes> for DecodeError {
    fn from(OutOfBytes: OutOfBytes) -> Self {
        DecodeError::Malformed
    }
}

impl Frame {
    /// Reads a frame; the whole buffer must be one. Batches share its memory. Checks structure, bounds and the
    /// headers of batches, not what they hash to: see [`Frame::verify`].
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > limits::GEO_FRAME_BYTES_MAX {
            return Err(DecodeError::Bytes(bytes.len()));
        }
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            version => return Err(DecodeError::Version(version)),
        }
        let log = LogId(reader.array()?);
        let epoch = RouteEpoch(reader.u64()?);
        let (from, to) = (reader.offset()?, reader.offset()?);
        let before = match (reader.flag()?, reader.array::<32>()?) {
            (true, head) => Some(Head(head)),
            (false, none) if none == [0; 32] => None,
            (false, _) => return Err(DecodeError::Malformed),
        };
        let count = reader.u32()? as usize;
        // Each item has more than one byte, so a count cannot make us reserve what was not sent.
        if count > limits::GEO_FRAME_ITEMS_MAX || count > reader.left() {
            return Err(DecodeError::Malformed);
        }
        let (mut items, mut at) = (Vec::with_capacity(count), from);
        for _ in 0..count {
            let item = decode_item(bytes, &mut reader, at)?;
            at = item.range().to;
            // Before the next one is added to it: sums stay far from the end of the numbers.
            if at > to {
                return Err(DecodeError::End { to });
            }
            items.push(item);
        }
        reader.end()?;
        if at != to {
            return Err(DecodeError::End { to });
        }
        Ok(Frame::new(log, epoch, from, before, items)?)
    }
}

fn decode_item(bytes: &Bytes, reader: &mut Reader<'_>, at: Offset) -> Result<Item, DecodeError> {
    match reader.u8()? {
        TAG_BATCH => {
            let appended_at = UnixMs(reader.u64()?);
            let stamp = Stamp { regions: RegionSet::decode(reader)?, allowed: RegionSet::decode(reader)? };
            let length = reader.u32()? as usize;
            let batch = Batch::trust(bytes.slice_ref(reader.bytes(length)?))?;
            let after = Head(reader.array()?);
            Ok(Item::Batch(Shipped { base: at, appended_at, stamp, batch, after }))
        }
        TAG_SKIP => {
            let reason = SkipReason::from_wire(reader.u8()?).ok_or(OutOfBytes)?;
            let verified = reader.flag()?;
            let range = OffsetRange::new(at, at.plus(reader.count()?));
            Ok(Item::Skip(Skip { range, reason, after: Head(reader.array()?), verified }))
        }
        _ => Err(DecodeError::Malformed),
    }
}
