//! A producer that chooses every byte of what it sends, and any node to send it to.

use std::time::Duration;

use bytes::Bytes;
use meridian_model::batch::FLAG_NAMED_PRODUCER;
use meridian_model::{BatchBuilder, Codec, Message, ProducerId};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::{Failure, OpenProducerRequest, PublishAck, PublishRequest};
use tonic::transport::{Channel, Endpoint};

/// Longer than any call may take: a call that takes longer hangs.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// How often a batch is tried before a story fails, and the pause between two attempts.
const ATTEMPTS: usize = 1_000;
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// A channel to one node.
pub(crate) fn channel(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a good address");
    endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy()
}

/// A call that ends in time, with its outcome as Meridian tells it.
pub(crate) async fn bounded<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Failure> {
    let answered = tokio::time::timeout(HANG, call).await.expect("no call hangs");
    answered.map(tonic::Response::into_inner).map_err(|status| Failure::from_status(&status))
}

/// The body of message `number`: anybody can tell it from any other.
pub(crate) fn body(number: u64, bytes: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut body = number.to_be_bytes().to_vec();
    while body.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_le_bytes());
    }
    body.truncate(bytes.max(8));
    body.into()
}

/// A producer of one partition.
#[derive(Clone)]
pub(crate) struct Sender {
    topic: String,
    pub(crate) producer: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) opened_at_ms: u64,
    named: bool,
    /// The next sequence.
    pub(crate) next: u64,
}

impl Sender {
    /// Opens a producer at a node. An empty name: it has none.
    pub(crate) async fn open(address: &str, topic: &str, name: &str) -> Result<Self, Failure> {
        let mut client = PublishServiceClient::new(channel(address));
        let request =
            OpenProducerRequest { topic: topic.into(), name: name.into(), request_id: String::new() };
        let opened = bounded(client.open_producer(request)).await?;
        let producer = ProducerId(opened.producer_id[..].try_into().expect("16 bytes"));
        let (epoch, opened_at_ms) = (opened.epoch, opened.opened_at_ms);
        Ok(Self { topic: topic.into(), producer, epoch, opened_at_ms, named: !name.is_empty(), next: 0 })
    }

    /// A batch at any place of the sequence, of messages whose numbers are their sequences.
    pub(crate) fn batch_at(&self, first: u64, count: u64, bytes: usize) -> Bytes {
        let flags = if self.named { FLAG_NAMED_PRODUCER } else { 0 };
        let mut builder =
            BatchBuilder::new(Codec::None).producer(self.producer, self.epoch, first).flags(flags);
        for number in first..first + count {
            builder.push(&Message::new(body(number, bytes)));
        }
        builder.build().expect("a batch").into_bytes()
    }

    /// The next batch of the sequence.
    pub(crate) fn batch(&mut self, count: u64, bytes: usize) -> Bytes {
        let batch = self.batch_at(self.next, count, bytes);
        self.next += count;
        batch
    }

    /// A request to publish a batch.
    pub(crate) fn request(&self, batch: Bytes) -> PublishRequest {
        PublishRequest {
            topic: self.topic.clone(),
            partition: Some(0),
            payload: Some(Payload::Batch(batch)),
            opened_at_ms: self.opened_at_ms,
            accept_redirect: false,
        }
    }

    /// What finally becomes of a batch for any partition: while the region says "try again" it is tried again.
    pub(crate) async fn publish_to(
        &self,
        address: &str,
        partition: u32,
        batch: Bytes,
    ) -> Result<PublishAck, Failure> {
        for _ in 0..ATTEMPTS {
            let request = PublishRequest { partition: Some(partition), ..self.request(batch.clone()) };
            match publish(address, request).await {
                Err(failure) if failure.retryable => tokio::time::sleep(RETRY_AFTER).await,
                settled => return settled,
            }
        }
        panic!("nothing became of a batch in {ATTEMPTS} attempts");
    }

    /// Publishes a batch at a node.
    pub(crate) async fn publish(&self, address: &str, batch: Bytes) -> Result<PublishAck, Failure> {
        publish(address, self.request(batch)).await
    }

    /// Publishes a batch until it is stored: for stories in which nodes come and go.
    pub(crate) async fn publish_surely(&self, addresses: &[String], batch: Bytes) -> PublishAck {
        for address in addresses.iter().cycle().take(ATTEMPTS) {
            match self.publish(address, batch.clone()).await {
                Ok(ack) => return ack,
                Err(failure) => assert!(failure.retryable, "{failure:?}"),
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        panic!("a batch was not stored in {ATTEMPTS} attempts");
    }
}

/// Publishes at a node.
pub(crate) async fn publish(address: &str, request: PublishRequest) -> Result<PublishAck, Failure> {
    let mut client = PublishServiceClient::new(channel(address)).max_encoding_message_size(16 << 20);
    let response = bounded(client.publish(request)).await?;
    Ok(response.ack.expect("an ack"))
}
