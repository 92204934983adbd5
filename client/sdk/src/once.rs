//! One publish in one call, for simple use.

use futures::FutureExt;
use meridian_model::{Message, MessageId, Offset, hash, limits};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::{PlainMessage, PlainMessages, PublishRequest};

use crate::call::{Call, Repeat};
use crate::metadata::log_id;
use crate::{Client, Error};

/// Where the messages of one [`Client::publish_once`] are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedOnce {
    /// The partition.
    pub partition: u32,
    /// The id of the first message; the others follow densely.
    pub first: MessageId,
    /// How many messages.
    pub count: u32,
}

impl Client {
    /// Publishes messages without a producer's identity, all to one partition: the given one, or that of the
    /// first message's key. Nothing detects a repetition, so after an unknown outcome this does not try again
    /// but ends as [`Error::Indeterminate`]. For exactly once, and for speed, use a producer.
    pub async fn publish_once(
        &self,
        topic: &str,
        partition: Option<u32>,
        messages: Vec<Message>,
    ) -> Result<PublishedOnce, Error> {
        let first = messages.first().ok_or_else(|| Error::invalid("messages", "there are none"))?;
        if messages.len() > limits::BATCH_MESSAGES_MAX as usize {
            return Err(Error::invalid("messages", format!("the most is {}", limits::BATCH_MESSAGES_MAX)));
        }
        for message in &messages {
            message.check().map_err(|error| Error::invalid("messages", error))?;
        }
        let route = self.shared.route(topic).await?;
        let by_key = first.key.as_ref().map(|key| hash::partition_of(key, route.partition_count()));
        let partition = partition.or(by_key);
        let leader = partition.and_then(|partition| route.leader_address(partition).map(String::from));
        let request = PublishRequest {
            topic: topic.into(),
            partition,
            payload: Some(Payload::Messages(PlainMessages {
                messages: messages.into_iter().map(plain).collect(),
            })),
            opened_at_ms: 0,
            accept_redirect: false,
        };
        let first = leader.filter(|address| !self.shared.channels.is_suspect(address));
        let call = Call { repeat: Repeat::Unsafe, ..self.shared.usual("publish", first) };
        let response = self.shared.call_as(call, |channel| {
            let request = request.clone();
            async move { PublishServiceClient::new(channel).publish(request).await }.boxed()
        });
        let ack =
            response.await?.ack.ok_or_else(|| Error::nonsense("a publish was answered without an ack"))?;
        let first = MessageId { log: log_id(&ack.log_id)?, offset: Offset(ack.base_offset) };
        Ok(PublishedOnce { partition: ack.partition, first, count: ack.count })
    }
}

fn plain(message: Message) -> PlainMessage {
    PlainMessage {
        key: message.key,
        properties: message.properties.into_iter().collect(),
        body: message.body,
    }
}
