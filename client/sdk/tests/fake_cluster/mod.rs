//! A cluster in memory behind real gRPC on loopback, whose faults are scripted: what the client's promises are
//! tested against. One log per partition, with the dedup rules of the product in their simplest form.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod admin;
mod fault;
mod partition;
mod publish;
mod read;
pub mod subscribe;

use std::collections::BTreeMap;
use std::sync::Arc;

use meridian_model::{Message, TopicName};
use meridian_proto::admin::admin_service_server::AdminServiceServer;
use meridian_proto::v1::metadata_service_server::MetadataServiceServer;
use meridian_proto::v1::publish_service_server::PublishServiceServer;
use meridian_proto::v1::read_service_server::ReadServiceServer;
use meridian_proto::v1::subscribe_service_server::SubscribeServiceServer;
use meridian_proto::v1::{ErrorReason, Failure};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;

pub use fault::{Dice, Fault};
pub use partition::Partition;
pub use subscribe::Subscribing;

/// The whole cluster; clones share it.
#[derive(Clone)]
pub struct FakeCluster {
    pub addresses: Vec<String>,
    pub state: Arc<Mutex<State>>,
    /// Ticks with every change, for those who follow.
    pub changes: watch::Sender<u64>,
}

#[derive(Default)]
pub struct State {
    pub topics: BTreeMap<String, Vec<Partition>>,
    pub tenants: Vec<String>,
    pub namespaces: Vec<(String, String)>,
    pub retentions: BTreeMap<String, meridian_proto::admin::Retention>,
    /// Epochs of named producers.
    pub epochs: BTreeMap<(String, String), u32>,
    pub next_id: u64,
    pub down: Vec<u64>,
    pub dice: Option<Dice>,
    pub opens: u64,
    pub batches_received: u64,
    pub lookups: u64,
    pub credit_bytes: u64,
    /// Batches that came without credit for them.
    pub overdrawn: u64,
    /// How many of the next read responses are the last of their stream.
    pub read_breaks: u32,
    pub subscribing: Subscribing,
}

/// One node's view.
#[derive(Clone)]
pub struct Node {
    pub number: u64,
    pub cluster: FakeCluster,
}

impl FakeCluster {
    /// Starts `nodes` nodes, numbered from 1.
    pub async fn start(nodes: u64) -> FakeCluster {
        let mut listeners = Vec::new();
        for _ in 0..nodes {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        }
        let addresses = listeners.iter().map(|l| l.local_addr().expect("bound").to_string()).collect();
        let state = State { credit_bytes: 4 << 20, tenants: vec!["default".into()], ..State::default() };
        let (changes, _) = watch::channel(0);
        let cluster = FakeCluster { addresses, state: Arc::new(Mutex::new(state)), changes };
        for (listener, number) in listeners.into_iter().zip(1..) {
            let node = Node { number, cluster: cluster.clone() };
            let router = tonic::transport::Server::builder()
                .add_service(MetadataServiceServer::new(node.clone()))
                .add_service(PublishServiceServer::new(node.clone()).max_decoding_message_size(8 << 20))
                .add_service(ReadServiceServer::new(node.clone()))
                .add_service(SubscribeServiceServer::new(node.clone()))
                .add_service(AdminServiceServer::new(node));
            tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
        }
        cluster
    }

    /// Three nodes and the topic `t` with this many partitions.
    pub async fn with_topic(partitions: u32) -> FakeCluster {
        let cluster = Self::start(3).await;
        cluster.create("t", partitions);
        cluster
    }

    pub fn create(&self, topic: &str, partitions: u32) {
        let nodes = self.addresses.len() as u64;
        let mut state = self.state.lock();
        let made = (0..partitions).map(|number| {
            state.next_id += 1;
            Partition::new(state.next_id, 1 + u64::from(number) % nodes)
        });
        let made = made.collect();
        state.topics.insert(resource(topic).expect("a good name"), made);
    }

    pub fn config(&self) -> meridian_sdk::ClientConfig {
        meridian_sdk::ClientConfig::new(self.addresses.clone()).with_seed(42)
    }

    pub async fn client(&self) -> meridian_sdk::Client {
        meridian_sdk::Client::connect(self.config()).await.expect("the fake cluster is up")
    }

    /// Looks at or changes a partition of `t`.
    pub fn partition<T>(&self, number: u32, look: impl FnOnce(&mut Partition) -> T) -> T {
        let result = self.with(|state| {
            let topic = state.topics.get_mut(&resource("t").expect("a good name")).expect("t exists");
            look(&mut topic[number as usize])
        });
        self.changed();
        result
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock())
    }

    /// What the next batches to a partition of `t` meet, in this order.
    pub fn script(&self, number: u32, faults: impl IntoIterator<Item = Fault>) {
        self.partition(number, |partition| partition.script.extend(faults));
    }

    pub fn move_leader(&self, number: u32, node: u64) {
        self.partition(number, |partition| partition.leader = node);
    }

    pub fn take_down(&self, node: u64) {
        self.with(|state| state.down.push(node));
        self.changed();
    }

    /// Every message of a partition of `t`, in offset order.
    pub fn messages(&self, number: u32) -> Vec<Message> {
        self.partition(number, |partition| partition.messages())
    }

    pub fn changed(&self) {
        self.changes.send_modify(|tick| *tick += 1);
    }
}

impl Node {
    pub fn address_of(&self, node: u64) -> &str {
        &self.cluster.addresses[node as usize - 1]
    }

    /// A dead node's every answer is a broken connection.
    pub fn alive(&self) -> Result<(), tonic::Status> {
        match self.cluster.state.lock().down.contains(&self.number) {
            true => Err(tonic::Status::unavailable("connection reset")),
            false => Ok(()),
        }
    }
}

pub fn resource(topic: &str) -> Result<String, Failure> {
    TopicName::parse(topic).map(|name| name.resource()).map_err(|error| Failure::invalid("topic", error))
}

pub fn not_found(what: &str) -> Failure {
    Failure::new(ErrorReason::NotFound, format!("{what} does not exist"))
}

impl State {
    /// Whether the read stream that has just answered shall break.
    pub fn take_read_break(&mut self) -> bool {
        let breaks = self.read_breaks > 0;
        self.read_breaks = self.read_breaks.saturating_sub(1);
        breaks
    }

    /// The partitions of a topic that exists.
    pub fn topic(&mut self, topic: &str) -> &mut Vec<Partition> {
        self.topics.get_mut(&resource(topic).expect("a good name")).expect("the topic exists")
    }

    pub fn partition(&mut self, topic: &str, number: u32) -> Result<&mut Partition, Failure> {
        let partitions = self.topics.get_mut(&resource(topic)?).ok_or_else(|| not_found(topic))?;
        partitions.get_mut(number as usize).ok_or_else(|| not_found("the partition"))
    }
}
