//! Changing a route without losing what a new hop lacks.
//!
//! 1. The origin's partition applies the rule that no publish may omit the new hops, and with it, in the same command,
//!    notes the barrier: the end of the last batch that does.
//! 2. When the destination's watermark has reached the barrier, the destination starts the epoch: it refuses the old
//!    upstream from then on.
//! 3. Only then the rule for the old hops is lifted.
//!
//! `geo/model` finds a loss for every other order.

use meridian_model::{LogId, Offset};

use super::RouteEpoch;
use crate::region::Region;

/// A change on its way, for one origin log and one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    log: LogId,
    upstream: Region,
    epoch: RouteEpoch,
    barrier: Option<Offset>,
    started: bool,
}

/// Why a step may not be taken yet. Trying again later helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The origin has not applied the rule.
    #[error("the origin does not refuse yet what omits the new hops")]
    NoBarrier,
    /// What omits the new hops has not arrived.
    #[error("the destination has everything up to {watermark}; the change waits for {barrier}")]
    BelowBarrier {
        /// Where the destination is.
        watermark: Offset,
        /// Where it must be.
        barrier: Offset,
    },
    /// The destination still takes from the old upstream.
    #[error("the new epoch has not started")]
    NotStarted,
}

impl RouteChange {
    /// To an upstream, under an epoch above the present one.
    pub fn new(log: LogId, upstream: Region, epoch: RouteEpoch) -> Self {
        Self { log, upstream, epoch, barrier: None, started: false }
    }

    /// Whose messages.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Who ships from then on.
    pub fn upstream(&self) -> &Region {
        &self.upstream
    }

    /// The new epoch.
    pub fn epoch(&self) -> RouteEpoch {
        self.epoch
    }

    /// The origin has applied the rule; `barrier` is the end of its last batch that omits a new hop, 0 where none
    /// does. Told again it changes nothing: the first barrier is the one that the rule came with.
    pub fn ruled(&mut self, barrier: Offset) {
        self.barrier.get_or_insert(barrier);
    }

    /// Whether the destination may start the epoch, and that it does.
    pub fn start(&mut self, watermark: Offset) -> Result<(), ChangeError> {
        let barrier = self.barrier.ok_or(ChangeError::NoBarrier)?;
        if watermark < barrier && !planted!(BarrierIgnored) {
            return Err(ChangeError::BelowBarrier { watermark, barrier });
        }
        self.started = true;
        Ok(())
    }

    /// Whether the rule for the hops of the old route may be lifted.
    pub fn may_relax(&self) -> Result<(), ChangeError> {
        if self.started { Ok(()) } else { Err(ChangeError::NotStarted) }
    }
}
