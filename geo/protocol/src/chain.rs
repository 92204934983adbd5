//! The chain of an origin log, as the machine of a partition computes it: 32 bytes that stand for a whole history.

use std::fmt;

use meridian_model::{LogId, Offset};

/// What a history hashes to, up to an offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Head(pub [u8; 32]);

/// What a batch hashes to: BLAKE3 of its bytes, header included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf(pub [u8; 32]);

impl Leaf {
    /// Of the batch as stored.
    pub fn of(batch: &[u8]) -> Self {
        Self(*blake3::hash(batch).as_bytes())
    }
}

impl Head {
    /// Of an empty log: BLAKE3 of its id.
    pub fn initial(log: LogId) -> Self {
        Self(*blake3::hash(&log.0).as_bytes())
    }

    /// After a batch: BLAKE3 of head, offset (u64 little-endian) and leaf.
    pub fn after(self, base: Offset, leaf: &Leaf) -> Self {
        let mut input = [0; 72];
        input[..32].copy_from_slice(&self.0);
        input[32..40].copy_from_slice(&base.0.to_le_bytes());
        input[40..].copy_from_slice(&leaf.0);
        Self(*blake3::hash(&input).as_bytes())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head(")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both regions, and every version of the machine, must agree on these.
    #[test]
    fn the_chain_is_the_published_one() {
        let log = LogId::from_u128(7);
        let (initial, leaf) = (Head::initial(log), Leaf::of(b"a batch"));
        assert_eq!(initial.0, *blake3::hash(&7u128.to_be_bytes()).as_bytes());
        let joined = [&initial.0[..], &3u64.to_le_bytes()[..], blake3::hash(b"a batch").as_bytes()].concat();
        assert_eq!(initial.after(Offset(3), &leaf).0, *blake3::hash(&joined).as_bytes());
    }
}
