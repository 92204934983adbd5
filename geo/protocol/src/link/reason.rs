//! Why a link does not move. Published: an operator sees it, an alert names it.

/// The reason of a stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StallReason {
    /// The destination did not say what it has.
    NoAnswer,
    /// Frames were sent, and the watermark does not rise.
    NoProgress,
    /// Probes are not answered from the destination's applied state.
    ProbeLost,
    /// The destination's partition has no leader.
    DestinationNoLeader,
    /// The destination's disk is at its watermark.
    DestinationFull,
    /// The destination's topic has no such partition yet.
    DestinationPartitionMissing,
    /// The destination does not know the topic.
    DestinationTopicMissing,
    /// The link's own cap of bytes per second is reached.
    Throttled,
    /// The destination takes from another upstream.
    WrongRoute,
    /// The destination does not let this log in.
    ForeignOrigin,
    /// Both sides differ about where a message may be.
    Residency,
    /// A batch is larger than the destination takes.
    Oversized,
    /// What should be shipped cannot be read here.
    SourceUnreadable,
    /// The other side's certificate was not accepted.
    Unauthorized,
}

impl StallReason {
    /// Every reason.
    pub const ALL: [StallReason; 14] = [
        StallReason::NoAnswer,
        StallReason::NoProgress,
        StallReason::ProbeLost,
        StallReason::DestinationNoLeader,
        StallReason::DestinationFull,
        StallReason::DestinationPartitionMissing,
        StallReason::DestinationTopicMissing,
        StallReason::Throttled,
        StallReason::WrongRoute,
        StallReason::ForeignOrigin,
        StallReason::Residency,
        StallReason::Oversized,
        StallReason::SourceUnreadable,
        StallReason::Unauthorized,
    ];

    /// As in metrics and answers.
    pub fn reason(self) -> &'static str {
        match self {
            StallReason::NoAnswer => "NO_ANSWER",
            StallReason::NoProgress => "NO_PROGRESS",
            StallReason::ProbeLost => "PROBE_LOST",
            StallReason::DestinationNoLeader => "DESTINATION_NO_LEADER",
            StallReason::DestinationFull => "DESTINATION_FULL",
            StallReason::DestinationPartitionMissing => "DESTINATION_PARTITION_MISSING",
            StallReason::DestinationTopicMissing => "DESTINATION_TOPIC_MISSING",
            StallReason::Throttled => "THROTTLED",
            StallReason::WrongRoute => "WRONG_ROUTE",
            StallReason::ForeignOrigin => "FOREIGN_ORIGIN",
            StallReason::Residency => "RESIDENCY",
            StallReason::Oversized => "OVERSIZED",
            StallReason::SourceUnreadable => "SOURCE_UNREADABLE",
            StallReason::Unauthorized => "UNAUTHORIZED",
        }
    }

    /// Whether the watchdog concluded it, because nobody said anything better.
    pub fn is_inferred(self) -> bool {
        matches!(self, StallReason::NoAnswer | StallReason::NoProgress | StallReason::ProbeLost)
    }
}
