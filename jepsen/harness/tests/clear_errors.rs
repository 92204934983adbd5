//! What cannot be done is refused clearly and in bounded time: without a quorum, on a full disk, at start-up.

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use meridian_harness::arena::{Arena, Plan, large_run, say};
use meridian_harness::cluster::{Process, tail};
use meridian_harness::disk::DiskKind;
use meridian_harness::wait;
use meridian_harness::workload::{Looked, Spec};
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{ErrorReason, Failure, GetLogRequest, PlainMessage, PlainMessages, PublishRequest};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig, Error, Message, NodeId, Retention, Start};
use tonic::{Code, Status};

const TOPIC: &str = "events";
/// What "bounded" means for a call that is given two seconds.
const BOUND: Duration = Duration::from_secs(15);
const CATCH_UP: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_nodes_down_means_clear_errors_in_bounded_time() -> Result<()> {
    let arena = Arena::open(Plan::new("no-quorum", 40)).await?;
    arena.topic(TOPIC, 1, Retention::default()).await?;
    publish(&arena, 1, 10).await.map_err(|status| anyhow::anyhow!("{status}"))?;
    for id in [2, 3] {
        arena.faults.kill(id)?;
    }
    // Each question is asked, whatever became of the one before.
    let answers =
        [expect_wire_refusal(&arena).await, expect_no_end(&arena).await, expect_sdk_errors(&arena).await];
    ensure!(arena.cluster.ask(1).await.is_ok(), "the last node does not even say how it is");
    let own = arena.cluster.client(3)?.reader(TOPIC).replica(NodeId(1)).start(Start::Earliest).open().await;
    let mut own = own.context("the last node's own copy cannot be read")?;
    ensure!(own.next().await.is_some(), "the last node's own copy is empty");
    for id in [2, 3] {
        arena.faults.restart("kill", id).await?;
    }
    let since = Instant::now();
    wait::until("a publish after the quorum is back", CATCH_UP, async || publish(&arena, 1, 10).await.ok())
        .await?;
    say(&format!("  publishes again {:.2} s after the quorum was back", since.elapsed().as_secs_f64()));
    let wrong: Vec<String> =
        answers.into_iter().filter_map(|answer| Some(format!("{:#}", answer.err()?))).collect();
    ensure!(wrong.is_empty(), "{wrong:#?}");
    arena.finish();
    Ok(())
}

async fn expect_wire_refusal(arena: &Arena) -> Result<()> {
    let refused = timed("publish over the wire", publish(arena, 1, 10)).await?;
    expect_unavailable(&refused.err().context("a publish was acked without a quorum")?)
}

async fn expect_no_end(arena: &Arena) -> Result<()> {
    let mut reads = ReadServiceClient::new(arena.cluster.channel(1)?);
    let request = GetLogRequest { topic: TOPIC.into(), linearizable: true, ..GetLogRequest::default() };
    let refused = timed("linearizable end", reads.get_log(request)).await?;
    expect_unavailable(&refused.err().context("a linearizable end without a quorum")?)
}

async fn expect_sdk_errors(arena: &Arena) -> Result<()> {
    let impatient = ClientConfig::new(arena.cluster.ids().into_iter().map(|id| arena.cluster.address(id)))
        .with_operation_timeout(Duration::from_secs(2))
        .with_attempt_timeout(Duration::from_secs(1));
    let client = Client::new(impatient)?;
    let made = timed("create topic", client.admin().create_topic(NewTopic::new("other", 1))).await?;
    let error = made.err().context("a topic was made without a quorum")?;
    ensure!(error.is_unavailable(), "create topic: {error}");
    let sent = timed("publish by SDK", send(&client)).await?;
    let error = sent.err().context("the SDK acked a message without a quorum")?;
    ensure!(error.is_unavailable(), "publish: {error}");
    say(&format!("  the SDK says: {error}; hint: {}", error.hint()));
    Ok(())
}

async fn send(client: &Client) -> Result<(), Error> {
    let producer = client.producer(TOPIC).delivery_timeout(Duration::from_secs(2)).build().await?;
    producer.send(Message::new("x")).await?.await.map(drop)
}

async fn timed<T>(what: &str, call: impl Future<Output = T>) -> Result<T> {
    let begun = Instant::now();
    let Ok(answer) = tokio::time::timeout(BOUND, call).await else {
        bail!("{what} hangs: nothing within {} s", BOUND.as_secs())
    };
    say(&format!("  {what}: answered after {:.2} s", begun.elapsed().as_secs_f64()));
    Ok(answer)
}

fn expect_unavailable(status: &Status) -> Result<()> {
    let reason = Failure::from_status(status).reason();
    let clear = matches!(reason, ErrorReason::Unavailable | ErrorReason::Indeterminate);
    ensure!(clear && status.code() != Code::DeadlineExceeded, "{reason:?}: {status}");
    Ok(())
}

/// One batch of plain messages through one node, once.
async fn publish(arena: &Arena, at: u64, messages: usize) -> Result<(), Status> {
    let channel = arena.cluster.channel(at).map_err(|error| Status::internal(error.to_string()))?;
    let message = PlainMessage { body: vec![7u8; 1_000].into(), ..PlainMessage::default() };
    let messages = PlainMessages { messages: vec![message; messages] };
    let request = PublishRequest {
        topic: TOPIC.into(),
        partition: Some(0),
        payload: Some(Payload::Messages(messages)),
        ..PublishRequest::default()
    };
    PublishServiceClient::new(channel).publish(request).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_publishes_while_trim_and_recovery_go_on() -> Result<()> {
    let plan = Plan::new("disk-full", 60).with_disks(DiskKind::Image { bytes: 512 << 20 });
    let plan = plan.with_setup(|setup| setup.watermark_percent = Some(85));
    let arena = Arena::open(plan).await?;
    arena.topic(TOPIC, 1, Retention::default()).await?;
    // Enough for retention to have closed segments to remove.
    for _ in 0..40 {
        publish(&arena, 1, 1_000).await.map_err(|status| anyhow::anyhow!("while there is room: {status}"))?;
    }
    for id in arena.cluster.ids() {
        arena.faults.fill(id, 92)?;
    }
    let refused =
        wait::until("publishes to be refused", CATCH_UP, async || publish(&arena, 1, 10).await.err());
    let refused = refused.await?;
    let reason = Failure::from_status(&refused).reason();
    ensure!(reason == ErrorReason::DiskFull, "{reason:?}: {refused}");
    let before = arena.cluster.any_log(TOPIC, 0).await?;
    let retention = Retention { age_ms: None, bytes: Some(10 << 20) };
    arena.cluster.client(1)?.admin().update_topic(TOPIC, retention, None).await?;
    let trimmed = wait::until("a trim on a full disk", CATCH_UP, async || {
        let log = arena.cluster.any_log(TOPIC, 0).await.ok()?;
        (log.log_start > before.log_start).then_some(log.log_start)
    });
    say(&format!("  refused: {}; trimmed up to {} all the same", refused.message(), trimmed.await?));
    let leader = arena.cluster.await_leader(TOPIC, 0, CATCH_UP).await?;
    arena.faults.kill(leader)?;
    let took = arena.faults.restart("kill", leader).await?;
    say(&format!("  a node recovered on a full disk in {:.2} s", took.as_secs_f64()));
    for id in arena.cluster.ids() {
        arena.faults.unfill(id)?;
    }
    wait::until("publishes to go on", CATCH_UP, async || publish(&arena, 1, 10).await.ok()).await?;
    arena.cluster.await_converged(TOPIC, 0, CATCH_UP).await?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_fails_writes_stops_with_an_error() -> Result<()> {
    let arena = Arena::open(Plan::new("write-error", 30).with_disks(DiskKind::ROOMY)).await?;
    arena.topic(TOPIC, 1, Retention::default()).await?;
    let leader = arena.cluster.await_leader(TOPIC, 0, CATCH_UP).await?;
    arena.cluster.node(leader)?.disk().cut_power()?;
    let other = if leader == 1 { 2 } else { 1 };
    let exit = wait::until("the node to stop", CATCH_UP, async || {
        let _ = tokio::time::timeout(Duration::from_secs(1), publish(&arena, other, 1)).await;
        arena.cluster.node(leader).ok()?.own_exit()
    });
    let exit = exit.await?;
    ensure!(exit.code.is_some_and(|code| code != 0), "it ended with {exit:?}");
    wait::until("the others to go on", CATCH_UP, async || publish(&arena, other, 1).await.ok()).await?;
    arena.cluster.node(leader)?.disk().restore_power()?;
    arena.cluster.start_node(leader).await?;
    arena.cluster.await_converged(TOPIC, 0, CATCH_UP).await?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_disk_turns_read_only_stops_and_rejoins_once_it_can_write() -> Result<()> {
    let mut arena =
        Arena::open(Plan::new("read-only", 20).with_disks(DiskKind::ROOMY).with_read_only()).await?;
    arena.topic(TOPIC, 1, Retention::default()).await?;
    let workload = arena.workload(TOPIC, 1, &Spec { pace_ms: 20, ..Spec::default() });
    workload.tally().await_acks(60, CATCH_UP).await?;
    let leader = arena.cluster.await_leader(TOPIC, 0, CATCH_UP).await?;
    let since = Instant::now();
    arena.faults.turn_read_only(leader)?;
    let exit =
        wait::until("the node to stop", CATCH_UP, async || arena.cluster.node(leader).ok()?.own_exit());
    let exit = exit.await?;
    ensure!(exit.code.is_some_and(|code| code != 0), "it ended with {exit:?}");
    let said = arena.cluster.node(leader)?.log_tail();
    ensure!(said.to_lowercase().contains("read-only"), "nothing of a read-only disk in: {said}");
    arena.recovered(&workload, since).await?;
    say(&format!("  exit code {:?}: {}", exit.code, said.lines().last().unwrap_or_default()));
    arena.faults.turn_writable(leader).await?;
    workload.look_at(leader, &mut Looked::default(), CATCH_UP).await?;
    let judged = arena.conclude(workload, &large_run()).await?;
    arena.expect_pass(&judged)?;
    arena.finish();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_configurations_and_folders_are_refused_by_name() -> Result<()> {
    let arena = Arena::open(Plan::new("start-up", 30)).await?;
    let start = StartUp::of(&arena)?;
    // While node 1 runs: its port, then its folder.
    let elsewhere = start.config.replace("disk-1/data", "disk-1/other");
    start.expect_refusal("port", &elsewhere, &["use", "7171"])?;
    let other_ports = start.config.replace(":717", ":718");
    start.expect_refusal("folder in use", &other_ports, &["in use", "another process"])?;
    arena.cluster.node(1)?.shut_down()?;
    let other_name = start.config.replace("name = \"jepsen\"", "name = \"other\"");
    start.expect_refusal("another cluster's folder", &other_name, &["cluster", "jepsen", "other"])?;
    let other_node = start.config.replacen("id = 1", "id = 2", 1);
    start.expect_refusal("another node's folder", &other_node, &["belongs to", "node-1", "node-2"])?;
    let unknown = start.config.replace("[storage]", "[storage]\ncolour = 3");
    start.expect_refusal("an unknown key", &unknown, &["colour"])?;
    let identity = arena.cluster.node(1)?.disk().data().join("meridian.json");
    let was = std::fs::read_to_string(&identity)?;
    std::fs::write(&identity, was.replace("\"format\": 1", "\"format\": 99"))?;
    start.expect_refusal("a newer format", &start.config, &["format 99", "newer"])?;
    std::fs::write(&identity, was)?;
    arena.cluster.start_node(1).await?;
    arena.finish();
    Ok(())
}

/// Starts node 1 with changed configurations.
struct StartUp {
    config: String,
    folder: PathBuf,
}

impl StartUp {
    fn of(arena: &Arena) -> Result<Self> {
        let config = std::fs::read_to_string(arena.cluster.node(1)?.file("toml"))?;
        Ok(Self { config: config.replace("node-1.ready.json", "node-1.never.json"), folder: arena.folder() })
    }

    /// The process must end with an error and say all of `words`.
    fn expect_refusal(&self, what: &str, config: &str, words: &[&str]) -> Result<()> {
        let (file, log) = (self.folder.join("changed.toml"), self.folder.join("changed.log"));
        let _ = std::fs::remove_file(&log);
        std::fs::write(&file, config)?;
        let mut process = Process::serve(&file, &log, None, &[])?;
        let exit = wait::until_blocking(&format!("{what} to be refused"), CATCH_UP, || process.exit());
        let exit = exit.with_context(|| tail(&log))?;
        let said = tail(&log);
        ensure!(exit.code.is_some_and(|code| code != 0), "{what}: ended with {exit:?}: {said}");
        for word in words {
            ensure!(said.contains(word), "{what}: nothing of {word:?} in: {said}");
        }
        say(&format!("  {what}: exit code {:?}: {}", exit.code, said.lines().last().unwrap_or_default()));
        Ok(())
    }
}
