//! The promises this checker decides, by number.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

/// One promise, or one of the two rows that are about the judging itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// The run can be judged: its history is whole and well-formed, and its faults took effect.
    Run,
    /// An acked message is durable.
    Log1,
    /// An acked message is readable on every replica after heal.
    Log2,
    /// What failed or was never sent is never read.
    Log3,
    /// One offset holds one message on every replica.
    Log4,
    /// A sequenced producer's message is stored once, in its order.
    Log5,
    /// A fenced producer writes nothing after its successor.
    Log6,
    /// Appends are linearizable, and so is the end offset.
    Log7,
    /// A reading session has order and no unreported gaps.
    Log8,
    /// What retention removed does not come back.
    Log9,
    /// The second opinion on LOG: a search finds a legal order of appends, reads and ends.
    LogSearch,
    /// Metadata operations are linearizable.
    Ctl1,
    /// Every message is delivered to each subscription until it is acked.
    Sub1,
    /// A durable ack ends redelivery, until a seek.
    Sub2,
    /// An exclusive or failover subscription has one owner.
    Sub3,
    /// A message is in one possession at a time, and possessions are bounded.
    Sub4,
    /// A key keeps its order, and moves only after its earlier messages settle.
    Sub5,
    /// Delays, expiry and dead letters are exact.
    Sub6,
}

impl Promise {
    /// Every promise, in the order of the report.
    pub const ALL: [Self; 18] = [
        Self::Run,
        Self::Log1,
        Self::Log2,
        Self::Log3,
        Self::Log4,
        Self::Log5,
        Self::Log6,
        Self::Log7,
        Self::Log8,
        Self::Log9,
        Self::LogSearch,
        Self::Ctl1,
        Self::Sub1,
        Self::Sub2,
        Self::Sub3,
        Self::Sub4,
        Self::Sub5,
        Self::Sub6,
    ];

    /// Its number, as in the list of promises.
    pub fn code(self) -> &'static str {
        match self {
            Self::Run => "RUN",
            Self::Log1 => "LOG-1",
            Self::Log2 => "LOG-2",
            Self::Log3 => "LOG-3",
            Self::Log4 => "LOG-4",
            Self::Log5 => "LOG-5",
            Self::Log6 => "LOG-6",
            Self::Log7 => "LOG-7",
            Self::Log8 => "LOG-8",
            Self::Log9 => "LOG-9",
            Self::LogSearch => "LOG-WGL",
            Self::Ctl1 => "CTL-1",
            Self::Sub1 => "SUB-1",
            Self::Sub2 => "SUB-2",
            Self::Sub3 => "SUB-3",
            Self::Sub4 => "SUB-4",
            Self::Sub5 => "SUB-5",
            Self::Sub6 => "SUB-6",
        }
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Promise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|promise| promise.code().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|promise| promise.code()).collect();
            format!("no promise {text:?}; there are {}", known.join(", "))
        })
    }
}

impl Serialize for Promise {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}
