//! The keys of rows about subscriptions: big-endian, so that a subscription's rows lie together and in order.

use meridian_model::{LogId, Offset, Place, SubscriptionId, UnixMs};

use crate::wire::{OutOfBytes, Reader};

/// By subscription. 8 bytes.
pub(super) fn subscription(id: SubscriptionId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

pub(super) fn read_subscription(key: &[u8]) -> Result<SubscriptionId, OutOfBytes> {
    key.try_into().map(|id| SubscriptionId(u64::from_be_bytes(id))).map_err(|_| OutOfBytes)
}

/// By subscription and place. 24 bytes.
pub(super) fn place(id: SubscriptionId, place: Place) -> Vec<u8> {
    [id.0, place.deliver_at.0, place.offset.0].map(u64::to_be_bytes).concat()
}

pub(super) fn read_place(key: &[u8]) -> Result<(SubscriptionId, Place), OutOfBytes> {
    let mut reader = Reader::new(key);
    let [id, deliver_at, offset] = [read_be(&mut reader)?, read_be(&mut reader)?, read_be(&mut reader)?];
    reader.end()?;
    Ok((SubscriptionId(id), Place { deliver_at: UnixMs(deliver_at), offset: Offset(offset) }))
}

/// By subscription and destination. 24 bytes.
pub(super) fn destination(id: SubscriptionId, destination: LogId) -> Vec<u8> {
    [&id.0.to_be_bytes()[..], &destination.0].concat()
}

pub(super) fn read_destination(key: &[u8]) -> Result<(SubscriptionId, LogId), OutOfBytes> {
    let mut reader = Reader::new(key);
    let (id, destination) = (SubscriptionId(read_be(&mut reader)?), LogId(reader.array()?));
    reader.end().map(|()| (id, destination))
}

/// By subscription, destination and sequence. 32 bytes.
pub(super) fn letter(id: SubscriptionId, to: LogId, sequence: u64) -> Vec<u8> {
    [&destination(id, to)[..], &sequence.to_be_bytes()].concat()
}

pub(super) fn read_letter(key: &[u8]) -> Result<(SubscriptionId, LogId, u64), OutOfBytes> {
    let mut reader = Reader::new(key);
    let (id, destination) = (SubscriptionId(read_be(&mut reader)?), LogId(reader.array()?));
    let sequence = read_be(&mut reader)?;
    reader.end().map(|()| (id, destination, sequence))
}

/// A delayed batch by its time. 16 bytes.
pub(super) fn by_time(first: Place) -> Vec<u8> {
    [first.deliver_at.0, first.offset.0].map(u64::to_be_bytes).concat()
}

/// A delayed batch by its first offset. 8 bytes.
pub(super) fn by_offset(first: Offset) -> Vec<u8> {
    first.0.to_be_bytes().to_vec()
}

/// A segment by the Raft index of its last entry. 8 bytes.
pub(super) fn segment(index: u64) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

pub(super) fn read_be(reader: &mut Reader<'_>) -> Result<u64, OutOfBytes> {
    reader.array().map(u64::from_be_bytes)
}
