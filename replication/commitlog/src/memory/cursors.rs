//! [`Cursors`] over logs in memory.

use async_trait::async_trait;
use meridian_model::subscription::{Settlement, SubscriptionRules};
use meridian_model::{GroupId, LogId, Offset, SubscriptionId, UnixMs};

use super::MemoryLog;
use super::partition::Partition;
use super::subscriptions::Subscription;
use crate::{
    AppendError, ConsumerId, CursorError, CursorRefusal, Cursors, DelayedPage, DelayedPlace, Mandate, SeekTo,
    Settled, Standing,
};

impl MemoryLog {
    /// Adds a subscription that begins at the start of a partition's log.
    pub fn subscribe(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        rules: SubscriptionRules,
        dead_letters_to: Option<LogId>,
    ) {
        if let Some(partition) = self.state().partitions.get_mut(&group) {
            let created = Subscription::new(subscription, rules, dead_letters_to);
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
        let found = self.subscriptions.get(&subscription).ok_or(CursorRefusal::UnknownSubscription)?;
        Ok(found.standing(&self.bounds(), &self.delayed_messages(), self.stamp()))
    }

    fn subscription(&mut self, subscription: SubscriptionId) -> Result<&mut Subscription, CursorRefusal> {
        self.subscriptions.get_mut(&subscription).ok_or(CursorRefusal::UnknownSubscription)
    }
}

#[async_trait]
impl Cursors for MemoryLog {
    fn standing(&self, group: GroupId, subscription: SubscriptionId) -> Result<Standing, CursorError> {
        self.on_replica(group, |partition| partition.standing(subscription))
    }

    async fn begin_dispatch(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
    ) -> Result<Standing, CursorError> {
        self.led(group, |partition| {
            let index = partition.bounds().applied_index;
            partition.subscription(subscription)?.begin_dispatch(index);
            partition.standing(subscription)
        })
    }

    async fn settle(
        &self,
        group: GroupId,
        mandate: Mandate,
        settlement: Settlement,
    ) -> Result<Settled, CursorError> {
        self.led(group, |partition| {
            let (log, delayed, stamp) = (partition.bounds(), partition.delayed_messages(), partition.stamp());
            let found = partition.subscription(mandate.subscription)?;
            found.settle(mandate, &settlement, &log, &delayed, stamp)
        })
    }

    async fn own(
        &self,
        group: GroupId,
        subscription: SubscriptionId,
        dispatch_epoch: u64,
        consumer: ConsumerId,
    ) -> Result<u64, CursorError> {
        self.led(group, |partition| partition.subscription(subscription)?.own(dispatch_epoch, consumer))
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
        from: DelayedPlace,
        through: UnixMs,
        bytes: usize,
    ) -> Result<DelayedPage, CursorError> {
        self.on_replica(group, |partition| {
            let mut rows = partition.delayed_batches();
            rows.retain(|(place, batch)| {
                let last = Offset(place.offset.0 + u64::from(batch.count) - 1);
                DelayedPlace::new(place.deliver_at, last) >= from
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
