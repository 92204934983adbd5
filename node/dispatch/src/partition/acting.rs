//! Doing what dispatchers want done.

use std::sync::Arc;

use meridian_deliver::subscription::{Action, Delivery, Event, FetchId, Leaving, Stopped};
use meridian_model::limits::{SETTLE_ITEMS_MAX, SETTLE_PARTS_MAX};
use meridian_model::{ConsumerId, Offset, SubscriptionId};

use super::Partition;
use crate::frames::Frames;
use crate::pages::Opened;
use crate::work::{Asked, Done, For};

/// Bytes that are read where a message to be delivered is not kept any more.
const READ_AGAIN_BYTES: usize = 128 * 1024;

impl Partition {
    pub(super) async fn act(&mut self) {
        while !self.over && (!self.actions.is_empty() || !self.told.is_empty()) {
            while let Some((id, action)) = self.actions.pop_front() {
                self.execute(id, action);
            }
            self.settle();
            self.tell().await;
        }
    }

    fn execute(&mut self, id: SubscriptionId, action: Action) {
        let Some(life) = self.served.get(&id).map(|served| served.life) else { return };
        let (of, group) = (For { subscription: id, life }, self.group);
        let cursors = || Arc::clone(&self.room.cursors);
        match action {
            Action::Fetch { fetch, from, bytes } => self.fetch(of, fetch, from, bytes),
            Action::FetchDelayed { fetch, from, through, bytes } => {
                let cursors = cursors();
                self.work.push(Box::pin(async move {
                    Done::Due(of, fetch, cursors.delayed(group, from, through, bytes).await)
                }));
            }
            Action::Settle { token, mandate, settlement } => {
                self.to_settle.push_back((of, token, mandate, *settlement));
            }
            Action::Own { token, consumer } => {
                let cursors = cursors();
                self.work.push(Box::pin(async move {
                    Done::Owned(of, token, cursors.own(group, id, Some(consumer)).await)
                }));
            }
            Action::Begin(token) => self.begin(of, Some(token), None),
            Action::Seek { consumer, request, to } => self.seek(of, Asked { consumer, request }, to, None),
            Action::Deliver(Delivery { consumer, .. })
            | Action::Confirm { consumer, .. }
            | Action::Refuse { consumer, .. }
            | Action::Revoke { consumer, .. }
            | Action::DrainComplete(consumer)
            | Action::Disconnect(consumer) => {
                self.told.entry((id, consumer)).or_default().push(action);
            }
            Action::WakeAt(at) => {
                if let Some(served) = self.served.get_mut(&id) {
                    served.wake(at);
                }
            }
            // Consumers see that their part ends, and come again.
            Action::Stop(why) => {
                self.served.remove(&id);
                self.over |= why == Stopped::NotLeader;
            }
        }
    }

    /// Commits what was decided meanwhile for all subscriptions, one round at a time.
    fn settle(&mut self) {
        if self.settling || self.to_settle.is_empty() {
            return;
        }
        let (mut asked, mut parts, mut items) = (Vec::new(), Vec::new(), 0);
        while let Some((_, _, _, settlement)) = self.to_settle.front() {
            items += settlement.items();
            if parts.len() == SETTLE_PARTS_MAX || (items > SETTLE_ITEMS_MAX && !parts.is_empty()) {
                break;
            }
            let Some((of, token, mandate, settlement)) = self.to_settle.pop_front() else { break };
            asked.push((of, token));
            parts.push((mandate, settlement));
        }
        self.settling = true;
        let (cursors, group) = (Arc::clone(&self.room.cursors), self.group);
        self.work.push(Box::pin(async move { Done::Settled(asked, cursors.settle(group, parts).await) }));
    }

    fn fetch(&mut self, of: For, fetch: FetchId, from: Offset, bytes: usize) {
        let kept = self.pages.run(from, bytes);
        if !kept.is_empty() {
            let batches = kept.iter().map(|opened| opened.meta()).collect();
            return self.event(of.subscription, Event::Fetched { fetch, batches });
        }
        let (log, group) = (Arc::clone(&self.room.log), self.group);
        self.work.push(Box::pin(async move { Done::Fetched(of, fetch, log.read(group, from, bytes).await) }));
    }

    /// Tells the consumers everything, in order for each.
    async fn tell(&mut self) {
        for ((id, consumer), actions) in std::mem::take(&mut self.told) {
            self.tell_one(id, consumer, actions).await;
        }
    }

    async fn tell_one(&mut self, id: SubscriptionId, consumer: ConsumerId, actions: Vec<Action>) {
        let way = self.served.get(&id).and_then(|served| served.consumers.get(&consumer));
        let Some((seat, source, batches)) = way.map(|way| (way.seat, way.source, way.batches)) else {
            return;
        };
        let mut frames = Frames::new(source, batches);
        let mut gone = false;
        for action in actions {
            match &action {
                Action::Deliver(delivery) => match self.holding(delivery.place.offset).await {
                    Some(opened) if frames.deliver(delivery, &opened) => {}
                    _ => {
                        let offset = delivery.place.offset;
                        tracing::error!(group = %self.group, %offset, "a message cannot be delivered: it cannot be read");
                    }
                },
                Action::DrainComplete(_) | Action::Disconnect(_) => {
                    frames.tell(&action);
                    gone = true;
                }
                _ => frames.tell(&action),
            }
        }
        let mut lost = false;
        if let Some(way) = self.served.get(&id).and_then(|served| served.seated(seat)) {
            lost = frames.into_frames().into_iter().any(|frame| way.answers.try_send(frame).is_err());
        }
        if gone {
            if let Some(served) = self.served.get_mut(&id) {
                served.consumers.remove(&consumer);
            }
        } else if lost {
            self.left(seat, Leaving::Lost);
        }
    }

    /// The batch that holds a message, read again if it is not kept.
    async fn holding(&mut self, offset: Offset) -> Option<Arc<Opened>> {
        if let Some(opened) = self.pages.holding(offset) {
            return Some(Arc::clone(opened));
        }
        let read = self.room.log.read(self.group, offset, READ_AGAIN_BYTES).await.ok()?;
        let mut holding = None;
        for stored in read {
            let opened = self.pages.keep(stored).ok()?;
            if opened.base() <= offset && offset < opened.end() {
                holding = Some(opened);
            }
        }
        holding
    }
}
