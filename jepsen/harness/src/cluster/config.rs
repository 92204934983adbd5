//! The configuration file of a node, as the harness writes it.

use std::path::PathBuf;

use serde::Serialize;

use super::setup::{Member, Setup, Timing};

/// Port of the client listener; every node has an address of its own, so ports need not differ.
pub const CLIENT_PORT: u16 = 7171;
/// Port of the raft listener.
pub const RAFT_PORT: u16 = 7172;
/// Port of the metrics listener.
pub const METRICS_PORT: u16 = 7173;

/// The file, section by section.
#[derive(Debug, Clone, Serialize)]
pub struct NodeConfig {
    /// Who the node is.
    pub node: NodeSection,
    /// Which cluster it belongs to.
    pub cluster: ClusterSection,
    /// Where it listens.
    pub listen: ListenSection,
    /// How fast it notices a dead leader.
    pub raft: RaftSection,
    /// How copies move.
    pub membership: MembershipSection,
    /// How it stores.
    pub storage: StorageSection,
    /// What clients may make it hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSection>,
    /// How it logs.
    pub log: LogSection,
}

/// `[node]`
#[derive(Debug, Clone, Serialize)]
pub struct NodeSection {
    /// Its number.
    pub id: u64,
    /// Its failure zone.
    pub zone: String,
    /// Its data folder.
    pub data: PathBuf,
    /// Written once it listens.
    pub ready_file: PathBuf,
}

/// `[cluster]`
#[derive(Debug, Clone, Serialize)]
pub struct ClusterSection {
    /// What the operator calls it.
    pub name: String,
    /// The founders, the same on every node.
    pub nodes: Vec<Founder>,
}

/// `[[cluster.nodes]]`
#[derive(Debug, Clone, Serialize)]
pub struct Founder {
    /// Its number.
    pub id: u64,
    /// Its client listener.
    pub client: String,
    /// Its raft listener.
    pub raft: String,
    /// Its failure zone.
    pub zone: String,
}

/// `[listen]`
#[derive(Debug, Clone, Serialize)]
pub struct ListenSection {
    /// For clients.
    pub client: String,
    /// For other nodes.
    pub raft: String,
    /// For metrics.
    pub metrics: String,
    /// Nodes in namespaces have addresses of their own and no certificates.
    pub plaintext_beyond_loopback: bool,
}

/// `[raft]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RaftSection {
    /// Between two heartbeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_ms: Option<u64>,
    /// The shortest patience with a silent leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_ms_min: Option<u64>,
    /// The longest patience with a silent leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election_ms_max: Option<u64>,
    /// Memory for recent log entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail_bytes: Option<u64>,
}

impl RaftSection {
    fn of(setup: &Setup) -> Self {
        let brisk = |ms| (setup.timing == Timing::Brisk).then_some(ms);
        Self {
            heartbeat_ms: brisk(60),
            election_ms_min: brisk(300),
            election_ms_max: brisk(600),
            tail_bytes: setup.memory.map(|memory| memory.tail_bytes),
        }
    }
}

/// `[membership]`
#[derive(Debug, Clone, Serialize)]
pub struct MembershipSection {
    /// How long a node is silent until it is taken for dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_after_ms: Option<u64>,
}

/// `[storage]`
#[derive(Debug, Clone, Serialize)]
pub struct StorageSection {
    /// Never sync.
    pub unsafe_no_sync: bool,
    /// Share of the disk above which publishes are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark_percent: Option<u64>,
    /// RocksDB's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// RocksDB's memtables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memtable_bytes: Option<u64>,
}

/// `[limits]`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitsSection {
    /// Batches in flight.
    pub inflight_bytes: u64,
    /// Requests that have begun and are not admitted yet.
    pub receiving_bytes: u64,
    /// Pages that readers have not taken yet.
    pub reading_bytes: u64,
    /// Requests under way.
    pub requests_max: u64,
    /// Connections of clients.
    pub client_connections_max: u64,
    /// The same from one address.
    pub client_connections_per_address_max: u64,
    /// What arrived from clients and was not read.
    pub client_window_bytes: u64,
    /// Connections of nodes.
    pub raft_connections_max: u64,
    /// What arrived from nodes and was not read.
    pub raft_window_bytes: u64,
}

/// `[log]`
#[derive(Debug, Clone, Serialize)]
pub struct LogSection {
    /// `json` or `human`.
    pub format: String,
    /// The least that is logged.
    pub level: String,
}

impl NodeConfig {
    /// The configuration of a node of a region with these founders.
    pub fn of(
        member: &Member,
        founders: &[Member],
        setup: &Setup,
        data: PathBuf,
        ready_file: PathBuf,
    ) -> Self {
        let founder = |m: &Member| Founder {
            id: m.id,
            client: m.at(CLIENT_PORT),
            raft: m.at(RAFT_PORT),
            zone: m.zone(),
        };
        let level = std::env::var("MERIDIAN_JEPSEN_LOG").unwrap_or_else(|_| "info".into());
        Self {
            node: NodeSection { id: member.id, zone: member.zone(), data, ready_file },
            cluster: ClusterSection { name: "jepsen".into(), nodes: founders.iter().map(founder).collect() },
            listen: ListenSection {
                client: member.at(CLIENT_PORT),
                raft: member.at(RAFT_PORT),
                metrics: member.at(METRICS_PORT),
                plaintext_beyond_loopback: true,
            },
            raft: RaftSection::of(setup),
            membership: MembershipSection { dead_after_ms: setup.dead_after_ms },
            storage: StorageSection {
                unsafe_no_sync: setup.unsafe_no_sync,
                watermark_percent: setup.watermark_percent,
                cache_bytes: setup.memory.map(|memory| memory.cache_bytes),
                memtable_bytes: setup.memory.map(|memory| memory.memtable_bytes),
            },
            limits: setup.memory.map(|memory| memory.limits),
            log: LogSection { format: "human".into(), level },
        }
    }
}
