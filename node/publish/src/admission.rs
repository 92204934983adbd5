//! Admission: what may not be stored, or not now, is refused before it costs anything.

use std::sync::Arc;

use bytes::Bytes;
use meridian_model::{Batch, BatchError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A batch that passed admission. Holds its share of the node's in-flight bytes until it is dropped.
#[derive(Debug)]
pub struct Admitted {
    batch: Batch,
    share: OwnedSemaphorePermit,
}

impl Admitted {
    /// The verified batch.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// The batch, and the share to hold until it is answered.
    pub fn into_parts(self) -> (Batch, OwnedSemaphorePermit) {
        (self.batch, self.share)
    }
}

/// Why a batch is not admitted. Nothing of it was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no sound batch.
    #[error("batch: {0}")]
    Corrupt(#[from] BatchError),
    /// The node has as many bytes in flight as it may.
    #[error("this node has too much in flight; try again")]
    Busy,
}

/// Whether the node takes load.
pub trait Health: Send + Sync + 'static {
    /// Bytes the disk is behind.
    fn backlog_bytes(&self) -> u64;
}

/// The gate of one node.
pub struct Admission {
    bytes: Arc<Semaphore>,
    health: Arc<dyn Health>,
    backlog_bytes_max: u64,
}

impl Admission {
    /// A gate for so many bytes in flight, closed while the disk is further behind than `backlog_bytes_max`.
    pub fn new(inflight_bytes: usize, backlog_bytes_max: u64, health: Arc<dyn Health>) -> Self {
        Self { bytes: Arc::new(Semaphore::new(inflight_bytes)), health, backlog_bytes_max }
    }

    /// Verifies a batch and takes its share. The one way to an [`Admitted`].
    pub fn admit(&self, bytes: Bytes) -> Result<Admitted, Refused> {
        if self.health.backlog_bytes() > self.backlog_bytes_max {
            return Err(Refused::Busy);
        }
        let share = u32::try_from(bytes.len()).map_err(|_| Refused::Busy)?;
        let share = Arc::clone(&self.bytes).try_acquire_many_owned(share).map_err(|_| Refused::Busy)?;
        Ok(Admitted { batch: Batch::verify(bytes)?, share })
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::{BatchBuilder, Codec, Message};

    use super::*;

    struct Disk(u64);

    impl Health for Disk {
        fn backlog_bytes(&self) -> u64 {
            self.0
        }
    }

    fn batch() -> Bytes {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&Message::new("hello"));
        builder.build().expect("a batch").into_bytes()
    }

    #[test]
    fn the_share_comes_back_with_the_answer() {
        let gate = Admission::new(batch().len(), 10, Arc::new(Disk(0)));
        let first = gate.admit(batch()).expect("admitted");
        assert_eq!(gate.admit(batch()).err(), Some(Refused::Busy));
        drop(first);
        assert!(gate.admit(batch()).is_ok());
    }

    #[test]
    fn a_damaged_batch_is_refused_and_holds_nothing() {
        let gate = Admission::new(batch().len(), 10, Arc::new(Disk(0)));
        let mut damaged = batch().to_vec();
        *damaged.last_mut().expect("bytes") ^= 1;
        assert!(matches!(gate.admit(damaged.into()), Err(Refused::Corrupt(BatchError::PayloadCrc))));
        assert!(gate.admit(batch()).is_ok());
    }

    #[test]
    fn a_disk_that_is_behind_closes_the_gate() {
        let gate = Admission::new(1 << 20, 10, Arc::new(Disk(11)));
        assert_eq!(gate.admit(batch()).err(), Some(Refused::Busy));
    }
}
