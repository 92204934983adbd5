//! The bodies: a request's takes its bytes from the node's budget as they arrive, an answer's keeps the request's
//! place until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use meridian_proto::v1::{ErrorReason, Failure};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::Seat;
use super::framing::Framing;

/// The bytes that one request holds until the last one who has this lets go. A handler keeps it until the message
/// is admitted; one that reads a stream says so, and then the bytes of a message come back when the next is read.
#[derive(Clone)]
pub(crate) struct Held {
    budget: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    bytes: Option<OwnedSemaphorePermit>,
    streaming: bool,
}

impl Held {
    pub(super) fn new(budget: Arc<Semaphore>) -> Self {
        Self { budget, taken: Arc::default() }
    }

    /// Whoever reads this request is done with a message when it asks for the next one.
    pub(crate) fn is_stream(&self) {
        self.taken.lock().streaming = true;
    }

    /// So many bytes, to be held beyond the next message: by somebody who passes this one on.
    pub(crate) fn split(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let mut taken = self.taken.lock();
        let held = taken.bytes.as_mut()?;
        held.split(bytes.min(held.num_permits()))
    }

    fn take(&self, bytes: usize) -> Result<(), Failure> {
        let exhausted = || {
            let why = "this node receives as many bytes as it may at once; try again";
            Failure::new(ErrorReason::Throttled, why)
        };
        let count = u32::try_from(bytes).map_err(|_| exhausted())?;
        let more = Arc::clone(&self.budget).try_acquire_many_owned(count).map_err(|_| exhausted())?;
        match &mut self.taken.lock().bytes {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    /// More is asked for: of a stream, nothing is left but the beginning of a message.
    fn read_on(&self, open: usize) {
        let mut taken = self.taken.lock();
        if taken.streaming
            && let Some(bytes) = &mut taken.bytes
        {
            drop(bytes.split(bytes.num_permits().saturating_sub(open)));
        }
    }
}

/// A request's body.
pub(super) struct Metered {
    inner: tonic::body::Body,
    held: Held,
    framing: Framing,
}

impl Metered {
    pub(super) fn new(inner: tonic::body::Body, held: Held) -> Self {
        Self { inner, held, framing: Framing::default() }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.held.read_on(this.framing.open());
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.held.take(data.len())?;
            this.framing.read(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body.
pub(super) struct Occupied {
    inner: tonic::body::Body,
    _seat: Seat,
}

impl Occupied {
    pub(super) fn new(inner: tonic::body::Body, seat: Seat) -> Self {
        Self { inner, _seat: seat }
    }
}

impl Body for Occupied {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    fn message(length: usize) -> Vec<u8> {
        [vec![0], (length as u32).to_be_bytes().to_vec(), vec![7; length]].concat()
    }

    async fn next(body: &mut Metered) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    /// A body of these pieces.
    struct Pieces(std::vec::IntoIter<Vec<u8>>);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    fn body(pieces: Vec<Vec<u8>>, budget: &Arc<Semaphore>) -> (Metered, Held) {
        let held = Held::new(Arc::clone(budget));
        (Metered::new(tonic::body::Body::new(Pieces(pieces.into_iter())), held.clone()), held)
    }

    fn two_messages() -> Vec<Vec<u8>> {
        vec![message(95), message(195)[..50].to_vec(), message(195)[50..].to_vec()]
    }

    #[tokio::test]
    async fn the_bytes_of_a_stream_are_held_until_more_is_read() {
        let budget = Arc::new(Semaphore::new(1_000));
        let (mut body, held) = body(two_messages(), &budget);
        held.is_stream();
        for left in [900, 950, 800] {
            next(&mut body).await.expect("a piece").expect("within the budget");
            assert_eq!(budget.available_permits(), left);
        }
        let passed_on = held.split(150).expect("held");
        assert!(next(&mut body).await.is_none());
        assert_eq!(budget.available_permits(), 850, "what was passed on is still somewhere");
        drop(passed_on);
        assert_eq!(budget.available_permits(), 1_000);
    }

    #[tokio::test]
    async fn the_bytes_of_a_call_are_held_until_it_lets_go() {
        let budget = Arc::new(Semaphore::new(1_000));
        let (mut body, held) = body(two_messages(), &budget);
        while next(&mut body).await.is_some() {}
        drop(body);
        assert_eq!(budget.available_permits(), 700, "it is decoded, but not admitted");
        drop(held);
        assert_eq!(budget.available_permits(), 1_000);
    }

    #[tokio::test]
    async fn beyond_the_budget_a_request_is_told_when_to_try_again() {
        let budget = Arc::new(Semaphore::new(100));
        let (mut first, held) = body(vec![message(90)], &budget);
        next(&mut first).await.expect("a piece").expect("within the budget");
        let (mut second, _) = body(vec![message(90)], &budget);
        let refused = next(&mut second).await.expect("an answer").expect_err("exhausted");
        assert_eq!(refused.code(), Code::ResourceExhausted);
        let delay = refused.get_details_retry_info().and_then(|retry| retry.retry_delay);
        assert!(delay.is_some_and(|delay| !delay.is_zero()), "{refused:?}");
        drop((first, held));
        let (mut third, _) = body(vec![message(90)], &budget);
        next(&mut third).await.expect("a piece").expect("there is room again");
    }
}
