//! What every implementation of the ports must do, as checks that panic where it does not.
//!
//! The checks append to the partition they are given and may run one after another on the same one, with
//! whatever else is in it.

mod appending;
mod reading;
mod settling;

use bytes::Bytes;
use meridian_model::{Batch, BatchBuilder, Codec, GroupId, Message, Offset, ProducerId, Refusal, UnixMs};

use crate::{Append, AppendError, Appended, LogBounds, ReadCommitted, Share, StoredBatch, Ticket};

pub use settling::{CursorSubject, cursors};

/// A partition that is led here, behind both ports.
pub struct Subject<'a> {
    /// To append to it.
    pub append: &'a dyn Append,
    /// To read it.
    pub read: &'a dyn ReadCommitted,
    /// Which partition.
    pub group: GroupId,
    /// A group that is not here.
    pub absent: GroupId,
    /// The token with which its producers were opened.
    pub opened_at: UnixMs,
}

/// Runs every check and returns how many there are.
///
/// # Panics
/// Where the contract is broken.
pub async fn all(subject: &Subject<'_>) -> usize {
    appending::what_is_acked_is_dense_and_readable(subject).await;
    appending::appends_that_return_in_order_are_stored_in_order(subject).await;
    appending::a_resend_is_stored_once(subject).await;
    appending::what_does_not_follow_is_refused_and_takes_no_offset(subject).await;
    appending::a_newer_epoch_ends_an_older_one(subject).await;
    appending::without_a_producer_every_send_is_stored(subject).await;
    appending::a_dropped_ticket_takes_nothing_back(subject).await;
    appending::an_absent_group_is_not_led_here(subject).await;
    reading::a_read_begins_with_the_batch_that_holds_the_offset(subject).await;
    reading::a_read_is_bounded_but_never_starves(subject).await;
    reading::pages_cover_the_log_once_in_order(subject).await;
    reading::beyond_the_end_is_out_of_range(subject).await;
    reading::a_time_finds_the_first_batch_appended_then(subject).await;
    reading::waiting_ends_with_the_next_message(subject).await;
    reading::an_absent_group_is_unavailable(subject).await;
    15
}

/// A producer of its own for each check: the name tells it from those of other checks.
struct Writer<'a> {
    subject: &'a Subject<'a>,
    producer: ProducerId,
    epoch: u32,
}

impl<'a> Writer<'a> {
    fn new(subject: &'a Subject<'a>, name: &str) -> Self {
        // Where the log stands makes it new in every run.
        let end = subject.bounds().end.0;
        let number =
            u128::from(meridian_model::hash::key_hash(name.as_bytes())) << 64 | u128::from(end) | 1 << 63;
        Self { subject, producer: ProducerId::from_u128(number), epoch: 1 }
    }

    fn batch(&self, first: u64, count: u64) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None).producer(self.producer, self.epoch, first);
        (first..first + count).for_each(|number| builder.push(&Message::new(body(number))));
        builder.build().expect("a batch")
    }

    async fn send(&self, first: u64, count: u64) -> Result<Appended, AppendError> {
        self.subject.send(self.batch(first, count)).await
    }

    async fn queue(&self, first: u64, count: u64, share: Share) -> Ticket {
        let Subject { append, group, opened_at, .. } = self.subject;
        append.append(*group, self.batch(first, count), *opened_at, share).await.expect("queued")
    }

    async fn store(&self, first: u64, count: u64) -> Offset {
        let appended = self.send(first, count).await.expect("stored");
        assert!(!appended.duplicate, "a first send is no duplicate");
        appended.base
    }

    async fn refused(&self, first: u64, count: u64) -> Refusal {
        match self.send(first, count).await {
            Err(AppendError::Refused(refusal)) => refusal,
            other => panic!("{first}+{count} must be refused: {other:?}"),
        }
    }
}

fn body(number: u64) -> Bytes {
    format!("message {number} of a check").into_bytes().into()
}

impl Subject<'_> {
    fn bounds(&self) -> LogBounds {
        self.read.bounds(self.group).expect("the replica is here")
    }

    async fn send(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.append.append(self.group, batch, self.opened_at, Box::new(())).await?.await
    }

    async fn batches_from(&self, from: Offset, bytes: usize) -> Vec<StoredBatch> {
        self.read.read(self.group, from, bytes).await.expect("reads")
    }

    async fn everything(&self) -> Vec<StoredBatch> {
        let (mut found, bounds) = (Vec::new(), self.bounds());
        let mut next = bounds.start;
        while next < bounds.end {
            let page = self.batches_from(next, 4 * 1024).await;
            next = end_of(page.last().expect("a page below the end is not empty"));
            found.extend(page);
        }
        found
    }
}

fn end_of(batch: &StoredBatch) -> Offset {
    batch.base.plus(u64::from(batch.count))
}
