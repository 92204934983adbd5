//! Where partitions live, cached: asked once, corrected by every redirect, asked again after failures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use meridian_model::{LogId, NodeId};
use meridian_proto::v1::metadata_service_client::MetadataServiceClient;
use meridian_proto::v1::{LookupTopicRequest, LookupTopicResponse};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Error;
use crate::client::Shared;

/// Topics whose route is kept.
const TOPICS_CACHED_MAX: usize = 1_024;
/// A node that takes longer to answer is not waited for alone: all partitions wait for this answer, and a node that is
/// cut off says nothing for long.
const HEDGE_AFTER: Duration = Duration::from_millis(300);
/// An answer of this age need not be asked for again.
const FRESH_FOR: Duration = Duration::from_millis(20);

/// A topic as a client sees it: its partitions and how to reach the nodes.
#[derive(Clone, Debug)]
pub struct TopicRoute {
    /// The full resource name.
    pub topic: String,
    /// In order of the partition number.
    pub partitions: Vec<PartitionRoute>,
    /// `host:port` of each node of the region.
    pub nodes: BTreeMap<NodeId, String>,
    fetched: Instant,
}

/// One partition: who leads it and who holds a copy.
#[derive(Clone, Debug)]
pub struct PartitionRoute {
    /// The identity of its history.
    pub log: LogId,
    /// The node believed to lead. `None`: nobody at the moment.
    pub leader: Option<NodeId>,
    /// The nodes that hold a copy.
    pub replicas: Vec<NodeId>,
}

impl TopicRoute {
    /// The address of the node believed to lead a partition.
    pub fn leader_address(&self, partition: u32) -> Option<&str> {
        let leader = self.partitions.get(partition as usize)?.leader?;
        self.nodes.get(&leader).map(String::as_str)
    }

    /// How many partitions the topic has.
    pub fn partition_count(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(crate) fn age(&self) -> Duration {
        self.fetched.elapsed()
    }

    fn from_wire(response: LookupTopicResponse) -> Result<Self, Error> {
        let partitions = response.partitions.into_iter().enumerate().map(|(number, location)| {
            if location.partition as usize != number {
                return Err(Error::nonsense("the partitions of a lookup are not in order"));
            }
            Ok(PartitionRoute {
                log: log_id(&location.log_id)?,
                leader: location.leader_node.map(NodeId),
                replicas: location.replica_nodes.into_iter().map(NodeId).collect(),
            })
        });
        Ok(TopicRoute {
            topic: response.topic,
            partitions: partitions.collect::<Result<_, _>>()?,
            nodes: response.nodes.into_iter().map(|node| (NodeId(node.node), node.address)).collect(),
            fetched: Instant::now(),
        })
    }
}

/// The routes known so far.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    topics: Mutex<BTreeMap<String, Arc<TopicRoute>>>,
    /// Held while one of many partitions asks for all of them.
    asking: tokio::sync::Mutex<()>,
}

impl Metadata {
    pub(crate) fn cached(&self, topic: &str) -> Option<Arc<TopicRoute>> {
        self.topics.lock().get(topic).cloned()
    }

    pub(crate) fn forget(&self, topic: &str) {
        self.topics.lock().remove(topic);
    }

    /// A node said who leads.
    pub(crate) fn correct(&self, topic: &str, partition: u32, node: Option<NodeId>, address: Option<&str>) {
        let mut topics = self.topics.lock();
        let Some(route) = topics.get_mut(topic).map(Arc::make_mut) else {
            return;
        };
        if let Some(found) = route.partitions.get_mut(partition as usize) {
            found.leader = node;
        }
        if let (Some(node), Some(address)) = (node, address) {
            route.nodes.insert(node, address.to_string());
        }
    }

    fn remember(&self, topic: &str, route: Arc<TopicRoute>) {
        let mut topics = self.topics.lock();
        if topics.len() >= TOPICS_CACHED_MAX && !topics.contains_key(topic) {
            topics.pop_first();
        }
        topics.insert(topic.to_string(), route);
    }
}

impl Shared {
    /// The cached route, or a fresh one.
    pub(crate) async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, Error> {
        match self.metadata.cached(topic) {
            Some(route) => Ok(route),
            None => self.lookup(topic).await,
        }
    }

    /// Asks a node, unless somebody else has just done so.
    pub(crate) async fn lookup_again(&self, topic: &str) -> Result<Arc<TopicRoute>, Error> {
        let _alone = self.metadata.asking.lock().await;
        match self.metadata.cached(topic).filter(|route| route.age() < FRESH_FOR) {
            Some(route) => Ok(route),
            None => self.lookup(topic).await,
        }
    }

    /// Asks a node, and another one where the first takes its time, and remembers.
    pub(crate) async fn lookup(&self, topic: &str) -> Result<Arc<TopicRoute>, Error> {
        let first = self.channels.anyone();
        let hedge = async {
            tokio::time::sleep(HEDGE_AFTER).await;
            match self.channels.other_than(&first) {
                Some(other) => self.ask(topic, other).await,
                None => std::future::pending().await,
            }
        };
        let response = tokio::select! {
            biased;
            response = self.ask(topic, first.clone()) => response?,
            Ok(response) = hedge => {
                self.channels.turn_from(&first);
                response
            }
        };
        let route = Arc::new(TopicRoute::from_wire(response)?);
        if route.partitions.is_empty() {
            return Err(Error::nonsense("a lookup returned a topic without partitions"));
        }
        self.channels.learn(route.nodes.values().cloned());
        self.metadata.remember(topic, route.clone());
        Ok(route)
    }

    async fn ask(&self, topic: &str, first: String) -> Result<LookupTopicResponse, Error> {
        let request = LookupTopicRequest { topic: topic.to_string() };
        let asked = self.call_as(self.usual("look up topic", Some(first)), |channel| {
            let request = request.clone();
            async move { MetadataServiceClient::new(channel).lookup_topic(request).await }.boxed()
        });
        asked.await
    }
}

/// A log id from its 16 bytes.
pub(crate) fn log_id(bytes: &[u8]) -> Result<LogId, Error> {
    let array: [u8; 16] = bytes.try_into().map_err(|_| Error::nonsense("a log id is not 16 bytes long"))?;
    Ok(LogId(array))
}
