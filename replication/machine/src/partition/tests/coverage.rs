//! What a run has met: a check says nothing about a case that never occurred.

use std::fmt;

macro_rules! met {
    ($($name:ident),* $(,)?) => {
        /// An operation, or a condition under which one was met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Met { $($name),* }

        const ALL: &[Met] = &[$(Met::$name),*];
    };
}

met!(
    OpAppend,
    OpFence,
    OpSetPolicy,
    OpTrim,
    OpSeal,
    OpSkip,
    EntryOfSeveralBatches,
    SameProducerTwiceInEntry,
    StampStalls,
    StampGoesBack,
    Anonymous,
    NextInSequence,
    NewProducer,
    NewEpochUnnamed,
    DuplicateInWindow,
    DuplicateOldestInWindow,
    DuplicateBeyondWindow,
    PartialOverlapAtEnd,
    PartialOverlapInside,
    Gap,
    StaleEpoch,
    UnknownMidSequence,
    UnknownNamed,
    NameFlagDiffers,
    NamedEpochWithoutFence,
    EpochRaisedMidSequence,
    TokenExpired,
    TokenExpiredNewEpoch,
    TooManyProducers,
    Malformed,
    SealedAppend,
    SealedDuplicate,
    FenceNew,
    FenceReset,
    FenceSame,
    FenceStale,
    FenceTakesOverUnnamed,
    FenceAtBound,
    PolicySet,
    PolicyStale,
    ClosedByBytes,
    ClosedByEntries,
    ClosedByAge,
    TrimByAge,
    TrimBySize,
    TrimOfOpenSegment,
    TrimNothing,
    TrimAgain,
    ProducerForgotten,
    ForgettingSparesToken,
    ForgettingSparesNamed,
    ForgettingAtBound,
);

/// How often each was met.
#[derive(Clone, Debug)]
pub(super) struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; ALL.len()])
    }
}

impl Coverage {
    pub(super) fn met(&mut self, met: Met) {
        self.0[met as usize] += 1;
    }

    pub(super) fn rarer_than(&self, least: u64) -> Vec<String> {
        let rare = ALL.iter().filter(|m| self.0[**m as usize] < least);
        rare.map(|m| format!("{m:?}: {}", self.0[*m as usize])).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ALL.iter().try_for_each(|m| writeln!(f, "{:>10}  {m:?}", self.0[*m as usize]))
    }
}
