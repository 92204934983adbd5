//! The log one replica ended with, as its last scan showed it.

use std::collections::HashMap;

use meridian_history::{MessageId, Op, Scan, SkipReason};

/// One replica's last scan, ready for look-ups.
#[derive(Debug)]
pub(crate) struct FinalLog<'a> {
    pub(crate) op: &'a Op,
    pub(crate) replica: &'a str,
    pub(crate) scan: &'a Scan,
    at: HashMap<u64, &'a MessageId>,
    offset_of: HashMap<&'a MessageId, u64>,
}

/// What a replica says in the end about a message that was acked at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It is there.
    Yes,
    /// The replica does not say: the offset is below its log start, or in a skip it reported.
    Excused,
    /// It is somewhere else.
    Elsewhere(u64),
    /// It is not there.
    No,
}

impl<'a> FinalLog<'a> {
    pub(crate) fn of(op: &'a Op, replica: &'a str, scan: &'a Scan) -> Self {
        let intact = || scan.records.iter().filter(|seen| seen.crc_ok);
        Self {
            op,
            replica,
            scan,
            at: intact().map(|seen| (seen.offset, &seen.id)).collect(),
            offset_of: intact().map(|seen| (&seen.id, seen.offset)).collect(),
        }
    }

    /// Whether the scan began after this operation ended, so that it must show its effect.
    pub(crate) fn follows(&self, op: &Op) -> bool {
        op.precedes(self.op)
    }

    /// What this replica says about a message acked at `offset`, or at an offset nobody told.
    pub(crate) fn holds(&self, id: &MessageId, offset: Option<u64>) -> Holds {
        let Some(offset) = offset else {
            return match self.offset_of.get(id) {
                Some(_) => Holds::Yes,
                None if self.scan.start > 0 => Holds::Excused,
                None => Holds::No,
            };
        };
        if self.at.get(&offset) == Some(&id) {
            Holds::Yes
        } else if offset < self.scan.start || self.skipped(offset) {
            Holds::Excused
        } else {
            self.offset_of.get(id).map_or(Holds::No, |&other| Holds::Elsewhere(other))
        }
    }

    /// What is at an offset, in words.
    pub(crate) fn describe(&self, offset: u64) -> String {
        match self.at.get(&offset) {
            Some(id) => format!("{} holds {id} there", self.replica),
            None => format!("{} ends at {} and holds nothing there", self.replica, self.scan.end),
        }
    }

    /// Only retention and expiry may remove a message from the log it was published to.
    fn skipped(&self, offset: u64) -> bool {
        self.scan.skips.iter().any(|skip| {
            matches!(skip.reason, SkipReason::Trimmed | SkipReason::Expired)
                && (skip.from..skip.to).contains(&offset)
        })
    }
}
