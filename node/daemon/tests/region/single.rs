//! A cluster of one node on a real data folder.

use std::path::Path;
use std::sync::{Arc, Weak};

use meridian_config::{ClusterConfig, Config, FounderConfig, ListenConfig, NodeConfig, StorageConfig};
use meridian_daemon::folder::DataFolder;
use meridian_daemon::{Node, NodeParts};
use meridian_model::{Clock, NodeId, UnixMs};
use meridian_sdk::{Client, ClientConfig, SystemClock};
use meridian_storage::RocksEngine;
use meridian_storage::rocks::RocksOptions;

const NODE: NodeId = NodeId(1);
const CLUSTER: &str = "golden";

/// The node, and its folder, which is locked while it lives.
pub(crate) struct Single {
    pub(crate) node: Node,
    pub(crate) client: Client,
    /// Alive as long as anybody uses the folder.
    pub(crate) engine: Weak<RocksEngine>,
    _folder: DataFolder,
}

struct Wall;

impl Clock for Wall {
    fn now(&self) -> UnixMs {
        SystemClock.now()
    }
}

fn config(data: &Path, host: &str) -> Config {
    let founder = FounderConfig {
        id: NODE.0,
        client: format!("{host}:7171"),
        raft: format!("{host}:7172"),
        zone: "default".into(),
    };
    let listen = ListenConfig {
        client: founder.client.clone(),
        raft: founder.raft.clone(),
        ..ListenConfig::default()
    };
    Config {
        node: NodeConfig { id: NODE.0, zone: "default".into(), data: data.into(), ready_file: None },
        cluster: ClusterConfig { name: CLUSTER.into(), nodes: vec![founder] },
        listen,
        tls: None,
        raft: Default::default(),
        membership: Default::default(),
        storage: StorageConfig::default(),
        limits: Default::default(),
        log: Default::default(),
    }
}

impl Single {
    /// Starts the node on `data`, listening on the loopback address `host`.
    pub(crate) async fn start(data: &Path, host: &str) -> Self {
        let folder = DataFolder::open(data, NODE, CLUSTER, || 1).expect("the folder opens");
        let engine = RocksEngine::open(&folder.engine(), &RocksOptions::default()).expect("the engine opens");
        let engine = Arc::new(engine);
        let alive = Arc::downgrade(&engine);
        // What this machine's disk has left is no part of the story.
        let parts = NodeParts { watched_folder: None, ..NodeParts::on_disk(engine, &folder, Arc::new(Wall)) };
        let node = Node::start(config(data, host), parts).await.expect("the node starts");
        let client = Client::new(ClientConfig::new([node.addresses().client.clone()])).expect("a client");
        Self { node, client, engine: alive, _folder: folder }
    }
}
