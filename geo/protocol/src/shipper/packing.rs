//! Packing items into frames: as few as the bounds allow.

use meridian_model::{LogId, Offset, limits};

use crate::chain::Head;
use crate::frame::{Frame, FrameError, Item, PREFIX_BYTES};
use crate::route::RouteEpoch;

/// What all frames of one packing share.
pub(super) struct Packing {
    pub(super) log: LogId,
    pub(super) epoch: RouteEpoch,
    /// A frame may be larger only if one item alone is.
    pub(super) frame_bytes: usize,
}

impl Packing {
    /// Frames of consecutive items from `from` on, each on the head that the one before it ends with.
    pub(super) fn frames(
        &self,
        from: Offset,
        before: Option<Head>,
        items: impl Iterator<Item = Item>,
    ) -> Result<Vec<Frame>, FrameError> {
        let (mut frames, mut open, mut bytes) = (Vec::new(), Vec::new(), PREFIX_BYTES);
        let (mut at, mut before) = (from, before);
        for item in items {
            let merges = merges(&open, &item);
            let more = if merges { 0 } else { item.bytes() };
            let full = bytes + more > self.frame_bytes || open.len() >= limits::GEO_FRAME_ITEMS_MAX;
            if full && !merges && !open.is_empty() {
                let frame = Frame::new(self.log, self.epoch, at, before, std::mem::take(&mut open))?;
                (at, before, bytes) = (frame.to(), frame.after(), PREFIX_BYTES);
                frames.push(frame);
            }
            bytes += more;
            push(&mut open, item);
        }
        if !open.is_empty() {
            frames.push(Frame::new(self.log, self.epoch, at, before, open)?);
        }
        Ok(frames)
    }
}

/// Whether an item is a skip that continues the one before it.
fn merges(items: &[Item], next: &Item) -> bool {
    match (items.last(), next) {
        (Some(Item::Skip(last)), Item::Skip(next)) => {
            let alike = last.reason == next.reason && last.verified == next.verified;
            last.range.to == next.range.from && (alike || planted!(MergesReasons))
        }
        _ => false,
    }
}

fn push(items: &mut Vec<Item>, item: Item) {
    let merges = merges(items, &item);
    match (items.last_mut(), &item) {
        (Some(Item::Skip(last)), Item::Skip(next)) if merges => {
            last.range.to = next.range.to;
            last.after = next.after;
        }
        _ => items.push(item),
    }
}
