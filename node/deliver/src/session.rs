//! One reading session: a place in a log that only moves forward, page by page.

use std::sync::Arc;

use meridian_commitlog::{LogBounds, ReadCommitted, ReadError, StoredBatch};
use meridian_model::{GroupId, Offset, Start};

/// Bytes of batches in one page.
const PAGE_BYTES: usize = 512 * 1024;

/// A step of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Batches in offset order. The first may hold messages before the session's place.
    pub batches: Vec<StoredBatch>,
    /// Offsets that retention took before they were read, `[from, to)`.
    pub skipped: Option<(Offset, Offset)>,
    /// The session's place after this page.
    pub next: Offset,
    /// The log as it was.
    pub bounds: LogBounds,
}

/// A session over one replica.
pub struct ReadSession {
    log: Arc<dyn ReadCommitted>,
    group: GroupId,
    next: Offset,
}

impl ReadSession {
    /// Finds the place to begin. With `clamp` a place below the log's start is reported as skipped;
    /// without, it is an error.
    pub async fn open(
        log: Arc<dyn ReadCommitted>,
        group: GroupId,
        start: Start,
        clamp: bool,
    ) -> Result<Self, ReadError> {
        let bounds = log.bounds(group)?;
        let next = match start {
            Start::Offset(offset) => offset,
            Start::Time(time) => log.offset_at(group, time).await?,
            Start::Earliest => bounds.start,
            Start::Latest => bounds.end,
        };
        if next > bounds.end || (next < bounds.start && !clamp) {
            return Err(ReadError::OutOfRange { offset: next, start: bounds.start, end: bounds.end });
        }
        Ok(Self { log, group, next })
    }

    /// The next offset to be read.
    pub fn place(&self) -> Offset {
        self.next
    }

    /// The next page; empty at the end of the log. Retention that overtakes a session that began inside the
    /// log is reported, never silent. Cancel safe.
    pub async fn page(&mut self) -> Result<Page, ReadError> {
        let before = self.log.bounds(self.group)?;
        let mut skipped = None;
        let batches = match self.log.read(self.group, self.next, PAGE_BYTES).await {
            Err(ReadError::OutOfRange { start, .. }) if self.next < start => {
                skipped = Some((self.next, start));
                self.next = start;
                Vec::new()
            }
            other => other?,
        };
        if let Some(last) = batches.last() {
            self.next = last.base.plus(u64::from(last.count));
        }
        Ok(Page { batches, skipped, next: self.next, bounds: before })
    }

    /// Goes back to an offset within the last page: what follows it is read again. Never goes forward.
    pub fn back_to(&mut self, offset: Offset) {
        self.next = self.next.min(offset);
    }

    /// Waits until there is something after the session's place. Cancel safe.
    pub async fn wait(&self) -> Result<(), ReadError> {
        self.log.wait_beyond(self.group, self.next).await
    }
}
