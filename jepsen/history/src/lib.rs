//! What clients did and what they saw, as JSON lines: the only thing a checker may look at.
//!
//! A history file is one header line, then one line per operation, then one end line. The header carries
//! the schema version and every option the run derived from its seed. The end line carries the number of
//! operations, so that a file cut short is never mistaken for a whole one.
//!
//! A harness holds a [`Recorder`], which many client tasks clone: [`Recorder::invoke`] before the request
//! leaves, one of the methods of [`Pending`] when the answer arrives. An operation that nobody completes
//! (a cancelled task, a crashed client) is recorded as `info`: its outcome is unknown, and the checker
//! allows for both.
//!
//! Nothing here knows of sockets, runtimes or servers, so a deterministic simulation and a harness of real
//! processes record the same lines.

mod clock;
mod control;
mod delivery;
mod fault;
mod line;
mod memory;
mod message;
mod op;
mod position;
mod publish;
mod read;
mod reader;
mod recorder;
mod settlement;
mod subscription;
mod writer;

pub use clock::{Clock, MonotonicClock};
pub use control::{Control, ControlAnswer, ControlOp};
pub use delivery::{Ack, AckOf, Deliver, Delivery, Epochs, Extend, Holder, LeaseEnd, Nack, Settled};
pub use fault::{Fault, FaultEffect, FaultPhase};
pub use line::{End, Header, SCHEMA, SCHEMA_VERSION, SCHEMA_VERSION_MIN};
pub use memory::Memory;
pub use message::{BadMessageId, MessageId, Seen, Sent, Times};
pub use op::{Call, Kind, Op, OpId, Outcome};
pub use position::{Chain, ChainHead, EndOffset, LogStart};
pub use publish::{Appended, OpenProducer, Publish};
pub use read::{FinalRead, Page, Read, Scan, Skip, SkipReason};
pub use reader::{History, ReadError, Reader};
pub use recorder::{Pending, RecordError, Recorder};
pub use settlement::{DeadLetter, DeadLetters, Drain, Drained, FinalState, SettledState, Source, Span};
pub use subscription::{Done, Join, Part, Parting, Place, Seek, Sought, Subscribe, SubscriptionKind};
pub use writer::Writer;
