//! What one region tells another about a subscription's acks, and its bytes.

use super::{AckEpoch, AckSet};
use crate::region::Region;
use crate::wire::{OutOfBytes, Reader};

/// The version this build writes.
const VERSION: u8 = 1;

/// A state, or a part of one. Any of it may be lost, repeated, or come late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Of which epoch.
    pub epoch: AckEpoch,
    /// Whether the subscription was deleted by it.
    pub deleted: bool,
    /// Whether these are all acks of the epoch that the teller knows, its base included.
    pub whole: bool,
    /// Acked.
    pub acked: AckSet,
}

/// Why bytes are not something told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToldError {
    /// Newer than this build.
    #[error("ack state version {0} is not known to this build")]
    Version(u8),
    /// Cut short, with something left over, over a bound, or with a value that no build writes.
    #[error("the bytes are not an ack state")]
    Malformed,
}

impl From<OutOfBytes> for ToldError {
    fn from(OutOfBytes: OutOfBytes) -> Self {
        ToldError::Malformed
    }
}

impl Told {
    /// Appends the bytes: version, counter, region, deleted, whole, acks.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.counter.to_le_bytes());
        self.epoch.region.encode(out);
        out.extend_from_slice(&[u8::from(self.deleted), u8::from(self.whole)]);
        self.acked.encode(out);
    }

    /// Reads them; the whole buffer must be one. Whatever the bytes, it ends, and takes no more memory than a
    /// bounded multiple of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, ToldError> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            VERSION => {}
            version => return Err(ToldError::Version(version)),
        }
        let epoch = AckEpoch { counter: reader.count()?, region: Region::decode(&mut reader)? };
        let (deleted, whole) = (reader.flag()?, reader.flag()?);
        let acked = AckSet::decode(&mut reader)?;
        reader.end()?;
        Ok(Self { epoch, deleted, whole, acked })
    }
}
