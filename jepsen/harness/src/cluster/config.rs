//! The configuration file of a node, as the harness writes it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

use crate::disk::DiskKind;
use crate::net::Placement;

/// Port of the client listener; every node has an address of its own, so ports need not differ.
pub const CLIENT_PORT: u16 = 7171;
/// Port of the raft listener.
pub const RAFT_PORT: u16 = 7172;
/// Port of the metrics listener.
pub const METRICS_PORT: u16 = 7173;

/// What a cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// How many nodes.
    pub nodes: u64,
    /// Where they live on the network.
    pub placement: Placement,
    /// What their data lies on.
    pub disk: DiskKind,
    /// Never sync: the negative control of every durability test.
    pub unsafe_no_sync: bool,
    /// Share of the disk in use above which publishes are refused; none: the node's default.
    pub watermark_percent: Option<u64>,
    /// Whether the nodes' syncs can be made to lie.
    pub may_lie: bool,
    /// Whether the nodes' clocks can be moved.
    pub movable_clocks: bool,
    /// How fast they notice a dead leader; none: the node's default.
    pub raft: Option<RaftSection>,
}

impl Default for Setup {
    /// Three nodes on loopback with plain folders.
    fn default() -> Self {
        Self {
            nodes: 3,
            placement: Placement::Loopback,
            disk: DiskKind::Folder,
            unsafe_no_sync: false,
            watermark_percent: None,
            may_lie: false,
            movable_clocks: false,
            raft: Some(RaftSection::QUICK),
        }
    }
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftSection>,
    /// How it stores.
    pub storage: StorageSection,
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
    pub heartbeat_ms: u64,
    /// The shortest patience with a silent leader.
    pub election_ms_min: u64,
    /// The longest patience with a silent leader.
    pub election_ms_max: u64,
}

impl RaftSection {
    /// Quicker than the default, so that tests meet more elections.
    pub const QUICK: Self = Self { heartbeat_ms: 60, election_ms_min: 300, election_ms_max: 600 };
}

/// `[storage]`
#[derive(Debug, Clone, Serialize)]
pub struct StorageSection {
    /// Never sync.
    pub unsafe_no_sync: bool,
    /// Share of the disk above which publishes are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark_percent: Option<u64>,
}

/// `[log]`
#[derive(Debug, Clone, Serialize)]
pub struct LogSection {
    /// `json` or `human`.
    pub format: String,
    /// The least that is logged.
    pub level: String,
}

/// One node's place, before its configuration is written.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its address.
    pub address: Ipv4Addr,
}

impl Member {
    fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.address)
    }

    fn zone(&self) -> String {
        char::from(b'a' + (self.id.saturating_sub(1) % 3) as u8).to_string()
    }
}

impl NodeConfig {
    /// The configuration of one of `members`.
    pub fn of(
        member: &Member,
        members: &[Member],
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
            cluster: ClusterSection { name: "jepsen".into(), nodes: members.iter().map(founder).collect() },
            listen: ListenSection {
                client: member.at(CLIENT_PORT),
                raft: member.at(RAFT_PORT),
                metrics: member.at(METRICS_PORT),
                plaintext_beyond_loopback: true,
            },
            raft: setup.raft,
            storage: StorageSection {
                unsafe_no_sync: setup.unsafe_no_sync,
                watermark_percent: setup.watermark_percent,
            },
            log: LogSection { format: "human".into(), level },
        }
    }
}
