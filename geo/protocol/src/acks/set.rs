//! Acked offsets of several origin logs.

use std::collections::BTreeMap;

use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, limits};

use crate::wire::{OutOfBytes, Reader};

/// Offsets by origin log. Equal sets are equal values and have equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckSet {
    /// None of them is empty.
    logs: BTreeMap<LogId, OffsetRanges>,
}

impl AckSet {
    /// Everything below a floor in each log.
    pub fn below(floors: impl IntoIterator<Item = (LogId, Offset)>) -> Self {
        let mut set = Self::default();
        floors.into_iter().for_each(|(log, floor)| set.insert(log, OffsetRange::new(Offset(0), floor)));
        set
    }

    /// Adds offsets.
    pub fn insert(&mut self, log: LogId, range: OffsetRange) {
        if !range.is_empty() {
            self.logs.entry(log).or_default().insert(range);
        }
    }

    /// Whether it has an offset.
    pub fn contains(&self, log: LogId, offset: Offset) -> bool {
        self.logs.get(&log).is_some_and(|ranges| ranges.contains(offset))
    }

    /// Adds another set. Returns how many offsets are new.
    pub fn unite(&mut self, other: &AckSet) -> u64 {
        let all = other.logs.iter().flat_map(|(log, ranges)| ranges.iter().map(move |range| (log, range)));
        all.map(|(log, range)| self.logs.entry(*log).or_default().insert(range)).sum()
    }

    /// Ranges over all logs: what it takes to keep it.
    pub fn ranges(&self) -> usize {
        self.logs.values().map(OffsetRanges::ranges).sum()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// By log.
    pub fn logs(&self) -> impl Iterator<Item = (LogId, &OffsetRanges)> {
        self.logs.iter().map(|(log, ranges)| (*log, ranges))
    }

    /// Forgets a log that no region has any more.
    pub fn forget(&mut self, log: LogId) {
        self.logs.remove(&log);
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.logs.len() as u32).to_le_bytes());
        for (log, ranges) in &self.logs {
            out.extend_from_slice(&log.0);
            out.extend_from_slice(&(ranges.ranges() as u32).to_le_bytes());
            for range in ranges.iter() {
                out.extend_from_slice(&range.from.0.to_le_bytes());
                out.extend_from_slice(&range.to.0.to_le_bytes());
            }
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, OutOfBytes> {
        let count = reader.u32()? as usize;
        if count > limits::GEO_ORIGINS_MAX {
            return Err(OutOfBytes);
        }
        let (mut logs, mut left) = (BTreeMap::new(), limits::GEO_ACK_RANGES_MAX);
        for _ in 0..count {
            let log = LogId(reader.array()?);
            let ranges = reader.u32()? as usize;
            left = left.checked_sub(ranges).ok_or(OutOfBytes)?;
            let after_last = logs.last_key_value().is_none_or(|(last, _)| *last < log);
            if !after_last || ranges == 0 {
                return Err(OutOfBytes);
            }
            logs.insert(log, decode_ranges(reader, ranges)?);
        }
        Ok(Self { logs })
    }
}

/// In order, none empty, none touching the next: the one way to write a set.
fn decode_ranges(reader: &mut Reader<'_>, count: usize) -> Result<OffsetRanges, OutOfBytes> {
    let (mut ranges, mut end) = (OffsetRanges::new(), None);
    for _ in 0..count {
        let (from, to) = (reader.offset()?, reader.offset()?);
        if to <= from || end.is_some_and(|end| from <= end) {
            return Err(OutOfBytes);
        }
        ranges.insert(OffsetRange::new(from, to));
        end = Some(to);
    }
    Ok(ranges)
}
