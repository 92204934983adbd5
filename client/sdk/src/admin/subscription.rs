//! Subscriptions: create, look, list, change, seek, skip, delete.

use futures::FutureExt;
use futures::future::BoxFuture;
use meridian_model::limits;
use meridian_proto::admin as wire;
use meridian_proto::admin::subscription_service_client::SubscriptionServiceClient;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::subscription_types::{
    MovedPartition, NewSubscription, StandingInfo, SubscriptionCreated, SubscriptionDeleted,
    SubscriptionInfo, SubscriptionSettings, SubscriptionStandings, settings_to_wire, start_to_wire,
};
use super::{Admin, PAGE_ROWS};
use crate::call::{Call, Repeat};
use crate::{Error, Start};

type Client = SubscriptionServiceClient<Channel>;

impl Admin {
    /// Creates a subscription and waits, bounded, until its topic's partitions know it.
    pub async fn create_subscription(&self, new: NewSubscription) -> Result<SubscriptionCreated, Error> {
        let request = wire::CreateSubscriptionRequest {
            topic: new.topic,
            subscription: new.name,
            settings: Some(settings_to_wire(&new.settings)),
            start: Some(start_to_wire(new.start)),
            request_id: self.request_id(),
        };
        let response = self.change_one("create subscription", request, |mut client, request| {
            async move { client.create_subscription(request).await }.boxed()
        });
        let response = response.await?;
        Ok(SubscriptionCreated {
            subscription: SubscriptionInfo::from_wire(response.subscription)?,
            control_index: response.control_index,
            pending_partitions: response.pending_partitions,
        })
    }

    /// A subscription's settings, and how it stands in each partition.
    pub async fn get_subscription(&self, topic: &str, name: &str) -> Result<SubscriptionStandings, Error> {
        let request = wire::GetSubscriptionRequest { topic: topic.into(), subscription: name.into() };
        let call = self.shared.change("describe subscription", |channel| {
            let request = request.clone();
            async move { service(channel).get_subscription(request).await }.boxed()
        });
        let response = call.await?;
        Ok(SubscriptionStandings {
            subscription: SubscriptionInfo::from_wire(response.subscription)?,
            partitions: response.partitions.into_iter().map(StandingInfo::from_wire).collect(),
        })
    }

    /// All subscriptions of a topic.
    pub async fn list_subscriptions(&self, topic: &str) -> Result<Vec<SubscriptionInfo>, Error> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let topic = topic.to_string();
            let request = wire::ListSubscriptionsRequest { topic, page_size: PAGE_ROWS, page_token };
            let call = self.shared.call("list subscriptions", |channel| {
                let request = request.clone();
                async move { service(channel).list_subscriptions(request).await }.boxed()
            });
            let page = call.await?;
            for subscription in page.subscriptions {
                found.push(SubscriptionInfo::from_wire(Some(subscription))?);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Replaces a subscription's settings; the kind must stay. `etag`: only if it is still as it was read; `None`:
    /// whatever it is.
    pub async fn update_subscription(
        &self,
        topic: &str,
        name: &str,
        settings: &SubscriptionSettings,
        etag: Option<&str>,
    ) -> Result<SubscriptionCreated, Error> {
        let request = wire::UpdateSubscriptionRequest {
            topic: topic.into(),
            subscription: name.into(),
            settings: Some(settings_to_wire(settings)),
            etag: etag.unwrap_or_default().into(),
            request_id: self.request_id(),
        };
        let response = self.change_one("update subscription", request, |mut client, request| {
            async move { client.update_subscription(request).await }.boxed()
        });
        let response = response.await?;
        Ok(SubscriptionCreated {
            subscription: SubscriptionInfo::from_wire(response.subscription)?,
            control_index: response.control_index,
            pending_partitions: response.pending_partitions,
        })
    }

    /// Deletes a subscription with all that was acked. `etag` as with [`Admin::update_subscription`].
    pub async fn delete_subscription(
        &self,
        topic: &str,
        name: &str,
        etag: Option<&str>,
    ) -> Result<SubscriptionDeleted, Error> {
        let request = wire::DeleteSubscriptionRequest {
            topic: topic.into(),
            subscription: name.into(),
            etag: etag.unwrap_or_default().into(),
            request_id: self.request_id(),
        };
        let response = self.change_one("delete subscription", request, |mut client, request| {
            async move { client.delete_subscription(request).await }.boxed()
        });
        let response = response.await?;
        let (control_index, pending_partitions) = (response.control_index, response.pending_partitions);
        Ok(SubscriptionDeleted { control_index, pending_partitions })
    }

    /// Lets a subscription go on elsewhere, in one partition or in all: everything from there on is delivered again.
    /// Not repeated where the outcome is unknown: then it ends as [`Error::Indeterminate`].
    pub async fn seek_subscription(
        &self,
        topic: &str,
        name: &str,
        partition: Option<u32>,
        to: Start,
    ) -> Result<Vec<MovedPartition>, Error> {
        let request = wire::SeekSubscriptionRequest {
            topic: topic.into(),
            subscription: name.into(),
            partition,
            to: Some(start_to_wire(to)),
        };
        let response = self.change_once("seek subscription", request, |mut client, request| {
            async move { client.seek_subscription(request).await }.boxed()
        });
        Ok(response.await?.partitions.into_iter().map(MovedPartition::from_wire).collect())
    }

    /// Acks the next messages of a partition unseen. Not repeated where the outcome is unknown.
    pub async fn skip_messages(
        &self,
        topic: &str,
        name: &str,
        partition: u32,
        messages: u64,
    ) -> Result<MovedPartition, Error> {
        let (topic, subscription) = (topic.into(), name.into());
        let request = wire::SkipMessagesRequest { topic, subscription, partition, messages };
        let response = self.change_once("skip messages", request, |mut client, request| {
            async move { client.skip_messages(request).await }.boxed()
        });
        let moved = response.await?.partition;
        moved.map(MovedPartition::from_wire).ok_or_else(|| Error::nonsense("an answer lacks its partition"))
    }

    /// Lets a subscription go on behind the newest message, in one partition or in all. Not repeated where the outcome
    /// is unknown.
    pub async fn clear_backlog(
        &self,
        topic: &str,
        name: &str,
        partition: Option<u32>,
    ) -> Result<Vec<MovedPartition>, Error> {
        let (topic, subscription) = (topic.into(), name.into());
        let request = wire::ClearBacklogRequest { topic, subscription, partition };
        let response = self.change_once("clear backlog", request, |mut client, request| {
            async move { client.clear_backlog(request).await }.boxed()
        });
        Ok(response.await?.partitions.into_iter().map(MovedPartition::from_wire).collect())
    }

    /// A change under one request id.
    async fn change_one<R: Clone, T>(
        &self,
        what: &str,
        request: R,
        call: impl Fn(Client, R) -> BoxFuture<'static, Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        self.shared.change(what, |channel| call(service(channel), request.clone())).await
    }

    /// A change that has no request id: done twice it would not be the same.
    async fn change_once<R: Clone, T>(
        &self,
        what: &str,
        request: R,
        call: impl Fn(Client, R) -> BoxFuture<'static, Result<Response<T>, Status>>,
    ) -> Result<T, Error> {
        let usual = self.shared.usual(what, None);
        let patience = usual.patience.max(usual.timeout / 2);
        let once = Call { repeat: Repeat::Unsafe, patience, ..usual };
        self.shared.call_as(once, |channel| call(service(channel), request.clone())).await
    }
}

fn service(channel: Channel) -> Client {
    SubscriptionServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX)
}
