//! What became of one message. Messages share a fate by the batch, so it is settled once for all of them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use meridian_model::{LogId, MessageId, Offset};
use parking_lot::Mutex;

use crate::Error;

/// Where a message is stored: on the disks of a quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message's name for ever.
    pub id: MessageId,
    /// The partition of the topic.
    pub partition: u32,
    /// The position in the partition; also in `id`.
    pub offset: Offset,
    /// It was stored by an earlier send of the same batch, whose ack did not arrive. Stored once all the same.
    pub duplicate: bool,
}

/// Resolves when a message is acked by a quorum, or has failed. Dropping it does not take the message back.
///
/// Errors: [`Error::Timeout`] and [`Error::Refused`] mean it was not stored (save for the reason
/// `DUPLICATE_BEYOND_WINDOW`: stored, its offset forgotten); [`Error::Indeterminate`] means nobody knows yet;
/// [`Error::Fenced`] that a producer of the same name took over before it was stored.
pub struct Delivery {
    fate: Arc<Fate>,
    /// The message's number in its batch.
    number: u32,
    /// Where its waker lies, once it has one.
    place: Option<usize>,
}

impl Future for Delivery {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { fate, number, place } = &mut *self;
        if let Some(outcome) = fate.outcome.get() {
            return Poll::Ready(outcome.of(*number));
        }
        let mut wakers = fate.wakers.lock();
        // Settled meanwhile: whoever settles takes the wakers only afterwards.
        if let Some(outcome) = fate.outcome.get() {
            return Poll::Ready(outcome.of(*number));
        }
        match place.and_then(|place| wakers.get_mut(place)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                *place = Some(wakers.len());
                wakers.push(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("number", &self.number).finish_non_exhaustive()
    }
}

/// What became of the messages of one batch.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Stored, the first one at `base`.
    Acked { log: LogId, partition: u32, base: u64, duplicate: bool },
    /// Not known to be stored, for this reason.
    Failed(Error),
}

impl Outcome {
    fn of(&self, number: u32) -> Result<Receipt, Error> {
        match self {
            Outcome::Acked { log, partition, base, duplicate } => {
                let offset = Offset(base + u64::from(number));
                let id = MessageId { log: *log, offset };
                Ok(Receipt { id, partition: *partition, offset, duplicate: *duplicate })
            }
            Outcome::Failed(error) => Err(error.clone()),
        }
    }
}

#[derive(Default)]
struct Fate {
    outcome: OnceLock<Outcome>,
    /// At most one for each message.
    wakers: Mutex<Vec<Waker>>,
}

/// The end that settles the fate of a batch and of everybody who waits for one of its messages. Whoever drops
/// it without a word leaves them in doubt: its runtime is shutting down.
pub(super) struct Promise(Arc<Fate>);

impl Promise {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// What tells about the message with this number in the batch.
    pub(super) fn delivery(&self, number: u32) -> Delivery {
        Delivery { fate: Arc::clone(&self.0), number, place: None }
    }

    pub(super) fn settle(self, outcome: Outcome) {
        self.resolve(outcome);
    }

    fn resolve(&self, outcome: Outcome) {
        if self.0.outcome.set(outcome).is_ok() {
            let wakers = std::mem::take(&mut *self.0.wakers.lock());
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if self.0.outcome.get().is_none() {
            self.resolve(Outcome::Failed(Error::Indeterminate { what: "publish".into(), last: None }));
        }
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Promise")
    }
}

/// Those who wait for a batch, and the buffer space it holds until it is resolved.
#[derive(Debug)]
pub(super) struct Waiters {
    pub(super) promise: Promise,
    pub(super) room_bytes: usize,
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn acked() -> Outcome {
        Outcome::Acked { log: LogId([7; 16]), partition: 2, base: 40, duplicate: false }
    }

    #[tokio::test]
    async fn each_message_of_a_batch_learns_its_own_offset() {
        let promise = Promise::new();
        let early = tokio::spawn(promise.delivery(1));
        let mut polled = promise.delivery(2);
        for _ in 0..3 {
            assert!((&mut polled).now_or_never().is_none());
        }
        tokio::task::yield_now().await;
        let late = promise.delivery(0);
        promise.settle(acked());
        assert_eq!(early.await.expect("runs").expect("acked").offset, Offset(41));
        assert_eq!(polled.await.expect("acked").offset, Offset(42));
        assert_eq!(late.await.expect("acked").id.offset, Offset(40));
    }

    #[tokio::test]
    async fn a_promise_that_is_dropped_leaves_everybody_in_doubt() {
        let promise = Promise::new();
        let waiting = tokio::spawn(promise.delivery(0));
        tokio::task::yield_now().await;
        drop(promise);
        assert!(matches!(waiting.await.expect("runs"), Err(Error::Indeterminate { .. })));
    }
}
