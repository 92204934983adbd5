//! The exit of a region: what of a log may travel to a destination, and what becomes a skip (GEO-5).

use meridian_model::{Offset, UnixMs};

use super::source::Piece;
use crate::frame::{Item, SkipReason};
use crate::region::Region;

/// What decides whether a batch travels.
#[derive(Clone, Debug)]
pub(super) struct Exit {
    pub(super) destination: Region,
    /// Batches that begin below are older than the link.
    pub(super) begin: Offset,
}

impl Exit {
    /// Why a piece does not travel. Residency first: it says least about what is kept back.
    fn barred(&self, piece: &Piece, expired_before: Option<UnixMs>) -> Option<SkipReason> {
        let Piece::Batch { base, stamp, batch, .. } = piece else {
            return None;
        };
        let expires = batch.header().expire_at;
        if !stamp.allowed.contains(&self.destination) {
            Some(SkipReason::Residency)
        } else if !stamp.regions.contains(&self.destination) {
            Some(SkipReason::Narrowed)
        } else if *base < self.begin {
            Some(SkipReason::BeforeLink)
        } else if expires != UnixMs(0) && expired_before.is_some_and(|now| expires < now) {
            Some(SkipReason::Expired)
        } else {
            None
        }
    }

    /// The item for a piece.
    pub(super) fn item(&self, piece: Piece, expired_before: Option<UnixMs>) -> Item {
        if let Some(reason) = self.barred(&piece, expired_before).filter(|_| !planted!(ShipsNarrowed)) {
            return Item::Skip(piece.skipped(reason));
        }
        match piece.into_shipped() {
            Ok(shipped) => Item::Batch(shipped),
            Err(hole) => Item::Skip(hole),
        }
    }
}
