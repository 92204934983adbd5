//! Which partitions there are, and making the subscription where it is missing.

use std::time::Duration;

use meridian_machine::control::{BeginAt, ControlChange};
use meridian_model::{GroupId, LogId, SubscriptionId, TopicName};
use meridian_proto::v1::{ErrorReason, Failure};

use super::Sources;
use crate::services::answers::of_control;
use crate::services::subscribing::selection::PARTITIONS_MAX;

/// How long a subscription may take to be created.
const CREATE_MAX: Duration = Duration::from_secs(10);

/// A partition that there is.
pub(super) struct Found {
    pub(super) topic: TopicName,
    pub(super) partition: u32,
    pub(super) group: GroupId,
    pub(super) log: LogId,
    pub(super) subscription: SubscriptionId,
}

impl Sources {
    /// Creates the subscription in topics that have none of that name, where the consumer says so.
    pub(super) async fn create_missing(&mut self) -> Result<(), Failure> {
        let (topics, name) = (&self.consumer.topics, &self.consumer.subscription);
        let control = &self.consumer.ways.routing.control;
        let looked = control.look(|machine| {
            let found = topics.of(machine)?;
            let missing = found.into_keys().filter(|topic| machine.subscription(topic, name).is_none());
            Some(missing.collect::<Vec<_>>())
        });
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        let missing = looked.ok_or_else(not_ready)?.ok_or_else(too_many_partitions)?;
        let Some((settings, begin)) = &self.consumer.create else { return Ok(()) };
        for topic in missing {
            // A topic that came later is read from its beginning: nothing of it is missed.
            let begin = if self.looked { BeginAt::Earliest } else { *begin };
            let change = ControlChange::CreateSubscription {
                topic,
                name: name.clone(),
                begin,
                settings: Box::new(settings.clone()),
                request_id: String::new(),
            };
            match control.change(change, CREATE_MAX).await.map_err(|error| of_control(&error)) {
                Ok(_) => {}
                Err(failure)
                    if matches!(failure.reason(), ErrorReason::AlreadyExists | ErrorReason::NotFound) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// The partitions that there are. What is meant by name must be there.
    pub(super) fn find(&self) -> Result<Vec<Found>, Failure> {
        let (topics, name) = (&self.consumer.topics, &self.consumer.subscription);
        let looked = self.consumer.ways.routing.control.look(|machine| {
            let known = topics.of(machine).ok_or_else(too_many_partitions)?;
            for topic in topics.names().iter().filter(|_| !self.looked) {
                if !known.contains_key(topic) {
                    let why = format!("topic {topic} does not exist");
                    return Err(Failure::new(ErrorReason::NotFound, why).with("field", "topics"));
                }
                if machine.subscription(topic, name).is_none() {
                    let why = format!(
                        "topic {topic} has no subscription {name:?}; create it, or ask with `create`"
                    );
                    return Err(Failure::new(ErrorReason::NotFound, why).with("field", "subscription"));
                }
            }
            let mut found = Vec::new();
            for topic in known.keys().filter_map(|topic| machine.topic(topic)) {
                let Some(subscription) = machine.subscription(&topic.name, name) else { continue };
                let wanted = |partition: &u32| self.consumer.partition.is_none_or(|only| only == *partition);
                let partitions = topic.partitions.iter().zip(0..);
                for (placement, partition) in partitions.filter(|(_, partition)| wanted(partition)) {
                    found.push(Found {
                        topic: topic.name.clone(),
                        partition,
                        group: placement.group,
                        log: placement.log,
                        subscription: subscription.id,
                    });
                }
            }
            Ok(found)
        });
        let not_ready = || Failure::new(ErrorReason::Unavailable, "this node does not know the cluster yet");
        looked.ok_or_else(not_ready)?
    }
}

fn too_many_partitions() -> Failure {
    let why = format!("the topics have more than {PARTITIONS_MAX} partitions together; name fewer");
    Failure::new(ErrorReason::Limit, why).with("field", "topics")
}
