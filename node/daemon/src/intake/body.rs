//! The bodies: a request's takes its bytes from the node's budget as they arrive, an answer's keeps the request's
//! place until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use meridian_proto::v1::{ErrorReason, Failure};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
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
    /// From a message's first byte to its last.
    message_max: Duration,
    /// When the message that has begun must be complete; made with the first one that comes in pieces.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    pub(super) fn new(inner: tonic::body::Body, held: Held, message_max: Duration) -> Self {
        Self { inner, held, framing: Framing::default(), message_max, deadline: None }
    }

    fn read(&mut self, data: &[u8]) {
        let was_open = self.framing.open() > 0;
        let ended = self.framing.read(data);
        let begun = self.framing.open() > 0 && (ended || !was_open);
        if begun {
            let until = Instant::now() + self.message_max;
            match &mut self.deadline {
                Some(deadline) => deadline.as_mut().reset(until),
                none => *none = Some(Box::pin(tokio::time::sleep_until(until))),
            }
        }
    }

    /// Whether a message takes too long: its bytes must not be held for ever.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match &mut self.deadline {
            Some(deadline) if self.framing.open() > 0 => {
                std::task::ready!(deadline.as_mut().poll(cx));
                let why =
                    format!("a message that began {:?} ago is not complete; try again", self.message_max);
                Poll::Ready(Failure::new(ErrorReason::Throttled, why).into())
            }
            _ => Poll::Pending,
        }
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
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            return this.poll_overdue(cx).map(|overdue| Some(Err(overdue)));
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            this.held.take(data.len())?;
            this.read(data);
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
    use tokio::sync::mpsc;
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
        let pieces = tonic::body::Body::new(Pieces(pieces.into_iter()));
        (Metered::new(pieces, held.clone(), Duration::from_secs(60)), held)
    }

    /// A body whose pieces come one by one.
    struct Slow(mpsc::Receiver<Vec<u8>>);

    impl Body for Slow {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece.into()))))
        }
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
    async fn a_message_that_is_never_finished_gives_its_bytes_back() {
        let budget = Arc::new(Semaphore::new(1_000));
        let held = Held::new(Arc::clone(&budget));
        held.is_stream();
        let (pieces, queue) = mpsc::channel(4);
        let message_max = Duration::from_millis(400);
        let mut body = Metered::new(tonic::body::Body::new(Slow(queue)), held.clone(), message_max);
        // Whole messages and pauses between them take as long as they like; a new message has a time of its own.
        let end_and_beginning = [&message(45)[20..], &message(9_999)[..7]].concat();
        for piece in [message(95), message(45)[..20].to_vec(), end_and_beginning] {
            tokio::time::sleep(message_max * 2 / 3).await;
            pieces.send(piece).await.expect("read");
            next(&mut body).await.expect("a piece").expect("in time");
        }
        let begun = Instant::now();
        // Bytes that trickle in do not help.
        let trickle = tokio::spawn(async move {
            while pieces.send(vec![0; 1]).await.is_ok() {
                tokio::time::sleep(message_max / 8).await;
            }
        });
        let overdue = loop {
            match next(&mut body).await.expect("more") {
                Ok(_) => assert!(begun.elapsed() < message_max * 20, "it never ends"),
                Err(status) => break status,
            }
        };
        assert_eq!(overdue.code(), Code::ResourceExhausted, "{overdue:?}");
        assert!(begun.elapsed() >= message_max / 2, "after {:?}", begun.elapsed());
        drop((body, held));
        assert_eq!(budget.available_permits(), 1_000);
        trickle.await.expect("ends with its reader");
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
