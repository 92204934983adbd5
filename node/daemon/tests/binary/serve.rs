//! `meridian serve`: the configuration, what it refuses, and how it says so.

use std::path::Path;

use serde_json::Value;

use crate::process::{PATIENCE, Server, free_ports, run};

/// A lone node with its configuration in a folder.
pub(crate) struct Lone {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) port: u16,
}

impl Lone {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), port: free_ports() }
    }

    pub(crate) fn address(&self, above: u16) -> String {
        format!("127.0.0.1:{}", self.port + above)
    }

    /// The path of a configuration: node `id` of `cluster`, with `more` at the end.
    pub(crate) fn config(&self, id: u64, cluster: &str, more: &str) -> String {
        let data = self.folder.path().join("data");
        let ready = self.folder.path().join("ready.json");
        let (client, raft, metrics) = (self.address(0), self.address(1), self.address(2));
        let text = format!(
            "[node]\nid = {id}\nzone = \"a\"\ndata = {data:?}\nready_file = {ready:?}\n\n\
             [cluster]\nname = \"{cluster}\"\n\n[[cluster.nodes]]\nid = {id}\nclient = \"{client}\"\n\
             raft = \"{raft}\"\nzone = \"a\"\n\n[listen]\nclient = \"{client}\"\nraft = \"{raft}\"\n\
             metrics = \"{metrics}\"\n\n{more}\n"
        );
        let path = self.folder.path().join(format!("{cluster}-{id}.toml"));
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    }

    pub(crate) fn serve(&self, more: &str) -> Server {
        Server::start(&["serve", "--config", &self.config(1, "lone", more)])
    }

    /// Waits for the ready file.
    pub(crate) fn ready(&self) -> Value {
        let begun = std::time::Instant::now();
        loop {
            if let Ok(bytes) = std::fs::read(self.folder.path().join("ready.json")) {
                return serde_json::from_slice(&bytes).expect("never half written");
            }
            assert!(begun.elapsed() < PATIENCE, "no ready file");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn refused(config: &str) -> (Option<i32>, String) {
    let output = run(&["serve", "--config", config]);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_configuration_that_is_wrong_is_refused_and_the_key_named() {
    let lone = Lone::new();
    for (more, named) in [
        ("[storage]\nmemtabel_bytes = 5", "memtabel_bytes"),
        ("[weather]\nsunny = true", "weather"),
        ("[raft]\nheartbeat_ms = \"often\"", "heartbeat_ms"),
        ("[storage]\nwatermark_percent = 101", "watermark_percent"),
        ("[raft]\nelection_ms_min = 900\nelection_ms_max = 100", "election_ms"),
    ] {
        let (code, said) = refused(&lone.config(1, "wrong", more));
        assert_eq!(code, Some(2), "{more}: {said}");
        assert!(said.contains(named), "{more}: {said}");
    }
    let (code, said) = refused("/nowhere/at/all.toml");
    assert_eq!(code, Some(2));
    assert!(said.contains("/nowhere/at/all.toml"), "{said}");
    assert!(!lone.folder.path().join("data").exists(), "nothing half done");
}

#[test]
fn a_port_in_use_is_named() {
    let lone = Lone::new();
    let _occupied = std::net::TcpListener::bind(lone.address(0)).expect("free before");
    let (code, said) = refused(&lone.config(1, "lone", ""));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("listen.client") && said.contains(&lone.address(0)), "{said}");
}

#[test]
fn a_folder_of_another_node_another_cluster_or_a_running_process_is_refused() {
    let lone = Lone::new();
    let server = lone.serve("");
    lone.ready();
    let (code, said) = refused(&lone.config(1, "lone", ""));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("in use") || said.contains("locked"), "{said}");
    assert_eq!(server.stop(), Some(0));
    for (id, cluster, named) in [(2, "lone", "node.id"), (1, "other", "cluster.name")] {
        let (code, said) = refused(&lone.config(id, cluster, ""));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("belongs to") && said.contains(named), "{said}");
        assert_eq!(said.lines().count(), 1, "said once: {said}");
    }
    newer_format(&lone.folder.path().join("data/meridian.json"));
    let (code, said) = refused(&lone.config(1, "lone", ""));
    assert_eq!(code, Some(1));
    assert!(said.contains("format") && said.contains("999"), "{said}");
}

fn newer_format(identity: &Path) {
    let text = std::fs::read_to_string(identity).expect("the identity");
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    let format = value.get_mut("format").unwrap_or_else(|| panic!("a format in {text}"));
    *format = 999.into();
    std::fs::write(identity, value.to_string()).expect("written");
}

#[test]
fn the_only_node_is_neither_drained_nor_decommissioned() {
    let lone = Lone::new();
    let _server = lone.serve("");
    lone.ready();
    let address = lone.address(0);
    let tell = |words: &[&str]| run(&[&["--server", &address, "--timeout", "10s"], words].concat());
    let created = tell(&["topic", "create", "t", "--replication", "1"]);
    assert!(created.status.success(), "{created:?}");
    for (command, named) in [("drain", "nobody else could lead"), ("decommission", "0 are too few")] {
        let refused = tell(&[command, "1"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(named) && said.contains("add nodes"), "{said}");
    }
    let status = tell(&["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("serving"), "{status:?}");
}

#[test]
fn logs_are_json_where_asked() {
    let lone = Lone::new();
    let server = lone.serve("[log]\nformat = \"json\"");
    let line: Value = serde_json::from_str(&server.says("listening")).expect("a line of JSON");
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(server.stop(), Some(0));
}
