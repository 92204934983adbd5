//! A small simulator of a correct cluster: what its clients record must pass every check.
//!
//! Time is a number, chance is a seed, and an operation takes effect at one instant. Operations overlap,
//! replies are lost, effects come late, leaders refuse, producers fence each other, replicas lag, retention
//! trims: all of it within the promises.

#![allow(dead_code, unused_imports)]

mod chance;
mod clients;
mod cluster;
mod timeline;

pub(crate) use chance::Chance;
pub(crate) use timeline::{history, stormy_history};

pub(crate) const TOPIC: &str = "t";
pub(crate) const REPLICAS: [&str; 3] = ["n1", "n2", "n3"];
