//! What the leader sees of a subscription.

use meridian_model::subscription::{Attempts, SubscriptionRules};
use meridian_model::{ConsumerId, LogId, Offset, OffsetRanges, Place, SubscriptionId, UnixMs};

use super::outbox::Destination;
use super::state::{Dropped, Subscription};
use crate::partition::PartitionMachine;

/// How much is still to be settled. In messages: how many bytes these are is not counted, because messages are
/// settled one by one and their sizes are known to their batch alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Messages of the main lane. Exact as long as the dispatcher names the delayed messages that it passes; at
    /// the end of the log it is exact whatever was named.
    pub main: u64,
    /// Delayed messages, due or not. Exact as long as `is_exact`, otherwise at most so many.
    pub delayed: u64,
    /// Not so after a backlog with delayed messages was dropped, until the next seek.
    pub is_exact: bool,
}

/// A subscription, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct SubscriptionView<'a> {
    sub: &'a Subscription,
    end: Offset,
    delayed: u64,
}

impl<'a> SubscriptionView<'a> {
    /// Its id.
    pub fn id(&self) -> SubscriptionId {
        self.sub.id
    }

    /// The control index of the rules in force.
    pub fn control_index(&self) -> u64 {
        self.sub.control_index
    }

    /// The rules in force.
    pub fn rules(&self) -> &'a SubscriptionRules {
        &self.sub.rules
    }

    /// How often it went elsewhere.
    pub fn seek_epoch(&self) -> u64 {
        self.sub.seek_epoch
    }

    /// Who owns the partition, for owned kinds.
    pub fn owner(&self) -> Option<ConsumerId> {
        self.sub.owner
    }

    /// The epoch of the owner.
    pub fn owner_epoch(&self) -> u64 {
        self.sub.owner_epoch
    }

    /// Main lane: everything below is settled, the message here is not.
    pub fn floor(&self) -> Offset {
        self.sub.main.floor
    }

    /// Main lane: what is settled above the floor.
    pub fn settled(&self) -> &'a OffsetRanges {
        &self.sub.main.settled
    }

    /// Delayed lane: messages below this offset are not delivered.
    pub fn delayed_from(&self) -> Offset {
        self.sub.delayed.from
    }

    /// Delayed lane: everything before this place is settled. Here reading of `Table::DelayedByTime` begins.
    pub fn delayed_floor(&self) -> Place {
        self.sub.delayed.floor
    }

    /// Delayed lane: what is settled from the floor on, by time.
    pub fn delayed_settled(&self) -> impl Iterator<Item = (UnixMs, &'a OffsetRanges)> + use<'a> {
        self.sub.delayed.settled.iter().map(|(deliver_at, set)| (*deliver_at, set))
    }

    /// Whether a message is settled.
    pub fn is_settled(&self, place: Place) -> bool {
        self.sub.is_settled(place)
    }

    /// Unsettled messages that failed, in order of their places: those of the main lane first.
    pub fn attempts(&self) -> impl Iterator<Item = (Place, Attempts)> + use<'a> {
        self.sub.attempts.iter().map(|(place, attempts)| (*place, *attempts))
    }

    /// The attempts of one message.
    pub fn attempts_of(&self, place: Place) -> Attempts {
        self.sub.attempts.get(&place).copied().unwrap_or_default()
    }

    /// Dead letters on their way, by destination. The first of each is the next to be moved.
    pub fn outbox(&self) -> impl Iterator<Item = (LogId, &'a Destination)> + use<'a> {
        self.sub.outbox.destinations.iter().map(|(destination, letters)| (*destination, letters))
    }

    /// Messages that expired, since the subscription was made.
    pub fn expired(&self) -> u64 {
        self.sub.expired
    }

    /// What the backlog policy took from it. `None`: nothing.
    pub fn dropped(&self) -> Option<Dropped> {
        Some(self.sub.dropped).filter(|dropped| !dropped.range.is_empty())
    }

    /// What is still to be settled. Takes no longer for a long backlog.
    pub fn backlog(&self) -> Backlog {
        let (main, delayed) = (&self.sub.main, &self.sub.delayed);
        let not_passed = self.delayed.saturating_sub(main.passed);
        let offsets = self.end.0.saturating_sub(main.floor.0).saturating_sub(main.above);
        Backlog {
            main: offsets.saturating_sub(not_passed),
            delayed: self.delayed.saturating_sub(delayed.before).saturating_sub(delayed.messages),
            is_exact: delayed.exact,
        }
    }
}

impl PartitionMachine {
    /// Every subscription, in order of ids.
    pub fn subscriptions(&self) -> impl Iterator<Item = SubscriptionView<'_>> {
        self.subscriptions.rows.values().map(|sub| self.subscription_view(sub))
    }

    /// One subscription.
    pub fn subscription(&self, id: SubscriptionId) -> Option<SubscriptionView<'_>> {
        self.subscriptions.rows.get(&id).map(|sub| self.subscription_view(sub))
    }

    /// The epoch in which messages are dispatched: the index of its entry; 0 before the first.
    pub fn dispatch_epoch(&self) -> u64 {
        self.subscriptions.dispatch_epoch
    }

    /// Delayed messages since the log began: what `StartAt::Offset` needs at the end of the log.
    pub fn delayed_messages(&self) -> u64 {
        self.subscriptions.delayed.messages
    }

    fn subscription_view<'a>(&self, sub: &'a Subscription) -> SubscriptionView<'a> {
        SubscriptionView { sub, end: self.core.end, delayed: self.subscriptions.delayed.messages }
    }
}
