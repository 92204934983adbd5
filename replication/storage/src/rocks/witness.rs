//! The witness: a small file that remembers up to which write the disk said "synced".
//!
//! A damaged length in the last block of a write-ahead log looks to RocksDB like the end of the log: it
//! recovers less and reports nothing. The witness makes that loss visible. Two slots are written in turn, so a
//! torn write leaves the other one.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::EngineError;

const SLOT_BYTES: usize = 16;
const SYNC_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Witness {
    file: File,
    synced: u64,
    turn: u64,
    last_sync: Instant,
}

impl Witness {
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path);
        let file = file.map_err(io_error)?;
        let mut slots = [0u8; 2 * SLOT_BYTES];
        let read = file.read_at(&mut slots, 0).map_err(io_error)?;
        let synced = slots[..read].chunks_exact(SLOT_BYTES).filter_map(decode).max().unwrap_or(0);
        #[allow(clippy::disallowed_methods)]
        let last_sync = Instant::now();
        Ok(Self { file, synced, turn: 0, last_sync })
    }

    /// The highest write known to be synced.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Remembers that everything through `sequence` is synced.
    pub(super) fn record(&mut self, sequence: u64, now: bool) -> Result<(), EngineError> {
        self.synced = self.synced.max(sequence);
        self.turn += 1;
        let at = (self.turn % 2) * SLOT_BYTES as u64;
        self.file.write_all_at(&encode(self.synced), at).map_err(io_error)?;
        if now || self.last_sync.elapsed() >= SYNC_EVERY {
            self.file.sync_data().map_err(io_error)?;
            #[allow(clippy::disallowed_methods)]
            let now = Instant::now();
            self.last_sync = now;
        }
        Ok(())
    }
}

fn encode(sequence: u64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[..8].copy_from_slice(&sequence.to_le_bytes());
    slot[8..12].copy_from_slice(&crc32c::crc32c(&sequence.to_le_bytes()).to_le_bytes());
    slot
}

fn decode(slot: &[u8]) -> Option<u64> {
    let sequence: [u8; 8] = slot[..8].try_into().ok()?;
    let crc: [u8; 4] = slot[8..12].try_into().ok()?;
    (crc32c::crc32c(&sequence).to_le_bytes() == crc).then_some(u64::from_le_bytes(sequence))
}

fn io_error(error: std::io::Error) -> EngineError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => EngineError::NoSpace(error.to_string()),
        _ => EngineError::Io(error.to_string()),
    }
}
