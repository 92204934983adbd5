//! OVL-1: many clients without restraint, several times the load that the region can take, and readers far behind.
//! Every node's memory stays within what its configuration says, the surplus is refused with a time after which to try
//! again, nobody is elected, and the work that is done meanwhile does not collapse.

mod load;
mod watch;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use meridian_harness::arena::{Arena, Plan, say};
use meridian_harness::cluster::{LimitsSection, Memory, Timing};
use meridian_sdk::Retention;

use load::{Load, Readers};
use watch::Watch;

const TOPIC: &str = "events";
const PARTITIONS: u32 = 6;
const MIB: u64 = 1 << 20;
/// Until rates are steady.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(4);
/// Connections to each node that keep it busy and no more, and those that overwhelm it.
const CONTENT: usize = 1;
const EXCESSIVE: usize = 16;
/// After the load the region answers like an idle one within this.
const CALM_MAX: Duration = Duration::from_secs(10);

/// Bounds so low that a few seconds reach them.
const MEMORY: Memory = Memory {
    limits: LimitsSection {
        inflight_bytes: 4 * MIB,
        receiving_bytes: 8 * MIB,
        reading_bytes: 8 * MIB,
        requests_max: 1_024,
        client_connections_max: 64,
        client_connections_per_address_max: 64,
        client_window_bytes: 8 * MIB,
        raft_connections_max: 16,
        raft_window_bytes: 16 * MIB,
    },
    tail_bytes: 8 * MIB,
    cache_bytes: 8 * MIB,
    memtable_bytes: 16 * MIB,
};

/// What no bound names, by a heap profile under this load: frames on their way out, RocksDB's buffers for the files that
/// it writes and reads, and what the allocator keeps between blocks.
const UNNAMED: u64 = 80 * MIB;

/// What a node may take over what it takes idle, in bytes: the sum of the operations guide.
fn budget_bytes(memory: &Memory) -> u64 {
    let limits = &memory.limits;
    let clients = limits.client_window_bytes + limits.receiving_bytes + limits.inflight_bytes;
    let readers = limits.reading_bytes;
    // About 9 KiB for each request under way.
    let requests = limits.requests_max * 9 * 1024;
    // Each of two other nodes uses three connections with their share of the window.
    let nodes = 2 * 3 * limits.raft_window_bytes / limits.raft_connections_max;
    // Of what they sent, this may wait for the disk.
    let unwritten = limits.inflight_bytes.min(64 * MIB);
    clients
        + readers
        + requests
        + nodes
        + unwritten
        + memory.tail_bytes
        + memory.cache_bytes
        + memory.memtable_bytes
        + UNNAMED
}

#[tokio::test(flavor = "multi_thread")]
async fn at_several_times_the_load_memory_stays_within_its_budget_and_work_goes_on() -> Result<()> {
    let plan = Plan::new("overload", 40).with_setup(|setup| {
        setup.memory = Some(MEMORY);
        setup.timing = Timing::Usual;
    });
    let arena = Arena::open(plan).await?;
    arena.topic(TOPIC, PARTITIONS, Retention::default()).await?;
    let watch = Watch::start(arena.cluster.clone())?;
    let peak = measure(&arena, CONTENT, false).await?;
    say(&format!("  content: {peak}"));
    let terms = watch::terms(&arena.cluster).await?;
    let over = measure(&arena, EXCESSIVE, true).await?;
    say(&format!(
        "  overwhelmed: {over}; goodput {:.0} % of the other",
        100.0 * over.bytes_per_s / peak.bytes_per_s
    ));
    let begun = Instant::now();
    load::publish_once(&arena.cluster, CALM_MAX).await?;
    say(&format!("  published again {:.2} s after the load ended", begun.elapsed().as_secs_f64()));
    ensure!(over.refused > 0, "nothing was refused: the load was no surplus");
    ensure!(
        over.hintless == 0,
        "{} of {} refusals came without a time to try again",
        over.hintless,
        over.refused
    );
    ensure!(over.other.is_empty(), "a publish failed in another way: {:?}", over.other);
    let after = watch::terms(&arena.cluster).await?;
    ensure!(after == terms, "somebody was elected: {terms:?}, then {after:?}");
    watch.expect_within(budget_bytes(&MEMORY))?;
    arena.finish();
    Ok(())
}

/// What clients get done with so many connections to each node, readers far behind beside them or not.
async fn measure(arena: &Arena, connections: usize, with_readers: bool) -> Result<load::Figures> {
    let readers = if with_readers { Some(Readers::start(&arena.cluster).await?) } else { None };
    let load = Load::start(&arena.cluster, connections).await?;
    tokio::time::sleep(WARM_UP).await;
    load.reset();
    tokio::time::sleep(MEASURED).await;
    let mut figures = load.stop().await?;
    if let Some(readers) = readers {
        figures.read_bytes_per_s = readers.stop().await? as f64 / (WARM_UP + MEASURED).as_secs_f64();
    }
    Ok(figures)
}
