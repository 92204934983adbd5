//! One row of coverage: how much of one origin log is here, and who may bring more.

use std::fmt;

use meridian_model::{LogId, Offset};

use super::Refused;
use crate::chain::Head;
use crate::frame::{Frame, Item};
use crate::region::Region;
use crate::route::RouteEpoch;

/// What a destination knows of one origin log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageRow {
    /// The region whose log it is.
    pub origin: Region,
    /// Everything below was stored here or explicitly skipped.
    pub watermark: Offset,
    /// The origin's head at the watermark.
    pub head: Head,
    /// Who may ship.
    pub upstream: Region,
    /// Since which route.
    pub epoch: RouteEpoch,
    /// Offsets that were taken without comparing histories, because a region on the way no longer knew its head.
    pub unverified: u64,
    /// Batches that are here against their residency: always 0, unless a leader did not ask.
    pub residency_violations: u64,
    /// Set once histories differed. Nothing is accepted until an operator has decided.
    pub halted: Option<Divergence>,
}

/// Two histories of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// At this offset they differ, or below it.
    pub at: Offset,
    /// The destination's head there.
    pub ours: Head,
    /// The sender's.
    pub theirs: Head,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {} this side has {:?}, the other {:?}", self.at, self.ours, self.theirs)
    }
}

impl CoverageRow {
    pub(super) fn new(log: LogId, origin: Region, upstream: Region, epoch: RouteEpoch) -> Self {
        Self {
            origin,
            watermark: Offset(0),
            head: Head::initial(log),
            upstream,
            epoch,
            unverified: 0,
            residency_violations: 0,
            halted: None,
        }
    }

    /// Whether a frame comes from where it should, into a row that takes any.
    pub(super) fn check_route(&self, upstream: &Region, frame: &Frame) -> Result<(), Refused> {
        if let Some(divergence) = self.halted {
            return Err(Refused::Diverged(divergence));
        }
        let right = *upstream == self.upstream && frame.epoch() == self.epoch;
        if !right && !planted!(RouteNotCompared) {
            return Err(Refused::WrongRoute { upstream: self.upstream.clone(), epoch: self.epoch });
        }
        Ok(())
    }

    pub(super) fn advance(&mut self, frame: &Frame) {
        let unverified = frame.items().iter().filter(|item| matches!(item, Item::Skip(s) if !s.verified));
        self.unverified += unverified.map(|item| item.range().len()).sum::<u64>();
        self.watermark = frame.to();
        self.head = frame.after().unwrap_or(self.head);
    }
}
