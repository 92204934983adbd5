//! A region of three nodes in one process, over loopback, on disks that lose what was not synced: the stories
//! of `guarantees.md` that need a whole region and a hand on its plugs.

mod clock;
mod cluster;
mod consuming;
mod contract;
mod control_log;
mod damaged;
mod fencing;
mod forwarding;
mod golden;
mod interrupted;
mod leadership;
mod ledger;
mod moving;
mod outages;
mod patience;
mod power;
mod power_loss;
mod producer;
mod quiet;
mod reasons;
mod rejoin;
mod retention;
mod single;
mod snapshot;
mod subscriptions;
mod tables;
mod trimming;
mod two_snapshots;
mod unfolding;
