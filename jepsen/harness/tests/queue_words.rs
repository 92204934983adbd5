//! What consumers of the queue workload write down is judged rightly: nothing wrong is found in a queue that is right, and
//! what is wrong with one that is not. The queue is the fake one that the SDK is tested against.

#[path = "../../../client/sdk/tests/fake_cluster/mod.rs"]
mod fake_cluster;

use std::sync::Arc;
use std::time::Duration;

use fake_cluster::FakeCluster;
use fake_cluster::subscribe::SubscribeFault;
use meridian_checker::{AnomalyKind, Options, Promise, Report, Verdict, check};
use meridian_history::{Header, Memory, MonotonicClock, Place, Recorder, SubscriptionKind};
use meridian_sdk::{Client, ConnectError, Error, SystemClock, default_endpoint};
use meridian_workload::queue::{Habits, Queue, consume, drain, subscribe};
use meridian_workload::{Chance, Manner, Region, Scene, produce_by_sdk};
use tokio::task::JoinSet;
use tonic::transport::Channel;

const PARTITIONS: u32 = 2;
const MESSAGES: u64 = 400;
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Fake(FakeCluster);

impl Region for Fake {
    fn nodes(&self) -> Vec<u64> {
        (1..=self.0.addresses.len() as u64).collect()
    }

    fn name(&self, node: u64) -> String {
        format!("node-{node}")
    }

    fn channel(&self, node: u64) -> Result<Channel, ConnectError> {
        Ok(default_endpoint(&self.0.addresses[node as usize - 1])?.connect_lazy())
    }

    fn client(&self, seed: u64) -> Result<Client, Error> {
        Client::new(self.0.config().with_seed(seed))
    }
}

fn manner() -> Manner {
    Manner {
        message_pause_ms: 1,
        page_pause_ms: 1,
        control_pause_ms: 1,
        filler_bytes_max: 16,
        opens_again: true,
        turn: None,
        copies_move: false,
        unconfirmed_ends: false,
    }
}

/// Consumers at work, with `meanwhile` done to the queue again and again, until everything is consumed.
async fn run(meanwhile: impl Fn(&FakeCluster)) -> Report {
    let cluster = FakeCluster::with_topic(PARTITIONS).await;
    cluster.with(|state| state.subscribing.lease_ms = 60_000);
    let (memory, chance) = (Memory::default(), Chance::new(7));
    let recorder = Recorder::new(memory.clone(), &Header::new(Some(7)), MonotonicClock::start());
    let recorder = recorder.expect("memory is writable");
    // Producers end before consumers do.
    let [producing, scene] =
        [0, 1_000_000].map(|first| Arc::new(Scene::new("t", PARTITIONS, recorder.clone(), manner(), first)));
    let region = Fake(cluster.clone());
    let queue = Arc::new(Queue {
        subscription: "s".into(),
        kind: SubscriptionKind::Shared,
        lease_ms: 60_000,
        backoff_ms: (1_000, 60_000),
        dead_letters: None,
        start: Place::Earliest,
        credit: 4,
        // Its leases never end.
        habits: Habits { silence: 0, stay_ms: (50, 300), ..Habits::default() },
        clock: Arc::new(SystemClock),
        clocks_agree: true,
    });
    subscribe(&scene, &region, &queue, &mut chance.fork("subscribe")).await;
    let mut consumers = JoinSet::new();
    for nth in 0..3 {
        let chance = chance.fork(&format!("consumer-{nth}"));
        consumers.spawn(consume(scene.clone(), region.clone(), queue.clone(), nth, chance));
    }
    let producer = produce_by_sdk(producing.clone(), region.clone(), 0, chance.fork("producer"));
    let producer = tokio::spawn(producer);
    for _ in 0..MESSAGES / 20 {
        producing.tally.await_acks(20, WITHIN).await.expect("the producer goes on");
        meanwhile(&cluster);
        cluster.changed();
    }
    let unsettled = async |partition: u32| {
        let end = cluster.partition(partition, |partition| partition.end());
        Ok(end - cluster.with(|state| state.subscribing.queue(partition).settled.len() as u64))
    };
    producing.end();
    producer.await.expect("the producer ends");
    drain(&scene, &region, &queue, WITHIN, chance.fork("drain"), unsettled).await.expect("drained");
    scene.end();
    while consumers.join_next().await.is_some() {}
    recorder.finish().expect("recorded whole");
    let demanded = [Promise::Run, Promise::Sub2, Promise::Sub4].into();
    let options = Options { demanded, search_ops_max: 0, ..Options::default() };
    check(&memory.history().expect("a history"), &options)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_wrong_with_a_right_queue_whose_streams_break_and_whose_leaders_are_away() {
    let times = std::sync::atomic::AtomicU32::new(0);
    let report = run(|cluster| {
        let nth = times.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        cluster.with(|state| match nth % 4 {
            0 => state.subscribing.script.push_back(SubscribeFault::BreakBefore),
            1 => state.subscribing.script.push_back(SubscribeFault::BreakAfter),
            2 => {
                state.subscribing.away.insert(nth % PARTITIONS);
            }
            _ => state.subscribing.away.clear(),
        });
    })
    .await;
    for promise in [Promise::Run, Promise::Sub2, Promise::Sub4] {
        assert_eq!(report.verdict(promise), &Verdict::Pass, "{report}");
    }
    assert!(!report.is_fail(), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_forgets_an_ack_is_found_out() {
    let report = run(|cluster| {
        cluster.with(|state| state.subscribing.queue(0).settled.pop_first());
    })
    .await;
    assert!(report.found(AnomalyKind::RedeliveredAfterAck), "{report}");
}
