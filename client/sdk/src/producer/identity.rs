//! Who a producer is to the cluster, and how it becomes somebody new.

use std::sync::Arc;

use futures::FutureExt;
use meridian_model::ProducerId;
use meridian_proto::v1::OpenProducerRequest;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use tokio::sync::Mutex;

use crate::Error;
use crate::client::Shared;

/// What the cluster knows a producer by. Sequences count per identity and partition, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer: ProducerId,
    pub(super) epoch: u32,
    /// The token that goes along with sequence 0.
    pub(super) opened_at_ms: u64,
    pub(super) named: bool,
}

/// The present identity of a producer. Partitions take it over when they begin, and when theirs broke.
pub(super) struct Identities {
    shared: Arc<Shared>,
    topic: String,
    name: Option<String>,
    current: Mutex<Identity>,
}

impl Identities {
    /// Opens the producer for the first time.
    pub(super) async fn open(
        shared: Arc<Shared>,
        topic: String,
        name: Option<String>,
    ) -> Result<Self, Error> {
        let first = open(&shared, &topic, name.as_deref()).await?;
        Ok(Self { shared, topic, name, current: Mutex::new(first) })
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) async fn current(&self) -> Identity {
        *self.current.lock().await
    }

    /// An identity that is not `broken`: one that another partition opened meanwhile, or a new one. A named
    /// producer keeps its name and gets the next epoch, which fences the broken one everywhere.
    pub(super) async fn renew(&self, broken: Identity) -> Result<Identity, Error> {
        let mut current = self.current.lock().await;
        if *current == broken {
            *current = open(&self.shared, &self.topic, self.name.as_deref()).await?;
        }
        Ok(*current)
    }
}

async fn open(shared: &Shared, topic: &str, name: Option<&str>) -> Result<Identity, Error> {
    let request = OpenProducerRequest {
        topic: topic.to_string(),
        name: name.unwrap_or_default().to_string(),
        request_id: shared.random.request_id(),
    };
    let call = shared.change("open producer", |channel| {
        let request = request.clone();
        async move { PublishServiceClient::new(channel).open_producer(request).await }.boxed()
    });
    let response = call.await?;
    let id: [u8; 16] = response
        .producer_id
        .as_ref()
        .try_into()
        .map_err(|_| Error::nonsense("a producer id is not 16 bytes long"))?;
    Ok(Identity {
        producer: ProducerId(id),
        epoch: response.epoch,
        opened_at_ms: response.opened_at_ms,
        named: name.is_some(),
    })
}
