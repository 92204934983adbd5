//! The bytes of a frame, version 1, little-endian. Offsets of items follow from their counts and are not written.

use super::{Frame, Item, Shipped, Skip};

/// The version this build writes.
pub(super) const VERSION: u8 = 1;
/// Version, log, epoch, from, to, whether a head follows, head, items.
pub(crate) const PREFIX_BYTES: usize = 1 + 16 + 8 + 8 + 8 + 1 + 32 + 4;
pub(super) const TAG_BATCH: u8 = 1;
pub(super) const TAG_SKIP: u8 = 2;

pub(super) fn item_bytes(item: &Item) -> usize {
    match item {
        Item::Batch(shipped) => {
            let stamp = shipped.stamp.regions.bytes() + shipped.stamp.allowed.bytes();
            1 + 8 + stamp + 4 + shipped.batch.bytes().len() + 32
        }
        Item::Skip(_) => 1 + 1 + 1 + 8 + 32,
    }
}

pub(super) fn frame_bytes(frame: &Frame) -> usize {
    PREFIX_BYTES + frame.items.iter().map(item_bytes).sum::<usize>()
}

impl Frame {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        out.push(VERSION);
        out.extend_from_slice(&self.log.0);
        for number in [self.epoch.0, self.from.0, self.to().0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(u8::from(self.before.is_some()));
        out.extend_from_slice(&self.before.map_or([0; 32], |head| head.0));
        out.extend_from_slice(&(self.items.len() as u32).to_le_bytes());
        for item in &self.items {
            match item {
                Item::Batch(shipped) => encode_batch(shipped, out),
                Item::Skip(skip) => encode_skip(skip, out),
            }
        }
    }
}

fn encode_batch(shipped: &Shipped, out: &mut Vec<u8>) {
    out.push(TAG_BATCH);
    out.extend_from_slice(&shipped.appended_at.0.to_le_bytes());
    shipped.stamp.regions.encode(out);
    shipped.stamp.allowed.encode(out);
    out.extend_from_slice(&(shipped.batch.bytes().len() as u32).to_le_bytes());
    out.extend_from_slice(shipped.batch.bytes());
    out.extend_from_slice(&shipped.after.0);
}

fn encode_skip(skip: &Skip, out: &mut Vec<u8>) {
    out.push(TAG_SKIP);
    out.push(skip.reason.to_wire());
    out.push(u8::from(skip.verified));
    out.extend_from_slice(&skip.range.len().to_le_bytes());
    out.extend_from_slice(&skip.after.0);
}
