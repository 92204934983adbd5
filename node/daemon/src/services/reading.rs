//! One reader's stream: a page is read when it is asked for, and counts until the next one is.
//!
//! All readers of a node together hold no more than `limits.reading_bytes`. Whoever reads slowly keeps one page;
//! where there is no room for another, a reader waits a little and is then refused with a time after which to try
//! again: it goes on where it was.

mod answers;
mod budget;

use futures::{Stream, stream};
use meridian_deliver::ReadSession;
use meridian_model::limits::{BATCH_BYTES_MAX, RPC_BYTES_MAX};
use meridian_proto::v1::ReadResponse;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::answers::of_read;
pub(super) use answers::Answers;
pub(crate) use budget::Pages;

/// A reader's session, and what it is answered.
pub(super) struct Reading {
    pub(super) session: ReadSession,
    pub(super) answers: Answers,
    pub(super) follow: bool,
}

/// A reading between two pages.
struct Between {
    reading: Reading,
    pages: Pages,
    held: Option<OwnedSemaphorePermit>,
    /// The reader has been told that it is at the end.
    at_end: bool,
    over: bool,
}

impl Reading {
    /// The pages, each read when it is polled for. Dropped, it reads no further.
    pub(super) fn stream(
        self,
        pages: Pages,
    ) -> impl Stream<Item = Result<ReadResponse, Status>> + Send + 'static {
        let begun = Between { reading: self, pages, held: None, at_end: false, over: false };
        stream::unfold(begun, Between::next)
    }

    async fn page(&mut self) -> Result<ReadResponse, Status> {
        let page = self.session.page().await.map_err(|error| of_read(&error))?;
        let answer = self.answers.answer(page)?;
        self.session.back_to(self.answers.from);
        Ok(answer)
    }
}

impl Between {
    async fn next(mut self) -> Option<(Result<ReadResponse, Status>, Self)> {
        // The page before has been taken.
        self.held = None;
        if self.over || (self.at_end && !self.reading.follow) {
            return None;
        }
        if self.at_end {
            // Why it cannot wait is what the next page says.
            let _ = self.reading.session.wait().await;
        }
        let response = self.page().await;
        let (empty, skipped) = match &response {
            Ok(page) => (page.batches.is_empty() && page.messages.is_empty(), page.skipped.is_some()),
            Err(_) => (true, false),
        };
        // An empty page is worth sending once: it tells a reader that it is at the end.
        self.at_end = empty && !skipped;
        self.over = response.is_err() || self.reading.answers.left == Some(0);
        Some((response, self))
    }

    async fn page(&mut self) -> Result<ReadResponse, Status> {
        let largest = if self.reading.answers.decode { RPC_BYTES_MAX } else { BATCH_BYTES_MAX };
        let mut room = self.pages.room(largest).await?;
        let response = self.reading.page().await?;
        let surplus = room.num_permits().saturating_sub(budget::needed(&response));
        drop(room.split(surplus));
        self.held = Some(room);
        Ok(response)
    }
}
