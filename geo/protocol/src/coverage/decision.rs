//! What becomes of a frame.

use meridian_model::{LogId, Offset};

use super::Divergence;
use crate::chain::{Head, Leaf};
use crate::frame::{Shipped, Skip};
use crate::region::Region;
use crate::route::RouteEpoch;

/// The decision about one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All of it is stored, in one step.
    Accept(Accepted),
    /// All of it was stored or skipped before. The sender may forget it.
    Ignore {
        /// Up to where this destination has everything.
        watermark: Offset,
        /// The head there.
        head: Head,
    },
    /// Nothing of it is stored.
    Refuse(Refused),
}

/// What to write, in one atomic step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Whose messages.
    pub log: LogId,
    /// To append, in this order.
    pub batches: Vec<Arrived>,
    /// To record, so that readers, tokens and acks know of them.
    pub skips: Vec<Skip>,
    /// The watermark from now on.
    pub watermark: Offset,
    /// The origin's head there.
    pub head: Head,
}

/// A batch to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// As it came.
    pub shipped: Shipped,
    /// What it hashes to: the local chain needs it too.
    pub leaf: Leaf,
}

/// Why a frame is refused. [`Refused::reason`] names each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not begin at the watermark. The sender goes on from there: that always helps.
    #[error("the frame does not continue at {watermark}; ship from there")]
    Gap {
        /// Up to where this destination has everything.
        watermark: Offset,
        /// The head there.
        head: Head,
    },
    /// The histories differ. The link halts until an operator has decided.
    #[error("the origin's history is another one: {0}")]
    Diverged(Divergence),
    /// Not from the upstream of the present route, or not under its epoch. The sender must learn the route.
    #[error("the upstream is {upstream} under route epoch {epoch}")]
    WrongRoute {
        /// Who may ship.
        upstream: Region,
        /// Under which epoch.
        epoch: RouteEpoch,
    },
    /// The log is not known here: never let in, or its topic was deleted.
    #[error("this destination does not take messages of that log")]
    ForeignOrigin,
    /// A batch must not be here. The sender is wrong; nothing of the frame gets into the log.
    #[error("the batch at {at} must not be stored in this region")]
    Residency {
        /// Its first offset.
        at: Offset,
    },
    /// More bytes than are taken at once. Smaller frames help.
    #[error("more than {bytes_max} bytes are not taken in one frame")]
    Oversized {
        /// What is taken, in bytes.
        bytes_max: usize,
    },
}

impl Refused {
    /// Its name in replies between regions and in metrics. No client gets it.
    pub fn reason(&self) -> &'static str {
        match self {
            Refused::Gap { .. } => "GEO_GAP",
            Refused::Diverged(_) => "GEO_DIVERGED",
            Refused::WrongRoute { .. } => "GEO_WRONG_ROUTE",
            Refused::ForeignOrigin => "GEO_FOREIGN_ORIGIN",
            Refused::Residency { .. } => "GEO_RESIDENCY",
            Refused::Oversized { .. } => "GEO_OVERSIZED",
        }
    }
}
