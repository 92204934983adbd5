//! What a shipper is told, and what it asks for.

use meridian_model::Offset;

use super::Reading;
use crate::chain::Head;
use crate::coverage::{Divergence, Refused};
use crate::frame::{Frame, FrameError};
use crate::route::RouteEpoch;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a stream to the destination.
    Connected,
    /// There is none any more.
    Disconnected,
    /// The committed end of the log here, confirmed by a quorum: without that, a leader that has not caught up
    /// would take a destination that has for one with another history.
    End(Offset),
    /// The destination answers what it has, or reports that it has more.
    Watermark {
        /// The session that asked, or whose frame arrived.
        session: u64,
        /// Up to where it has everything.
        watermark: Offset,
        /// The head there.
        head: Head,
    },
    /// The destination refused a frame.
    Refused {
        /// The frame's session.
        session: u64,
        /// Why.
        why: Refused,
    },
    /// Nothing was heard for too long although something is on its way: the watchdog says so.
    Silence,
    /// What was read.
    Read(Reading),
    /// The route epoch in force, and whether it leads from here to the destination.
    Route {
        /// The epoch.
        epoch: RouteEpoch,
        /// Whether this region is the upstream.
        ours: bool,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the destination for its watermark of the log.
    Ask {
        /// To be given back with the answer.
        session: u64,
    },
    /// Read pieces and answer with [`Event::Read`].
    Read {
        /// To be given back.
        session: u64,
        /// From where.
        from: Offset,
        /// About so many bytes, but at least one piece.
        bytes: usize,
    },
    /// Send a frame.
    Send {
        /// To be given back with the reply.
        session: u64,
        /// The frame.
        frame: Frame,
    },
    /// Stop, and say why.
    Stop(Stopped),
}

/// Why a shipper stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The histories differ: an operator must decide.
    #[error("diverged: {0}")]
    Diverged(Divergence),
    /// The destination has offsets that this log never gave: the log was rolled back.
    #[error("the destination has everything up to {watermark}, this log ends at {end}")]
    Ahead {
        /// The destination's.
        watermark: Offset,
        /// Ours.
        end: Offset,
    },
    /// The route leads elsewhere. A [`Event::Route`] that leads here again starts it.
    #[error("the route does not lead from here")]
    NotUpstream,
    /// The destination does not take this log: deleted there, or never let in.
    #[error("the destination does not take this log")]
    Foreign,
    /// The destination says that a batch must not be there, although the exit let it pass: policies differ.
    #[error("the destination refuses the batch at {at} for its residency")]
    Residency {
        /// Its first offset.
        at: Offset,
    },
    /// One batch is larger than the destination takes.
    #[error("the batch at {at} is larger than the destination takes in one frame")]
    Oversized {
        /// Its first offset.
        at: Offset,
    },
    /// What was read makes no frame: the source is damaged.
    #[error("what was read makes no frame: {0}")]
    Source(FrameError),
}
