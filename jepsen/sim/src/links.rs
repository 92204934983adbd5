//! The links between hosts, brought from the state they are in to the state that the active faults ask for.

use std::collections::BTreeMap;
use std::time::Duration;

use turmoil::Sim;

use crate::fault::Fault;
use crate::plan::HOSTS;

/// How one link stands; the first host is the one with the lower place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Link {
    cut_there: bool,
    cut_back: bool,
    held: bool,
    slow_ms: Option<u64>,
}

/// All links.
pub(crate) struct Links {
    latency_ms: (u64, u64),
    links: BTreeMap<(usize, usize), Link>,
}

fn wanted(active: &[&Fault], a: usize, b: usize) -> Link {
    let (cut_there, cut_back) =
        (active.iter().any(|fault| fault.cuts(a, b)), active.iter().any(|fault| fault.cuts(b, a)));
    // What is cut cannot be held: a segment is lost or late, not both.
    let held = !cut_there && !cut_back && active.iter().any(|fault| fault.holds(a, b));
    Link { cut_there, cut_back, held, slow_ms: active.iter().find_map(|fault| fault.slows(a, b)) }
}

impl Links {
    /// All healthy, with this latency.
    pub(crate) fn new(latency_ms: (u64, u64)) -> Self {
        Self { latency_ms, links: BTreeMap::new() }
    }

    /// Brings every link to what these faults ask for.
    pub(crate) fn follow(&mut self, sim: &Sim<'_>, active: &[&Fault]) {
        for a in 0..HOSTS.len() {
            for b in a + 1..HOSTS.len() {
                let (was, now) = (self.links.get(&(a, b)).copied().unwrap_or_default(), wanted(active, a, b));
                if was != now {
                    self.change(sim, (HOSTS[a], HOSTS[b]), was, now);
                    self.links.insert((a, b), now);
                }
            }
        }
    }

    fn change(&self, sim: &Sim<'_>, (a, b): (&str, &str), was: Link, now: Link) {
        if was.held && !now.held {
            sim.release(a, b);
        }
        for (from, to, was_cut, is_cut) in
            [(a, b, was.cut_there, now.cut_there), (b, a, was.cut_back, now.cut_back)]
        {
            match (was_cut, is_cut) {
                (false, true) => sim.partition_oneway(from, to),
                (true, false) => sim.repair_oneway(from, to),
                _ => {}
            }
        }
        if now.held && !was.held {
            sim.hold(a, b);
        }
        if now.slow_ms != was.slow_ms {
            let (low, high) = now.slow_ms.map_or(self.latency_ms, |ms| (ms, ms));
            sim.set_link_latency(a, b, Duration::from_millis(low));
            sim.set_link_max_message_latency(a, b, Duration::from_millis(high));
        }
    }
}
