//! Checks of [`Cursors`](crate::Cursors).

use meridian_model::subscription::{DelayedRange, DelayedSettlement, Nack, Settlement};
use meridian_model::{Batch, ConsumerId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};

use super::{Subject, Writer};
use crate::{CursorError, CursorRefusal, Cursors, Mandate, SeekTo, Standing};

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
    a_dispatch_begins_for_all_subscriptions(subject).await;
    the_parts_of_a_round_are_answered_each_on_its_own(subject).await;
    an_owner_fences_those_before(subject).await;
    a_seek_forgets_and_fences(subject).await;
    a_delayed_message_is_indexed_and_cannot_be_acked_early(subject).await;
    a_delayed_message_is_pending_in_both_lanes(subject).await;
    what_is_not_there_is_refused(subject).await;
    9
}

impl CursorSubject<'_> {
    fn standing(&self, subscription: SubscriptionId) -> Standing {
        self.cursors.standing(self.log.group, subscription).expect("is here")
    }

    async fn begin(&self, subscription: SubscriptionId) -> Standing {
        self.cursors.begin_dispatch(self.log.group).await.expect("begins");
        self.standing(subscription)
    }

    async fn settle(&self, by: &Standing, settlement: Settlement) -> Result<(), CursorError> {
        let parts = vec![(mandate(by), settlement)];
        let done = self.cursors.settle(self.log.group, parts).await?;
        assert_eq!(done.len(), 1, "one outcome for one part");
        done[0].map(drop).map_err(CursorError::from)
    }

    /// Everything there is, is settled.
    async fn caught_up(&self, subscription: SubscriptionId) -> Standing {
        self.cursors.seek(self.log.group, subscription, SeekTo::Latest).await.expect("moves");
        self.begin(subscription).await
    }

    /// Stores so many messages. Returns the first.
    async fn store(&self, name: &str, count: u64) -> Offset {
        Writer::new(&self.log, name).store(0, count).await
    }
}

fn mandate(by: &Standing) -> Mandate {
    let owner_epoch = by.rules.kind.is_owned().then_some(by.owner_epoch);
    Mandate { subscription: by.subscription, seek_epoch: by.seek_epoch, owner_epoch }
}

fn acked(from: Offset, count: u64) -> Settlement {
    Settlement { acked: vec![OffsetRange::new(from, from.plus(count))], ..Settlement::default() }
}

fn delayed_acked(deliver_at: UnixMs, from: Offset, count: u64) -> Settlement {
    let acked = vec![DelayedRange { deliver_at, range: OffsetRange::new(from, from.plus(count)) }];
    let delayed = DelayedSettlement { acked, ..DelayedSettlement::default() };
    Settlement { delayed, ..Settlement::default() }
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
        let attempts = subject.standing(subject.shared).attempts[&Place::main(base)];
        assert_eq!((u64::from(attempts.count), attempts.not_before), (count, UnixMs(count)));
    }
    assert_eq!(
        subject.begin(subject.shared).await.attempts[&Place::main(base)].count,
        3,
        "a new dispatcher knows them"
    );
    subject.settle(&by, acked(base, 1)).await.expect("a late ack is welcome");
    assert!(subject.standing(subject.shared).attempts.is_empty());
}

async fn a_dispatch_begins_for_all_subscriptions(subject: &CursorSubject<'_>) {
    let before = subject.caught_up(subject.shared).await;
    let epoch = subject.cursors.begin_dispatch(subject.log.group).await.expect("begins");
    assert!(epoch > before.dispatch_epoch);
    for subscription in [subject.shared, subject.failover] {
        assert_eq!(subject.standing(subscription).dispatch_epoch, epoch);
    }
    let base = subject.store("late", 1).await;
    subject.settle(&before, acked(base, 1)).await.expect("late acks of shared kinds are welcome");
}

async fn the_parts_of_a_round_are_answered_each_on_its_own(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("parts", 2).await;
    let absent = Mandate { subscription: subject.absent, ..mandate(&by) };
    let parts = vec![
        (mandate(&by), acked(base, 1)),
        (absent, acked(base, 1)),
        (mandate(&by), acked(base.plus(1), 1)),
    ];
    let done = subject.cursors.settle(subject.log.group, parts).await.expect("one round");
    assert!(done[0].is_ok() && done[2].is_ok(), "{done:?}");
    assert_eq!(done[1], Err(CursorRefusal::Unknown));
    assert_eq!(subject.standing(subject.shared).floor, base.plus(2));
}

/// SUB-3.
async fn an_owner_fences_those_before(subject: &CursorSubject<'_>) {
    let mut by = subject.caught_up(subject.failover).await;
    let base = subject.store("owner", 1).await;
    let own = |subscription, consumer: Option<u128>| {
        subject.cursors.own(subject.log.group, subscription, consumer.map(ConsumerId::from_u128))
    };
    by.owner_epoch = own(subject.failover, Some(1)).await.expect("owned");
    let second = own(subject.failover, Some(2)).await.expect("owned");
    assert!(second > by.owner_epoch);
    let zombie = subject.settle(&by, acked(base, 1)).await;
    assert_eq!(refused(zombie), CursorRefusal::StaleOwner { current: second });
    let standing = subject.standing(subject.failover);
    assert_eq!((standing.owner, standing.floor), (Some(ConsumerId::from_u128(2)), base));
    let third = own(subject.failover, None).await.expect("owned by nobody");
    let orphan = subject.settle(&Standing { owner_epoch: third, ..by }, acked(base, 1)).await;
    assert_eq!(refused(orphan), CursorRefusal::StaleOwner { current: third });
    let shared = own(subject.shared, Some(1)).await;
    assert_eq!(shared, Err(CursorError::Refused(CursorRefusal::NotOwned)));
}

async fn a_seek_forgets_and_fences(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let base = subject.store("seek", 3).await;
    subject.settle(&by, acked(base, 3)).await.expect("settles");
    let (group, to) = (subject.log.group, SeekTo::Offset);
    let sought = subject.cursors.seek(group, subject.shared, to(base.plus(1))).await.expect("moves");
    assert_eq!((sought.floor, sought.settled.len()), (base.plus(1), 0));
    let stale = subject.settle(&by, acked(base.plus(1), 1)).await;
    assert_eq!(refused(stale), CursorRefusal::StaleSeek { current: sought.seek_epoch });
    let beyond = subject.cursors.seek(group, subject.shared, to(subject.log.bounds().end.plus(1))).await;
    assert!(matches!(beyond, Err(CursorError::Refused(CursorRefusal::BeyondEnd { .. }))), "{beyond:?}");
}

/// SUB-6: and it makes no hole in the main lane.
async fn a_delayed_message_is_indexed_and_cannot_be_acked_early(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let writer = Writer::new(&subject.log, "delayed");
    let deliver_at = by.stamp.plus_ms(HOUR_MS);
    let base = subject.log.send(delayed(&writer.batch(0, 2), deliver_at)).await.expect("stored").base;
    let early = subject.settle(&by, delayed_acked(deliver_at, base, 1)).await;
    assert_eq!(refused(early), CursorRefusal::NotDue { deliver_at });
    let from = Place { deliver_at, offset: base };
    let page = |through| subject.cursors.delayed(subject.log.group, from, through, 1);
    let before = page(by.stamp.plus_ms(HOUR_MS - 1)).await.expect("reads");
    assert_eq!((before.batches.len(), before.due_next), (0, Some(deliver_at)));
    let due = page(deliver_at).await.expect("reads");
    assert_eq!(due.batches.iter().map(|batch| (batch.base, batch.count)).collect::<Vec<_>>(), [(base, 2)]);
}

/// SUB-6: the reader of the main lane passes it, and whoever acks it names its place.
async fn a_delayed_message_is_pending_in_both_lanes(subject: &CursorSubject<'_>) {
    let by = subject.caught_up(subject.shared).await;
    let writer = Writer::new(&subject.log, "lanes");
    let deliver_at = by.stamp.plus_ms(2 * HOUR_MS);
    let base = subject.log.send(delayed(&writer.batch(0, 2), deliver_at)).await.expect("stored").base;
    assert_eq!(subject.standing(subject.shared).floor, base, "nobody passed it");
    let passed = vec![OffsetRange::new(base, base.plus(2))];
    let delayed = DelayedSettlement { passed, ..DelayedSettlement::default() };
    subject.settle(&by, Settlement { delayed, ..Settlement::default() }).await.expect("settles");
    let standing = subject.standing(subject.shared);
    assert_eq!((standing.floor, standing.delayed_settled.len()), (base.plus(2), 0), "still to be delivered");
}

async fn what_is_not_there_is_refused(subject: &CursorSubject<'_>) {
    let unknown = Err(CursorError::Refused(CursorRefusal::Unknown));
    let (group, absent) = (subject.log.group, subject.absent);
    assert_eq!(subject.cursors.standing(group, absent), unknown);
    assert_eq!(subject.cursors.seek(group, absent, SeekTo::Latest).await, unknown);
    let elsewhere = subject.cursors.begin_dispatch(subject.log.absent).await;
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
