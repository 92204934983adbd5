//! The hash chain: what makes two logs comparable by 32 bytes (LOG-4).

use meridian_model::{LogId, Offset};

/// The head of an empty log: BLAKE3 of the log id.
pub(super) fn initial(log: LogId) -> [u8; 32] {
    *blake3::hash(&log.0).as_bytes()
}

/// The head after a batch: BLAKE3 of head, offset (u64 little-endian) and leaf.
pub(super) fn advance(head: &[u8; 32], base: Offset, leaf: &[u8; 32]) -> [u8; 32] {
    let base = if planted!(ChainWithoutOffset) { Offset(0) } else { base };
    let mut input = [0; 72];
    input[..32].copy_from_slice(head);
    input[32..40].copy_from_slice(&base.0.to_le_bytes());
    input[40..].copy_from_slice(leaf);
    *blake3::hash(&input).as_bytes()
}
