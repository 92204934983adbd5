//! What a run must have exercised, and how long a search may take.

use std::{collections::BTreeSet, time::Duration};

use crate::promise::Promise;

/// How to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Promises the run must have exercised: one that examined nothing is then `unknown` and not `idle`.
    pub demanded: BTreeSet<Promise>,
    /// Time for the search of one key or one partition.
    pub search_each_max: Duration,
    /// Time for all searches together.
    pub search_total_max: Duration,
    /// Operations above which a partition is not searched whole but window by window.
    pub search_ops_max: usize,
    /// Batches in a window; zero: what is too large to be searched whole is not searched.
    pub search_window_batches: usize,
    /// How far the nodes' clocks may be from the recording machine's, and timers from what they say. What
    /// depends on a clock is broken only if it is so by more than this. A run that moves clocks must say how far.
    pub clock_tolerance: Duration,
}

impl Default for Options {
    /// Demands what every workload exercises: all of LOG but fencing (LOG-6), retention (LOG-9) and the
    /// second opinion.
    fn default() -> Self {
        use Promise::{Log1, Log2, Log3, Log4, Log5, Log7, Log8, Run};
        Self {
            demanded: BTreeSet::from([Run, Log1, Log2, Log3, Log4, Log5, Log7, Log8]),
            search_each_max: Duration::from_secs(10),
            search_total_max: Duration::from_secs(120),
            search_ops_max: 150,
            search_window_batches: 100,
            clock_tolerance: Duration::from_millis(100),
        }
    }
}

impl Options {
    /// The same options, demanding this promise too.
    #[must_use]
    pub fn demanding(mut self, promise: Promise) -> Self {
        self.demanded.insert(promise);
        self
    }

    /// The tolerance on the clock of the history.
    pub(crate) fn tolerance_ns(&self) -> u64 {
        u64::try_from(self.clock_tolerance.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The same options, without demanding this promise: a workload that cannot exercise it says so here.
    #[must_use]
    pub fn excusing(mut self, promise: Promise) -> Self {
        self.demanded.remove(&promise);
        self
    }
}
