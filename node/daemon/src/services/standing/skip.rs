//! Acking the next messages unseen.

use meridian_machine::command::{SettlePart, SubscriptionCommand};
use meridian_machine::partition::{PartitionReply, SettleOutcome};
use meridian_model::limits::{BATCH_MESSAGES_MAX, SETTLE_ITEMS_MAX};
use meridian_model::subscription::{DelayedSettlement, Settlement};
use meridian_model::{Offset, OffsetRange, SubscriptionId};
use meridian_proto::admin::MovedPartition;
use meridian_proto::v1::{ErrorReason, Failure};
use meridian_raft::Group;

use super::{PATIENCE, Unanswered, of_refusal, seek};

/// Half of what one settlement may name: a batch that was passed in part is named in pieces.
const DELAYED_MAX: usize = SETTLE_ITEMS_MAX / 2;

/// What is to be settled.
#[derive(Debug, PartialEq, Eq)]
struct Skip {
    /// Everything below.
    below: Offset,
    /// Delayed messages among it, which are left alone: they wait in their own lane.
    passed: Vec<OffsetRange>,
    /// Messages skipped.
    messages: u64,
}

/// Walks over what is not settled, in order, until so many messages that are not delayed lie behind.
fn walk(floor: Offset, unsettled: &[OffsetRange], delayed: &[OffsetRange], messages: u64) -> Skip {
    let mut skip = Skip { below: floor, passed: Vec::new(), messages: 0 };
    for range in unsettled {
        let within = delayed.iter().filter(|batch| batch.from < range.to && batch.to > range.from);
        let pieces = within.map(|batch| OffsetRange::new(batch.from.max(range.from), batch.to.min(range.to)));
        // Behind the last delayed piece comes what is left of the range.
        for piece in pieces.chain([OffsetRange::new(range.to, range.to)]) {
            let at = skip.below.max(range.from);
            let taken = (messages - skip.messages).min(piece.from.0 - at.0);
            (skip.below, skip.messages) = (at.plus(taken), skip.messages + taken);
            if skip.messages == messages {
                return skip;
            }
            skip.below = piece.to;
            if !piece.is_empty() {
                skip.passed.push(piece);
            }
        }
    }
    skip
}

/// Skips so many messages, or fewer where there are fewer; where there are very many delayed ones among them, too.
pub(super) async fn skip(
    group: &Group,
    id: SubscriptionId,
    messages: u64,
) -> Result<MovedPartition, Unanswered> {
    let unknown = || Unanswered::from(of_refusal(&meridian_machine::partition::SubscriptionRefusal::Unknown));
    let found =
        group.view().partition(|machine| machine.subscription(id).map(|view| (view.floor(), machine.end())));
    let (floor, end) = found.flatten().ok_or_else(unknown)?;
    let from = Offset(floor.0.saturating_sub(u64::from(BATCH_MESSAGES_MAX)));
    let batches = group.delayed_batches(from, end, DELAYED_MAX).await?;
    let range = |first: Offset, count: u32| OffsetRange::new(first, first.plus(u64::from(count)));
    let delayed: Vec<_> = batches.iter().map(|batch| range(batch.first.offset, batch.count)).collect();
    let known = delayed.last().filter(|_| delayed.len() == DELAYED_MAX).map_or(end, |last| last.to);
    let planned = group.view().partition(|machine| {
        let view = machine.subscription(id)?;
        let unsettled = view.settled().absent_in(OffsetRange::new(view.floor(), known.max(view.floor())));
        let skip = walk(view.floor(), &unsettled, &delayed, messages);
        let orphaned = view.rules().kind.is_owned() && view.owner().is_none();
        Some((skip, orphaned, view.seek_epoch(), view.owner_epoch()))
    });
    let (skip, orphaned, seek_epoch, owner_epoch) = planned.flatten().ok_or_else(unknown)?;
    let skipped_messages = skip.messages;
    if orphaned {
        // Nobody owns the partition, so nobody may ack: it goes on behind them.
        let to = group.start_at(skip.below).await?;
        let moved = seek(group, id, to).await?;
        return Ok(MovedPartition { skipped_messages, ..moved });
    }
    let delayed = DelayedSettlement { passed: skip.passed, ..DelayedSettlement::default() };
    let settlement = Settlement { cumulative: Some(skip.below), delayed, ..Settlement::default() };
    let part = SettlePart { id, seek_epoch, owner_epoch: Some(owner_epoch), settlement };
    let command = SubscriptionCommand::Settle { stamp: group.stamp(), parts: vec![part] };
    match group.propose_subscription(command, PATIENCE).await? {
        PartitionReply::Settled(outcomes) => match outcomes.first() {
            Some(SettleOutcome::Refused(refusal)) => Err(of_refusal(refusal).into()),
            _ => {
                let floor =
                    group.view().partition(|machine| machine.subscription(id).map(|view| view.floor()));
                let floor = floor.flatten().unwrap_or(skip.below).0;
                Ok(MovedPartition { floor, seek_epoch, skipped_messages, ..Default::default() })
            }
        },
        other => {
            Err(Failure::new(ErrorReason::Internal, format!("a skip was answered with {other:?}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> OffsetRange {
        OffsetRange::new(Offset(from), Offset(to))
    }

    fn skip(below: u64, passed: &[OffsetRange], messages: u64) -> Skip {
        Skip { below: Offset(below), passed: passed.to_vec(), messages }
    }

    #[test]
    fn the_next_messages_are_skipped_and_holes_that_are_settled_do_not_count() {
        let unsettled = [range(3, 5), range(8, 20)];
        assert_eq!(walk(Offset(3), &unsettled, &[], 2), skip(5, &[], 2));
        assert_eq!(walk(Offset(3), &unsettled, &[], 4), skip(10, &[], 4));
    }

    #[test]
    fn there_may_be_fewer_messages_than_that() {
        assert_eq!(walk(Offset(3), &[range(3, 5)], &[], 9), skip(5, &[], 2));
        assert_eq!(walk(Offset(7), &[], &[], 9), skip(7, &[], 0));
        assert_eq!(walk(Offset(3), &[range(3, 5)], &[], 0), skip(3, &[], 0));
    }

    #[test]
    fn delayed_messages_are_passed_and_do_not_count() {
        let delayed = [range(0, 4), range(6, 9), range(12, 13)];
        assert_eq!(walk(Offset(3), &[range(3, 20)], &delayed, 3), skip(10, &[range(3, 4), range(6, 9)], 3));
        assert_eq!(walk(Offset(3), &[range(3, 20)], &delayed, 2), skip(6, &[range(3, 4)], 2));
        let all = skip(20, &[range(3, 4), range(6, 9), range(12, 13)], 12);
        assert_eq!(walk(Offset(3), &[range(3, 20)], &delayed, 99), all);
    }
}
