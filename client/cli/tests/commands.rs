//! The commands as a user types them, against a cluster in memory.

#[path = "../../sdk/tests/fake_cluster/mod.rs"]
mod fake_cluster;

use std::io::{self, Write};
use std::sync::Arc;

use clap::Parser;
use fake_cluster::{FakeCluster, Fault};
use meridian_cli::{ClientCommand, Console, GlobalArgs, run_on};
use meridian_sdk::Reason;
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: ClientCommand,
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Ran {
    code: u8,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

async fn run_at(server: &str, line: &[&str]) -> Ran {
    let words = ["meridian", "--server", server].into_iter().chain(line.iter().copied());
    let parsed = CommandLine::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (out, err) = (Sink::default(), Sink::default());
    let mut console = Console::new(out.clone(), err.clone());
    let code = run_on(parsed.command, parsed.global, &mut console).await;
    let text = |sink: Sink| String::from_utf8(sink.0.lock().clone()).expect("text");
    Ran { code, out: text(out), err: text(err) }
}

async fn run(cluster: &FakeCluster, line: &[&str]) -> Ran {
    run_at(&cluster.addresses.join(","), line).await
}

#[tokio::test]
async fn topics_live_and_die() {
    let cluster = FakeCluster::start(3).await;
    let created =
        run(&cluster, &["topic", "create", "flights", "--partitions", "4", "--retention-age", "7d"]).await;
    assert_eq!(
        (created.code, created.out.trim()),
        (0, "created topic flights: partitions 4, copies 3, keeps 7days")
    );
    let listed = run(&cluster, &["topic", "list"]).await;
    assert!(listed.out.contains("flights") && listed.out.contains("7days"), "{}", listed.out);
    let updated =
        run(&cluster, &["topic", "update", "flights", "--retention-bytes", "1GiB", "--output", "json"]).await;
    assert_eq!(
        updated.json()["retention"],
        json!({ "age_ms": 604_800_000, "bytes": 1u64 << 30 }),
        "age is kept"
    );
    let cleared =
        run(&cluster, &["topic", "update", "flights", "--retention-age", "none", "--output", "json"]).await;
    assert_eq!(cleared.json()["retention"]["age_ms"], Value::Null);
    let more = run(&cluster, &["topic", "add-partitions", "flights", "--total", "6"]).await;
    assert!(more.err.starts_with("warning: keys re-route"), "{}", more.err);
    let described = run(&cluster, &["topic", "describe", "flights"]).await;
    assert_eq!(described.out.lines().count(), 8, "{}", described.out);
    let deleted = run(&cluster, &["topic", "delete", "flights"]).await;
    assert_eq!(deleted.out.trim(), "deleted topic flights");
    let gone = run(&cluster, &["topic", "describe", "flights", "--output", "json"]).await;
    let error: Value = serde_json::from_str(&gone.err).expect("JSON on the second stream");
    assert_eq!(
        (gone.code, &error["error"]["reason"], &error["error"]["retryable"]),
        (1, &json!("NOT_FOUND"), &json!(false))
    );
}

#[tokio::test]
async fn tenants_namespaces_and_status() {
    let cluster = FakeCluster::with_topic(2).await;
    assert_eq!(run(&cluster, &["tenant", "create", "acme"]).await.code, 0);
    assert_eq!(run(&cluster, &["tenant", "list"]).await.out, "default\nacme\n");
    assert_eq!(run(&cluster, &["namespace", "create", "acme/web"]).await.code, 0);
    let namespaces = run(&cluster, &["namespace", "list", "--tenant", "acme", "--output", "json"]).await;
    assert_eq!(namespaces.json()["namespaces"], json!(["web"]));
    assert_eq!(run(&cluster, &["namespace", "delete", "acme/web"]).await.code, 0);
    assert_eq!(run(&cluster, &["tenant", "delete", "acme"]).await.code, 0);
    let status = run(&cluster, &["status", "--groups"]).await;
    assert!(
        status.out.contains("2 of 3 nodes reachable") && status.out.contains("UNREACHABLE"),
        "{}",
        status.out
    );
    let status = run(&cluster, &["status", "--groups", "--output", "json"]).await.json();
    assert_eq!(
        (&status["nodes"][2]["reachable"], &status["groups"][0]["log_end"]),
        (&json!(false), &json!(9))
    );
}

#[tokio::test]
async fn lines_go_in_and_come_out_in_order_of_their_keys() {
    let cluster = FakeCluster::start(3).await;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for number in 0..1_000 {
        writeln!(file, r#"{{"origin":"A{}","number":{number}}}"#, number % 9).expect("written");
    }
    let path = file.path().to_str().expect("a path");
    let line =
        ["publish", "flights", "--file", path, "--key-field", "origin", "--create", "--partitions", "3"];
    let published = run(&cluster, &[&line[..], &["--output", "json"]].concat()).await;
    assert_eq!((published.code, &published.json()["messages"]), (0, &json!(1_000)), "{}", published.err);
    let read = run(&cluster, &["read", "flights"]).await;
    let mut last = std::collections::BTreeMap::new();
    for line in read.out.lines() {
        let flight: Value = serde_json::from_str(line).expect("as it was");
        let number = flight["number"].as_u64().expect("a number");
        let before = last.insert(flight["origin"].to_string(), number);
        assert!(before.is_none_or(|before| before < number));
    }
    assert_eq!(read.out.lines().count(), 1_000);
}

#[tokio::test]
async fn messages_from_the_command_line_and_every_way_to_print_them() {
    let cluster = FakeCluster::with_topic(1).await;
    let line = [
        "publish",
        "t",
        "--key",
        "k",
        "--message",
        "one",
        "--message",
        "two",
        "--producer",
        "me",
        "--codec",
        "zstd",
    ];
    let published = run(&cluster, &line).await;
    assert!(published.out.starts_with("published 2 messages (6 B) to t in "), "{}", published.out);
    assert_eq!(run(&cluster, &["read", "t", "--from", "1"]).await.out, "two\n");
    assert_eq!(run(&cluster, &["read", "t", "--count", "1", "--follow"]).await.out, "one\n");
    assert_eq!(run(&cluster, &["read", "t", "--from", "latest", "--replica", "2"]).await.out, "");
    let json = run(&cluster, &["read", "t", "--count", "1", "--output", "json"]).await.json();
    assert_eq!((&json["offset"], &json["key"], &json["body"]), (&json!(0), &json!("k"), &json!("one")));
    let full = run(&cluster, &["read", "t", "--from", "1", "--format", "full"]).await.json();
    assert_eq!((&full["sequence"], &full["epoch"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn failures_say_what_to_do_and_have_their_exit_code() {
    let nobody = run_at("127.0.0.1:1", &["status"]).await;
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.contains("127.0.0.1:1") && nobody.err.contains("meridian dev"), "{}", nobody.err);
    let cluster = FakeCluster::with_topic(1).await;
    assert_eq!(run_at("nonsense", &["status"]).await.code, 2);
    assert_eq!(run(&cluster, &["publish", "a b", "--message", "x"]).await.code, 2);
    assert_eq!(run(&cluster, &["publish", "none", "--message", "x"]).await.code, 1);
    let missing = run(&cluster, &["publish", "t", "--file", "/does/not/exist"]).await;
    assert!(missing.code == 1 && missing.err.contains("/does/not/exist"), "{}", missing.err);
    let not_json = run(&cluster, &["publish", "t", "--message", "{}", "--key-field", "origin"]).await;
    assert!(
        not_json.code == 1 && not_json.err.contains("line 1") && not_json.err.contains("origin"),
        "{}",
        not_json.err
    );
    cluster.script(0, [Fault::Refuse(Reason::TooLarge)]);
    let refused = run(&cluster, &["publish", "t", "--message", "x", "--output", "json"]).await;
    assert_eq!((refused.code, &refused.json()["failed"]), (1, &json!(1)));
    cluster.take_down(1);
    let slow = run(&cluster, &["publish", "t", "--message", "x", "--timeout", "500ms"]).await;
    assert_eq!(slow.code, 3, "{}", slow.err);
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cluster = FakeCluster::with_topic(1).await;
    run(&cluster, &["publish", "t", "--message", "x"]).await;
    let parsed =
        CommandLine::parse_from(["meridian", "--server", &cluster.addresses[0], "read", "t", "--follow"]);
    let err = Sink::default();
    let mut console = Console::new(Closed, err.clone());
    assert_eq!(run_on(parsed.command, parsed.global, &mut console).await, 0);
    assert!(err.0.lock().is_empty());
}

#[test]
fn wrong_usage_is_refused_before_anything_happens() {
    for line in [
        vec!["topic", "create", "t", "--partitions", "0"],
        vec!["topic", "create", "t", "--retention-age", "soon"],
        vec!["read", "t", "--from", "yesterday"],
        vec!["publish", "t", "--key", "a", "--key-field", "b"],
        vec!["publish", "t", "--message", "a", "--file", "b"],
    ] {
        let words = ["meridian"].iter().chain(&line);
        let error = CommandLine::try_parse_from(words).err().expect("refused");
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
    <CommandLine as clap::CommandFactory>::command().debug_assert();
}

#[tokio::test]
async fn a_subscription_is_printed_and_what_was_printed_is_acked() {
    let cluster = FakeCluster::with_topic(1).await;
    let publish = ["publish", "t", "--key", "k", "--message", "a", "--message", "b", "--message", "c"];
    assert_eq!(run(&cluster, &publish).await.code, 0);
    let subscribe = ["subscribe", "t", "--subscription", "s", "--create", "--from", "earliest"];
    let peek = run(&cluster, &[&subscribe[..], &["--messages-max", "3", "--ack", "none"]].concat()).await;
    assert_eq!((peek.code, peek.out.as_str()), (0, "a\nb\nc\n"), "{}", peek.err);
    assert!(!cluster.with(|state| state.subscribing.is_settled(0, 0)));
    let first = run(&cluster, &[&subscribe[..], &["--messages-max", "1", "--output", "json"]].concat()).await;
    let line = first.json();
    assert_eq!((&line["offset"], &line["attempt"], &line["key"]), (&json!(0), &json!(1), &json!("k")));
    assert!(cluster.with(|state| state.subscribing.is_settled(0, 0)));
    let rest = run(&cluster, &[&subscribe[..], &["--idle", "100ms"]].concat()).await;
    assert_eq!((rest.code, rest.out.as_str()), (0, "b\nc\n"), "{}", rest.err);
    assert!(cluster.with(|state| state.subscribing.is_settled(0, 2)));
}

#[tokio::test]
async fn pulled_messages_are_acked_and_given_back_by_their_ids() {
    let cluster = FakeCluster::with_topic(1).await;
    let publish = ["publish", "t", "--message", "a", "--message", "b"];
    assert_eq!(run(&cluster, &publish).await.code, 0);
    let pull = ["pull", "t", "--subscription", "s", "--messages-max", "10"];
    let pulled = run(&cluster, &pull).await;
    let ids: Vec<&str> = pulled.out.lines().filter_map(|line| Some(line.split_once('\t')?.0)).collect();
    assert_eq!((pulled.code, ids.len()), (0, 2), "{}", pulled.err);
    let acked = run(&cluster, &["ack", "t", "--subscription", "s", ids[0]]).await;
    assert_eq!((acked.code, acked.out.trim()), (0, "acked: 1 of 1"));
    let nacked = run(&cluster, &["nack", "t", "--subscription", "s", ids[1], "--output", "json"]).await;
    assert_eq!((nacked.code, &nacked.json()["done"]), (0, &json!(1)));
    let again = run(&cluster, &[&pull[..], &["--output", "json"]].concat()).await.json();
    assert_eq!((&again["body"], &again["attempt"]), (&json!("b"), &json!(2)));
    let late = run(&cluster, &["nack", "t", "--subscription", "s", ids[0]]).await;
    assert_eq!((late.code, late.out.trim()), (1, "given back: 0 of 1"));
    assert!(late.err.contains("error:"), "{}", late.err);
    assert_eq!(run(&cluster, &["ack", "t", "--subscription", "s", "what"]).await.code, 1);
}
