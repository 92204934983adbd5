//! Where the delayed lane is read.

use meridian_model::{Offset, Place, UnixMs};

use crate::subscription::FetchId;

/// The place where the index of delayed messages is read.
///
/// It is read up to the latest stamp that is applied and no further, whatever the clock says: below a stamp that was
/// seen no delayed message can appear any more, so what is behind the place is complete.
#[derive(Debug)]
pub(in crate::subscription) struct DelayedReader {
    /// The next place to be read.
    pub(in crate::subscription) place: Place,
    /// The latest stamp that is applied.
    pub(in crate::subscription) stamp: UnixMs,
    /// The fetch under way, and the stamp up to which it reads.
    pub(in crate::subscription) fetch: Option<(FetchId, UnixMs)>,
    /// When the next message that was not read is due, if there is one.
    unread: Option<UnixMs>,
}

impl DelayedReader {
    pub(in crate::subscription) fn new(place: Place, stamp: UnixMs) -> Self {
        // Right behind the stamp something may appear yet, whatever comes first there now.
        let place = place.min(start_of(stamp.plus_ms(1)));
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

    /// Everything before is settled, if everything before `floor` is: at or below the stamp, and in the log. A place
    /// right behind the stamp is the same as the end of the log at the stamp, for what is stored later is due later.
    pub(in crate::subscription) fn settled_before(&self, floor: Place, end: Offset) -> Place {
        floor.min(Place { deliver_at: self.stamp, offset: end })
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
        next: Option<Place>,
        due_next: Option<UnixMs>,
    ) {
        self.place = next.unwrap_or(start_of(through.plus_ms(1))).max(self.place);
        // Something may have been stored between the read and its answer: then a stamp told of it, and it stays.
        let stored = self.unread.filter(|time| *time > through);
        let known = next.map(|next| next.deliver_at).or(due_next);
        self.unread = match (stored, known) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// The first place of a time.
fn start_of(deliver_at: UnixMs) -> Place {
    Place { deliver_at, offset: Offset(0) }
}
