//! One small history for each way to break SUB-1, SUB-2, SUB-3, SUB-4, SUB-5 and SUB-6, and next to it one that
//! differs only in what makes it legal.

mod scene;

use meridian_checker::{AnomalyKind, Verdict};
use meridian_history::SubscriptionKind::{Exclusive, KeyShared, Shared};
use meridian_history::*;
use scene::{SUBS, Scene, found, judge, rules};

use AckOf::{Batch, Cumulative, Single};

/// What is found in a history that is made like this, with or without the fault.
fn both(kind: SubscriptionKind, tell: impl Fn(&mut Scene, bool)) -> [Vec<AnomalyKind>; 2] {
    [true, false].map(|broken| {
        let mut scene = Scene::of(rules(kind));
        tell(&mut scene, broken);
        found(scene.ops)
    })
}

#[test]
fn what_a_drain_leaves_behind_is_undelivered_unless_an_ack_may_have_happened() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.ack(7, 8, "x", Single(0));
        scene.deliver(5, 9, "x", 1, 1);
        if !broken {
            scene.ack_unknown(10, 11, "x", Single(1));
        }
        scene.end(5_000, 2, &[], 2);
    });
    assert_eq!(found, [vec![AnomalyKind::Undelivered], vec![]]);
}

#[test]
fn an_ack_from_before_a_seek_does_not_excuse_what_the_drain_leaves_behind() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.ack(7, 8, "x", Single(0));
        // Behind the message, a seek leaves it settled.
        scene.seek(10, 11, u64::from(!broken));
        scene.end(5_000, 1, &[], 1);
    });
    assert_eq!(found, [vec![AnomalyKind::Undelivered], vec![]]);
}

#[test]
fn what_expired_or_is_dead_or_not_due_needs_no_delivery() {
    let times = |deliver, expire| Times { deliver_at_ms: deliver, expire_at_ms: expire };
    for (given, dead, wrong) in [
        (Times::default(), vec![], true),
        (times(None, Some(4_000)), vec![], false),
        (times(Some(9_000), None), vec![], false),
        (times(Some(3_000), None), vec![], true),
        (Times::default(), vec![(0, 0)], false),
    ] {
        let mut scene = Scene::of(rules(Shared));
        scene.publish_at(&["a"], &[given]);
        scene.end(5_000, 1, &dead, 0);
        let expected = if wrong { vec![AnomalyKind::Undelivered] } else { vec![] };
        assert_eq!(found(scene.ops), expected, "{given:?} {dead:?}");
    }
}

#[test]
fn a_confirmed_ack_that_is_not_settled_is_a_hole_and_one_of_unknown_outcome_is_not() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.deliver(5, 6, "x", 1, 1);
        scene.ack(7, 8, "x", Single(0));
        if broken {
            scene.ack(7, 8, "x", Single(1));
        } else {
            scene.ack_unknown(7, 8, "x", Single(1));
        }
        scene.end(5_000, 1, &[], 1);
    });
    assert_eq!(found, [vec![AnomalyKind::AckHole], vec![]]);
}

#[test]
fn a_cumulative_ack_covers_what_its_consumer_was_given() {
    let found = both(Exclusive, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.deliver(5, if broken { 7 } else { 30 }, "x", 1, 1);
        scene.ack(10, 11, "x", Cumulative(2));
        scene.end(5_000, 1, &[], 1);
    });
    assert_eq!(found, [vec![AnomalyKind::AckHole], vec![]]);
}

#[test]
fn a_delivery_that_was_asked_for_after_its_confirmed_ack_is_a_redelivery() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.ack(7, 20, "x", Batch(vec![0]));
        // Credit from before the confirmation: it may have been under way.
        scene.deliver(if broken { 21 } else { 20 }, 2_000, "y", 0, 2);
    });
    assert_eq!(found, [vec![AnomalyKind::RedeliveredAfterAck], vec![]]);
}

#[test]
fn a_redelivery_after_an_ack_of_unknown_outcome_or_after_a_seek_is_none() {
    for story in 0..2 {
        let mut scene = Scene::of(rules(Shared));
        scene.publish(&["a"]);
        scene.deliver(5, 6, "x", 0, 1);
        if story == 0 {
            scene.ack(7, 8, "x", Single(0));
            scene.seek(10, 11, 0);
        } else {
            scene.ack_unknown(7, 8, "x", Single(0));
        }
        scene.under(|epochs| epochs.dispatch = 50);
        scene.deliver(2_000, 2_001, "y", 0, 1);
        assert_eq!(found(scene.ops), [], "story {story}");
    }
}

#[test]
fn a_leader_that_began_after_the_acks_entry_must_know_it() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a"]);
        scene.deliver(5, 6, "x", 0, 1);
        let op = scene.ack(7, 500, "x", Single(0));
        if let Kind::Ack(call) = &mut op.kind {
            call.settled = Some(Settled { index: Some(40) });
        }
        scene.under(|epochs| epochs.dispatch = if broken { 41 } else { 39 });
        scene.deliver(5, 400, "y", 0, 1);
    });
    assert_eq!(found, [vec![AnomalyKind::RedeliveredAfterAck], vec![]]);
}

#[test]
fn an_owner_that_gets_messages_after_its_successor_did_splits_the_ownership() {
    let found = both(Exclusive, |scene, broken| {
        scene.publish(&["a", "b", "c"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.under(|epochs| epochs.owner = Some(2));
        scene.deliver(20, 30, "y", 1, 1);
        scene.under(|epochs| epochs.owner = Some(1));
        scene.deliver(if broken { 31 } else { 29 }, 60, "x", 2, 1);
    });
    assert_eq!(found, [vec![AnomalyKind::SplitOwnership], vec![]]);
}

#[test]
fn one_owner_epoch_is_one_consumers() {
    let found = both(Exclusive, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.deliver(20, 30, if broken { "y" } else { "x" }, 1, 1);
    });
    assert_eq!(found, [vec![AnomalyKind::SplitOwnership], vec![]]);
}

#[test]
fn an_owner_epoch_never_goes_back_while_the_dispatch_goes_on() {
    let found = both(Exclusive, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.under(|epochs| epochs.owner = Some(2));
        scene.deliver(5, 90, "y", 1, 1);
        scene.under(|epochs| (epochs.owner, epochs.dispatch) = (Some(1), if broken { 11 } else { 9 }));
        scene.deliver(5, 91, "x", 0, 1);
    });
    assert_eq!(found, [vec![AnomalyKind::SplitOwnership], vec![]]);
}

#[test]
fn an_ack_of_an_owner_whose_successor_has_begun_is_a_zombies() {
    let found = both(Exclusive, |scene, broken| {
        scene.publish(&["a", "b"]);
        scene.deliver(5, 6, "x", 0, 1);
        scene.under(|epochs| epochs.owner = Some(2));
        scene.deliver(20, 30, "y", 1, 1);
        scene.under(|epochs| epochs.owner = Some(1));
        scene.ack(if broken { 31 } else { 29 }, 60, "x", Single(0));
    });
    assert_eq!(found, [vec![AnomalyKind::ZombieAck], vec![]]);
}

#[test]
fn a_message_is_given_to_another_only_when_its_lease_may_be_over() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a"]);
        scene.deliver(100, 101, "x", 0, 1);
        scene.deliver(200, if broken { 900 } else { 1_100 }, "y", 0, 2);
    });
    assert_eq!(found, [vec![AnomalyKind::DoublePossession], vec![]]);
}

#[test]
fn what_may_have_ended_a_possession_excuses_the_next() {
    type End = fn(&mut Scene);
    let ends: [End; 4] = [
        |scene| {
            scene.nack(150, 151, "x", 0, 1);
        },
        |scene| scene.ack_unknown(150, 151, "x", Single(0)),
        |scene| scene.part(150, 400, "x", Parting::Cut),
        |scene| scene.under(|epochs| epochs.dispatch = 11),
    ];
    for (nth, end) in ends.into_iter().enumerate() {
        let mut scene = Scene::of(rules(Shared));
        scene.publish(&["a"]);
        scene.deliver(100, 101, "x", 0, 1);
        end(&mut scene);
        scene.deliver(200, 210, "y", 0, 1);
        assert_eq!(found(scene.ops), [], "end {nth}");
    }
}

#[test]
fn an_extension_that_was_confirmed_in_time_makes_the_lease_longer() {
    let found = both(Shared, |scene, broken| {
        scene.publish(&["a"]);
        scene.deliver(100, 101, "x", 0, 1);
        let by = match &scene.ack(1, 2, "x", Single(99)).kind {
            Kind::Ack(call) => call.by.clone(),
            _ => unreachable!("an ack was made"),
        };
        let done = if broken { 801 } else { 1_101 };
        scene.add(800, done, Extend { by, offset: 0, extended: Some(Done {}) });
        scene.deliver(200, 1_300, "y", 0, 2);
    });
    assert_eq!(found, [vec![AnomalyKind::DoublePossession], vec![]]);
}

#[test]
fn more_than_the_bound_is_never_held() {
    let found = [true, false].map(|broken| {
        let mut scene = Scene::of(Subscribe { unacked_consumer_max: Some(2), ..rules(Shared) });
        scene.publish(&["a", "b", "c"]);
        (0..2).for_each(|offset| scene.deliver(100, 101, "x", offset, 1));
        if !broken {
            scene.nack(110, 111, "x", 0, 1);
        }
        scene.deliver(100, 120, "x", 2, 1);
        found(scene.ops)
    });
    assert_eq!(found, [vec![AnomalyKind::BoundExceeded], vec![]]);
}

#[test]
fn a_first_delivery_after_a_later_one_of_its_key_is_out_of_order() {
    for (key, attempt, wrong) in [("a", 1, true), ("b", 1, false), ("a", 2, false)] {
        let mut scene = Scene::of(rules(KeyShared));
        scene.publish(&["a", key]);
        scene.deliver(5, 6, "x", 1, 1);
        scene.deliver(7, 8, "x", 0, attempt);
        let expected = if wrong { vec![AnomalyKind::KeyReorder] } else { vec![] };
        assert_eq!(found(scene.ops), expected, "{key} {attempt}");
    }
}

#[test]
fn a_key_does_not_move_while_its_consumer_holds_an_earlier_message() {
    let found = both(KeyShared, |scene, broken| {
        scene.publish(&["a", "a"]);
        scene.deliver(5, 6, "x", 0, 1);
        if !broken {
            scene.ack_unknown(7, 8, "x", Single(0));
        }
        scene.deliver(9, 10, "y", 1, 1);
    });
    assert_eq!(found, [vec![AnomalyKind::KeyReorder], vec![]]);
}

#[test]
fn before_its_time_a_message_is_early_and_within_the_tolerance_it_is_not() {
    for (came, wrong) in [(899, true), (900, false), (1_001, false)] {
        let mut scene = Scene::of(rules(Shared));
        scene.publish_at(&["a"], &[Times { deliver_at_ms: Some(1_000), expire_at_ms: None }]);
        scene.deliver(5, came, "x", 0, 1);
        let expected = if wrong { vec![AnomalyKind::Early] } else { vec![] };
        assert_eq!(found(scene.ops), expected, "{came}");
    }
}

#[test]
fn what_is_asked_for_after_it_expired_must_not_come() {
    for (asked, wrong) in [(1_101, true), (1_100, false), (5, false)] {
        let mut scene = Scene::of(rules(Shared));
        scene.publish_at(&["a"], &[Times { deliver_at_ms: None, expire_at_ms: Some(1_000) }]);
        scene.deliver(asked, 2_000, "x", 0, 1);
        let expected = if wrong { vec![AnomalyKind::LateExpired] } else { vec![] };
        assert_eq!(found(scene.ops), expected, "{asked}");
    }
}

/// Three attempts, each refused; dead afterwards, if so.
fn thrice_refused(dead: &[(u64, u64)], refusals: u32) -> Vec<AnomalyKind> {
    let mut scene = Scene::of(rules(Shared));
    scene.publish(&["a"]);
    for attempt in 1..=refusals {
        let at = 10 * u64::from(attempt);
        scene.deliver(at, at + 1, "x", 0, attempt);
        scene.nack(at + 2, at + 3, "x", 0, attempt);
    }
    scene.end(500, 1, dead, 1);
    found(scene.ops)
}

#[test]
fn dead_letters_are_exact() {
    assert_eq!(thrice_refused(&[(7, 0)], 3), []);
    assert_eq!(thrice_refused(&[], 3), [AnomalyKind::Undelivered, AnomalyKind::DlqWrong]);
    assert_eq!(thrice_refused(&[(7, 0)], 2), [AnomalyKind::DlqWrong], "one attempt early");
    assert_eq!(thrice_refused(&[(7, 0)], 4), [AnomalyKind::DlqWrong], "beyond the last attempt");
    assert_eq!(thrice_refused(&[(7, 0), (8, 0)], 3), [AnomalyKind::DlqDuplicate]);
}

#[test]
fn with_a_consumer_that_crashed_nobody_knows_what_else_failed() {
    let mut scene = Scene::of(rules(Shared));
    scene.publish(&["a"]);
    scene.deliver(10, 11, "x", 0, 1);
    scene.nack(12, 13, "x", 0, 1);
    scene.part(20, 20, "y", Parting::Crashed);
    scene.end(1_000, 1, &[(0, 0)], 1);
    assert_eq!(found(scene.ops), []);
}

#[test]
fn a_subscription_that_was_never_drained_is_unknown_and_unknown_is_no_pass() {
    let mut scene = Scene::of(rules(Shared));
    scene.publish(&["a"]);
    let report = judge(scene.ops);
    assert!(matches!(report.verdict(SUBS[0]), Verdict::Unknown { why } if why[0].contains("never drained")));
    assert!(!report.is_pass() && !report.is_fail());
}
