//! Checks of [`Cursors`](crate::Cursors).

use meridian_model::subscription::{Nack, Settlement};
use meridian_model::{Batch, Offset, OffsetRange, SubscriptionId, UnixMs};

use super::{Subject, Writer};
use crate::{ConsumerId, CursorError, CursorRefusal, Cursors, DelayedPlace, Mandate, SeekTo, Standing};

/// A partition with subscriptions, behind the ports.
pub struct CursorSubject<'a> {
    /// The partition.
    pub log: Subject<'a>,
    /// Its subscriptions.
    pub cursors: &'a dyn Cursors,
    /// One that is shared.
    pub shared: SubscriptionId,
    /// One that is a failover.
    pub failover: SubscriptionId,
    /// One that is not there.
    pub absent: SubscriptionId,
}

const HOUR_MS: u64 = 3_600_000;

/// Runs every check of cursors and returns how many there are.
///
/// # Panics
/// Where the contract is broken.
pub async fn cursors(subject: &CursorSubject<'_>) -> usize {
    a_settlement_moves_the_floor_and_keeps_holes(subject).await;
    attempts_are_counted_until_the_message_is_settled(subject).await;
    an_earlier_dispatcher_counts_no_attempts(subject).await;
    an_owner_fences_those_before(subject).await;
    a_seek_forgets_and_fences(subject).await;
    a_delayed_message_is_indexed_and_cannot_be_acked_early(subject).await;
    what_is_not_there_is_refused(subject).await;
    7
}

impl CursorSubject<'_> {
    fn standing(&self, subscription: SubscriptionId) -> Standing {
        self.cursors.standing(self.log.group, subscription).expect("is here")
    }

    async fn begin(&self, subscription: SubscriptionId) -> Standing {
        self.cursors.begin_dispatch(self.log.group, subscription).await.expect("begins")
    }

    async fn settle(&self, by: &Standing, settlement: Settlement) -> Result<(), CursorError> {
        let mandate = Mandate {
            subscription: by.subscription,
            dispatch_epoch: by.dispatch_epoch,
            owner_epoch: by.owner_epoch,
            seek_epoch: by.seek_epoch,
        };
        self.cursors.settle(self.log.group, mandate, settlement).await.map(drop)
    }

    /// Everything there is, is settled.
    async fn caught_up(&self, subscription: SubscriptionId) -> Standing {
        let to = SeekTo { main: self.log.bounds().end, delayed: None };
        self.cursors.seek(self.log.group, subscription, to).await.expect("moves");
        self.begin(subscription).await
    }

    /// Stores so many messages. Returns the first.
    async fn store(&self, name: &str, count: u64) -> Offset {
        Writer::new(&self.log, name).store(0, count).await
    }
}

fn acked(from: Offset, count: u64) -> Settlement {
    Settlement { acked: vec![OffsetRange::new(from, from.plus(count))], ..Settlement::default() }
}

fn nacked(offset: Offset, not_before: UnixMs) -> Settlement {
    Settlement { nacked: vec![Nack { offset, not_before }], ..Settlement::default() }
}

fn refused(result: Result<(), CursorError>) -> CursorRefusal {
    match result {
        Err(CursorError::Refused(refusal)) => refusal,
        other => panic!("must be refused: {other:?}"),
    }
}

/// SUB-2: exactly what was settled is, and again changes nothing.
async fn a_settlement_moves_the_floor_and_keeps_holes(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("holes", 5).await;
    for _ in 0..2 {
        subject.settle(&by, acked(base.plus(2), 2)).await.expect("settles");
        let standing = subject.standing(subject.shared);
        assert_eq!(standing.floor, base);
        assert_eq!(standing.settled, [OffsetRange::new(base.plus(2), base.plus(4))]);
    }
    subject.settle(&by, acked(base, 2)).await.expect("settles");
    let standing = subject.standing(subject.shared);
    assert_eq!((standing.floor, standing.settled), (base.plus(4), Vec::new()), "the hole is closed");
}

/// SUB-6.
async fn attempts_are_counted_until_the_message_is_settled(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("attempts", 1).await;
    for count in 1..=3 {
        subject.settle(&by, nacked(base, UnixMs(count))).await.expect("settles");
        let attempts = subject.standing(subject.shared).attempts[&base];
        assert_eq!((u64::from(attempts.count), attempts.not_before), (count, UnixMs(count)));
    }
    assert_eq!(subject.begin(subject.shared).await.attempts[&base].count, 3, "a new dispatcher knows them");
    subject.settle(&by, acked(base, 1)).await.expect("a late ack is welcome");
    assert!(subject.standing(subject.shared).attempts.is_empty());
}

/// So whoever does not know the outcome of a settlement begins anew and then knows.
async fn an_earlier_dispatcher_counts_no_attempts(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("late", 1).await;
    let next = subject.begin(subject.shared).await;
    assert!(next.dispatch_epoch > by.dispatch_epoch && next.dispatched_before);
    let late = subject.settle(&by, nacked(base, UnixMs(0))).await;
    assert_eq!(refused(late), CursorRefusal::StaleDispatch { current: next.dispatch_epoch });
    assert!(subject.standing(subject.shared).attempts.is_empty());
}

/// SUB-3.
async fn an_owner_fences_those_before(subject: &CursorSubject<'_>) {
    let mut by = subject.caught_up(subject.failover).await;
    let base = subject.store("owner", 1).await;
    let group = subject.log.group;
    let own = |epoch, consumer| subject.cursors.own(group, subject.failover, epoch, ConsumerId(consumer));
    by.owner_epoch = own(by.dispatch_epoch, 1).await.expect("owned");
    let second = own(by.dispatch_epoch, 2).await.expect("owned");
    assert!(second > by.owner_epoch);
    let zombie = subject.settle(&by, acked(base, 1)).await;
    assert_eq!(refused(zombie), CursorRefusal::StaleOwner { current: second });
    let standing = subject.standing(subject.failover);
    assert_eq!((standing.owner, standing.floor), (Some(ConsumerId(2)), base));
    assert!(matches!(own(by.dispatch_epoch - 1, 1).await, Err(CursorError::Refused(_))), "an old dispatcher");
    let shared = subject.standing(subject.shared);
    let shared = subject.cursors.own(group, subject.shared, shared.dispatch_epoch, ConsumerId(1)).await;
    assert_eq!(shared, Err(CursorError::Refused(CursorRefusal::NotOwned)));
}

async fn a_seek_forgets_and_fences(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("seek", 3).await;
    subject.settle(&by, acked(base, 3)).await.expect("settles");
    let (group, to) = (subject.log.group, |main| SeekTo { main, delayed: None });
    let sought = subject.cursors.seek(group, subject.shared, to(base.plus(1))).await.expect("moves");
    assert_eq!((sought.floor, sought.settled.len()), (base.plus(1), 0));
    let stale = subject.settle(&by, acked(base.plus(1), 1)).await;
    assert_eq!(refused(stale), CursorRefusal::StaleSeek { current: sought.seek_epoch });
    let beyond = subject.cursors.seek(group, subject.shared, to(subject.log.bounds().end.plus(1))).await;
    assert!(matches!(beyond, Err(CursorError::Refused(CursorRefusal::OutOfRange { .. }))), "{beyond:?}");
}

/// SUB-6: and it makes no hole in the main lane.
async fn a_delayed_message_is_indexed_and_cannot_be_acked_early(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let writer = Writer::new(&subject.log, "delayed");
    let deliver_at = by.stamp.plus_ms(HOUR_MS);
    let base = subject.log.send(delayed(&writer.batch(0, 2), deliver_at)).await.expect("stored").base;
    assert_eq!(subject.standing(subject.shared).floor, base.plus(2), "settled in the main lane");
    let early = subject.settle(&by, acked(base, 1)).await;
    assert_eq!(refused(early), CursorRefusal::NotDue { offset: base });
    let from = DelayedPlace::new(deliver_at, base);
    let page = |through| subject.cursors.delayed(subject.log.group, from, through, 1);
    let before = page(by.stamp.plus_ms(HOUR_MS - 1)).await.expect("reads");
    assert_eq!((before.batches.len(), before.due_next), (0, Some(deliver_at)));
    let due = page(deliver_at).await.expect("reads");
    assert_eq!(due.batches.iter().map(|batch| (batch.base, batch.count)).collect::<Vec<_>>(), [(base, 2)]);
}

async fn what_is_not_there_is_refused(subject: &CursorSubject<'_>) {
    let unknown = Err(CursorError::Refused(CursorRefusal::UnknownSubscription));
    let (group, absent) = (subject.log.group, subject.absent);
    assert_eq!(subject.cursors.standing(group, absent), unknown);
    assert_eq!(subject.cursors.begin_dispatch(group, absent).await, unknown);
    let elsewhere = subject.cursors.begin_dispatch(subject.log.absent, subject.shared).await;
    assert_eq!(elsewhere, Err(CursorError::NotLeader { leader: None }));
}

/// The same batch, to be delivered at a time.
fn delayed(batch: &Batch, deliver_at: UnixMs) -> Batch {
    let (mut header, mut bytes) = (batch.header().clone(), Vec::new());
    header.deliver_at = deliver_at;
    header.encode(&mut bytes);
    bytes.extend_from_slice(&batch.bytes()[batch.header().header_bytes()..]);
    Batch::verify(bytes.into()).expect("a batch")
}
