//! Between a producer's callers and the task of one partition: callers write messages straight into the batch
//! that gathers, and wake the task only when there is something new to decide.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

use meridian_model::Message;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::pending::{Accumulator, Pushed, Spares};
use super::settings::Settings;
use crate::Error;

/// What waits for the partition's task.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) pending: Accumulator,
    /// Each is answered once everything before its number is resolved.
    pub(super) flushes: VecDeque<(u64, oneshot::Sender<Result<(), Error>>)>,
    /// Nothing more may come.
    pub(super) closed: bool,
    /// The task ended before its time: what was underway is in doubt.
    lost: bool,
}

/// The shared end.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Inbox {
    /// Takes a message in. `None`: closed.
    pub(super) fn push(
        &self,
        message: &Message,
        room_bytes: usize,
        settings: &Settings,
        spares: &Spares,
    ) -> Option<Pushed> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return None;
        }
        let pushed = waiting.pending.push(message, room_bytes, settings, spares);
        drop(waiting);
        if pushed.begins || pushed.fills {
            self.news.notify_one();
        }
        Some(pushed)
    }

    /// Resolves when everything taken in so far is resolved. `None`: closed, and nothing is left. Without an answer:
    /// the task has ended before its time, and with it what it had.
    pub(super) fn flush(&self) -> Option<oneshot::Receiver<Result<(), Error>>> {
        let (done, flushed) = oneshot::channel();
        let mut waiting = self.waiting.lock();
        if waiting.lost {
            return Some(flushed);
        }
        if waiting.closed {
            return None;
        }
        let until = waiting.pending.next_ordinal();
        waiting.flushes.push_back((until, done));
        drop(waiting);
        self.news.notify_one();
        Some(flushed)
    }

    /// Nothing more will come; what is there is still sent.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.news.notify_one();
    }

    /// What waits. Never to be held while something is packed or sent.
    pub(super) fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    /// Until there is something new. Cancellation safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

/// The end of the partition's task. When it is gone nothing more is taken in, and nobody waits in vain.
pub(super) struct Outlet(Arc<Inbox>);

impl Outlet {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self(inbox)
    }
}

impl Deref for Outlet {
    type Target = Inbox;

    fn deref(&self) -> &Inbox {
        &self.0
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        waiting.lost = !waiting.closed;
        waiting.closed = true;
        let left = (std::mem::take(&mut waiting.pending), std::mem::take(&mut waiting.flushes));
        drop(waiting);
        drop(left);
    }
}
