//! A log entry as stored: 24 bytes of header, protected together with the payload by a CRC32C, then the payload.

use bytes::Bytes;

use super::Malformed;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 24;
const VERSION: u8 = 1;

/// What an entry carries. The number is on disk and on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Nothing: a leader's first entry.
    Blank = 0,
    /// A command of the state machine.
    Command = 1,
    /// A membership.
    Membership = 2,
}

impl EntryKind {
    /// From the number on disk.
    pub fn from_tag(tag: u8) -> Option<EntryKind> {
        match tag {
            0 => Some(EntryKind::Blank),
            1 => Some(EntryKind::Command),
            2 => Some(EntryKind::Membership),
            _ => None,
        }
    }
}

/// A decoded entry. The payload is a slice of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// The Raft term.
    pub term: u64,
    /// The Raft index.
    pub index: u64,
    /// What it is.
    pub kind: EntryKind,
    /// What it carries.
    pub payload: Bytes,
}

/// The header that stands in front of the payload.
pub fn header(term: u64, index: u64, kind: EntryKind, payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[0] = VERSION;
    out[1] = kind as u8;
    out[8..16].copy_from_slice(&term.to_be_bytes());
    out[16..24].copy_from_slice(&index.to_be_bytes());
    let crc = checksum(&out, payload);
    out[4..8].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Back from a stored value. A damaged entry is an error, never wrong bytes.
pub fn decode(value: Bytes) -> Result<StoredEntry, Malformed> {
    const BAD: Malformed = Malformed("log entry");
    let head: [u8; HEADER_BYTES] = value.get(..HEADER_BYTES).ok_or(BAD)?.try_into().map_err(|_| BAD)?;
    let payload = value.slice(HEADER_BYTES..);
    let stored_crc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    if head[0] != VERSION || head[2..4] != [0, 0] || checksum(&head, &payload) != stored_crc {
        return Err(BAD);
    }
    Ok(StoredEntry {
        term: super::u64_at(&head, 8).ok_or(BAD)?,
        index: super::u64_at(&head, 16).ok_or(BAD)?,
        kind: EntryKind::from_tag(head[1]).ok_or(BAD)?,
        payload,
    })
}

fn checksum(head: &[u8; HEADER_BYTES], payload: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&head[0..4]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &head[8..]), payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_reserved_is_refused() {
        for at in [2, 3] {
            let mut value = header(3, 9, EntryKind::Command, b"x").to_vec();
            value.push(b'x');
            assert!(decode(Bytes::copy_from_slice(&value)).is_ok());
            value[at] = 1;
            let head = value.first_chunk::<HEADER_BYTES>().expect("a header");
            let crc = checksum(head, b"x");
            value[4..8].copy_from_slice(&crc.to_be_bytes());
            assert_eq!(decode(Bytes::from(value)), Err(Malformed("log entry")), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn entries_round_trip(term: u64, index: u64, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = header(term, index, EntryKind::Command, &payload);
            let value = Bytes::from([&head[..], &payload[..]].concat());
            let back = decode(value).expect("decodes");
            prop_assert_eq!((back.term, back.index, &back.payload[..]), (term, index, &payload[..]));
        }

        #[test]
        fn one_flipped_bit_is_always_found(
            payload in prop::collection::vec(any::<u8>(), 0..60), at in any::<prop::sample::Index>(), bit in 0u8..8
        ) {
            let head = header(3, 9, EntryKind::Command, &payload);
            let mut value = [&head[..], &payload[..]].concat();
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
            prop_assert!(decode(Bytes::from(value)).is_err());
        }
    }
}
