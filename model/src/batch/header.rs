//! The header of a batch: 108 fixed bytes, then the region set.

use crate::batch::{BatchError, Codec};
use crate::{ProducerId, UnixMs, limits};

/// The first four bytes; the last of them is the format version.
pub const MAGIC: [u8; 3] = *b"MRB";
/// The version this build writes.
pub const VERSION: u8 = 1;
/// Bytes of the header without regions.
pub const HEADER_BYTES: usize = 108;
/// Bytes of one row of the table: key hash u64, raw length u32.
pub(super) const ROW_BYTES: usize = 12;
/// The producer was told to resend an indeterminate batch elsewhere: it may be stored there too.
pub const FLAG_POSSIBLE_DUPLICATE: u32 = 1;
/// The producer chose its name: it must have been opened, and its fence must stand in the partition.
pub const FLAG_NAMED_PRODUCER: u32 = 2;

/// Every flag there is.
const FLAGS: u32 = FLAG_POSSIBLE_DUPLICATE | FLAG_NAMED_PRODUCER;

/// What holds for the whole batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// The compression of the body.
    pub codec: Codec,
    /// Messages in the batch.
    pub count: u32,
    /// Stored bytes of the body.
    pub body_bytes: u32,
    /// Bytes of the body once decompressed.
    pub raw_bytes: u32,
    /// CRC32C of table and stored body.
    pub payload_crc: u32,
    /// Who sends. Nil: nobody in particular, at-least-once.
    pub producer: ProducerId,
    /// The epoch of the producer.
    pub epoch: u32,
    /// `FLAG_*` bits.
    pub flags: u32,
    /// The sequence of the first message; the others follow densely.
    pub first_sequence: u64,
    /// When the producer made the batch, by its own clock. Informative.
    pub published_at: UnixMs,
    /// Not to be delivered before. Zero: at once.
    pub deliver_at: UnixMs,
    /// Not to be delivered after. Zero: never expires.
    pub expire_at: UnixMs,
    /// The regions this batch is for, sorted. Empty: as the namespace says.
    pub regions: Vec<String>,
}

impl BatchHeader {
    /// Whether the producer chose its name, so that only an opened epoch may write.
    pub fn is_named(&self) -> bool {
        self.flags & FLAG_NAMED_PRODUCER != 0
    }

    /// Bytes of header, table and body.
    pub fn total_bytes(&self) -> usize {
        self.header_bytes() + self.table_bytes() + self.body_bytes as usize
    }

    /// Bytes of the header with its region set.
    pub fn header_bytes(&self) -> usize {
        HEADER_BYTES + self.regions.iter().map(|r| 1 + r.len()).sum::<usize>()
    }

    /// Bytes of the table.
    pub fn table_bytes(&self) -> usize {
        self.count as usize * ROW_BYTES
    }

    /// The sequence after the last message.
    pub fn next_sequence(&self) -> u64 {
        self.first_sequence.saturating_add(u64::from(self.count))
    }

    /// Writes the header, with its checksum.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&[0; 4]); // checksum, below
        out.extend_from_slice(&(self.header_bytes() as u16).to_le_bytes());
        out.push(0); // body format: Meridian records
        out.push(self.codec.to_wire());
        for value in [self.count, self.body_bytes, self.raw_bytes, self.payload_crc] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&self.producer.0);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.extend_from_slice(&self.flags.to_le_bytes());
        for value in [self.first_sequence, self.published_at.0, self.deliver_at.0, self.expire_at.0] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.extend_from_slice(&[0; 16]); // reserved: transaction u64, schema u32, encryption key u32
        out.extend_from_slice(&(self.regions.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 6]); // reserved
        for region in &self.regions {
            out.push(region.len() as u8);
            out.extend_from_slice(region.as_bytes());
        }
        let crc = crc32c::crc32c(&out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header from the front of `bytes` and checks its checksum and every bound.
    pub fn decode(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated { need: HEADER_BYTES, got: bytes.len() });
        }
        if bytes[0..3] != MAGIC {
            return Err(BatchError::Magic);
        }
        if bytes[3] != VERSION {
            return Err(BatchError::Version(bytes[3]));
        }
        let header_bytes = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        if header_bytes < HEADER_BYTES || header_bytes > bytes.len() {
            return Err(BatchError::Truncated { need: header_bytes.max(HEADER_BYTES), got: bytes.len() });
        }
        if crc32c::crc32c(&bytes[8..header_bytes]) != u32_at(bytes, 4) {
            return Err(BatchError::HeaderCrc);
        }
        if bytes[10] != 0 {
            return Err(BatchError::Unsupported("body format"));
        }
        if bytes[84..100].iter().any(|b| *b != 0) || bytes[102..108].iter().any(|b| *b != 0) {
            return Err(BatchError::Unsupported("a reserved field"));
        }
        let header = BatchHeader {
            codec: Codec::from_wire(bytes[11])?,
            count: u32_at(bytes, 12),
            body_bytes: u32_at(bytes, 16),
            raw_bytes: u32_at(bytes, 20),
            payload_crc: u32_at(bytes, 24),
            producer: ProducerId(array_at(bytes, 28)),
            epoch: u32_at(bytes, 44),
            flags: u32_at(bytes, 48),
            first_sequence: u64_at(bytes, 52),
            published_at: UnixMs(u64_at(bytes, 60)),
            deliver_at: UnixMs(u64_at(bytes, 68)),
            expire_at: UnixMs(u64_at(bytes, 76)),
            regions: decode_regions(&bytes[100..header_bytes])?,
        };
        if header.flags & !FLAGS != 0 {
            return Err(BatchError::Unsupported("a flag"));
        }
        header.check_limits()?;
        if header.header_bytes() != header_bytes {
            return Err(BatchError::Length { expected: header.header_bytes(), got: header_bytes });
        }
        Ok(header)
    }

    /// Checks the payload's checksum. `bytes` is the whole batch.
    pub fn verify_payload(&self, bytes: &[u8]) -> Result<(), BatchError> {
        match crc32c::crc32c(&bytes[self.header_bytes()..]) == self.payload_crc {
            true => Ok(()),
            false => Err(BatchError::PayloadCrc),
        }
    }

    fn check_limits(&self) -> Result<(), BatchError> {
        if self.count == 0 {
            return Err(BatchError::Empty);
        }
        let limit = |what, got: usize, max: usize| match got > max {
            true => Err(BatchError::Limit { what, got, max }),
            false => Ok(()),
        };
        limit("messages in a batch", self.count as usize, limits::BATCH_MESSAGES_MAX as usize)?;
        limit("raw bytes of a batch", self.raw_bytes as usize, limits::BATCH_RAW_BYTES_MAX)?;
        limit("bytes of a batch", self.total_bytes(), limits::BATCH_BYTES_MAX)?;
        limit("regions of a batch", self.regions.len(), limits::REGIONS_MAX)
    }
}

fn decode_regions(bytes: &[u8]) -> Result<Vec<String>, BatchError> {
    let count = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    let mut rest = &bytes[8..];
    if count > limits::REGIONS_MAX {
        return Err(BatchError::Limit { what: "regions of a batch", got: count, max: limits::REGIONS_MAX });
    }
    let mut regions = Vec::with_capacity(count);
    for _ in 0..count {
        let (&length, tail) = rest.split_first().ok_or(BatchError::Body("region set"))?;
        let (name, tail) =
            tail.split_at_checked(usize::from(length)).ok_or(BatchError::Body("region set"))?;
        regions.push(String::from_utf8(name.to_vec()).map_err(|_| BatchError::Body("region name"))?);
        rest = tail;
    }
    Ok(regions)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}
