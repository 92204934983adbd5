//! Offsets that do not travel, and why. A skip is final.

use meridian_model::OffsetRange;

use crate::chain::Head;

/// Why messages are not stored at a destination. Published: it is what an operator and a reader are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// Their region set does not name the destination.
    Narrowed,
    /// Their residency forbids the destination.
    Residency,
    /// Retention removed them before they were shipped: a loss, and the only reason that is one.
    Trimmed,
    /// They may not be delivered any more.
    Expired,
    /// They are older than the link, or belong to the log that this one was restored from.
    BeforeLink,
}

impl SkipReason {
    /// Every reason.
    pub const ALL: [SkipReason; 5] = [
        SkipReason::Narrowed,
        SkipReason::Residency,
        SkipReason::Trimmed,
        SkipReason::Expired,
        SkipReason::BeforeLink,
    ];

    /// As on the wire and on disk.
    pub fn to_wire(self) -> u8 {
        match self {
            SkipReason::Narrowed => 1,
            SkipReason::Residency => 2,
            SkipReason::Trimmed => 3,
            SkipReason::Expired => 4,
            SkipReason::BeforeLink => 5,
        }
    }

    /// `None` for what no build has written.
    pub fn from_wire(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.to_wire() == byte)
    }
}

/// Offsets that are accounted for without their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Which.
    pub range: OffsetRange,
    /// Why.
    pub reason: SkipReason,
    /// The origin's head after them. The destination takes it as it is: it has no bytes to compare.
    pub after: Head,
    /// Whether every region on the way knew that what follows continues what is before. `false` where a sender no
    /// longer kept the head: behind such a skip another history may begin unseen. A relay passes it on as it came.
    pub verified: bool,
}
