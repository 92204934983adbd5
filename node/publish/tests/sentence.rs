//! The sentence "authenticate, admit, route, append", told against logs in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use meridian_commitlog::memory::MemoryLog;
use meridian_commitlog::{AppendError, ReadCommitted};
use meridian_model::{
    BatchBuilder, BatchError, Codec, GroupId, LogId, Message, NodeId, Offset, ProducerId, Refusal, TopicName,
    UnixMs,
};
use meridian_publish::{
    Admission, Anonymous, Authenticate, Caller, Credential, Health, Leader, PublishError, Published,
    Publisher, Refused, Route, RouteError, Routes,
};

const GROUP: GroupId = GroupId(3);
const LOG: LogId = LogId::from_u128(77);
const NOW: UnixMs = UnixMs(1_000_000_000_000);

struct Table(BTreeMap<TopicName, Route>);

impl Routes for Table {
    fn route(&self, topic: &TopicName, partition: u32) -> Result<Route, RouteError> {
        let route = self.0.get(topic).ok_or_else(|| RouteError::NoTopic(topic.clone()))?;
        match partition {
            0 => Ok(*route),
            _ => Err(RouteError::NoPartition { topic: topic.clone(), partition, partitions: 1 }),
        }
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, RouteError> {
        self.route(topic, 0).map(|_| 1)
    }
}

#[derive(Default)]
struct Backlog(AtomicU64);

impl Health for Backlog {
    fn backlog_bytes(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

struct OnlyAlice;

impl Authenticate for OnlyAlice {
    fn caller(&self, credential: &Credential) -> Option<Caller> {
        (*credential == token("alice")).then(|| Caller { name: "alice".into() })
    }
}

fn token(token: &str) -> Credential {
    Credential { token: Some(token.into()) }
}

struct Scene {
    log: Arc<MemoryLog>,
    backlog: Arc<Backlog>,
    publisher: Publisher,
}

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).expect("a name")
}

impl Scene {
    fn new(inflight_bytes: usize) -> Self {
        Self::for_callers(inflight_bytes, Arc::new(Anonymous))
    }

    fn for_callers(inflight_bytes: usize, callers: Arc<dyn Authenticate>) -> Self {
        let log = Arc::new(MemoryLog::new(NOW));
        log.create(GROUP);
        let route = Route { group: GROUP, log: LOG, leader: Leader::Here, disk_full: false };
        let routes = BTreeMap::from([
            (topic("here"), route),
            (topic("elsewhere"), Route { leader: Leader::Elsewhere(NodeId(2)), ..route }),
            (topic("nobody"), Route { leader: Leader::Unknown, ..route }),
            (topic("full"), Route { disk_full: true, ..route }),
        ]);
        let backlog = Arc::<Backlog>::default();
        let admission = Admission::new(inflight_bytes, 1_000, Arc::clone(&backlog) as _);
        let publisher = Publisher::new(callers, admission, Arc::new(Table(routes)), Arc::clone(&log) as _);
        Self { log, backlog, publisher }
    }

    async fn publish(&self, to: &str, partition: u32, batch: Bytes) -> Result<Published, PublishError> {
        self.publisher.publish(&Credential::default(), &topic(to), partition, batch, NOW).await?.await
    }

    fn stored(&self) -> Offset {
        self.log.bounds(GROUP).expect("is here").end
    }
}

fn batch(first: u64, count: u64) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None).producer(ProducerId::from_u128(5), 1, first);
    (first..first + count).for_each(|number| builder.push(&Message::new(format!("message {number}"))));
    builder.build().expect("a batch").into_bytes()
}

/// LOG-5.
#[tokio::test]
async fn a_batch_is_stored_and_its_resend_is_known() {
    let scene = Scene::new(1 << 20);
    let stored = scene.publish("here", 0, batch(0, 2)).await.expect("stored");
    assert_eq!(stored, Published { log: LOG, base: Offset(0), count: 2, duplicate: false });
    let again = scene.publish("here", 0, batch(0, 2)).await.expect("known");
    assert_eq!(again, Published { duplicate: true, ..stored });
    assert_eq!(scene.stored(), Offset(2));
}

/// LOG-7: outcomes may be awaited in any order; batches are stored in the order of the calls.
#[tokio::test]
async fn batches_are_stored_in_the_order_of_the_calls() {
    let scene = Scene::new(1 << 20);
    let here = topic("here");
    let mut outcomes = Vec::new();
    for number in 0..10 {
        let published =
            scene.publisher.publish(&Credential::default(), &here, 0, batch(number, 1), NOW).await;
        outcomes.push(published.expect("appended"));
    }
    for (outcome, number) in outcomes.into_iter().rev().zip((0..10).rev()) {
        assert_eq!(outcome.await.expect("stored").base, Offset(number));
    }
}

/// LOG-3: what is refused on the way is not stored.
#[tokio::test]
async fn whatever_stands_in_the_way_is_told_and_nothing_is_stored() {
    let scene = Scene::new(1 << 20);
    let mut damaged = batch(0, 1).to_vec();
    *damaged.last_mut().expect("bytes") ^= 1;
    let elsewhere = PublishError::Elsewhere { group: GROUP, node: NodeId(2) };
    let no_partition = RouteError::NoPartition { topic: topic("here"), partition: 1, partitions: 1 };
    let cases = [
        ("elsewhere", 0, batch(0, 1), elsewhere),
        ("nobody", 0, batch(0, 1), AppendError::NotLeader { leader: None }.into()),
        ("full", 0, batch(0, 1), AppendError::Refused(Refusal::DiskFull).into()),
        ("unknown", 0, batch(0, 1), RouteError::NoTopic(topic("unknown")).into()),
        ("here", 1, batch(0, 1), no_partition.into()),
        ("here", 0, damaged.into(), Refused::Corrupt(BatchError::PayloadCrc).into()),
        ("here", 0, batch(4, 1), AppendError::Refused(Refusal::UnknownProducer).into()),
    ];
    let count = cases.len();
    for (to, partition, batch, expected) in cases {
        assert_eq!(scene.publish(to, partition, batch).await, Err(expected), "to {to}/{partition}");
    }
    assert_eq!(scene.stored(), Offset(0));
    println!("{count} refusals, nothing stored");
}

#[tokio::test]
async fn leadership_lost_between_route_and_append_is_told_by_the_log() {
    let scene = Scene::new(1 << 20);
    scene.log.led_elsewhere(GROUP, Some(NodeId(3)));
    let refused = scene.publish("here", 0, batch(0, 1)).await;
    assert_eq!(refused, Err(AppendError::NotLeader { leader: Some(NodeId(3)) }.into()));
}

#[tokio::test]
async fn an_unknown_caller_is_turned_away_first() {
    let scene = Scene::for_callers(1 << 20, Arc::new(OnlyAlice));
    let to = topic("unknown");
    for credential in [Credential::default(), token("bob")] {
        let refused = scene.publisher.publish(&credential, &to, 0, batch(0, 1), NOW).await.err();
        assert_eq!(refused, Some(PublishError::Unauthenticated), "not even whether the topic exists");
    }
    let known = scene.publisher.publish(&token("alice"), &topic("here"), 0, batch(0, 1), NOW).await;
    assert_eq!(known.expect("appended").await.expect("stored").base, Offset(0));
}

#[tokio::test]
async fn what_is_in_flight_holds_its_share_until_it_is_answered() {
    let scene = Scene::new(batch(0, 1).len());
    let here = topic("here");
    scene.log.hold_answers();
    let first =
        scene.publisher.publish(&Credential::default(), &here, 0, batch(0, 1), NOW).await.expect("appended");
    assert_eq!(scene.publish("here", 0, batch(1, 1)).await, Err(Refused::Busy.into()));
    scene.log.release_answers();
    assert_eq!(first.await.expect("stored").base, Offset(0));
    assert_eq!(scene.publish("here", 0, batch(1, 1)).await.expect("there is room again").base, Offset(1));
}

/// The memory bound holds for batches in the queue, and a publisher that leaves does not take its batch along.
#[tokio::test]
async fn a_publisher_that_goes_away_gets_no_share_back_while_its_batch_is_under_way() {
    let scene = Scene::new(batch(0, 1).len());
    scene.log.hold_answers();
    for _ in 0..3 {
        drop(scene.publisher.publish(&Credential::default(), &topic("here"), 0, batch(0, 1), NOW).await);
        assert_eq!(scene.publish("here", 0, batch(1, 1)).await, Err(Refused::Busy.into()));
    }
    scene.log.release_answers();
    assert_eq!(scene.publish("here", 0, batch(1, 1)).await.expect("there is room again").base, Offset(1));
}

#[tokio::test]
async fn a_disk_that_is_behind_closes_the_gate_until_it_has_caught_up() {
    let scene = Scene::new(1 << 20);
    scene.backlog.0.store(1_001, Ordering::SeqCst);
    assert_eq!(scene.publish("here", 0, batch(0, 1)).await, Err(Refused::Busy.into()));
    scene.backlog.0.store(1_000, Ordering::SeqCst);
    assert_eq!(scene.publish("here", 0, batch(0, 1)).await.expect("stored").base, Offset(0));
}
