//! Dice for subscriptions.

use meridian_model::subscription::{Backoff, SubscriptionKind, SubscriptionRules};
use meridian_model::topology::Topic;
use meridian_model::{Offset, TopicName, UnixMs};

use super::super::model::Model;
use super::{Dice, bad_name, create, version_of};
use crate::control::{BeginAt, ControlChange, Subscription, SubscriptionSettings};

/// Of 24 operations. Where there is no topic, mostly one is created.
pub(super) fn change(
    operation: u64,
    dice: &mut Dice<'_>,
    model: &Model,
    request_id: String,
) -> ControlChange {
    if dice.below(32) > 0 && !model.topics.values().any(|topic| !topic.deleting) {
        return create(dice, model, request_id);
    }
    match operation {
        0..=4 => directed(dice, model, request_id),
        5..=11 => {
            let topic = topic(dice, model);
            let name = match dice.below(16) {
                0 => bad_name(dice),
                more => format!("s{}", more % 3),
            };
            let settings = settings(dice, model, &topic, SubscriptionRules::default().kind);
            ControlChange::CreateSubscription {
                topic,
                name,
                begin: begin(dice),
                settings: settings.into(),
                request_id,
            }
        }
        12..=18 => {
            let (topic, name, known) = named(dice, model);
            let kind = known.map_or(SubscriptionKind::Shared, |known| known.settings.rules.kind);
            let roll = dice.below(8);
            let mut settings = match roll {
                0..=4 => SubscriptionSettings { durable: false, ..SubscriptionSettings::default() },
                _ => settings(dice, model, &topic, kind),
            };
            if roll <= 2 {
                settings.rules.kind = SubscriptionKind::Failover;
            }
            let expected_version = version_of(dice, known.map_or(0, |known| known.version));
            ControlChange::UpdateSubscription {
                topic,
                name,
                settings: settings.into(),
                expected_version,
                request_id,
            }
        }
        _ => {
            let (topic, name, known) = named(dice, model);
            let expected_version = version_of(dice, known.map_or(0, |known| known.version));
            ControlChange::DeleteSubscription { topic, name, expected_version, request_id }
        }
    }
}

/// One that is refused for nothing but a bound, or because its letters would cross to another tenant.
fn directed(dice: &mut Dice<'_>, model: &Model, request_id: String) -> ControlChange {
    let roll = dice.below(8);
    let live = || model.topics.values().filter(|topic| !topic.deleting);
    let taken = |topic: &&Topic| model.subscriptions.keys().filter(|(of, _)| *of == topic.name).count();
    let found = match roll {
        0..=4 => live().max_by_key(taken),
        _ => live().min_by_key(taken),
    };
    let topic = found.map_or_else(|| super::super::topic("nothing"), |topic| topic.name.clone());
    let known = |name: &String| model.subscriptions.contains_key(&(topic.clone(), name.clone()));
    let name = (0..4).map(|number| format!("s{number}")).find(|name| !known(name)).unwrap_or_default();
    let mut settings = SubscriptionSettings::default();
    if roll >= 5 {
        settings.retry = model.topics.keys().find(|to| to.tenant() != topic.tenant()).cloned();
    }
    ControlChange::CreateSubscription {
        topic,
        name,
        begin: begin(dice),
        settings: settings.into(),
        request_id,
    }
}

fn begin(dice: &mut Dice<'_>) -> BeginAt {
    match dice.below(4) {
        0 => BeginAt::Earliest,
        1 => BeginAt::Time(UnixMs(7)),
        2 => BeginAt::Offset(Offset(7)),
        _ => BeginAt::Latest,
    }
}

/// A topic to subscribe to: seldom one that is not there, or is being deleted.
fn topic(dice: &mut Dice<'_>, model: &Model) -> TopicName {
    let roll = dice.roll();
    let deleting = roll % 16 == 1;
    let fit: Vec<&Topic> = model.topics.values().filter(|topic| topic.deleting == deleting).collect();
    let found = if roll.is_multiple_of(16) {
        None
    } else {
        dice.pick(fit.into_iter()).or(model.topics.values().next())
    };
    found.map_or_else(|| super::super::topic("nothing"), |topic| topic.name.clone())
}

/// A subscription that is there, where there is one: often one whose topic is being deleted.
fn named<'a>(dice: &mut Dice<'_>, model: &'a Model) -> (TopicName, String, Option<&'a Subscription>) {
    let roll = dice.below(16);
    let dying = |known: &&Subscription| model.topics.get(&known.topic).is_some_and(|topic| topic.deleting);
    let found = match roll {
        0..=1 => None,
        2..=4 => model.subscriptions.values().find(dying),
        _ => dice.pick(model.subscriptions.values()),
    };
    match found {
        Some(known) => (known.topic.clone(), known.name.clone(), Some(known)),
        None => {
            let topic = topic(dice, model);
            let known = model.subscriptions.get(&(topic.clone(), "s0".into())).filter(|_| roll > 1);
            let name = if roll > 1 { "s0" } else { "nobody" };
            (topic, name.into(), known)
        }
    }
}

/// Settings, about half of them without fault.
fn settings(
    dice: &mut Dice<'_>,
    model: &Model,
    topic: &TopicName,
    kind: SubscriptionKind,
) -> SubscriptionSettings {
    let mut settings = SubscriptionSettings::default();
    let (roll, which) = (dice.below(64), dice.roll());
    let rules = &mut settings.rules;
    rules.kind = kind;
    match roll {
        0..=2 => rules.lease_ms = 99,
        3..=5 => rules.lease_ms = 43_200_001,
        6..=8 => rules.backoff = Backoff::Linear { step_ms: 8, max_ms: 7 },
        9..=11 => rules.backoff = Backoff::Exponential { first_ms: 8, max_ms: 604_800_001 },
        12..=14 => rules.attempts_max = Some(3),
        15..=17 => settings.dead_letter = Some(topic.clone()),
        18..=20 => settings.idle_ms_max = Some(0),
        21 => rules.lease_ms = 100,
        22 => rules.lease_ms = 43_200_000,
        23 => rules.backoff = Backoff::Linear { step_ms: 7, max_ms: 604_800_000 },
        24..=27 => {
            settings.durable = false;
            settings.idle_ms_max = Some(which + 1);
        }
        28..=31 => settings.retry = Some(topic.clone()),
        32..=35 => {
            (settings.dead_letter, rules.attempts_max) = (Some(topic.clone()), Some(1));
        }
        36..=49 => {
            // The number of attempts is looked at before the topic.
            rules.attempts_max = Some(if roll < 40 { 0 } else { 2 });
            settings.dead_letter = Some(destination(which, model, topic));
        }
        50..=59 => settings.retry = Some(destination(which, model, topic)),
        _ => {}
    }
    settings
}

/// Another topic, of any kind: being deleted, of another tenant, or as it should be.
fn destination(which: u64, model: &Model, from: &TopicName) -> TopicName {
    let same = |topic: &&Topic| topic.name.tenant() == from.tenant() && topic.name != *from;
    let found = match which % 8 {
        0 => None,
        1..=3 => model.topics.values().find(|topic| same(topic) && topic.deleting),
        4..=5 => model.topics.values().find(|topic| topic.name.tenant() != from.tenant()),
        _ => model.topics.values().find(|topic| same(topic) && !topic.deleting),
    };
    let fallback = || model.topics.values().find(|topic| topic.name != *from && !which.is_multiple_of(8));
    let nowhere =
        || TopicName::new(from.tenant(), from.namespace(), "nowhere").unwrap_or_else(|_| from.clone());
    found.or_else(fallback).map_or_else(nowhere, |topic| topic.name.clone())
}
