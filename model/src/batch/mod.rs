//! The batch: the unit that producers send, Raft stores and readers get, byte for byte the same.
//!
//! Layout, version 1, little-endian: a header protected by its own CRC32C, a table with key hash and raw
//! length of each message, then the body, compressed or not. The RFC `docs/rfc/2026-11-21-batch-format.md`
//! tells it byte by byte.

mod body;
mod builder;
mod codec;
mod header;

pub use body::{decode_messages, decode_range, table};
pub use builder::BatchBuilder;
pub use codec::Codec;
pub use header::{BatchHeader, FLAG_NAMED_PRODUCER, FLAG_POSSIBLE_DUPLICATE, HEADER_BYTES, MAGIC, VERSION};

use bytes::Bytes;

/// A batch whose header and checksums were verified. The bytes are kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Verifies everything: magic, lengths, limits, both checksums. The whole buffer must be one batch.
    pub fn verify(bytes: Bytes) -> Result<Self, BatchError> {
        let batch = Self::trust(bytes)?;
        batch.header.verify_payload(&batch.bytes)?;
        Ok(batch)
    }

    /// Verifies the header and its checksum but not the payload's: for bytes that were verified before.
    pub fn trust(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::decode(&bytes)?;
        if header.total_bytes() != bytes.len() {
            return Err(BatchError::Length { expected: header.total_bytes(), got: bytes.len() });
        }
        Ok(Self { header, bytes })
    }

    /// Verifies the payload's checksum, where the batch was only trusted so far.
    pub fn verify_payload(&self) -> Result<(), BatchError> {
        self.header.verify_payload(&self.bytes)
    }

    /// What the header says.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The batch as sent and stored.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch as sent and stored.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// Why bytes are not a batch. Nothing of such a batch is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Shorter than a header.
    #[error("truncated: {got} bytes, a header needs {need}")]
    Truncated {
        /// What is needed.
        need: usize,
        /// What came.
        got: usize,
    },
    /// Not a Meridian batch.
    #[error("bad magic: not a Meridian batch")]
    Magic,
    /// A newer format than this build reads.
    #[error("batch format version {0} is newer than this build understands")]
    Version(u8),
    /// The header's checksum differs.
    #[error("header checksum differs: the batch was damaged on its way")]
    HeaderCrc,
    /// The payload's checksum differs.
    #[error("payload checksum differs: the batch was damaged on its way")]
    PayloadCrc,
    /// The lengths in the header do not add up.
    #[error("the header speaks of {expected} bytes, {got} came")]
    Length {
        /// By the header.
        expected: usize,
        /// In fact.
        got: usize,
    },
    /// A bound of [`crate::limits`] is exceeded.
    #[error("{what} is over its limit: {got}, the most is {max}")]
    Limit {
        /// Which bound.
        what: &'static str,
        /// What came.
        got: usize,
        /// The bound.
        max: usize,
    },
    /// An unknown codec, body format or reserved field.
    #[error("{0} is not supported by this build")]
    Unsupported(&'static str),
    /// The body does not decompress, or is not what the table says.
    #[error("malformed body: {0}")]
    Body(&'static str),
    /// A batch without messages.
    #[error("the batch holds no messages")]
    Empty,
}

#[cfg(test)]
mod tests;
