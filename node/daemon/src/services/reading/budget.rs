//! The bytes of pages that readers of this node have not taken yet.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use meridian_proto::v1::{ErrorReason, Failure, ReadResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

/// How long a reader waits until others have taken their pages.
const ROOM_MAX: Duration = Duration::from_secs(5);

/// A page is there twice: as it was read, and as it goes out.
const COPIES: usize = 2;

/// What all readers of a node share.
#[derive(Clone)]
pub(crate) struct Pages {
    room: Arc<Semaphore>,
    bytes_max: usize,
}

impl Pages {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes_max)), bytes_max }
    }

    /// Room for the largest page there can be; what is not needed of it is to be given back.
    pub(super) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let room = Arc::clone(&self.room).acquire_many_owned(counted((COPIES * bytes).min(self.bytes_max)));
        match tokio::time::timeout(ROOM_MAX, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(full()),
        }
    }

    /// Pages that another node has read for a reader here.
    pub(crate) fn passed_on(
        self,
        pages: impl Stream<Item = Result<ReadResponse, Status>> + Send + 'static,
    ) -> impl Stream<Item = Result<ReadResponse, Status>> + Send + 'static {
        let begun = (self, Box::pin(pages), None::<OwnedSemaphorePermit>, false);
        stream::unfold(begun, |(budget, mut pages, held, over)| async move {
            // The page before has been taken.
            drop(held);
            if over {
                return None;
            }
            let mut page = pages.next().await?;
            let mut held = None;
            if let Ok(read) = &page {
                match budget.room(bytes_of(read)).await {
                    Ok(room) => held = Some(room),
                    Err(failure) => page = Err(failure.into()),
                }
            }
            let over = page.is_err();
            Some((page, (budget, pages, held, over)))
        })
    }
}

fn counted(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn full() -> Failure {
    Failure::new(ErrorReason::Throttled, "readers of this node hold as many bytes as they may; try again")
}

/// What a page needs in the end.
pub(super) fn needed(page: &ReadResponse) -> usize {
    COPIES * bytes_of(page)
}

/// What a page holds.
fn bytes_of(page: &ReadResponse) -> usize {
    let batches: usize = page.batches.iter().map(|stored| stored.batch.len()).sum();
    let messages: usize = page.messages.iter().map(|message| message.body.len()).sum();
    batches + messages
}
