//! The control group's own log: segments that end where a trim was applied. All that the log ever said is in
//! the tables, so nothing is lost with it; the last segment stays, for replicas that are a little behind.

use serde::{Deserialize, Serialize};

use super::row::Stored;
use super::{ControlDone, ControlMachine, ControlRefusal};
use crate::{At, Effect, Table};

/// Where the log begins, and where its last closed segment ends. Index 0: nowhere yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ControlLog {
    start_term: u64,
    start_index: u64,
    closed_term: u64,
    closed_index: u64,
}

impl ControlLog {
    pub(super) fn start(&self) -> Option<At> {
        (self.start_index > 0).then_some(At { term: self.start_term, index: self.start_index })
    }

    pub(super) fn closed(&self) -> Option<At> {
        (self.closed_index > 0).then_some(At { term: self.closed_term, index: self.closed_index })
    }
}

impl Stored for ControlLog {
    const TABLE: Table = Table::ControlLog;

    fn key(&self) -> Vec<u8> {
        Vec::new()
    }
}

impl ControlMachine {
    /// Ends a segment at the entry being applied, and drops the one before the last. Two proposers that saw
    /// the same log trim it once.
    pub(super) fn trim_log(
        &mut self,
        closed: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<ControlDone, ControlRefusal> {
        if closed != self.log.closed_index && !planted!(TrimsLogTwice) {
            return Err(ControlRefusal::conflict("the log was trimmed meanwhile"));
        }
        let whole = planted!(TrimsWholeLog).then(|| self.last_applied());
        if let Some(at) = whole.or(self.log.closed()) {
            (self.log.start_term, self.log.start_index) = (at.term, at.index);
            effects.push(Effect::Trimmed { at, start: meridian_model::Offset(0) });
        }
        let at = self.last_applied();
        (self.log.closed_term, self.log.closed_index) = (at.term, at.index);
        effects.push(Effect::SegmentClosed { at });
        effects.push(self.log.put());
        Ok(ControlDone::LogTrimmed { start: self.log.start_index })
    }
}
