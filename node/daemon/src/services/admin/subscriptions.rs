//! `SubscriptionService`: subscriptions created, shown, changed, moved, deleted.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use meridian_machine::control::{BeginAt, ControlChange, ControlDone, Subscription, SubscriptionSettings};
use meridian_model::{SubscriptionId, TopicName};
use meridian_proto::admin as pb;
use meridian_proto::admin::subscription_service_server::SubscriptionService;
use meridian_proto::internal::move_subscription_request::To;
use meridian_proto::requests::{self, topic_name};
use meridian_proto::v1::subscription_start::At;
use meridian_proto::v1::{self, ErrorReason, Failure};
use meridian_proto::{subscription as wire, v1::SubscriptionStart};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::topics::missing;
use super::{Admin, page};
use crate::services::standing::{Standings, begin_at};

/// How long partitions may take to follow a change before the call says "pending".
const FOLLOW_MAX: Duration = Duration::from_secs(10);
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Partitions that are asked at the same time.
const AT_ONCE: usize = 32;

/// Serves operators.
#[derive(Clone)]
pub(crate) struct Subscriptions {
    pub(crate) admin: Admin,
    pub(crate) standings: Arc<Standings>,
}

/// A subscription that there is.
struct Known {
    subscription: Subscription,
    /// Partitions of its topic.
    partitions: u32,
    control_index: u64,
}

impl Subscriptions {
    async fn create(
        &self,
        request: pb::CreateSubscriptionRequest,
    ) -> Result<pb::CreateSubscriptionResponse, Failure> {
        let (topic, name) = (topic_name(&request.topic)?, request.subscription);
        let (begin, settings) = (begin_at(request.start), settings(request.settings)?);
        if let BeginAt::Offset(_) = begin {
            let partitions =
                self.admin.look(|machine| machine.topic(&topic).map(|topic| topic.partitions.len()))?;
            one_partition("start", partitions.unwrap_or(1))?;
        }
        let change = ControlChange::CreateSubscription {
            topic: topic.clone(),
            name: name.clone(),
            begin,
            settings: Box::new(settings),
            request_id: request.request_id,
        };
        let changed = self.admin.change(change).await?;
        let ControlDone::SubscriptionCreated { id } = changed.done else {
            return Err(Failure::new(ErrorReason::Internal, "the control group answered something else"));
        };
        let follows = |standing: Option<&pb::SubscriptionStanding>| standing.is_some();
        let pending_partitions = self.await_partitions(&topic, Some((&name, id)), id, follows).await;
        let subscription = Some(self.changed(&topic, &name, id)?);
        Ok(pb::CreateSubscriptionResponse { subscription, control_index: changed.index, pending_partitions })
    }

    async fn describe(
        &self,
        request: pb::GetSubscriptionRequest,
    ) -> Result<pb::GetSubscriptionResponse, Failure> {
        let topic = topic_name(&request.topic)?;
        let known = self.known(&topic, &request.subscription).await?;
        let id = known.subscription.id;
        let asked = futures::stream::iter(0..known.partitions).map(|partition| {
            let topic = &topic;
            async move {
                let (standing, failure) = match self.standings.of(topic, partition, id).await {
                    Ok(standing) => (standing, None),
                    Err(failure) => (None, Some(failure)),
                };
                pb::SubscriptionPartition { partition, standing, failure }
            }
        });
        Ok(pb::GetSubscriptionResponse {
            partitions: asked.buffered(AT_ONCE).collect().await,
            subscription: Some(present(&known.subscription)),
            control_index: known.control_index,
        })
    }

    async fn list(
        &self,
        request: pb::ListSubscriptionsRequest,
    ) -> Result<pb::ListSubscriptionsResponse, Failure> {
        let topic = topic_name(&request.topic)?;
        let looking = self.admin.look_now(|machine| {
            machine.topic(&topic).map(|_| machine.subscriptions_of(&topic).cloned().collect::<Vec<_>>())
        });
        let (found, control_index) = looking.await?;
        let found = found.ok_or_else(|| missing(&topic).with("control_index", control_index))?;
        let names = found.iter().map(|subscription| subscription.name.clone()).collect();
        let (names, next_page_token) = page(names, request.page_size, &request.page_token);
        let subscriptions = found.iter().filter(|found| names.contains(&found.name)).map(present).collect();
        Ok(pb::ListSubscriptionsResponse { subscriptions, next_page_token, control_index })
    }

    async fn update(
        &self,
        request: pb::UpdateSubscriptionRequest,
    ) -> Result<pb::UpdateSubscriptionResponse, Failure> {
        let (topic, name) = (topic_name(&request.topic)?, request.subscription);
        let id = self.id_here(&topic, &name)?;
        let change = ControlChange::UpdateSubscription {
            topic: topic.clone(),
            name: name.clone(),
            settings: Box::new(settings(request.settings)?),
            expected_version: requests::expected_version(&request.etag)?,
            request_id: request.request_id,
        };
        let index = self.admin.change(change).await?.index;
        let id = id.or(self.id_here(&topic, &name)?).unwrap_or_default();
        let follows = |standing: Option<&pb::SubscriptionStanding>| {
            standing.is_some_and(|known| known.control_index >= index)
        };
        let pending_partitions = self.await_partitions(&topic, Some((&name, id)), id, follows).await;
        let subscription = Some(self.changed(&topic, &name, id)?);
        Ok(pb::UpdateSubscriptionResponse { subscription, control_index: index, pending_partitions })
    }

    async fn delete(
        &self,
        request: pb::DeleteSubscriptionRequest,
    ) -> Result<pb::DeleteSubscriptionResponse, Failure> {
        let (topic, name) = (topic_name(&request.topic)?, request.subscription);
        let id = self.id_here(&topic, &name)?;
        let change = ControlChange::DeleteSubscription {
            topic: topic.clone(),
            name,
            expected_version: requests::expected_version(&request.etag)?,
            request_id: request.request_id,
        };
        let control_index = self.admin.change(change).await?.index;
        let pending_partitions = match id {
            // An id that was created after this deletion is not the one that was deleted.
            Some(id) if id.0 < control_index => {
                self.await_partitions(&topic, None, id, |known| known.is_none()).await
            }
            _ => Vec::new(),
        };
        Ok(pb::DeleteSubscriptionResponse { control_index, pending_partitions })
    }

    /// Moves a subscription in one partition, or in all.
    async fn move_in(
        &self,
        (topic, name): (&str, &str),
        partition: Option<u32>,
        to: &To,
    ) -> Result<Vec<pb::MovedPartition>, Failure> {
        let topic = topic_name(topic)?;
        let Known { subscription, partitions, .. } = self.known(&topic, name).await?;
        let which = match partition {
            Some(partition) if partition >= partitions => {
                let why = format!("topic {topic} has no partition {partition}, it has {partitions}");
                return Err(Failure::new(ErrorReason::NotFound, why).with("field", "partition"));
            }
            Some(partition) => partition..partition + 1,
            None => 0..partitions,
        };
        if let To::Start(SubscriptionStart { at: Some(At::Offset(_)) }) = to {
            one_partition("partition", which.len())?;
        }
        let moves = futures::stream::iter(which).map(|partition| {
            let topic = &topic;
            async move { self.standings.move_to(topic, partition, subscription.id, to).await }
        });
        let moved: Vec<Result<_, Failure>> = moves.buffered(AT_ONCE).collect().await;
        moved.into_iter().collect()
    }

    /// Waits until each partition follows, as long as the subscription is the one that is meant; returns those that do
    /// not yet.
    async fn await_partitions(
        &self,
        topic: &TopicName,
        meant: Option<(&str, SubscriptionId)>,
        id: SubscriptionId,
        follows: impl Fn(Option<&pb::SubscriptionStanding>) -> bool,
    ) -> Vec<u32> {
        let (deadline, mut pause) = (Instant::now() + FOLLOW_MAX, LOOK_FIRST);
        let mut pending: Option<Vec<u32>> = None;
        loop {
            let there = self.admin.look(|machine| {
                let is_meant =
                    |(name, id)| machine.subscription(topic, name).is_some_and(|known| known.id == id);
                let there =
                    machine.topic(topic).filter(|topic| !topic.deleting && meant.is_none_or(is_meant));
                there.map(|topic| topic.partitions.len() as u32)
            });
            let Ok(Some(partitions)) = there else { return Vec::new() };
            let asked = futures::stream::iter(pending.unwrap_or_else(|| (0..partitions).collect()));
            let asked = asked.map(|partition| async move {
                (partition, self.standings.of_now(topic, partition, id).await)
            });
            let asked: Vec<_> = asked.buffered(AT_ONCE).collect().await;
            let behind =
                asked.into_iter().filter(|(_, told)| !told.as_ref().is_ok_and(|told| follows(told.as_ref())));
            let behind: Vec<u32> = behind.map(|(partition, _)| partition).collect();
            if behind.is_empty() || Instant::now() >= deadline {
                return behind;
            }
            pending = Some(behind);
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LOOK_EVERY);
        }
    }

    /// A subscription, as it is after everything acknowledged before.
    async fn known(&self, topic: &TopicName, name: &str) -> Result<Known, Failure> {
        let looking = self.admin.look_now(|machine| {
            let partitions = machine.topic(topic).map(|topic| topic.partitions.len() as u32);
            partitions.map(|partitions| (partitions, machine.subscription(topic, name).cloned()))
        });
        let (found, control_index) = looking.await?;
        let (partitions, found) = found.ok_or_else(|| missing(topic).with("control_index", control_index))?;
        let subscription = found.ok_or_else(|| {
            let why = format!("topic {topic} has no subscription {name:?}");
            let failure = Failure::new(ErrorReason::NotFound, why).with("field", "subscription");
            failure.with("control_index", control_index)
        })?;
        Ok(Known { subscription, partitions, control_index })
    }

    /// The id of the present subscription of this name, as far as this node knows.
    fn id_here(&self, topic: &TopicName, name: &str) -> Result<Option<SubscriptionId>, Failure> {
        self.admin.look(|machine| machine.subscription(topic, name).map(|known| known.id))
    }

    /// A subscription that was just changed. Somebody else may have deleted it since: the change was made all the same.
    fn changed(
        &self,
        topic: &TopicName,
        name: &str,
        id: SubscriptionId,
    ) -> Result<pb::Subscription, Failure> {
        let found = self.admin.look(|machine| machine.subscription(topic, name).cloned())?;
        let (topic, subscription) = (topic.resource(), name.to_owned());
        let gone = || pb::Subscription { topic, subscription, id: id.0, ..Default::default() };
        Ok(found.filter(|found| found.id == id).as_ref().map_or_else(gone, present))
    }
}

fn one_partition(field: &str, partitions: usize) -> Result<(), Failure> {
    match partitions {
        0 | 1 => Ok(()),
        more => {
            let why = format!(
                "an offset means a place in one partition, and the topic has {more}: name one, or a time"
            );
            Err(Failure::invalid(field, why))
        }
    }
}

/// From the wire.
pub(crate) fn settings(wire: Option<v1::SubscriptionSettings>) -> Result<SubscriptionSettings, Failure> {
    let wire = wire.unwrap_or_default();
    let rules = wire::rules(&wire)?;
    let topic = |field: &str, name: Option<String>| match name.filter(|name| !name.is_empty()) {
        None => Ok(None),
        Some(name) => topic_name(&name).map(Some).map_err(|why| Failure::invalid(field, why.message)),
    };
    Ok(SubscriptionSettings {
        rules,
        dead_letter: topic("dead_letter_topic", wire.dead_letter_topic)?,
        retry: topic("retry_topic", wire.retry_topic)?,
        durable: wire.durable.unwrap_or(true),
        idle_ms_max: wire.idle_ms_max,
    })
}

fn present(subscription: &Subscription) -> pb::Subscription {
    let settings = &subscription.settings;
    let at = match subscription.begin {
        BeginAt::Earliest => At::Earliest(true),
        BeginAt::Latest => At::Latest(true),
        BeginAt::Time(time) => At::TimeMs(time.0),
        BeginAt::Offset(offset) => At::Offset(offset.0),
    };
    pb::Subscription {
        topic: subscription.topic.resource(),
        subscription: subscription.name.clone(),
        id: subscription.id.0,
        settings: Some(v1::SubscriptionSettings {
            dead_letter_topic: settings.dead_letter.as_ref().map(TopicName::resource),
            retry_topic: settings.retry.as_ref().map(TopicName::resource),
            durable: Some(settings.durable),
            idle_ms_max: settings.idle_ms_max,
            ..wire::rules_to_wire(&settings.rules)
        }),
        start: Some(SubscriptionStart { at: Some(at) }),
        etag: subscription.version.to_string(),
    }
}

#[tonic::async_trait]
impl SubscriptionService for Subscriptions {
    async fn create_subscription(
        &self,
        request: Request<pb::CreateSubscriptionRequest>,
    ) -> Result<Response<pb::CreateSubscriptionResponse>, Status> {
        Ok(Response::new(self.create(request.into_inner()).await?))
    }

    async fn get_subscription(
        &self,
        request: Request<pb::GetSubscriptionRequest>,
    ) -> Result<Response<pb::GetSubscriptionResponse>, Status> {
        Ok(Response::new(self.describe(request.into_inner()).await?))
    }

    async fn list_subscriptions(
        &self,
        request: Request<pb::ListSubscriptionsRequest>,
    ) -> Result<Response<pb::ListSubscriptionsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await?))
    }

    async fn update_subscription(
        &self,
        request: Request<pb::UpdateSubscriptionRequest>,
    ) -> Result<Response<pb::UpdateSubscriptionResponse>, Status> {
        Ok(Response::new(self.update(request.into_inner()).await?))
    }

    async fn delete_subscription(
        &self,
        request: Request<pb::DeleteSubscriptionRequest>,
    ) -> Result<Response<pb::DeleteSubscriptionResponse>, Status> {
        Ok(Response::new(self.delete(request.into_inner()).await?))
    }

    async fn seek_subscription(
        &self,
        request: Request<pb::SeekSubscriptionRequest>,
    ) -> Result<Response<pb::SeekSubscriptionResponse>, Status> {
        let pb::SeekSubscriptionRequest { topic, subscription, partition, to } = request.into_inner();
        let unsaid =
            || Failure::invalid("to", "say where: earliest, latest, a time, or an offset of one partition");
        let to = to.filter(|to| to.at.is_some()).ok_or_else(unsaid)?;
        let partitions = self.move_in((&topic, &subscription), partition, &To::Start(to)).await?;
        Ok(Response::new(pb::SeekSubscriptionResponse { partitions }))
    }

    async fn skip_messages(
        &self,
        request: Request<pb::SkipMessagesRequest>,
    ) -> Result<Response<pb::SkipMessagesResponse>, Status> {
        let pb::SkipMessagesRequest { topic, subscription, partition, messages } = request.into_inner();
        if messages == 0 {
            return Err(Failure::invalid("messages", "0 skips nothing; say how many").into());
        }
        let to = To::SkipMessages(messages);
        let moved = self.move_in((&topic, &subscription), Some(partition), &to).await?;
        Ok(Response::new(pb::SkipMessagesResponse { partition: moved.into_iter().next() }))
    }

    async fn clear_backlog(
        &self,
        request: Request<pb::ClearBacklogRequest>,
    ) -> Result<Response<pb::ClearBacklogResponse>, Status> {
        let pb::ClearBacklogRequest { topic, subscription, partition } = request.into_inner();
        let to = To::Start(SubscriptionStart { at: Some(At::Latest(true)) });
        let partitions = self.move_in((&topic, &subscription), partition, &to).await?;
        Ok(Response::new(pb::ClearBacklogResponse { partitions }))
    }
}
