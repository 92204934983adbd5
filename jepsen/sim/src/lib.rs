//! A whole region in one thread: three real nodes, clients and faults on simulated networks, disks and clocks.
//!
//! Nothing of the product is replaced but what it stands on: connections are turmoil's, the disk is an engine in
//! memory that loses what was not synced, wall clocks are skewed and jump. Everything that happens follows from
//! one seed: [`run`] makes the same history with the same trace hash each time, so a seed that fails fails again
//! for whoever looks into it.
//!
//! A run forms a cluster, lets clients work while faults come and go, heals everything and demands that the region
//! serves again, and has every replica read from end to end. `meridian-checker` judges the history.
//!
//! Deliberately absent: real sockets, real disks and processes (`jepsen/harness` has them), RocksDB, TLS.
// Hosts are named by their number everywhere: in plans, traces and tables.
#![allow(clippy::needless_range_loop)]

mod clock;
mod disk;
mod fault;
mod interpose;
mod links;
mod nemesis;
mod net;
mod node;
mod outcome;
mod plan;
mod plant;
mod run;
mod sweep;
mod trace;
mod witness;
mod workload;

pub use outcome::Outcome;
pub use plant::Plant;
pub use run::{Spec, run};
pub use sweep::{Summary, run_apart, sweep};
