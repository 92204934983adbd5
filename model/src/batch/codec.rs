//! How a body is compressed.

use super::BatchError;

/// The compression of a batch body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    #[default]
    None,
    /// LZ4 block: fast.
    Lz4,
    /// Zstandard level 1: smaller.
    Zstd,
}

impl Codec {
    /// The number in the header.
    pub fn to_wire(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Lz4 => 1,
            Codec::Zstd => 2,
        }
    }

    /// From the number in the header.
    pub fn from_wire(value: u8) -> Result<Self, BatchError> {
        match value {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Lz4),
            2 => Ok(Codec::Zstd),
            _ => Err(BatchError::Unsupported("codec")),
        }
    }

    /// Compresses `raw` into the front of `packed` and tells how long it got. `None` where it would not get
    /// smaller. `packed` only ever grows, so that one buffer serves many batches.
    pub(super) fn compress_into(self, raw: &[u8], packed: &mut Vec<u8>) -> Option<usize> {
        let most = match self {
            Codec::None => return None,
            Codec::Lz4 => lz4_flex::block::get_maximum_output_size(raw.len()),
            Codec::Zstd => zstd::zstd_safe::compress_bound(raw.len()),
        };
        if packed.len() < most {
            packed.resize(most, 0);
        }
        let length = match self {
            Codec::None => return None,
            Codec::Lz4 => lz4_flex::block::compress_into(raw, packed).ok()?,
            Codec::Zstd => zstd::bulk::compress_to_buffer(raw, packed.as_mut_slice(), 1).ok()?,
        };
        (length < raw.len()).then_some(length)
    }

    /// Decompresses into exactly `raw_len` bytes; anything else is malformed.
    pub(super) fn decompress(self, packed: &[u8], raw_len: usize) -> Result<Vec<u8>, BatchError> {
        let raw = match self {
            Codec::None => packed.to_vec(),
            Codec::Lz4 => {
                lz4_flex::block::decompress(packed, raw_len).map_err(|_| BatchError::Body("lz4"))?
            }
            Codec::Zstd => zstd::bulk::decompress(packed, raw_len).map_err(|_| BatchError::Body("zstd"))?,
        };
        if raw.len() != raw_len {
            return Err(BatchError::Body("raw length"));
        }
        Ok(raw)
    }
}
