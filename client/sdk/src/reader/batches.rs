//! Reading by whole batches.

use super::{BatchItem, Source};
use crate::Error;
use futures::StreamExt;

/// Reads batches as they were published: the cheapest way, for copying and checking. Dropping it ends the reading.
pub struct BatchReader {
    source: Source,
}

impl BatchReader {
    pub(super) fn new(source: Source) -> Self {
        Self { source }
    }

    /// The next batch or report; `None` at the end of the log (never, when following). Cancellation safe.
    pub async fn next(&mut self) -> Option<Result<BatchItem, Error>> {
        loop {
            match self.source.chunks.next().await? {
                Err(error) => return Some(Err(error)),
                Ok(chunk) => {
                    if let Some(item) = chunk.whole() {
                        return Some(Ok(item));
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for BatchReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchReader").finish_non_exhaustive()
    }
}
