//! Several nodes of one region, each a process with its folder and its file.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{PATIENCE, Server, free_ports, run};

/// A region whose nodes live in one folder.
pub(crate) struct Founders {
    pub(crate) folder: tempfile::TempDir,
    port: u16,
}

impl Founders {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), port: free_ports() }
    }

    pub(crate) fn client(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.port + id)
    }

    fn raft(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.port + 10 + id)
    }

    /// Starts node `id` of `cluster`, which these nodes found, with `more` at the end of its file.
    pub(crate) fn start(&self, id: u16, cluster: &str, founders: &[u16], more: &str) -> Server {
        let listed: String = founders
            .iter()
            .map(|id| {
                let (client, raft) = (self.client(*id), self.raft(*id));
                format!(
                    "[[cluster.nodes]]\nid = {id}\nclient = \"{client}\"\nraft = \"{raft}\"\nzone = \"{id}\"\n"
                )
            })
            .collect();
        let text = format!(
            "[node]\nid = {id}\nzone = \"{id}\"\ndata = {:?}\n[cluster]\nname = \"{cluster}\"\n{listed}\n[listen]\n\
             client = \"{}\"\nraft = \"{}\"\n{more}\n",
            self.data(id),
            self.client(id),
            self.raft(id)
        );
        let path = self.folder.path().join(format!("{id}.toml"));
        std::fs::write(&path, text).expect("written");
        Server::start(&["serve", "--config", &path.display().to_string()])
    }

    /// Where a node keeps its data.
    pub(crate) fn data(&self, id: u16) -> std::path::PathBuf {
        self.folder.path().join(id.to_string())
    }

    /// Waits until a node, asked with these arguments besides, knows these nodes and no others.
    pub(crate) fn await_members(&self, at: u16, ids: &[u64], with: &[&str]) {
        let begun = Instant::now();
        loop {
            let seen = self.ask(at, with);
            if seen.as_deref() == Ok(ids) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{seen:?}, not {ids:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The nodes that a node knows.
    pub(crate) fn members(&self, at: u16, with: &[&str]) -> Vec<u64> {
        self.ask(at, with).expect("an answer")
    }

    /// The same, or what `status` says instead.
    fn ask(&self, at: u16, with: &[&str]) -> Result<Vec<u64>, String> {
        let address = self.client(at);
        let asked = ["--server", &address, "--timeout", "3s", "--output", "json", "status"];
        let output = run(&[&asked[..], with].concat());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let status: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let nodes = status["nodes"].as_array().ok_or("no nodes")?;
        Ok(nodes.iter().filter_map(|node| node["node"].as_u64()).collect())
    }
}
