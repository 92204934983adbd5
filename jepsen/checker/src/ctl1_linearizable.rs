//! CTL-1: metadata operations are linearizable.
//!
//! Two checkers that share nothing but the history. The first believes the Raft indexes and replays the
//! answers in their order, then sweeps real time for answers that contradict it. The second ignores the
//! indexes and searches, name by name, for any legal order. Names must not exist before the history begins.

use crate::{ctl1_replay, ctl1_search, findings::Findings, index::Index, options::Options};

pub(crate) fn check(index: &Index<'_>, options: &Options) -> Findings {
    let mut findings = Findings::of("metadata answers");
    ctl1_replay::check(index, &mut findings);
    ctl1_search::check(index, options, &mut findings);
    findings
}
