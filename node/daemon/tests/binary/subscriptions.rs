//! `meridian subscription`, as an operator types it, against three nodes.

use std::process::Output;

use serde_json::{Value, json};

use crate::process::{Server, free_ports, run, run_with, stdout_of};

/// A playground of three nodes, and the way to it.
struct Playground {
    _folder: tempfile::TempDir,
    server: Server,
    address: String,
}

impl Playground {
    fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_ports().to_string());
        let data = folder.path().join("playground").display().to_string();
        let server = Server::start(&["dev", "--nodes", "3", "--port", &port, "--data", &data]);
        server.says("Stop it with Ctrl-C");
        Self { _folder: folder, server, address: format!("127.0.0.1:{port}") }
    }

    fn at<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        ["--server", &self.address].into_iter().chain(arguments.iter().copied()).collect()
    }

    fn call(&self, arguments: &[&str]) -> Output {
        run(&self.at(arguments))
    }

    fn says(&self, arguments: &[&str]) -> String {
        stdout_of(&self.call(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let all: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        serde_json::from_str(&self.says(&all)).expect("JSON")
    }

    fn publish(&self, topic: &str, messages: u32) {
        let lines: String = (0..messages).map(|number| format!("line {number}\n")).collect();
        stdout_of(&run_with(&self.at(&["publish", topic]), lines.as_bytes()));
    }
}

/// What is to be settled over all partitions.
fn backlog(described: &Value) -> u64 {
    let partitions = described["partitions"].as_array().expect("partitions");
    partitions.iter().map(|partition| partition["backlog_messages"].as_u64().expect("a number")).sum()
}

#[test]
fn an_operator_takes_a_subscription_from_its_creation_to_its_end() {
    let playground = Playground::start();
    playground.says(&["topic", "create", "flights", "--partitions", "3"]);
    playground.says(&["topic", "create", "dead"]);
    let line = ["subscription", "create", "flights", "board", "--attempts", "5", "--dead-letter", "dead"];
    let created = playground.says(&[&line[..], &["--from", "earliest"]].concat());
    assert_eq!(
        created.trim(),
        "created subscription board of flights: shared, lease 30s, tries 5 attempts, then dead"
    );
    playground.publish("flights", 300);

    let listed = playground.says(&["subscription", "list", "flights"]);
    assert!(listed.starts_with("SUBSCRIPTION") && listed.contains("board"), "{listed}");
    let described = playground.json(&["subscription", "describe", "flights", "board"]);
    assert_eq!((backlog(&described), &described["attempts_max"]), (300, &json!(5)));
    assert_eq!(playground.says(&["subscription", "describe", "flights", "board"]).lines().count(), 5);

    let changed = playground.json(&[
        "subscription",
        "update",
        "flights",
        "board",
        "--lease",
        "1m",
        "--durable",
        "false",
    ]);
    assert_eq!((&changed["lease_ms"], &changed["durable"]), (&json!(60_000), &json!(false)));
    assert_eq!((&changed["attempts_max"], &changed["id"]), (&json!(5), &described["id"]), "the rest stays");

    playground.says(&["subscription", "clear", "flights", "board"]);
    assert_eq!(backlog(&playground.json(&["subscription", "describe", "flights", "board"])), 0);
    let sought = playground.json(&["subscription", "seek", "flights", "board", "--to", "-1h"]);
    assert_eq!(sought["partitions"].as_array().map(Vec::len), Some(3));
    assert_eq!(backlog(&playground.json(&["subscription", "describe", "flights", "board"])), 300);
    let most =
        described["partitions"].as_array().and_then(|all| all.iter().max_by_key(|p| p["log_end"].as_u64()));
    let partition = most.expect("a partition")["partition"].to_string();
    let line = ["subscription", "skip", "flights", "board", "--messages", "10", "--partition", &partition];
    assert_eq!(playground.json(&line)["partitions"][0]["skipped_messages"], json!(10));
    assert_eq!(backlog(&playground.json(&["subscription", "describe", "flights", "board"])), 290);

    let deleted = playground.says(&["subscription", "delete", "flights", "board"]);
    assert_eq!(deleted.trim(), "deleted subscription board of flights");
    let empty = playground.says(&["subscription", "list", "flights"]);
    assert!(empty.contains("meridian subscription create flights NAME"), "{empty}");
    assert_eq!(playground.server.stop(), Some(0));
}

#[test]
fn what_an_operator_gets_wrong_is_refused_and_said_how_to_put_right() {
    let playground = Playground::start();
    playground.says(&["topic", "create", "flights", "--partitions", "2"]);
    playground.says(&["subscription", "create", "flights", "board"]);
    for (line, code, said) in [
        (&["create", "flights", "other", "--attempts", "3"][..], 2, "name a dead-letter topic too"),
        (&["create", "flights", "other", "--attempts", "0"], 2, "none to try for ever"),
        (&["create", "flights", "other", "--kind", "sideways"], 2, "key-shared"),
        (&["create", "flights", "other", "--lease", "1ms"], 2, "100 to"),
        (&["create", "nowhere", "board"], 1, "does not exist"),
        (&["create", "flights", "board"], 1, "exists already"),
        (&["describe", "flights", "nobody"], 1, "no subscription \"nobody\""),
        (&["seek", "flights", "board", "--to", "0"], 2, "one partition"),
        (&["seek", "flights", "board", "--to", "9", "--partition", "0"], 1, "offset"),
        (&["seek", "flights", "board", "--to", "earliest", "--partition", "7"], 1, "no partition 7"),
    ] {
        let refused = playground.call(&[&["subscription"], line].concat());
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{line:?}: {told}");
        assert!(told.contains(said), "{line:?}: {told}");
    }
    assert_eq!(playground.server.stop(), Some(0));
}
