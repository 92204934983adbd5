//! The protocol between regions, pure: what is shipped, what is believed, and what a link is doing.
//!
//! Events come in, actions come out. It knows no runtime, no clock, no disk and no network: time and jitter are
//! arguments, reading and sending are actions. `docs/rfc/2026-11-21-geo-protocol.md` tells what was decided, and
//! `geo/model` explores the same rules exhaustively on a few messages.
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
mod met;
#[macro_use]
mod planted;

pub mod acks;
pub mod chain;
pub mod coverage;
pub mod frame;
pub mod link;
pub mod region;
pub mod route;
pub mod shipper;
mod wire;

#[cfg(test)]
mod tests;

pub use acks::{AckEpoch, AckState};
pub use chain::{Head, Leaf};
pub use coverage::{Coverage, CoverageRow, Decision, Refused};
pub use frame::{Frame, FrameError, Item, Skip, SkipReason, Verified};
pub use link::{Link, StallReason};
#[cfg(any(test, feature = "mutants"))]
pub use planted::{Mutant, with_mutant};
pub use region::{Region, RegionSet, Stamp};
pub use route::{RouteEpoch, Routes};
pub use shipper::Shipper;
