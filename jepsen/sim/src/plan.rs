//! Everything that a seed decides before a run begins, and that its history's header tells.

use meridian_history::SubscriptionKind;
use meridian_workload::Chance;

use crate::fault::{Fault, Planned};
use crate::plant::Plant;

/// Nodes of the region.
pub(crate) const NODES: usize = 3;
/// Hosts that run clients.
pub(crate) const CLIENTS: usize = 2;
/// All hosts: the nodes, those of the clients, and the one that looks after the run.
pub(crate) const HOSTS: [&str; NODES + CLIENTS + 1] = ["n1", "n2", "n3", "c1", "c2", "boss"];
/// The place of the last host.
pub(crate) const BOSS: usize = NODES + CLIENTS;

/// A retention that no run is long enough for, unless a clock that jumps is believed.
const DAY_MS: u64 = 24 * 3_600_000;

/// What a seed decides.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How long faults and clients are at work, in virtual milliseconds.
    pub(crate) work_ms: u64,
    pub(crate) latency_ms: (u64, u64),
    /// How long each node's disk takes for a write, in microseconds.
    pub(crate) disk_us: [u64; NODES],
    pub(crate) skew_ms: [i64; NODES],
    /// Whether hosts take turns in another order each time.
    pub(crate) random_order: bool,
    pub(crate) partitions: u32,
    /// How old messages may become. `None`: as old as they like.
    pub(crate) retention_age_ms: Option<u64>,
    /// Whether faults wait until every node runs every partition.
    pub(crate) calm_start: bool,
    pub(crate) pace_ms: u64,
    pub(crate) filler_bytes_max: u64,
    /// Who consumes what is published, if anybody does.
    pub(crate) subscription: Option<SubscriptionKind>,
    pub(crate) faults: Vec<Planned>,
    pub(crate) plant: Plant,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64, work_ms: u64, plant: Plant) -> Self {
        let mut chance = Chance::new(seed).fork("plan");
        let slowest = chance.pick(&[2, 5, 20, 60]);
        let latency_ms = (1, slowest);
        let mut disk_us = [0; NODES];
        disk_us.fill_with(|| chance.pick(&[100, 500, 2_000, 8_000]));
        let mut skew_ms = [0; NODES];
        skew_ms.fill_with(|| chance.between(0, 400) as i64 - 200);
        let retention_age_ms = chance.pick(&[None, None, Some(DAY_MS), Some(1_000), Some(2_000)]);
        let subscription = draw_subscription(&mut Chance::new(seed).fork("subscription"));
        Self {
            seed,
            work_ms,
            latency_ms,
            disk_us,
            skew_ms,
            random_order: chance.percent(50),
            partitions: chance.between(1, 3) as u32 + u32::from(retention_age_ms.is_some()),
            retention_age_ms,
            calm_start: chance.percent(70),
            pace_ms: chance.pick(&[5, 15, 40]),
            filler_bytes_max: chance.pick(&[16, 300, 2_000]),
            // Retention waits for subscriptions: where it is what is looked at, nobody subscribes.
            subscription: subscription.filter(|_| retention_age_ms.is_none_or(|age| age >= DAY_MS)),
            faults: schedule(&Chance::new(seed), work_ms),
            plant,
        }
    }

    /// Whether messages may expire during the run.
    pub(crate) fn expires_soon(&self) -> bool {
        self.retention_age_ms.is_some_and(|age| age < DAY_MS)
    }

    /// The plan in words, for the header of the history.
    pub(crate) fn options(&self) -> Vec<(&'static str, String)> {
        vec![
            ("work_ms", self.work_ms.to_string()),
            ("latency_ms", format!("{}..{}", self.latency_ms.0, self.latency_ms.1)),
            ("disk_us", format!("{:?}", self.disk_us)),
            ("skew_ms", format!("{:?}", self.skew_ms)),
            ("random_order", self.random_order.to_string()),
            ("partitions", self.partitions.to_string()),
            ("retention_age_ms", format!("{:?}", self.retention_age_ms)),
            ("calm_start", self.calm_start.to_string()),
            ("pace_ms", self.pace_ms.to_string()),
            ("filler_bytes_max", self.filler_bytes_max.to_string()),
            ("subscription", format!("{:?}", self.subscription)),
            ("plant", self.plant.to_string()),
            ("faults", self.faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
        ]
    }
}

fn draw_subscription(chance: &mut Chance) -> Option<SubscriptionKind> {
    use SubscriptionKind::{Exclusive, Failover, KeyShared, Shared};
    chance.pick(&[None, Some(Exclusive), Some(Failover), Some(Shared), Some(KeyShared)])
}

/// Three tracks side by side: the network, the nodes, the clocks. Within a track one fault follows the other.
fn schedule(chance: &Chance, work_ms: u64) -> Vec<Planned> {
    let mut faults = Vec::new();
    track(&mut faults, &mut chance.fork("network"), work_ms, (200, 2_500), (300, 5_000), draw_network);
    let mut wiped = false;
    track(&mut faults, &mut chance.fork("nodes"), work_ms, (500, 3_500), (50, 4_000), |chance| {
        draw_node(chance, &mut wiped)
    });
    track(&mut faults, &mut chance.fork("clocks"), work_ms, (3_000, 12_000), (1_000, 6_000), draw_clock);
    faults.sort_by_key(|planned| planned.begin_ms);
    faults
}

fn track(
    faults: &mut Vec<Planned>,
    chance: &mut Chance,
    work_ms: u64,
    gap_ms: (u64, u64),
    length_ms: (u64, u64),
    mut draw: impl FnMut(&mut Chance) -> Fault,
) {
    let mut at = chance.between(gap_ms.0, gap_ms.1);
    while at < work_ms {
        let fault = draw(chance);
        let longest = if matches!(fault, Fault::Hold { .. }) { length_ms.1 / 3 } else { length_ms.1 };
        let end_ms = (at + chance.between(length_ms.0, longest)).min(work_ms);
        faults.push(Planned { begin_ms: at, end_ms, fault });
        at = end_ms + chance.between(gap_ms.0, gap_ms.1);
    }
}

fn some_node(chance: &mut Chance) -> usize {
    chance.between(0, NODES as u64 - 1) as usize
}

fn draw_network(chance: &mut Chance) -> Fault {
    let node = some_node(chance);
    let other = (node + chance.between(1, NODES as u64 - 1) as usize) % NODES;
    let clients_too = chance.percent(50);
    match chance.between(0, 6) {
        0 | 1 => Fault::Island { node, clients_too },
        2 => Fault::Bridge { a: node, b: other },
        3 => Fault::Mute { node, clients_too },
        4 => Fault::Deaf { node, clients_too },
        5 => Fault::Hold { node },
        _ => Fault::Slow { node, ms: chance.between(30, 400) },
    }
}

fn draw_node(chance: &mut Chance, wiped: &mut bool) -> Fault {
    let node = some_node(chance);
    let all: Vec<usize> = (0..NODES).collect();
    let two: Vec<usize> = all.iter().copied().filter(|other| *other != node).collect();
    let kept_writes = chance.pick(&[0, 0, 1, 2, 5]);
    match chance.between(0, 9) {
        0 | 1 => Fault::Kill { nodes: vec![node] },
        2 => Fault::Kill { nodes: all },
        3..=5 => Fault::PowerLoss { nodes: vec![node], kept_writes },
        6 => Fault::PowerLoss { nodes: two, kept_writes },
        7 | 8 => Fault::PowerLoss { nodes: all, kept_writes },
        // One wiped disk a run: a second one before the first is refilled would be one loss too many.
        _ if !std::mem::replace(wiped, true) => Fault::Wipe { node },
        _ => Fault::PowerLoss { nodes: vec![node], kept_writes },
    }
}

fn draw_clock(chance: &mut Chance) -> Fault {
    const HOUR_MS: i64 = 3_600_000;
    let by_ms = chance.pick(&[-HOUR_MS, HOUR_MS, 24 * HOUR_MS, 365 * 24 * HOUR_MS]);
    Fault::ClockJump { node: some_node(chance), by_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_makes_the_same_plan_and_another_seed_another() {
        let options = |seed| Plan::of(seed, 10_000, Plant::None).options();
        assert_eq!(options(3), options(3));
        assert_ne!(options(3), options(4));
    }

    #[test]
    fn every_fault_ends_with_the_work_and_no_run_wipes_two_disks() {
        for seed in 0..500 {
            let plan = Plan::of(seed, 15_000, Plant::None);
            assert!(plan.faults.iter().all(|planned| planned.begin_ms < planned.end_ms.max(1)));
            assert!(plan.faults.iter().all(|planned| planned.end_ms <= plan.work_ms));
            let wipes =
                plan.faults.iter().filter(|planned| matches!(planned.fault, Fault::Wipe { .. })).count();
            assert!(wipes <= 1, "seed {seed}");
        }
    }
}
