//! Reading: every message once, in offset order per partition, through leader changes.
//!
//! Each partition is read by a task of its own that remembers the next offset and begins there again when its
//! stream ends; so nothing is left out and nothing comes twice. What retention removed before it was read is
//! reported, never passed over in silence.

mod batches;
mod builder;
mod chunk;
mod item;
mod partition;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::stream::{SelectAll, StreamExt};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

pub use batches::BatchReader;
pub use builder::ReaderBuilder;
pub use item::{BatchItem, Item, Record, Start};

use crate::Error;
use chunk::Chunk;

/// What the tasks of the partitions deliver.
struct Source {
    chunks: SelectAll<ReceiverStream<Result<Chunk, Error>>>,
    /// Aborts the tasks when the reader is dropped.
    _tasks: JoinSet<()>,
}

/// Reads messages. Also a [`Stream`]. Dropping it ends the reading.
///
/// Errors: a partition that cannot go on yields one error and ends; the others go on.
pub struct Reader {
    source: Source,
    ready: VecDeque<Result<Item, Error>>,
    /// Records still to be delivered.
    left: u64,
}

impl Reader {
    fn new(source: Source, limit: u64) -> Self {
        Self { source, ready: VecDeque::new(), left: limit }
    }

    /// The next record or report; `None` at the end of the log (never, when following) or after the limit.
    /// Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<Item, Error>> {
        StreamExt::next(self).await
    }
}

impl Stream for Reader {
    type Item = Result<Item, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(item) = self.ready.pop_front() {
                if matches!(item, Ok(Item::Record(_))) {
                    self.left -= 1;
                }
                return Poll::Ready(Some(item));
            }
            match ready!(self.source.chunks.poll_next_unpin(context)) {
                None => return Poll::Ready(None),
                Some(Ok(chunk)) => chunk.unpack(&mut self.ready),
                Some(Err(error)) => self.ready.push_back(Err(error)),
            }
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("left", &self.left).finish_non_exhaustive()
    }
}
