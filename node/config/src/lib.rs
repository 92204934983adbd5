//! The configuration file of `meridian serve`. Unknown keys are refused; every default is written down here.
#![forbid(unsafe_code)]

mod exposure;
mod limits;
mod membership;
mod tls;

use std::path::{Path, PathBuf};

use meridian_raft::GroupConfig;
use serde::{Deserialize, Serialize};

pub use limits::{LimitsConfig, WINDOW_BYTES_MAX, WINDOW_BYTES_MIN};
pub use membership::MembershipConfig;
pub use tls::{ClientCertificates, TlsConfig};

/// Everything a node must be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This node.
    pub node: NodeConfig,
    /// The cluster it founds or joins.
    pub cluster: ClusterConfig,
    /// Where it listens.
    pub listen: ListenConfig,
    /// Who it is and whom it trusts. Absent: nothing is encrypted.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Timing of Raft.
    #[serde(default)]
    pub raft: RaftConfig,
    /// How copies and leaders move.
    #[serde(default)]
    pub membership: MembershipConfig,
    /// The disk.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Bounds on load.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// What it says.
    #[serde(default)]
    pub log: LogConfig,
}

/// `[node]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Its number, from 1, unique in the cluster and kept for ever.
    pub id: u64,
    /// Its failure zone: copies of a partition are spread over zones.
    #[serde(default = "default_zone")]
    pub zone: String,
    /// The folder for its data. Made if missing.
    pub data: PathBuf,
    /// Written, as JSON with its addresses and pid, once it listens.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
}

/// `[cluster]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Its name. Nodes of clusters with other names are refused.
    pub name: String,
    /// The nodes that found the cluster: the same list on each of them.
    pub nodes: Vec<FounderConfig>,
}

/// `[[cluster.nodes]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FounderConfig {
    /// The node's number.
    pub id: u64,
    /// `host:port` of its client listener, as clients reach it.
    pub client: String,
    /// `host:port` of its raft listener, as nodes reach it.
    pub raft: String,
    /// Its failure zone.
    #[serde(default = "default_zone")]
    pub zone: String,
}

/// `[listen]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `host:port` for clients. Port 0: any.
    pub client: String,
    /// `host:port` for nodes. Port 0: any.
    pub raft: String,
    /// `host:port` for operators. Absent: they are served on `client`; otherwise only here.
    #[serde(default)]
    pub admin: Option<String>,
    /// `host:port` for `/metrics` and `/healthz`. Absent: not served.
    #[serde(default)]
    pub metrics: Option<String>,
    /// As clients shall reach this node, where that differs from `client`.
    #[serde(default)]
    pub advertise_client: Option<String>,
    /// As nodes shall reach this node, where that differs from `raft`.
    #[serde(default)]
    pub advertise_raft: Option<String>,
    /// Listens beyond loopback without TLS. For networks that are trusted.
    #[serde(default)]
    pub plaintext_beyond_loopback: bool,
}

/// `[raft]`
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// How often a leader says that it lives, in milliseconds.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a follower stands for election, in milliseconds.
    pub election_ms_min: u64,
    /// The longest, in milliseconds.
    pub election_ms_max: u64,
    /// Memory for the recent entries of all groups, in bytes.
    pub tail_bytes: usize,
}

/// `[storage]`
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Memory for cached blocks, in bytes.
    pub cache_bytes: usize,
    /// Memory for what is not yet in files, in bytes.
    pub memtable_bytes: usize,
    /// Publishing stops where the disk is fuller than this, in percent.
    pub watermark_percent: u8,
    /// Publishing stops where less than this is free, in bytes.
    pub free_bytes_min: u64,
    /// Never sync. For tests that must see data lost; never for data.
    pub unsafe_no_sync: bool,
}

/// `[log]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `human` or `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,meridian_raft=debug`.
    pub level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

fn default_zone() -> String {
    "default".into()
}

impl Default for RaftConfig {
    fn default() -> Self {
        let timing = GroupConfig::default();
        Self {
            heartbeat_ms: timing.heartbeat_ms,
            election_ms_min: timing.election_ms_min,
            election_ms_max: timing.election_ms_max,
            tail_bytes: 128 * 1024 * 1024,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 64 * 1024 * 1024,
            memtable_bytes: 192 * 1024 * 1024,
            watermark_percent: 95,
            free_bytes_min: 256 * 1024 * 1024,
            unsafe_no_sync: false,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Human, level: "info".into() }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no valid TOML, or has an unknown or missing key.
    #[error("{path}: {error}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: Box<toml::de::Error>,
    },
    /// A value makes no sense.
    #[error("{field}: {why}")]
    Value {
        /// The key.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_path_buf(), error })?;
        let config: Config = toml::from_str(&text)
            .map_err(|error| ConfigError::Parse { path: path.to_path_buf(), error: Box::new(error) })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |field, why: String| Err(ConfigError::Value { field, why });
        if self.node.id == 0 {
            return wrong("node.id", "numbers begin at 1".into());
        }
        if self.cluster.nodes.is_empty() {
            return wrong("cluster.nodes", "name at least one founding node".into());
        }
        let mut ids: Vec<u64> = self.cluster.nodes.iter().map(|node| node.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) || ids[0] == 0 {
            return wrong("cluster.nodes", "each node needs a number of its own, from 1".into());
        }
        if let Err(error) = meridian_model::name::check("cluster.name", &self.cluster.name) {
            return wrong("cluster.name", error.to_string());
        }
        let raft = self.raft;
        // A replica stands by its own timer after the lease and this: after more than two heartbeats.
        if raft.heartbeat_ms == 0 || raft.election_ms_min <= 2 * raft.heartbeat_ms {
            return wrong("raft.election_ms_min", "must be more than two heartbeats".into());
        }
        if raft.election_ms_max <= raft.election_ms_min {
            return wrong("raft.election_ms_max", "must be above election_ms_min".into());
        }
        if !(1..=100).contains(&self.storage.watermark_percent) {
            return wrong("storage.watermark_percent", "must be from 1 to 100".into());
        }
        self.limits.check()?;
        if self.tls.is_some() {
            tls::check(&self.cluster.name)?;
        }
        exposure::check(self)
    }

    /// Timing for the groups.
    pub fn timing(&self) -> GroupConfig {
        GroupConfig {
            heartbeat_ms: self.raft.heartbeat_ms,
            election_ms_min: self.raft.election_ms_min,
            election_ms_max: self.raft.election_ms_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [node]
        id = 1
        data = "/tmp/x"
        [cluster]
        name = "test"
        nodes = [{ id = 1, client = "127.0.0.1:1", raft = "127.0.0.1:2" }]
        [listen]
        client = "127.0.0.1:0"
        raft = "127.0.0.1:0"
    "#;

    #[test]
    fn defaults_fill_what_is_not_said() {
        let config: Config = toml::from_str(GOOD).expect("parses");
        config.check().expect("makes sense");
        assert_eq!(config.storage.watermark_percent, 95);
        assert!(!config.storage.unsafe_no_sync);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<Config>(&GOOD.replace("id = 1\n", "id = 1\n colour = 2\n"))
            .expect_err("refused");
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn senseless_values_are_named() {
        let mut config: Config = toml::from_str(GOOD).expect("parses");
        config.raft.election_ms_min = 10;
        assert!(config.check().expect_err("refused").to_string().starts_with("raft.election_ms_min"));
    }

    const TLS: &str = "\n[tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n";

    fn refusal(text: &str) -> String {
        let config: Config = toml::from_str(text).expect("parses");
        config.check().err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn plaintext_beyond_loopback_is_refused_unless_told_so() {
        let beyond = GOOD.replace("raft = \"127.0.0.1:0\"", "raft = \"0.0.0.0:0\"");
        let refused = refusal(&beyond);
        assert!(refused.starts_with("listen.raft"), "{refused}");
        assert!(refused.contains("plaintext_beyond_loopback = true"), "{refused}");
        assert!(refused.contains("meridian certificates"), "{refused}");
        assert_eq!(refusal(&format!("{beyond}\nplaintext_beyond_loopback = true\n")), "");
        assert_eq!(refusal(&format!("{beyond}{TLS}")), "");
    }

    #[test]
    fn metrics_beyond_loopback_are_refused_even_with_tls() {
        let refused = refusal(&format!("{GOOD}\nmetrics = \"0.0.0.0:0\"\n{TLS}"));
        assert!(refused.starts_with("listen.metrics"), "{refused}");
    }

    #[test]
    fn a_cluster_with_tls_needs_a_name_fit_for_a_host() {
        let refused = refusal(&format!("{}{TLS}", GOOD.replace("\"test\"", "\"test-\"")));
        assert!(refused.starts_with("cluster.name"), "{refused}");
    }
}
