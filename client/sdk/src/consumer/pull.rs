//! Consuming by single calls, for those who keep no stream: shell scripts, functions that are started for a message.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use meridian_model::{Offset, ProducerId, UnixMs, limits};
use meridian_proto::v1::subscribe_service_client::SubscribeServiceClient;
use meridian_proto::v1::{AcknowledgeRequest, Failure, ModifyDeadlineRequest, PullRequest, PulledMessage};

use crate::call::{Call, Repeat};
use crate::metadata::log_id;
use crate::{Client, Error};

/// A message that was pulled. It is this client's until its lease ends, whoever knows its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// What acks and refuses it.
    pub ack_id: Bytes,
    /// The partition.
    pub partition: u32,
    /// Its position.
    pub offset: Offset,
    /// When the leader appended it.
    pub appended_at: UnixMs,
    /// Who sent it; nil: nobody in particular.
    pub producer: ProducerId,
    /// Its key.
    pub key: Option<Bytes>,
    /// Small named values.
    pub properties: Vec<(String, Bytes)>,
    /// What the application sent.
    pub body: Bytes,
    /// From 1: one more than have failed.
    pub attempt: u32,
    /// When its lease ends, by the node's clock.
    pub lease_until: UnixMs,
}

impl Client {
    /// Some messages of a subscription that exists: what is there, or what comes within `wait` (at most 30 s).
    /// `partition`: only of this one. What is not acked before its lease ends is delivered again.
    ///
    /// Errors: `NOT_FOUND` for an unknown topic or subscription; [`Error::Indeterminate`] where the answer is lost:
    /// what was in it is delivered again when its leases end.
    pub async fn pull(
        &self,
        topic: &str,
        subscription: &str,
        messages_max: u32,
        wait: Duration,
        partition: Option<u32>,
    ) -> Result<Vec<Pulled>, Error> {
        let wait_ms_max = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let (topic, subscription) = (topic.to_string(), subscription.to_string());
        let request = PullRequest { topic, subscription, messages_max, wait_ms_max, partition };
        let usual = self.shared.usual("pull", None);
        let (patience, timeout) = (usual.patience + wait, usual.timeout + wait);
        let call = Call { patience, timeout, repeat: Repeat::Unsafe, ..usual };
        let response = self.shared.call_as(call, |channel| {
            let request = request.clone();
            let mut client =
                SubscribeServiceClient::new(channel).max_decoding_message_size(limits::RPC_BYTES_MAX);
            async move { client.pull(request).await }.boxed()
        });
        response.await?.messages.into_iter().map(pulled).collect()
    }

    /// Acks what was pulled, and returns when that is durable: for each id, in order, whether it is.
    pub async fn acknowledge(
        &self,
        topic: &str,
        subscription: &str,
        ack_ids: Vec<Bytes>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let count = ack_ids.len();
        let (topic, subscription) = (topic.to_string(), subscription.to_string());
        let request = AcknowledgeRequest { topic, subscription, ack_ids };
        let response = self.shared.call("acknowledge", |channel| {
            let request = request.clone();
            async move { SubscribeServiceClient::new(channel).acknowledge(request).await }.boxed()
        });
        Ok(outcomes(count, response.await?.refused))
    }

    /// Refuses what was pulled: it is delivered again after the backoff, and an attempt has failed. For each id, in
    /// order, whether that is so. Not repeated when the answer is lost: then it is [`Error::Indeterminate`].
    pub async fn refuse(
        &self,
        topic: &str,
        subscription: &str,
        ack_ids: Vec<Bytes>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.modify_deadline("refuse", topic, subscription, ack_ids, true).await
    }

    /// Begins the leases of what was pulled anew. For each id, in order, whether that is so.
    pub async fn extend(
        &self,
        topic: &str,
        subscription: &str,
        ack_ids: Vec<Bytes>,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        self.modify_deadline("extend", topic, subscription, ack_ids, false).await
    }

    async fn modify_deadline(
        &self,
        what: &str,
        topic: &str,
        subscription: &str,
        ack_ids: Vec<Bytes>,
        nack: bool,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let count = ack_ids.len();
        let (topic, subscription) = (topic.to_string(), subscription.to_string());
        let request = ModifyDeadlineRequest { topic, subscription, ack_ids, nack };
        let repeat = if nack { Repeat::Unsafe } else { Repeat::Safe };
        let call = Call { repeat, ..self.shared.usual(what, None) };
        let response = self.shared.call_as(call, |channel| {
            let request = request.clone();
            async move { SubscribeServiceClient::new(channel).modify_deadline(request).await }.boxed()
        });
        Ok(outcomes(count, response.await?.refused))
    }
}

fn outcomes(count: usize, mut refused: std::collections::BTreeMap<u32, Failure>) -> Vec<Result<(), Error>> {
    let places = 0..u32::try_from(count).unwrap_or(u32::MAX);
    places.map(|place| refused.remove(&place).map_or(Ok(()), |failure| Err(failure.into()))).collect()
}

fn pulled(pulled: PulledMessage) -> Result<Pulled, Error> {
    let PulledMessage { ack_id, partition, message } = pulled;
    let delivered = message.ok_or_else(|| Error::nonsense("a pulled message without a message"))?;
    let message =
        delivered.message.ok_or_else(|| Error::nonsense("a delivered message without a message"))?;
    let mut properties: Vec<_> = message.properties.into_iter().collect();
    properties.sort_unstable();
    Ok(Pulled {
        ack_id,
        partition,
        offset: Offset(message.offset),
        appended_at: UnixMs(message.appended_at_ms),
        producer: ProducerId(log_id(&message.producer_id).unwrap_or_default().0),
        key: message.key,
        properties,
        body: message.body,
        attempt: delivered.attempt,
        lease_until: UnixMs(delivered.lease_until_ms),
    })
}
