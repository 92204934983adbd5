//! What became of one message.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use meridian_model::{MessageId, Offset};
use tokio::sync::oneshot;

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
#[derive(Debug)]
pub struct Delivery(pub(super) oneshot::Receiver<Result<Receipt, Error>>);

impl Future for Delivery {
    type Output = Result<Receipt, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|received| {
            // The lane went away without a word: its runtime is shutting down.
            received.unwrap_or_else(|_| Err(Error::Indeterminate { what: "publish".into(), last: None }))
        })
    }
}

/// Who waits for a message, and the buffer space it holds until it is resolved.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reply: oneshot::Sender<Result<Receipt, Error>>,
    pub(super) bytes: u32,
}
