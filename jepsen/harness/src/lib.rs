//! Real processes under real faults: the nodes of a cluster run as the `meridian` binary, clients publish, read
//! and administer, the harness kills, pauses, partitions, cuts the power, damages files; and the history of
//! what the clients did and saw goes to the checker.
//!
//! A run is believed only if every fault it planned is known to have taken effect, and it ends by healing
//! everything, waiting until the replicas have converged, and reading all of them from end to end.

pub mod arena;
pub mod chance;
pub mod cluster;
pub mod disk;
pub mod fault;
pub mod net;
pub mod probe;
pub mod run;
pub mod shell;
mod shim;
pub mod sweep;
mod syscall;
pub mod wait;
pub mod workload;
