//! The client: one per process is enough; clones share its connections.

use std::sync::Arc;

use crate::admin::Admin;
use crate::channels::Channels;
use crate::consumer::ConsumerBuilder;
use crate::metadata::{Metadata, TopicRoute};
use crate::producer::ProducerBuilder;
use crate::random::Random;
use crate::reader::ReaderBuilder;
use crate::{ClientConfig, Error, address};

/// A connection to a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What producers, readers and admin calls have in common.
pub(crate) struct Shared {
    pub(crate) config: ClientConfig,
    pub(crate) channels: Channels,
    pub(crate) metadata: Metadata,
    pub(crate) random: Random,
}

impl Client {
    /// A client that connects when it is first used. Fails only on a malformed address.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let bootstrap = config.servers.iter().map(|s| address::parse(s)).collect::<Result<Vec<_>, _>>()?;
        if bootstrap.is_empty() {
            return Err(Error::invalid("server", "name at least one node as host:port"));
        }
        let channels = Channels::new(bootstrap, config.connector.clone(), config.attempt_timeout);
        let random = Random::new(config.seed);
        let shared = Shared { config, channels, metadata: Metadata::default(), random };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A client that has reached one of its nodes: each is tried once, in turn.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let client = Self::new(config)?;
        let channels = &client.shared.channels;
        let mut why = String::new();
        for address in channels.all() {
            match channels.get(&address).await {
                Ok(_) => return Ok(client),
                Err(Error::Connect { why: met, .. }) => why = met,
                Err(other) => return Err(other),
            }
        }
        Err(Error::Connect { addresses: channels.all(), why })
    }

    /// Changes and looks at the region's metadata.
    pub fn admin(&self) -> Admin {
        Admin::new(self.shared.clone())
    }

    /// A producer to set up and build.
    pub fn producer(&self, topic: impl Into<String>) -> ProducerBuilder {
        ProducerBuilder::new(self.shared.clone(), topic.into())
    }

    /// A reader to set up and open.
    pub fn reader(&self, topic: impl Into<String>) -> ReaderBuilder {
        ReaderBuilder::new(self.shared.clone(), topic.into())
    }

    /// A consumer of a subscription to set up and open. A topic whose name ends in `*` means every topic of its
    /// namespace whose name begins so, also those that are created later.
    pub fn consumer<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.shared.clone(), topics.into_iter().map(Into::into).collect())
    }

    /// Asks a node where the partitions of a topic live, and remembers the answer.
    pub async fn lookup(&self, topic: &str) -> Result<Arc<TopicRoute>, Error> {
        self.shared.lookup(topic).await
    }

    /// The bound for one call over all its attempts.
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.shared.config).finish()
    }
}
