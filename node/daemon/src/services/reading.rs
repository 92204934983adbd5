//! One read under way: page after page, until the end of the log, or further.

mod answers;

use meridian_deliver::ReadSession;
use meridian_proto::v1::ReadResponse;
use tokio::sync::mpsc;
use tonic::Status;

use super::answers::of_read;
pub(super) use answers::Answers;

/// A reader's session, and what it is answered.
pub(super) struct Reading {
    pub(super) session: ReadSession,
    pub(super) answers: Answers,
    pub(super) follow: bool,
}

impl Reading {
    pub(super) async fn run(mut self, pages: mpsc::Sender<Result<ReadResponse, Status>>) {
        loop {
            let response = self.next().await;
            let failed = response.is_err();
            let empty =
                response.as_ref().is_ok_and(|page| page.batches.is_empty() && page.messages.is_empty());
            let skipped = response.as_ref().is_ok_and(|page| page.skipped.is_some());
            // An empty page is worth sending once: it tells a reader that it is at the end.
            if pages.send(response).await.is_err() || failed || self.answers.left == Some(0) {
                return;
            }
            if !empty || skipped {
                continue;
            }
            if !self.follow {
                return;
            }
            tokio::select! {
                waited = self.session.wait() => if waited.is_err() { continue },
                () = pages.closed() => return,
            }
        }
    }

    async fn next(&mut self) -> Result<ReadResponse, Status> {
        let page = self.session.page().await.map_err(|error| of_read(&error))?;
        let answer = self.answers.answer(page)?;
        self.session.back_to(self.answers.from);
        Ok(answer)
    }
}
