//! Three nodes of Meridian on loopback, their data on one disk, everything else as it is by default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use toml::toml;

use crate::child::{self, Server, free_ports};

const NODES: usize = 3;
const READY_MAX: Duration = Duration::from_secs(60);

/// The nodes. Dropping it kills them.
pub(crate) struct Cluster {
    meridian: PathBuf,
    nodes: Vec<Server>,
    servers: String,
}

/// A load and what it cost.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    /// What `meridian bench publish` was told.
    pub(crate) command: String,
    /// What it reported.
    pub(crate) report: Value,
    /// CPU nanoseconds for each byte of an acknowledged message: all three nodes, and the load itself.
    pub(crate) nodes_cpu_ns_per_byte: f64,
    pub(crate) client_cpu_ns_per_byte: f64,
}

impl Load {
    /// A number of the report, by its path.
    pub(crate) fn figure(&self, pointer: &str) -> f64 {
        self.report.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN)
    }

    /// Whether every message was acknowledged, and, where they were read back, found.
    pub(crate) fn is_sound(&self) -> bool {
        let no_errors = self.report["errors"].as_object().is_some_and(serde_json::Map::is_empty);
        let passed = &self.report["verified"]["passed"];
        no_errors && (passed.is_null() || passed == true)
    }
}

impl Cluster {
    pub(crate) async fn start(meridian: &Path, folder: &Path) -> Result<Self> {
        let ports: [u16; NODES * 2] = free_ports()?;
        let at = |port: u16| format!("127.0.0.1:{port}");
        let address = |node: usize| (at(ports[node * 2]), at(ports[node * 2 + 1]));
        let founders: Vec<toml::Value> = (0..NODES).map(|node| founder(node, address(node))).collect();
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let own = folder.join(format!("node-{}", node + 1));
            std::fs::create_dir_all(&own)?;
            let ready = own.join("ready");
            let mut config = toml! {
                [cluster]
                name = "bench"
                [log]
                level = "warn"
            };
            let (client, raft) = address(node);
            insert(&mut config, "node", "id", toml::Value::Integer(node as i64 + 1));
            insert(&mut config, "node", "zone", zone(node));
            insert(&mut config, "node", "data", path(&own.join("data")));
            insert(&mut config, "node", "ready_file", path(&ready));
            insert(&mut config, "cluster", "nodes", toml::Value::Array(founders.clone()));
            insert(&mut config, "listen", "client", client.into());
            insert(&mut config, "listen", "raft", raft.into());
            let file = own.join("meridian.toml");
            std::fs::write(&file, config.to_string())?;
            let file = file.to_str().context("a path that is not UTF-8")?;
            let log = own.join("log");
            let server =
                Server::start(&format!("node {}", node + 1), meridian, &["serve", "--config", file], &log)?;
            nodes.push((server, ready));
        }
        for (server, ready) in &mut nodes {
            server.until(READY_MAX, || ready.exists()).await?;
        }
        let nodes = nodes.into_iter().map(|(server, _)| server).collect();
        let servers = (0..NODES).map(|node| address(node).0).collect::<Vec<_>>().join(",");
        Ok(Self { meridian: meridian.into(), nodes, servers })
    }

    /// Runs `meridian bench publish` against the nodes.
    pub(crate) async fn load(&self, args: &[&str]) -> Result<Load> {
        let fixed = ["bench", "publish", "--output", "json", "--server", &self.servers];
        let cpu = || self.nodes.iter().map(Server::cpu_s).sum::<f64>();
        let (nodes_before, client_before) = (cpu(), child::ended_children_cpu_s());
        let report = child::json(&self.meridian, &[&fixed, args].concat()).await?;
        let (nodes, client) = (cpu() - nodes_before, child::ended_children_cpu_s() - client_before);
        let number = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
        let bytes = number("acked") * number("mb_per_s") * 1e6 / number("messages_per_s");
        Ok(Load {
            command: format!("meridian bench publish {}", args.join(" ")),
            nodes_cpu_ns_per_byte: nodes * 1e9 / bytes,
            client_cpu_ns_per_byte: client * 1e9 / bytes,
            report,
        })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        for node in self.nodes {
            node.stop().await?;
        }
        Ok(())
    }
}

fn founder(node: usize, (client, raft): (String, String)) -> toml::Value {
    let mut founder = toml::Table::new();
    founder.insert("id".into(), toml::Value::Integer(node as i64 + 1));
    founder.insert("client".into(), client.into());
    founder.insert("raft".into(), raft.into());
    founder.insert("zone".into(), zone(node));
    toml::Value::Table(founder)
}

fn zone(node: usize) -> toml::Value {
    toml::Value::String(["a", "b", "c"][node % 3].into())
}

fn path(path: &Path) -> toml::Value {
    toml::Value::String(path.display().to_string())
}

fn insert(config: &mut toml::Table, section: &str, key: &str, value: toml::Value) {
    let section = config.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if let Some(section) = section.as_table_mut() {
        section.insert(key.into(), value);
    }
}
