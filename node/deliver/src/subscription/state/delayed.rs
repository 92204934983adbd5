//! Where the delayed lane is read.

use meridian_commitlog::DelayedPlace;
use meridian_model::{Offset, UnixMs};

use crate::subscription::FetchId;

/// The place where the index of delayed messages is read.
///
/// It is read up to the latest stamp that is applied and no further, whatever the clock says: below a stamp that was
/// seen no delayed message can appear any more, so what is behind the place is complete.
#[derive(Debug)]
pub(in crate::subscription) struct DelayedReader {
    /// The next place to be read.
    pub(in crate::subscription) place: DelayedPlace,
    /// The latest stamp that is applied.
    pub(in crate::subscription) stamp: UnixMs,
    /// The fetch under way, and the stamp up to which it reads.
    pub(in crate::subscription) fetch: Option<(FetchId, UnixMs)>,
    /// When the next message that was not read is due, if there is one.
    unread: Option<UnixMs>,
}

impl DelayedReader {
    pub(in crate::subscription) fn new(place: DelayedPlace, stamp: UnixMs) -> Self {
        // Right behind the stamp something may appear yet, whatever comes first there now.
        let place = place.min(DelayedPlace::new(stamp.plus_ms(1), Offset(0)));
        Self { place, stamp, fetch: None, unread: Some(place.deliver_at.min(stamp)) }
    }

    pub(in crate::subscription) fn wants_fetch(&self) -> bool {
        self.fetch.is_none() && self.unread.is_some_and(|time| time <= self.stamp)
    }

    /// Whether something is due by the clock that no stamp has reached yet.
    pub(in crate::subscription) fn wants_stamp(&self, now: UnixMs) -> bool {
        self.fetch.is_none() && self.unread.is_some_and(|time| time > self.stamp && time <= now)
    }

    /// When something will be due.
    pub(in crate::subscription) fn due_next(&self) -> Option<UnixMs> {
        self.unread.filter(|time| *time > self.stamp)
    }

    pub(in crate::subscription) fn stamped(&mut self, stamp: UnixMs) {
        self.stamp = self.stamp.max(stamp);
    }

    /// A delayed message was stored.
    pub(in crate::subscription) fn stored(&mut self, due: UnixMs) {
        // Below the place there is only what was stored before that was read.
        let due = due.max(self.place.deliver_at);
        self.unread = Some(self.unread.map_or(due, |time| time.min(due)));
    }

    /// A page that went up to `through` was read.
    pub(in crate::subscription) fn read(
        &mut self,
        through: UnixMs,
        next: Option<DelayedPlace>,
        due_next: Option<UnixMs>,
    ) {
        self.place = next.unwrap_or(DelayedPlace::new(through.plus_ms(1), Offset(0))).max(self.place);
        // Something may have been stored between the read and its answer: then a stamp told of it, and it stays.
        let stored = self.unread.filter(|time| *time > through);
        let known = next.map(|next| next.deliver_at).or(due_next);
        self.unread = match (stored, known) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}
