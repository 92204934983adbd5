//! Subscriptions of topics.

use meridian_model::subscription::{Backoff, SubscriptionRules};
use meridian_model::{SubscriptionId, TopicName};

use super::{Model, Refused, Verdict, is_name, refuse};
use crate::control::tests::coverage::{Coverage, Met};
use crate::control::{BeginAt, ControlDone, Subscription, SubscriptionSettings};

/// What is wrong with settings, wherever they are used.
fn fault(settings: &SubscriptionSettings) -> Option<(Met, &'static str)> {
    let SubscriptionRules { lease_ms, backoff, attempts_max, .. } = settings.rules;
    let (first, most) = match backoff {
        Backoff::Linear { step_ms, max_ms } => (step_ms, max_ms),
        Backoff::Exponential { first_ms, max_ms } => (first_ms, max_ms),
    };
    match () {
        () if lease_ms < 100 => Some((Met::LeaseTooShort, "lease_ms")),
        () if lease_ms > 43_200_000 => Some((Met::LeaseTooLong, "lease_ms")),
        () if first > most => Some((Met::BackoffBeginsAboveItsEnd, "backoff")),
        () if most > 604_800_000 => Some((Met::BackoffTooLong, "backoff")),
        () if attempts_max == Some(0) => Some((Met::NoAttempts, "attempts_max")),
        () if attempts_max.is_some() && settings.dead_letter.is_none() => {
            Some((Met::AttemptsWithoutDeadLetter, "attempts_max"))
        }
        () if attempts_max.is_none() && settings.dead_letter.is_some() => {
            Some((Met::DeadLetterWithoutAttempts, "dead_letter_topic"))
        }
        () if settings.idle_ms_max == Some(0) => Some((Met::NoIdleTime, "idle_ms_max")),
        () => None,
    }
}

impl Model {
    /// Settings that fit, of a topic that is alive, and whose destinations are.
    fn check(
        &self,
        topic: &TopicName,
        settings: &SubscriptionSettings,
        met: &mut Coverage,
    ) -> Result<(), Refused> {
        if let Some((what, field)) = fault(settings) {
            met.met(what);
            return Err(Refused::Invalid(field));
        }
        match self.topics.get(topic) {
            None => {
                return refuse(met, Met::SubscriptionUnknownTopic, Refused::NotFound(topic.resource()))
                    .map(drop);
            }
            Some(topic) if topic.deleting => {
                return refuse(met, Met::SubscriptionDeletingTopic, Refused::Conflict).map(drop);
            }
            Some(_) => {}
        }
        for (field, to) in [("dead_letter_topic", &settings.dead_letter), ("retry_topic", &settings.retry)] {
            let Some(to) = to else { continue };
            let absent = Refused::NotFound(to.resource());
            let (what, refused) = match self.topics.get(to) {
                _ if to == topic && field == "retry_topic" => (Met::RetryToItself, Refused::Invalid(field)),
                _ if to == topic => (Met::DeadLetterToItself, Refused::Invalid(field)),
                Some(_) if to.tenant() != topic.tenant() => (Met::LettersToAnotherTenant, absent),
                None => (Met::LettersToNowhere, absent),
                Some(there) if there.deleting => (Met::LettersToDeleting, Refused::Conflict),
                Some(_) => {
                    met.met(if field == "retry_topic" { Met::RetryNamed } else { Met::DeadLetterNamed });
                    continue;
                }
            };
            return refuse(met, what, refused).map(drop);
        }
        Ok(())
    }

    pub(super) fn create_subscription(
        &mut self,
        (topic, name): (&TopicName, &str),
        begin: BeginAt,
        settings: &SubscriptionSettings,
        met: &mut Coverage,
    ) -> Verdict {
        if !is_name(name) {
            return refuse(met, Met::SubscriptionBadName, Refused::Invalid("subscription"));
        }
        self.check(topic, settings, met)?;
        let key = (topic.clone(), name.to_owned());
        if self.subscriptions.contains_key(&key) {
            let resource = format!("{}/subscriptions/{name}", topic.resource());
            return refuse(met, Met::SubscriptionExists, Refused::Exists(resource));
        }
        let of_topic = self.subscriptions.keys().filter(|(of, _)| of == topic).count();
        let (topic_max, all_max) = (self.bounds.subscriptions_topic_max, self.bounds.subscriptions_max);
        if of_topic == topic_max {
            let refused = Refused::Limit("subscriptions of a topic", topic_max as u64);
            return refuse(met, Met::SubscriptionsOfTopicAtLimit, refused);
        }
        if self.subscriptions.len() == all_max {
            let refused = Refused::Limit("subscriptions", all_max as u64);
            return refuse(met, Met::SubscriptionsAtLimit, refused);
        }
        met.met(match self.ended.contains(&key) {
            true => Met::SubscriptionCreatedAgain,
            false => Met::SubscriptionCreated,
        });
        let id = SubscriptionId(self.at.index);
        let partitions = self.topics.get(topic).map_or(0, |topic| topic.partitions.len() as u32);
        let created = Subscription {
            topic: topic.clone(),
            name: name.into(),
            id,
            begin,
            settings: settings.clone(),
            partitions,
            version: self.at.index,
        };
        self.subscriptions.insert(key, created);
        Ok(ControlDone::SubscriptionCreated { id })
    }

    pub(super) fn update_subscription(
        &mut self,
        (topic, name): (&TopicName, &str),
        settings: &SubscriptionSettings,
        expected: Option<u64>,
        met: &mut Coverage,
    ) -> Verdict {
        self.check(topic, settings, met)?;
        let index = self.at.index;
        let Some(known) = self.subscriptions.get_mut(&(topic.clone(), name.to_owned())) else {
            let resource = format!("{}/subscriptions/{name}", topic.resource());
            return refuse(met, Met::SubscriptionUpdateUnknown, Refused::NotFound(resource));
        };
        if expected.is_some_and(|expected| expected != known.version) {
            return refuse(met, Met::SubscriptionUpdateOtherVersion, Refused::Conflict);
        }
        if settings.rules.kind != known.settings.rules.kind {
            return refuse(met, Met::SubscriptionUpdateOtherKind, Refused::Conflict);
        }
        met.met(match expected {
            Some(_) => Met::SubscriptionUpdatedAsExpected,
            None => Met::SubscriptionUpdated,
        });
        (known.settings, known.version) = (settings.clone(), index);
        Ok(ControlDone::Changed)
    }

    pub(super) fn delete_subscription(
        &mut self,
        (topic, name): (&TopicName, &str),
        expected: Option<u64>,
        met: &mut Coverage,
    ) -> Verdict {
        let key = (topic.clone(), name.to_owned());
        let Some(known) = self.subscriptions.get(&key) else {
            let resource = format!("{}/subscriptions/{name}", topic.resource());
            return refuse(met, Met::SubscriptionDeleteUnknown, Refused::NotFound(resource));
        };
        if expected.is_some_and(|expected| expected != known.version) {
            return refuse(met, Met::SubscriptionDeleteOtherVersion, Refused::Conflict);
        }
        met.met(match self.topics.get(topic).is_some_and(|topic| topic.deleting) {
            true => Met::SubscriptionDeletedWithTopic,
            false if expected.is_some() => Met::SubscriptionDeletedAsExpected,
            false => Met::SubscriptionDeleted,
        });
        self.subscriptions.remove(&key);
        self.ended.insert(key);
        Ok(ControlDone::Changed)
    }

    /// The topic is gone.
    pub(super) fn end_subscriptions_of(&mut self, topic: &TopicName, met: &mut Coverage) {
        let before = self.subscriptions.len();
        let ended = &mut self.ended;
        self.subscriptions.retain(|key, _| {
            let stays = key.0 != *topic;
            if !stays {
                ended.insert(key.clone());
            }
            stays
        });
        if self.subscriptions.len() < before {
            met.met(Met::FinishForgetsSubscriptions);
        }
    }
}
