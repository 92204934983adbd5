//! Partitions with small bounds, for tests of whoever drives them: in production bounds are far away.

use meridian_model::LogId;

use super::{Bounds, PartitionMachine};

/// What one subscription may have, where it is less than in production.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallBounds {
    /// Settled ranges above the floor of the main lane.
    pub settled_ranges_max: usize,
    /// Settled ranges above the floor of the delayed lane.
    pub settled_delayed_max: usize,
    /// Messages with failed attempts.
    pub attempts_max: usize,
    /// Dead letters on their way.
    pub dead_letters_max: usize,
    /// What one settlement may name.
    pub settle_items_max: usize,
}

impl PartitionMachine {
    /// An empty partition with these bounds.
    pub fn with_small_bounds(log: LogId, small: SmallBounds) -> Self {
        let bounds = Bounds {
            settled_ranges_max: small.settled_ranges_max,
            settled_delayed_max: small.settled_delayed_max,
            attempts_max: small.attempts_max,
            dead_letters_max: small.dead_letters_max,
            settle_items_max: small.settle_items_max,
            ..Bounds::default()
        };
        Self::with_bounds(log, bounds)
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::subscription::{DeadLetter, Nack, Settlement, SubscriptionRules};
    use meridian_model::{BatchBuilder, Codec, Message, Offset, OffsetRange, SubscriptionId, UnixMs};

    use super::*;
    use crate::At;
    use crate::command::{AppendItem, PartitionCommand, SettlePart, StartAt, SubscriptionCommand};
    use crate::partition::{PartitionReply, SettleOutcome, SubscriptionBound, SubscriptionRefusal};

    const LOG: LogId = LogId::from_u128(1);
    const ID: SubscriptionId = SubscriptionId(1);
    const STAMP: UnixMs = UnixMs(1);
    const SMALL: SmallBounds = SmallBounds {
        settled_ranges_max: 1,
        settled_delayed_max: 1,
        attempts_max: 0,
        dead_letters_max: 0,
        settle_items_max: 2,
    };

    fn apply(machine: &mut PartitionMachine, command: impl Into<PartitionCommand>) -> PartitionReply {
        let at = At { term: 1, index: machine.last_applied().index + 1 };
        machine.apply(at, 0, &command.into(), &mut Vec::new())
    }

    /// With six messages, and a subscription that begins at the first.
    fn partition() -> PartitionMachine {
        let mut machine = PartitionMachine::with_small_bounds(LOG, SMALL);
        let mut batch = BatchBuilder::new(Codec::None);
        (0..6).for_each(|_| batch.push(&Message::new("hello")));
        let item = AppendItem::new(batch.build().expect("a batch").into_bytes(), STAMP);
        apply(&mut machine, PartitionCommand::Append { stamp: STAMP, items: vec![item] });
        let rules = SubscriptionRules { attempts_max: Some(1), ..SubscriptionRules::default() };
        let (control_index, start) = (1, StartAt::Earliest);
        let set = SubscriptionCommand::SetSubscription { stamp: STAMP, control_index, id: ID, rules, start };
        apply(&mut machine, set);
        machine
    }

    fn settle(machine: &mut PartitionMachine, settlement: Settlement) -> SettleOutcome {
        let part = SettlePart { id: ID, seek_epoch: 0, owner_epoch: None, settlement };
        match apply(machine, SubscriptionCommand::Settle { stamp: STAMP, parts: vec![part] }) {
            PartitionReply::Settled(outcomes) => outcomes[0],
            reply => panic!("{reply:?}"),
        }
    }

    fn acked(offsets: &[u64]) -> Settlement {
        let acked = offsets.iter().map(|offset| OffsetRange::one(Offset(*offset))).collect();
        Settlement { acked, ..Settlement::default() }
    }

    #[test]
    fn a_small_partition_refuses_at_its_bounds() {
        let mut machine = partition();
        let refused = |bound| SettleOutcome::Refused(SubscriptionRefusal::Bound(bound));
        assert_eq!(settle(&mut machine, acked(&[1, 3, 5])), refused(SubscriptionBound::Items));
        assert_eq!(settle(&mut machine, acked(&[1, 3])), refused(SubscriptionBound::SettledRanges));
        let nacked = vec![Nack { offset: Offset(0), not_before: STAMP }];
        let nacked = Settlement { nacked, ..Settlement::default() };
        assert_eq!(settle(&mut machine, nacked), refused(SubscriptionBound::Attempts));
        let dead = vec![DeadLetter { offset: Offset(0), destination: LOG }];
        let dead = Settlement { dead, ..Settlement::default() };
        assert_eq!(settle(&mut machine, dead), refused(SubscriptionBound::DeadLetters));
        assert_eq!(settle(&mut machine, acked(&[0])), SettleOutcome::Applied);
    }
}
