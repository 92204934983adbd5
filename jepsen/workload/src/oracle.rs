//! The payload of a message: its oracle id, a checksum over everything, and filler.
//!
//! `CRC32C in hex, newline, producer/epoch/sequence, newline, filler`. Whatever a server does to the bytes, the
//! reader learns from them alone who sent what.

use bytes::Bytes;
use meridian_history::{MessageId, Seen};

/// A payload and the checksum in it.
pub fn seal(id: &MessageId, filler: &str) -> (Bytes, u32) {
    let rest = format!("{id}\n{filler}");
    let crc = crc32c::crc32c(rest.as_bytes());
    (Bytes::from(format!("{crc:08x}\n{rest}")), crc)
}

/// What a reader makes of a payload.
pub fn open(offset: u64, key: Option<&[u8]>, body: &[u8]) -> Seen {
    let key = key.map(|key| String::from_utf8_lossy(key).into_owned());
    let text = String::from_utf8_lossy(body);
    let parsed = text.split_once('\n').and_then(|(crc, rest)| {
        let id: MessageId = rest.split_once('\n')?.0.parse().ok()?;
        Some((u32::from_str_radix(crc, 16).ok()?, rest, id))
    });
    match parsed {
        Some((crc, rest, id)) => {
            let crc_ok = crc32c::crc32c(rest.as_bytes()) == crc;
            Seen { offset, id, key, crc, crc_ok }
        }
        None => Seen { offset, id: MessageId::new("illegible", 0, 0), key, crc: 0, crc_ok: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_sender_and_betrays_a_flipped_bit() {
        let id = MessageId::new("p/1", 3, 9);
        let (body, crc) = seal(&id, "filler");
        let seen = open(5, Some(b"k"), &body);
        assert_eq!((seen.id, seen.crc, seen.crc_ok, seen.key.as_deref()), (id, crc, true, Some("k")));
        let mut bad = body.to_vec();
        *bad.last_mut().expect("not empty") ^= 1;
        assert!(!open(5, None, &bad).crc_ok);
        assert!(!open(5, None, b"\xff\xfe").crc_ok);
    }
}
