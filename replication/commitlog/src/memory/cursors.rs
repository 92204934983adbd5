//! [`Cursors`] over logs in memory.

use async_trait::async_trait;
use meridian_model::subscription::{Settlement, SubscriptionRules};
use meridian_model::{ConsumerId, GroupId, Offset, Place, SubscriptionId, UnixMs};

use super::MemoryLog;
use super::partition::Partition;
use super::subscriptions::{Measure, Subscription};
use crate::{
    AppendError, CursorError, CursorRefusal, Cursors, DelayedPage, Glance, Mandate, SeekTo, Settled,
    Standing, Tail,
};

impl MemoryLog {
    /// Adds a subscription that begins at the start of a partition's log.
    pub fn subscribe(&self, group: GroupId, subscription: SubscriptionId, rules: SubscriptionRules) {
        if let Some(partition) = self.state().partitions.get_mut(&group) {
            let created = Subscription::new(subscription, rules);
            partition.subscriptions.insert(subscription, created);
        }
    }

    /// Looks at a partition that is led here.
    fn led<R>(
        &self,
        group: GroupId,
        look: impl FnOnce(&mut Partition) -> Result<R, CursorRefusal>,
    ) -> Result<R, CursorError> {
        let mut state = self.state();
        let now = state.now;
        match state.failures.get(&group) {
            Some(AppendError::NotLeader { leader }) => {
                return Err(CursorError::NotLeader { leader: *leader });
            }
            Some(error) => return Err(CursorError::Unavailable(error.to_string())),
            None => {}
        }
        let partition = state.partitions.get_mut(&group).ok_or(CursorError::NotLeader { leader: None })?;
        partition.stamped(now);
        Ok(look(partition)?)
    }

    fn on_replica<R>(
        &self,
        group: GroupId,
        look: impl FnOnce(&mut Partition) -> Result<R, CursorRefusal>,
    ) -> Result<R, CursorError> {
        let mut state = self.state();
        let absent = || CursorError::Unavailable("no replica of it is here".into());
        Ok(look(state.partitions.get_mut(&group).ok_or_else(absent)?)?)
    }
}

impl Partition {
    fn standing(&self, subscription: SubscriptionId) -> Result<Standing, CursorRefusal> {
        let found = self.subscriptions.get(&subscription).ok_or(CursorRefusal::Unknown)?;
        Ok(found.standing(&self.bounds(), self.dispatch_epoch, self.stamp()))
    }

    fn subscription(&mut self, subscription: SubscriptionId) -> Result<&mut Subscription, CursorRefusal> {
        self.subscriptions.get_mut(&subscription).ok_or(CursorRefusal::Unknown)
    }
}

#[async_trait]
impl Cursors for MemoryLog {
    fn tail(&self, group: GroupId) -> Result<Tail, CursorError> {
        self.led(group, |partition| {
            let (bounds, stamp) = (partition.bounds(), partition.stamp());
            let delayed_messages = partition.delayed_messages().len() as u64;
            Ok(Tail { start: bounds.start, end: bounds.end, stamp, delayed_messages })
        })
    }

    fn glance(&self, group: GroupId, subscription: SubscriptionId) -> Result<Glance, CursorError> {
        self.led(group, |partition| {
            let standing = partition.standing(subscription)?;
            let settled: u64 = standing.settled.iter().map(|range| range.len()).sum();
            let end = partition.bounds().end.0;
            Ok(Glance {
                seek_epoch: standing.seek_epoch,
                rules_at: 0,
                outbox_room: standing.outbox_room,
                backlog_messages: end.saturating_sub(standing.floor.0).saturating_sub(settled),
            })
        })
    }

    fn standing(&self, group: GroupId, subscription: SubscriptionId) -> Result<Standing, CursorError> {
        self.on_replica(group, |partition| partition.standing(subscription))
    }

    async fn begin_dispatch(&self, group: GroupId) -> Result<u64, CursorError> {
        self.led(group, |partition| {
            partition.dispatch_epoch = partition.bounds().applied_index;
            Ok(partition.dispatch_epoch)
        })
    }

    async fn settle(
        &self,
        group: GroupId,
        parts: Vec<(Mandate, Settlement)>,
    ) -> Result<Vec<Result<Settled, CursorRefusal>>, CursorError> {
        self.led(group, |partition| {
            let (log, delayed, stamp) = (partition.bounds(), partition.delayed_messages(), partition.stamp());
            let by = Measure { log: &log, delayed: &delayed, stamp };
            let settle = |(mandate, settlement): (Mandate, Settlement)| {
                partition.subscription(mandate.subscription)?.settle(mandate, &settlement, &by)
            };
            Ok(parts.into_iter().map(settle).collect())
        })
    }

    async fn own(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        owner: Option<ConsumerId>,
    ) -> Result<u64, CursorError> {
        self.led(group, |partition| partition.subscription(subscription)?.own(owner))
    }

    async fn seek(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        to: SeekTo,
    ) -> Result<Standing, CursorError> {
        self.led(group, |partition| {
            let log = partition.bounds();
            partition.subscription(subscription)?.seek(to, &log)?;
            partition.standing(subscription)
        })
    }

    async fn delayed(
        &self,
        group: GroupId,
        from: Place,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError> {
        self.on_replica(group, |partition| {
            let mut rows = partition.delayed_batches();
            rows.retain(|(place, batch)| {
                let last = Offset(place.offset.0 + u64::from(batch.count) - 1);
                Place { offset: last, ..*place } >= from
            });
            let due = rows.iter().take_while(|(place, _)| place.deliver_at <= through).count();
            let due_next = rows.get(due).map(|(place, _)| place.deliver_at);
            let mut total = 0;
            let within = rows[..due].iter().take_while(|(_, batch)| {
                let fits = total == 0 || total + batch.bytes.len() <= bytes;
                total += batch.bytes.len();
                fits
            });
            let taken = within.count();
            let next = rows[..due].get(taken).map(|(place, _)| *place);
            let batches = rows.drain(..taken).map(|(_, batch)| batch).collect();
            Ok(DelayedPage { batches, next, due_next })
        })
    }
}
