//! `meridian dev`, and the client commands against it: what the README takes a newcomer through.

use serde_json::Value;

use crate::process::{Server, free_ports, run, run_with, stdout_of};

fn dev(nodes: &str, port: &str, folder: &str) -> Server {
    let server = Server::start(&["dev", "--nodes", nodes, "--port", port, "--data", folder]);
    server.says("Stop it with Ctrl-C");
    server
}

/// The first steps of a newcomer; the data outlives the playground.
fn first_steps(nodes: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("playground").display().to_string();
    let port = free_ports().to_string();
    let server = format!("127.0.0.1:{port}");
    let at = |arguments: &[&str]| -> Vec<String> {
        ["--server", &server].iter().chain(arguments).map(|argument| argument.to_string()).collect()
    };
    let call = |arguments: &[&str]| {
        let all = at(arguments);
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };

    let playground = dev(nodes, &port, &data);
    // A moment after the start not every node is known yet: the topic must have all of its copies all the same.
    stdout_of(&call(&["topic", "create", "hello", "--partitions", "3"]));
    let topic = stdout_of(&call(&["topic", "describe", "hello", "--output", "json"]));
    let topic: Value = serde_json::from_str(&topic).expect("JSON");
    assert_eq!(topic["replication"].to_string(), nodes, "{topic}");
    let lines: Vec<String> = (0..500).map(|number| format!("line {number}")).collect();
    let arguments = at(&["publish", "hello"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    stdout_of(&run_with(&arguments, (lines.join("\n") + "\n").as_bytes()));
    let mut read: Vec<String> = stdout_of(&call(&["read", "hello"])).lines().map(str::to_owned).collect();
    read.sort_by_key(|line| line["line ".len()..].parse::<u32>().expect("a number"));
    assert_eq!(read, lines);
    let status: Value =
        serde_json::from_str(&stdout_of(&call(&["status", "--output", "json"]))).expect("JSON");
    assert_eq!(status["nodes"].as_array().map(Vec::len).unwrap_or_default().to_string(), nodes, "{status}");
    assert!(stdout_of(&call(&["status"])).contains("reachable"));
    assert_eq!(playground.stop(), Some(0), "an orderly end");

    let playground = dev(nodes, &port, &data);
    assert_eq!(stdout_of(&call(&["read", "hello"])).lines().count(), 500, "the data stays");
    assert_eq!(playground.stop(), Some(0));
}

#[test]
fn a_playground_of_one_node_keeps_what_was_published() {
    first_steps("1");
}

#[test]
fn a_playground_of_three_nodes_keeps_what_was_published() {
    first_steps("3");
}

#[test]
fn a_playground_of_two_is_refused_with_the_reason() {
    let refused = run(&["dev", "--nodes", "2"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("of which any one may fail"), "{refused:?}");
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout_of(&run(&["completions", shell]));
        assert!(script.contains("publish") && script.contains("--output"), "{shell}");
    }
    let output = run_with(&["completions", "bash"], b"");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("meridian.bash");
    std::fs::write(&file, &output.stdout).expect("written");
    let checked = std::process::Command::new("bash").arg("-n").arg(&file).status().expect("bash runs");
    assert!(checked.success(), "bash understands its script");
}
