//! Checksums set right. Whatever a fuzzer changes is caught by a checksum first; what lies behind would never be
//! met. So targets look at an input as it came, and again as somebody would send it who means harm.

use meridian_model::batch::HEADER_BYTES as BATCH_HEADER_BYTES;
use meridian_storage::keys::entry::HEADER_BYTES as ENTRY_HEADER_BYTES;

/// A batch whose two checksums are right, whatever it says.
pub(crate) fn batch(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if let Some(head) = batch_header_bytes(&bytes) {
        let payload = crc32c::crc32c(&bytes[head..]);
        bytes[24..28].copy_from_slice(&payload.to_le_bytes());
        let header = crc32c::crc32c(&bytes[8..head]);
        bytes[4..8].copy_from_slice(&header.to_le_bytes());
    }
    bytes
}

/// The same, and its body ends where the input ends.
pub(crate) fn batch_length(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if let Some(head) = batch_header_bytes(&bytes) {
        let count = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
        let body = bytes.len().saturating_sub(head + count.saturating_mul(12)) as u32;
        bytes[16..20].copy_from_slice(&body.to_le_bytes());
    }
    batch(&bytes)
}

fn batch_header_bytes(bytes: &[u8]) -> Option<usize> {
    let said = usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    (BATCH_HEADER_BYTES..=bytes.len()).contains(&said).then_some(said)
}

/// A log entry whose checksum is right.
pub(crate) fn entry(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if bytes.len() >= ENTRY_HEADER_BYTES {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[0..4]), &bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}
