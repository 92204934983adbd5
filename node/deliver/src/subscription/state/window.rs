//! Where the main lane is read, and how far ahead of the consumers.

use meridian_model::Offset;

use crate::subscription::FetchId;

/// The place where the log is read. What was read and not delivered is counted here and lies with the kind.
#[derive(Debug)]
pub(in crate::subscription) struct Window {
    /// The next message to be fetched.
    pub(in crate::subscription) next: Offset,
    /// The end of the log.
    pub(in crate::subscription) end: Offset,
    /// The fetch under way.
    pub(in crate::subscription) fetch: Option<FetchId>,
    /// Messages of both lanes that are fetched and not delivered.
    pub(in crate::subscription) waiting: usize,
    messages_max: usize,
    /// What comes next is a delayed batch, and to pass it would make one hole too many.
    pub(in crate::subscription) stuck: bool,
}

impl Window {
    pub(in crate::subscription) fn new(next: Offset, end: Offset, messages_max: usize) -> Self {
        Self { next, end, fetch: None, waiting: 0, messages_max, stuck: false }
    }

    /// Whether there is room for another fetch. Half empty, so that fetches are not tiny.
    pub(in crate::subscription) fn has_room(&self) -> bool {
        self.waiting <= self.messages_max / 2
    }

    pub(in crate::subscription) fn wants_fetch(&self) -> bool {
        self.fetch.is_none() && self.next < self.end && self.has_room()
    }
}
