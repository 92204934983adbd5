//! What a destination has of each origin log, and what a frame does to it (GEO-1, GEO-3, GEO-5).
//!
//! The watermark is the origin offset up to which every message was stored here or explicitly skipped. A frame is
//! accepted if and only if it begins there, on the same history, from the upstream of the present route. "At or below
//! the maximum means duplicate" loses messages when a pipelined head fails (Apache Pulsar #26113).
//!
//! [`Coverage::admit`] is asked by the leader before it proposes; [`Coverage::apply`] decides, in every replica alike.

mod decision;
mod row;

use std::collections::BTreeMap;

use meridian_model::{LogId, limits};

pub use self::decision::{Accepted, Arrived, Decision, Refused};
pub use self::row::{CoverageRow, Divergence};
use crate::chain::Head;
use crate::frame::{Frame, Item, Skip, Verified};
use crate::region::Region;
use crate::route::RouteEpoch;

/// The coverage of one partition: replicated state, one row for each origin log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    here: Region,
    rows: BTreeMap<LogId, CoverageRow>,
}

/// Why a row cannot be made or changed. Trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoverageError {
    /// The partition remembers as many origin logs as it may ([`limits::GEO_ORIGINS_MAX`]).
    #[error("too many origin logs in this partition")]
    TooMany,
    /// The log has a row, with another origin.
    #[error("this log belongs to another region")]
    OtherOrigin,
    /// There is no row for the log.
    #[error("this log is not known here")]
    Unknown,
    /// A newer route is in force.
    #[error("a newer route epoch is in force: {0}")]
    StaleEpoch(RouteEpoch),
}

impl Coverage {
    /// Of a partition in this region that has nothing from others yet.
    pub fn new(here: Region) -> Self {
        Self { here, rows: BTreeMap::new() }
    }

    /// Lets a log in: from now on its frames are believed, if they come from the upstream. Asked again, it changes
    /// nothing. The row begins at offset 0, whatever the log's first own offset is: what lies before is skipped by
    /// the first frame, so that a first frame that was lost cannot be a gap.
    pub fn open(
        &mut self,
        log: LogId,
        origin: Region,
        upstream: Region,
        epoch: RouteEpoch,
    ) -> Result<(), CoverageError> {
        match self.rows.get(&log) {
            Some(row) if row.origin == origin => return Ok(()),
            Some(_) => return Err(CoverageError::OtherOrigin),
            None if self.rows.len() >= limits::GEO_ORIGINS_MAX => return Err(CoverageError::TooMany),
            None => {}
        }
        self.rows.insert(log, CoverageRow::new(log, origin, upstream, epoch));
        Ok(())
    }

    /// Starts a route epoch for a log. Whether it may start is decided by [`crate::route::RouteChange`].
    pub fn reroute(&mut self, log: LogId, upstream: Region, epoch: RouteEpoch) -> Result<(), CoverageError> {
        let row = self.rows.get_mut(&log).ok_or(CoverageError::Unknown)?;
        if epoch < row.epoch || (epoch == row.epoch && upstream != row.upstream) {
            return Err(CoverageError::StaleEpoch(row.epoch));
        }
        (row.upstream, row.epoch) = (upstream, epoch);
        Ok(())
    }

    /// Forgets a log: its topic was deleted, and deleted topics do not come back under the same log id. Returns
    /// whether it was known.
    pub fn close(&mut self, log: LogId) -> bool {
        self.rows.remove(&log).is_some()
    }

    /// What is known of a log.
    pub fn row(&self, log: LogId) -> Option<&CoverageRow> {
        self.rows.get(&log)
    }

    /// Every log, in order of ids.
    pub fn rows(&self) -> impl Iterator<Item = (LogId, &CoverageRow)> {
        self.rows.iter().map(|(log, row)| (*log, row))
    }

    /// Whether the leader should propose a frame: everything that [`Coverage::apply`] would refuse already now, and
    /// what must not get into the Raft log at all. `bytes_max` is what this partition takes in one entry.
    ///
    /// A gap is not judged here: what fills it may be proposed and not applied yet.
    pub fn admit(&self, upstream: &Region, frame: &Frame, bytes_max: usize) -> Result<(), Refused> {
        let row = self.rows.get(&frame.log()).ok_or(Refused::ForeignOrigin)?;
        row.check_route(upstream, frame)?;
        if frame.bytes() > bytes_max {
            return Err(Refused::Oversized { bytes_max });
        }
        match self.forbidden(frame).next() {
            Some(shipped) if !planted!(ResidencyUnchecked) => {
                Err(Refused::Residency { at: shipped.range().from })
            }
            _ => Ok(()),
        }
    }

    /// Decides about a frame and, if it is accepted, advances the row. All of it is one step: the caller writes
    /// batches, skips and row atomically, or nothing.
    pub fn apply(&mut self, upstream: &Region, verified: &Verified) -> Decision {
        let frame = verified.frame();
        // Too late to refuse: it is in the Raft log. It is counted, and an operator is told.
        let violations = self.forbidden(frame).count() as u64;
        let Some(row) = self.rows.get_mut(&frame.log()) else {
            return Decision::Refuse(Refused::ForeignOrigin);
        };
        if let Err(refused) = row.check_route(upstream, frame) {
            return Decision::Refuse(refused);
        }
        let jumps = planted!(MaximumMeansDuplicate);
        if frame.to() <= row.watermark {
            return Decision::Ignore { watermark: row.watermark, head: row.head };
        }
        if frame.from() != row.watermark && !jumps {
            return Decision::Refuse(Refused::Gap { watermark: row.watermark, head: row.head });
        }
        if let Some(theirs) = frame.before().filter(|theirs| *theirs != row.head)
            && !planted!(HeadNotCompared)
        {
            let divergence = Divergence { at: row.watermark, ours: row.head, theirs };
            row.halted = (!planted!(HaltForgotten)).then_some(divergence);
            return Decision::Refuse(Refused::Diverged(divergence));
        }
        row.residency_violations += violations;
        row.advance(frame);
        Decision::Accept(accepted(verified, row.head))
    }

    /// Batches that must not be here.
    fn forbidden<'a>(&'a self, frame: &'a Frame) -> impl Iterator<Item = &'a Item> {
        frame.items().iter().filter(|item| match item {
            Item::Batch(shipped) => {
                let stamp = &shipped.stamp;
                !(stamp.allowed.contains(&self.here) && stamp.regions.contains(&self.here))
            }
            Item::Skip(_) => false,
        })
    }
}

fn accepted(verified: &Verified, head: Head) -> Accepted {
    let frame = verified.frame();
    let mut leaves = verified.leaves().iter();
    let mut batches = Vec::new();
    let mut skips: Vec<Skip> = Vec::new();
    for item in frame.items() {
        match item {
            Item::Batch(shipped) => {
                let leaf = leaves.next().copied();
                batches.extend(leaf.map(|leaf| Arrived { shipped: shipped.clone(), leaf }));
            }
            Item::Skip(_) if planted!(SkipsNotRecorded) => {}
            Item::Skip(skip) => skips.push(*skip),
        }
    }
    Accepted { log: frame.log(), batches, skips, watermark: frame.to(), head }
}
