//! The power fails around the installation of a snapshot: before it, in the middle of it, while the log is
//! still behind the tables, and after. Nothing is served that is not whole, and the replica always arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use meridian_commitlog::{ReadCommitted, ReadError};
use meridian_model::{GroupId, Offset, UnixMs};
use meridian_raft::Registry;
use meridian_sdk::admin::TopicInfo;
use meridian_storage::keys::meta::{self, Fact};
use meridian_storage::{Engine, Family};
use tokio::task::JoinHandle;

use crate::cluster::Region;
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::power::Moment;
use crate::producer::Sender;
use crate::trimming::{purged_beyond, small_segments, trim};

const ROUNDS: u32 = 24;
const BODY_BYTES: usize = 2 * 1024;
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// What the rounds came across.
#[derive(Debug, Default)]
struct Met {
    cut_before_installing: u32,
    cut_while_installing: u32,
    cut_between_tables_and_log: u32,
    cut_later: u32,
    looks_while_catching_up: u64,
}

/// What a disk says after the power failed.
fn fact(region: &Region, topic: &TopicInfo, fact: Fact) -> bool {
    let key = meta::encode(topic.partitions[0].group, fact);
    region.disk(3).get(Family::Meta, &key).expect("memory reads").is_some()
}

/// Looks at a replica as fast as it can, and never sees it serve while it is catching up.
struct Sentry {
    stop: Arc<AtomicBool>,
    seen: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Sentry {
    fn at(registry: Arc<Registry>, group: GroupId) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, counted) = (Arc::clone(&stop), Arc::clone(&seen));
        let looking = tokio::spawn(async move {
            while !ended.load(Ordering::SeqCst) {
                if look(&registry, group).await {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self { stop, seen, looking }
    }

    async fn dismiss(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.looking.await.expect("a replica that is catching up serves nothing");
        self.seen.load(Ordering::SeqCst)
    }
}

/// Whether the replica was catching up before and after everything was asked of it; then nothing was answered.
async fn look(registry: &Registry, group: GroupId) -> bool {
    let Some(replica) = registry.get(group) else { return false };
    let before = replica.view().applied();
    let answers = [
        registry.bounds(group).map(drop),
        registry.read(group, before.start, 1024).await.map(drop),
        registry.read(group, before.end, 1024).await.map(drop),
        registry.offset_at(group, UnixMs(0)).await.map(drop),
    ];
    let after = replica.view().applied();
    // The tables do not change on the way to their position: the same end means the same installation.
    let throughout = before.catching_up && after.catching_up && before.end == after.end;
    if throughout {
        for answer in answers {
            assert!(matches!(answer, Err(ReadError::Unavailable(_))), "served while catching up: {answer:?}");
        }
        assert!(before.end > Offset(0));
    }
    throughout
}

/// Publishes without pause until told to stop, and returns what was acked.
fn publish_on(region: &Region, mut sender: Sender) -> (Arc<AtomicBool>, JoinHandle<(Sender, Ledger)>) {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let addresses: Vec<String> = [1, 2].map(|node| region.address(node)).into();
    let publishing = tokio::spawn(async move {
        let mut ledger = Ledger::default();
        while !ended.load(Ordering::SeqCst) {
            let first = sender.next;
            let batch = sender.batch(2, BODY_BYTES);
            let ack = sender.publish_surely(&addresses, batch).await;
            ledger.note(&sender, first, &ack, BODY_BYTES);
        }
        (sender, ledger)
    });
    (stop, publishing)
}

/// Moves the log on until node 3, which is down, can only be helped by a snapshot.
async fn leave_behind(
    region: &Region,
    topic: &TopicInfo,
    sender: &mut Sender,
    ledger: &mut Ledger,
    last: u64,
) {
    let addresses: Vec<String> = [1, 2].map(|node| region.address(node)).into();
    // Enough for two segments, and for some of the next.
    for _ in 0..20 {
        let first = sender.next;
        let batch = sender.batch(2, BODY_BYTES);
        let ack = sender.publish_surely(&addresses, batch).await;
        ledger.note(sender, first, &ack, BODY_BYTES);
    }
    trim(region, topic, 1).await;
    purged_beyond(region, topic, last).await;
}

impl Met {
    fn count(&mut self, region: &Region, topic: &TopicInfo, before: bool) {
        let counter = match (fact(region, topic, Fact::Installing), fact(region, topic, Fact::TablesAt)) {
            (true, _) => &mut self.cut_while_installing,
            (false, true) => &mut self.cut_between_tables_and_log,
            (false, false) if before => &mut self.cut_before_installing,
            (false, false) => &mut self.cut_later,
        };
        *counter += 1;
    }
}

/// LOG-1, LOG-4, LOG-8: whatever moment the power fails at.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_interrupted_at_any_moment_is_never_served_half() {
    let mut region = Region::start().await;
    let topic = region.topic("interrupted").await;
    let (name, group) = (topic.name.resource(), topic.partitions[0].group);
    small_segments(&region, &topic).await;
    region.make_leader(1, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let (mut ledger, mut met) = (Ledger::default(), Met::default());
    for round in 0..ROUNDS {
        let last = until("node 3 has a replica", async || region.status(3, &topic).await).await.last_index;
        region.lose_power(3).await;
        leave_behind(&region, &topic, &mut sender, &mut ledger, last).await;

        let (stop, publishing) = publish_on(&region, sender);
        region.start_node_that(3, Moment::AfterInstalling(group, round / 2)).await;
        let sentry = Sentry::at(region.registry(3), group);
        region.power(3).off().await;
        met.looks_while_catching_up += sentry.dismiss().await;
        region.lose_power(3).await;
        met.count(&region, &topic, round / 2 == 0);

        region.start_node(3).await;
        let sentry = Sentry::at(region.registry(3), group);
        until("the replica arrives", async || {
            let applied = region.group(3, &topic)?.view().applied();
            (applied.start > Offset(0) && !applied.catching_up).then_some(())
        })
        .await;
        stop.store(true, Ordering::SeqCst);
        let (returned, acked) = publishing.await.expect("publishes");
        sender = returned;
        ledger.extend(acked);
        let log = agreed(&region, &topic).await;
        met.looks_while_catching_up += sentry.dismiss().await;
        let (held, records) = replica_holds(&region, &topic, 3).await;
        assert_eq!((held.end, &held.chain_head), (log.end, &log.chain_head), "round {round}");
        ledger.check(&held, &records);
    }
    println!("{ROUNDS} rounds, {} messages acked: {met:?}", ledger.len());
    assert!(met.cut_before_installing > 0 && met.cut_while_installing > 0, "{met:?}");
    assert!(met.cut_between_tables_and_log > 0 && met.looks_while_catching_up > 0, "{met:?}");
}
