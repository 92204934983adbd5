//! What became of what was said about messages.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::Error;

/// Resolves when what was said is durable, or is refused. Dropping it takes nothing back.
///
/// Errors: [`Error::Refused`] with `NOT_HELD`, `LEASE_ENDED` or `STALE_DELIVERY` where a message is this consumer's no
/// longer; [`Error::Indeterminate`] where the answer was lost and saying it again could count twice, or the consumer
/// was closed before.
#[must_use = "it is said whether or not this is awaited, but only this tells whether it holds"]
pub struct Settling(Arc<Fate>);

#[derive(Default)]
struct Fate(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    left: usize,
    failed: Option<Error>,
    waker: Option<Waker>,
}

impl Settling {
    /// For so many messages, each with the end that settles it.
    pub(super) fn of(messages: usize) -> (Self, Vec<Waiter>) {
        let fate = Arc::<Fate>::default();
        fate.0.lock().left = messages;
        let waiters = (0..messages).map(|_| Waiter(Some(fate.clone()))).collect();
        (Self(fate), waiters)
    }

    /// For one message.
    pub(super) fn one() -> (Self, Waiter) {
        let fate = Arc::<Fate>::default();
        fate.0.lock().left = 1;
        (Self(fate.clone()), Waiter(Some(fate)))
    }

    /// Known at once.
    pub(super) fn refused(error: Error) -> Self {
        let (settling, waiter) = Self::one();
        waiter.settle(Err(error));
        settling
    }
}

impl Future for Settling {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut progress = self.0.0.lock();
        if progress.left == 0 {
            return Poll::Ready(progress.failed.clone().map_or(Ok(()), Err));
        }
        match &mut progress.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => progress.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl fmt::Debug for Settling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settling").field("left", &self.0.0.lock().left).finish_non_exhaustive()
    }
}

/// The end that settles one message. Dropped without a word, it leaves whoever waits in doubt.
pub(super) struct Waiter(Option<Arc<Fate>>);

impl Waiter {
    /// Nobody waits.
    pub(super) fn nobody() -> Self {
        Self(None)
    }

    pub(super) fn settle(mut self, outcome: Result<(), Error>) {
        self.resolve(|| outcome);
    }

    fn resolve(&mut self, outcome: impl FnOnce() -> Result<(), Error>) {
        let Some(fate) = self.0.take() else { return };
        let mut progress = fate.0.lock();
        progress.left -= 1;
        if let Err(error) = outcome() {
            progress.failed.get_or_insert(error);
        }
        let waker = if progress.left == 0 { progress.waker.take() } else { None };
        drop(progress);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.resolve(|| Err(in_doubt()));
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

/// Nobody knows.
pub(super) fn in_doubt() -> Error {
    Error::Indeterminate { what: "settle".into(), last: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_messages_are_waited_for_and_the_first_failure_counts() {
        let (settling, waiters) = Settling::of(3);
        let waiting = tokio::spawn(settling);
        tokio::task::yield_now().await;
        let mut waiters = waiters.into_iter();
        waiters.next().expect("three").settle(Ok(()));
        waiters.next().expect("three").settle(Err(Error::Closed));
        assert!(!waiting.is_finished());
        waiters.next().expect("three").settle(Err(Error::invalid("late", "counts no more")));
        assert!(matches!(waiting.await.expect("runs"), Err(Error::Closed)));
    }

    #[tokio::test]
    async fn a_waiter_that_is_dropped_leaves_a_doubt_and_nothing_is_nothing_to_wait_for() {
        let (settling, waiter) = Settling::one();
        drop(waiter);
        assert!(matches!(settling.await, Err(Error::Indeterminate { .. })));
        let (settling, waiters) = Settling::of(0);
        assert!(waiters.is_empty());
        settling.await.expect("nothing was said");
    }
}
