//! The vocabulary of Meridian: what every room of the house may say to another.
//!
//! No runtime, no network, no disk. A type lives here only when two branches of the house need it.
#![forbid(unsafe_code)]

pub mod batch;
pub mod clock;
pub mod hash;
pub mod id;
pub mod limits;
pub mod message;
pub mod name;
pub mod ranges;
pub mod refusal;
pub mod start;
pub mod subscription;
pub mod topology;

pub use batch::{Batch, BatchBuilder, BatchError, BatchHeader, Codec};
pub use clock::{Clock, UnixMs};
pub use id::{
    ClusterId, ConsumerId, GroupId, Incarnation, LogId, MessageId, NodeId, Offset, ProducerId, ReplicaId,
};
pub use message::Message;
pub use name::{NameError, TopicName};
pub use ranges::{OffsetRange, OffsetRanges};
pub use refusal::Refusal;
pub use start::Start;
pub use subscription::{Place, SubscriptionId};
