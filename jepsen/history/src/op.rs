//! One operation of one client: when it began and ended, how it ended, what it was.

use serde::{Deserialize, Serialize};

use crate::{
    Ack, Appended, Chain, ChainHead, Control, ControlAnswer, DeadLetter, DeadLetters, Deliver, Delivery,
    Done, Drain, Drained, EndOffset, Extend, Fault, FaultEffect, FinalRead, FinalState, Join, LeaseEnd,
    LogStart, Nack, OpenProducer, Page, Part, Publish, Read, Scan, Seek, Settled, SettledState, Sought,
    Subscribe,
};

/// Number of an operation, unique within its history, given in order of invocation.
pub type OpId = u64;

/// How an operation ended, as far as its client can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect and this is the answer.
    Ok,
    /// It definitely did not take effect and never will.
    Fail,
    /// Unknown: it may have taken effect, may yet, or may never.
    Info,
}

/// One operation, one line of a history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// Its number.
    pub id: OpId,
    /// The logical client that ran it. A client runs one operation at a time; a consumer is as many clients as it
    /// has credits and requests under way.
    pub process: u64,
    /// When the client began, before anything left it.
    pub invoke_ns: u64,
    /// When the client had its answer or gave up; none if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete_ns: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not end well, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What was asked, and what was answered.
    pub kind: Kind,
}

impl Op {
    /// Whether it took effect for certain.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether this operation ended before the other began. Equal times count as overlapping.
    pub fn precedes(&self, other: &Op) -> bool {
        self.complete_ns.is_some_and(|end| end < other.invoke_ns)
    }
}

/// A question that can be recorded, and the answer that completes it.
pub trait Call: Into<Kind> {
    /// What an answer to this question carries.
    type Answer;

    /// Puts an answer into a recorded question of this kind.
    fn settle(kind: &mut Kind, answer: Self::Answer);
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $field:ident: $answer:ty }),+ $(,)?) => {
        /// Everything a client can do.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $name($name),)+
        }

        $(
            impl From<$name> for Kind {
                fn from(call: $name) -> Self {
                    Self::$name(call)
                }
            }

            impl Call for $name {
                type Answer = $answer;

                fn settle(kind: &mut Kind, answer: Self::Answer) {
                    if let Kind::$name(call) = kind {
                        call.$field = Some(answer);
                    }
                }
            }
        )+
    };
}

kinds! {
    /// Append a batch.
    Publish { appended: Appended },
    /// Take a producer name over.
    OpenProducer { epoch: u64 },
    /// Read a page of a session.
    Read { page: Page },
    /// Ask for the linearizable end.
    EndOffset { end: u64 },
    /// Ask what retention has left.
    LogStart { start: u64 },
    /// Ask for a chain head.
    Chain { at: ChainHead },
    /// Scan a replica after heal.
    FinalRead { scan: Scan },
    /// Install or heal a fault.
    Fault { effect: FaultEffect },
    /// Change or read metadata.
    Control { answer: (ControlAnswer, u64) },
    /// Make a subscription.
    Subscribe { made: Done },
    /// Join a subscription.
    Join { joined: Done },
    /// Leave a subscription, or be cut off from it.
    Part { gone: Done },
    /// Ask for messages.
    Deliver { deliveries: Vec<Delivery> },
    /// Say that messages are done.
    Ack { settled: Settled },
    /// Refuse a message.
    Nack { settled: Settled },
    /// Ask for more time.
    Extend { extended: Done },
    /// See a lease end.
    LeaseEnd { seen: Done },
    /// Move a subscription.
    Seek { sought: Sought },
    /// Consume until nothing is left.
    Drain { drained: Drained },
    /// Ask what is settled, after heal.
    FinalState { state: SettledState },
    /// Read dead letters.
    DeadLetters { letters: Vec<DeadLetter> },
}

impl Kind {
    /// A short name for people: the kind in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::OpenProducer(_) => "open_producer",
            Self::Read(_) => "read",
            Self::EndOffset(_) => "end_offset",
            Self::LogStart(_) => "log_start",
            Self::Chain(_) => "chain",
            Self::FinalRead(_) => "final_read",
            Self::Fault(_) => "fault",
            Self::Control(_) => "control",
            Self::Subscribe(_) => "subscribe",
            Self::Join(_) => "join",
            Self::Part(_) => "part",
            Self::Deliver(_) => "deliver",
            Self::Ack(_) => "ack",
            Self::Nack(_) => "nack",
            Self::Extend(_) => "extend",
            Self::LeaseEnd(_) => "lease_end",
            Self::Seek(_) => "seek",
            Self::Drain(_) => "drain",
            Self::FinalState(_) => "final_state",
            Self::DeadLetters(_) => "dead_letters",
        }
    }
}
