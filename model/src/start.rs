//! Where reading begins.

use crate::{Offset, UnixMs};

/// A place in a log, named before the log is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this offset. Below the log's start: an error, or the start where the session may clamp.
    Offset(Offset),
    /// At the first batch appended at or after this time.
    Time(UnixMs),
    /// At the oldest message kept.
    Earliest,
    /// Behind the newest message.
    Latest,
}
