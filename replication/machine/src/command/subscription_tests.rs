//! Commands about subscriptions survive the wire; anything else is an error, never a panic.

use meridian_model::subscription::{
    Backoff, DeadLetter, DelayedRange, DelayedSettlement, Nack, Settlement, SubscriptionKind,
    SubscriptionRules,
};
use meridian_model::{ConsumerId, LogId, Offset, OffsetRange, Place, SubscriptionId, UnixMs};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn times() -> impl Strategy<Value = UnixMs> {
    any::<u64>().prop_map(UnixMs)
}

fn ranges() -> impl Strategy<Value = OffsetRange> {
    any::<[u64; 2]>().prop_map(|[from, to]| OffsetRange::new(Offset(from), Offset(to)))
}

fn delayed_ranges() -> impl Strategy<Value = DelayedRange> {
    (times(), ranges()).prop_map(|(deliver_at, range)| DelayedRange { deliver_at, range })
}

fn nacks() -> impl Strategy<Value = Nack> {
    (any::<u64>(), times()).prop_map(|(offset, not_before)| Nack { offset: Offset(offset), not_before })
}

fn letters() -> impl Strategy<Value = DeadLetter> {
    (any::<u64>(), any::<u128>())
        .prop_map(|(offset, to)| DeadLetter { offset: Offset(offset), destination: LogId::from_u128(to) })
}

fn places() -> impl Strategy<Value = Place> {
    (times(), any::<u64>()).prop_map(|(deliver_at, offset)| Place { deliver_at, offset: Offset(offset) })
}

fn settlements() -> impl Strategy<Value = Settlement> {
    let main = (any::<Option<u64>>(), vec(ranges(), 0..4), vec(ranges(), 0..3), vec(nacks(), 0..3));
    let delayed = (
        vec(ranges(), 0..3),
        vec(delayed_ranges(), 0..3),
        vec(delayed_ranges(), 0..3),
        vec((times(), nacks()), 0..3),
        vec((times(), letters()), 0..3),
        prop::option::of(places()),
    );
    let delayed = delayed.prop_map(|(passed, acked, expired, nacked, dead, floor)| DelayedSettlement {
        passed,
        acked,
        expired,
        nacked,
        dead,
        floor,
    });
    (main, vec(letters(), 0..3), delayed).prop_map(|((cumulative, acked, expired, nacked), dead, delayed)| {
        Settlement { cumulative: cumulative.map(Offset), acked, expired, nacked, dead, delayed }
    })
}

fn rules() -> impl Strategy<Value = SubscriptionRules> {
    use SubscriptionKind::{Exclusive, Failover, KeyShared, Shared};
    let kind = prop::sample::select(vec![Exclusive, Failover, Shared, KeyShared]);
    (kind, any::<[u64; 3]>(), any::<bool>(), any::<Option<u32>>()).prop_map(
        |(kind, [lease_ms, first, max_ms], linear, attempts_max)| {
            let backoff = match linear {
                true => Backoff::Linear { step_ms: first, max_ms },
                false => Backoff::Exponential { first_ms: first, max_ms },
            };
            SubscriptionRules { kind, lease_ms, backoff, attempts_max }
        },
    )
}

fn starts() -> impl Strategy<Value = StartAt> {
    let at = any::<[u64; 2]>();
    let at =
        at.prop_map(|[offset, delayed_before]| StartAt::Offset { offset: Offset(offset), delayed_before });
    prop_oneof![Just(StartAt::Earliest), Just(StartAt::Latest), at]
}

fn parts() -> impl Strategy<Value = SettlePart> {
    (any::<[u64; 2]>(), any::<Option<u64>>(), settlements()).prop_map(
        |([id, seek_epoch], owner_epoch, settlement)| SettlePart {
            id: SubscriptionId(id),
            seek_epoch,
            owner_epoch,
            settlement,
        },
    )
}

fn commands() -> impl Strategy<Value = SubscriptionCommand> {
    use SubscriptionCommand as C;
    let id = || any::<u64>().prop_map(SubscriptionId);
    let trim = (times(), any::<[Option<u64>; 3]>(), any::<Option<(u64, u64)>>(), any::<bool>());
    prop_oneof![
        (times(), any::<u64>(), id(), rules(), starts()).prop_map(
            |(stamp, control_index, id, rules, start)| {
                C::SetSubscription { stamp, control_index, id, rules, start }
            }
        ),
        (times(), any::<u64>(), id()).prop_map(|(stamp, control_index, id)| C::DropSubscription {
            stamp,
            control_index,
            id
        }),
        times().prop_map(|stamp| C::BeginDispatch { stamp }),
        (times(), id(), any::<Option<u128>>())
            .prop_map(|(stamp, id, owner)| { C::Own { stamp, id, owner: owner.map(ConsumerId::from_u128) } }),
        (times(), vec(parts(), 0..4)).prop_map(|(stamp, parts)| C::Settle { stamp, parts }),
        (times(), id(), starts()).prop_map(|(stamp, id, to)| C::Seek { stamp, id, to }),
        (times(), id(), any::<u128>(), any::<u64>()).prop_map(|(stamp, id, to, through_sequence)| {
            C::Moved { stamp, id, destination: LogId::from_u128(to), through_sequence }
        }),
        (times(), vec(places(), 0..9)).prop_map(|(stamp, batches)| C::SweepDelayed { stamp, batches }),
        trim.prop_map(|(stamp, [before, keep_bytes, forget], live, drop_backlog)| C::TrimBacklog {
            stamp,
            before: before.map(UnixMs),
            keep_bytes,
            forget_producers_before: forget.map(UnixMs),
            live_delayed: live.map(|(as_of, from)| LiveDelayed { as_of, from: Offset(from) }),
            drop_backlog,
        }),
    ]
}

/// One of each kind, in order of the kind byte.
fn one_of_each() -> [SubscriptionCommand; 9] {
    use SubscriptionCommand as C;
    let (stamp, id, control_index, rules) = (UnixMs(5), SubscriptionId(3), 7, SubscriptionRules::default());
    let at = StartAt::Offset { offset: Offset(9), delayed_before: 2 };
    let range = OffsetRange::one(Offset(4));
    let deliver_at = UnixMs(6);
    let delayed = DelayedSettlement {
        passed: vec![range],
        acked: vec![DelayedRange { deliver_at, range }],
        floor: Some(Place { deliver_at, offset: Offset(1) }),
        ..DelayedSettlement::default()
    };
    let nacked = vec![Nack { offset: Offset(5), not_before: deliver_at }];
    let dead = vec![DeadLetter { offset: Offset(6), destination: LogId::from_u128(8) }];
    let settlement = Settlement { acked: vec![range], nacked, dead, delayed, ..Settlement::default() };
    let part = SettlePart { id, seek_epoch: 1, owner_epoch: Some(2), settlement };
    [
        C::SetSubscription { stamp, control_index, id, rules, start: StartAt::Latest },
        C::DropSubscription { stamp, control_index, id },
        C::BeginDispatch { stamp },
        C::Own { stamp, id, owner: Some(ConsumerId::from_u128(1)) },
        C::Settle { stamp, parts: vec![part] },
        C::Seek { stamp, id, to: at },
        C::Moved { stamp, id, destination: LogId::from_u128(8), through_sequence: 3 },
        C::SweepDelayed { stamp, batches: vec![Place { deliver_at, offset: Offset(4) }] },
        C::TrimBacklog {
            stamp,
            before: None,
            keep_bytes: Some(1),
            forget_producers_before: None,
            live_delayed: Some(LiveDelayed { as_of: 11, from: Offset(12) }),
            drop_backlog: true,
        },
    ]
}

/// A change here needs a new kind: older entries must stay what they were.
#[test]
fn the_entries_of_subscriptions_are_pinned() {
    let mut hasher = blake3::Hasher::new();
    for (command, kind) in one_of_each().into_iter().zip(6u8..) {
        let entry = Command::from(command).encode();
        assert_eq!(entry[..3], [FORMAT_VERSION, 0, kind]);
        hasher.update(&entry);
    }
    assert_eq!(hasher.finalize().to_hex()[..16], *"c6d3992b5cd9069a");
}

#[test]
fn a_range_that_ends_before_it_begins_is_no_command() {
    let part = SettlePart {
        id: SubscriptionId(1),
        seek_epoch: 0,
        owner_epoch: None,
        settlement: Settlement {
            acked: vec![OffsetRange { from: Offset(5), to: Offset(4) }],
            ..Default::default()
        },
    };
    let settle = SubscriptionCommand::Settle { stamp: UnixMs(1), parts: vec![part] };
    assert_eq!(Command::decode(Command::from(settle).encode()), Err(CommandError::Truncated));
}

#[test]
fn a_count_that_the_bytes_cannot_fill_sets_nothing_aside() {
    let settle = SubscriptionCommand::Settle { stamp: UnixMs(1), parts: vec![] };
    let mut entry = Command::from(settle).encode().to_vec();
    let count = entry.len() - 4;
    entry[count..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Command::decode(Bytes::from(entry)), Err(CommandError::Truncated));
}

proptest! {
    #[test]
    fn subscription_commands_survive_the_wire(command in commands()) {
        let command = Command::from(command);
        prop_assert_eq!(Command::decode(command.encode()), Ok(command));
    }

    #[test]
    fn a_damaged_subscription_command_never_panics_and_has_one_spelling(
        command in commands(), at: prop::sample::Index, value: u8, cut: prop::sample::Index
    ) {
        let mut entry = Command::from(command).encode().to_vec();
        let short = Bytes::copy_from_slice(&entry[..cut.index(entry.len())]);
        prop_assert!(Command::decode(short).is_err());
        let at = at.index(entry.len());
        entry[at] = value;
        let entry = Bytes::from(entry);
        if let Ok(command) = Command::decode(entry.clone()) {
            prop_assert_eq!(command.encode(), entry);
        }
    }

    #[test]
    fn no_bytes_after_a_subscription_kind_make_decoding_panic(bytes in vec(any::<u8>(), 0..300), kind in 6u8..16) {
        let entry = Bytes::from([&[FORMAT_VERSION, 0, kind][..], &bytes].concat());
        let _ = Command::decode(entry);
    }
}
