//! Finding the records of a RocksDB write-ahead log, so that a flipped bit hits what it should.
//!
//! The log is made of 32 KiB blocks. A record's header is checksum u32, length u16, type u8; the types from 5 to
//! 8 are for recycled files and carry four more bytes. A record never crosses a block; a rest too short for a
//! header is padding.

/// Bytes of a block.
pub(super) const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const RECYCLED_HEADER_BYTES: usize = 11;

/// One physical record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Where its header begins.
    pub(super) at: usize,
    header_bytes: usize,
    length: usize,
}

impl Record {
    /// Where the length lies: two bytes.
    pub(super) fn length_at(&self) -> usize {
        self.at + 4
    }

    /// A byte in the middle of the payload; none if there is no payload.
    pub(super) fn payload_middle(&self) -> Option<usize> {
        (self.length > 0).then(|| self.at + self.header_bytes + self.length / 2)
    }

    /// The block it lies in.
    pub(super) fn block(&self) -> usize {
        self.at / BLOCK_BYTES
    }
}

/// Every record up to the first place that holds none.
pub(super) fn records(log: &[u8]) -> Vec<Record> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let left = BLOCK_BYTES - at % BLOCK_BYTES;
        if left < HEADER_BYTES {
            at += left;
            continue;
        }
        let Some(header) = log.get(at..at + HEADER_BYTES) else { return found };
        let length = usize::from(u16::from_le_bytes([header[4], header[5]]));
        let header_bytes = match header[6] {
            0 => return found,
            5..=8 | 11 | 131 => RECYCLED_HEADER_BYTES,
            _ => HEADER_BYTES,
        };
        if length + header_bytes > left || at + header_bytes + length > log.len() {
            return found;
        }
        found.push(Record { at, header_bytes, length });
        at += header_bytes + length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(length: u16, kind: u8) -> Vec<u8> {
        let mut bytes = vec![1, 2, 3, 4];
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.push(kind);
        bytes.resize(bytes.len() + usize::from(length), 0xab);
        bytes
    }

    #[test]
    fn records_follow_each_other_and_the_rest_of_a_block_is_padding() {
        let mut log = record(100, 1);
        log.extend(record(u16::try_from(BLOCK_BYTES - 107 - 7 - 3).expect("fits"), 1));
        log.extend([0, 0, 0]);
        log.extend(record(5, 1));
        let found = records(&log);
        assert_eq!(found.iter().map(|r| r.at).collect::<Vec<_>>(), [0, 107, BLOCK_BYTES]);
        assert_eq!(found[2].block(), 1);
        assert_eq!(found[0].payload_middle(), Some(57));
    }

    #[test]
    fn a_record_that_reaches_beyond_the_file_ends_the_list() {
        let mut log = record(10, 1);
        log.extend(&record(50, 1)[..20]);
        assert_eq!(records(&log).len(), 1);
    }
}
