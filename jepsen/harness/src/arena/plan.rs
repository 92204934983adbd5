//! What a test is about to do, in one place: its cluster, its needs, its seed, its counts.

use std::time::Duration;

use anyhow::Result;
use meridian_checker::{Options, Promise};

use super::say;
use crate::chance::seed_from_environment;
use crate::cluster::Setup;
use crate::disk::DiskKind;
use crate::net::Placement;
use crate::probe::{self, Capability};

/// A test's cluster and needs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its name; evidence is kept under it.
    pub name: &'static str,
    /// Where all its choices come from.
    pub seed: u64,
    /// What it needs of the machine.
    pub needs: Vec<Capability>,
    /// The cluster.
    pub setup: Setup,
    /// How long it should take at most. Printed, and not enforced: a slow machine is no broken promise.
    pub budget: Duration,
}

impl Plan {
    /// Three nodes on loopback with plain folders, and the seed of the environment.
    pub fn new(name: &'static str, budget_s: u64) -> Self {
        let budget = Duration::from_secs(budget_s);
        Self { name, seed: seed_from_environment(), needs: Vec::new(), setup: Setup::default(), budget }
    }

    /// The same with links that can be cut.
    #[must_use]
    pub fn with_links(mut self) -> Self {
        self.needs.extend([Capability::Root, Capability::Namespaces, Capability::Filters]);
        self.setup.placement = Placement::Namespaces;
        self
    }

    /// The same with disks whose power can be cut and which can be filled.
    #[must_use]
    pub fn with_disks(mut self, disk: DiskKind) -> Self {
        self.needs.push(Capability::Root);
        self.needs.extend(match disk {
            DiskKind::Xfs { .. } => vec![Capability::XfsPowerLoss],
            _ => vec![Capability::LoopDisk, Capability::PowerLoss],
        });
        self.setup.disk = disk;
        self
    }

    /// The same with disks that can turn read-only.
    #[must_use]
    pub fn with_read_only(mut self) -> Self {
        self.needs.push(Capability::ReadOnly);
        self
    }

    /// The same with syncs that can be made to lie.
    #[must_use]
    pub fn with_lies(mut self) -> Self {
        self.needs.push(Capability::Lies);
        self.setup.may_lie = true;
        self
    }

    /// The same with clocks that can be moved.
    #[must_use]
    pub fn with_clocks(mut self) -> Self {
        self.needs.push(Capability::Clock);
        self.setup.movable_clocks = true;
        self
    }

    /// The same with so many nodes.
    #[must_use]
    pub fn with_nodes(mut self, nodes: u64) -> Self {
        self.setup.nodes = nodes;
        self
    }

    /// The same with so many nodes more that can join later.
    #[must_use]
    pub fn with_spares(mut self, spares: u64) -> Self {
        self.setup.spares = spares;
        self
    }

    /// The same with a node's own settings changed.
    #[must_use]
    pub fn with_setup(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }
}

/// How to judge a run with many clients and faults. A search of a whole partition is exponential in concurrent
/// operations of unknown outcome, and running out of time is no pass; so the second opinion goes window by window.
/// It is demanded of every run.
pub fn large_run() -> Options {
    Options { search_ops_max: 0, ..Options::default() }.demanding(Promise::LogSearch)
}

/// How often a test repeats itself: from the environment, or what continuous integration does.
pub fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether power can be cut here. Where it cannot, continuous integration fails, and elsewhere a weaker form
/// may run, which proves nothing about durability and says so.
///
/// # Errors
/// If it cannot be cut and `CI` is set.
pub fn power_can_be_cut() -> Result<bool> {
    match probe::require(&[Capability::Root, Capability::LoopDisk, Capability::PowerLoss]) {
        Ok(()) => Ok(true),
        Err(error) if probe::is_ci() => Err(error),
        Err(error) => {
            say(&format!("durability was NOT proved: power cannot be cut here ({error:#}); killing instead"));
            Ok(false)
        }
    }
}
