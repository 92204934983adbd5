//! What subscriptions of a partition still wait for, as retention must know it before it proposes a trim.

use std::collections::BTreeSet;

use meridian_machine::command::LiveDelayed;
use meridian_machine::partition::{DelayedBatch, PartitionMachine};
use meridian_model::{Offset, Place, SubscriptionId};
use meridian_raft::Group;

/// Delayed batches that are looked at for one trim. Where there are more, what lies behind them may be live.
const BATCHES_MAX: usize = 1_024;

/// What a trim has to know about subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) live_delayed: LiveDelayed,
    /// Nobody minds: no subscription here is one that retention waits for.
    pub(super) drop_backlog: bool,
    /// The first message that must stay.
    held_at: Offset,
}

impl Waiting {
    /// Whether something must stay that lies below this offset.
    pub(super) fn holds_below(&self, end: Offset) -> bool {
        self.held_at < end
    }

    /// `fleeting` are subscriptions that retention does not wait for. `None` where there is no subscription, or where
    /// rows cannot be read at the moment.
    pub(super) async fn look(group: &Group, fleeting: &BTreeSet<SubscriptionId>) -> Option<Self> {
        // The bound holds for what was applied before it was read: this is looked at first.
        let (as_of, start, end, any_delayed) = group.view().partition(|machine| {
            let as_of = machine.last_applied().index;
            (as_of, machine.start(), machine.end(), machine.delayed_messages() > 0)
        })?;
        let from = match any_delayed {
            true => first_live(group, start, end).await?,
            false => end,
        };
        let live_delayed = LiveDelayed { as_of, from };
        group.view().partition(|machine| Self::of(machine, live_delayed, fleeting)).flatten()
    }

    fn of(
        machine: &PartitionMachine,
        live_delayed: LiveDelayed,
        fleeting: &BTreeSet<SubscriptionId>,
    ) -> Option<Self> {
        let letters =
            machine.subscriptions().flat_map(|view| view.outbox()).flat_map(|(_, to)| to.letters.values());
        let letters = letters.map(|place| place.offset).min();
        let floors = machine.subscriptions().map(|view| view.floor()).min()?;
        let drop_backlog = machine.subscriptions().all(|view| fleeting.contains(&view.id()));
        let unsettled = Some(floors.min(live_delayed.from)).filter(|_| !drop_backlog);
        let held_at = letters.into_iter().chain(unsettled).min().unwrap_or(machine.end());
        Some(Self { live_delayed, drop_backlog, held_at })
    }
}

/// The first delayed message that some subscription waits for.
async fn first_live(group: &Group, start: Offset, end: Offset) -> Option<Offset> {
    let batches = group.delayed_batches(start, end, BATCHES_MAX).await;
    let batches =
        batches.inspect_err(|error| tracing::debug!(group = %group.id(), %error, "delayed batches")).ok()?;
    for batch in &batches {
        // One look for each batch: applying waits meanwhile.
        let live = group.view().partition(|machine| first_live_in(machine, batch)).flatten();
        if live.is_some() {
            return live;
        }
    }
    match batches.last() {
        Some(last) if batches.len() == BATCHES_MAX => {
            Some(last.first.offset.plus(u64::from(last.count)).min(end))
        }
        _ => Some(end),
    }
}

fn first_live_in(machine: &PartitionMachine, batch: &DelayedBatch) -> Option<Offset> {
    let Place { deliver_at, offset } = batch.first;
    let waits = |offset: &Offset| {
        machine.subscriptions().any(|view| {
            *offset >= view.delayed_from() && !view.is_settled(Place { deliver_at, offset: *offset })
        })
    };
    (0..u64::from(batch.count)).map(|nth| offset.plus(nth)).find(waits)
}

#[cfg(test)]
mod tests {
    use meridian_machine::At;
    use meridian_machine::command::{PartitionCommand, StartAt, SubscriptionCommand};
    use meridian_model::subscription::SubscriptionRules;
    use meridian_model::{LogId, UnixMs};

    use super::*;

    const A: SubscriptionId = SubscriptionId(5);
    const B: SubscriptionId = SubscriptionId(7);
    const LIVE: LiveDelayed = LiveDelayed { as_of: 9, from: Offset(0) };

    fn partition(of: &[SubscriptionId]) -> PartitionMachine {
        let mut machine = PartitionMachine::new(LogId::from_u128(1));
        for (id, index) in of.iter().zip(1..) {
            let set = SubscriptionCommand::SetSubscription {
                stamp: UnixMs(1),
                control_index: id.0,
                id: *id,
                rules: SubscriptionRules::default(),
                start: StartAt::Earliest,
            };
            machine.apply(At { term: 1, index }, 100, &PartitionCommand::Subscription(set), &mut Vec::new());
        }
        machine
    }

    #[test]
    fn a_message_that_is_not_settled_holds_the_log_for_a_durable_subscription() {
        let waiting = Waiting::of(&partition(&[A, B]), LIVE, &BTreeSet::from([B])).expect("subscriptions");
        assert!(!waiting.drop_backlog && waiting.holds_below(Offset(1)), "{waiting:?}");
    }

    #[test]
    fn subscriptions_that_are_not_durable_hold_nothing() {
        let waiting = Waiting::of(&partition(&[A, B]), LIVE, &BTreeSet::from([A, B])).expect("subscriptions");
        assert!(waiting.drop_backlog && !waiting.holds_below(Offset(0)), "{waiting:?}");
    }

    #[test]
    fn without_subscriptions_nobody_waits() {
        assert_eq!(Waiting::of(&partition(&[]), LIVE, &BTreeSet::new()), None);
    }
}
