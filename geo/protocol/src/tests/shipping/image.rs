//! A log as one region has it: what it can ship, and what the oracle compares.

use meridian_model::batch::Batch;
use meridian_model::{LogId, Offset, OffsetRange, UnixMs};

use crate::chain::{Head, Leaf};
use crate::frame::{Item, Shipped, Skip, SkipReason};
use crate::region::Stamp;
use crate::shipper::{Piece, Reading};

/// Consecutive items from offset 0.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) log: LogId,
    pub(super) items: Vec<Item>,
    /// Bytes below are gone.
    pub(super) start: Offset,
    /// Heads below are gone too.
    pub(super) heads_from: Offset,
}

impl Image {
    pub(super) fn new(log: LogId) -> Self {
        Self { log, items: Vec::new(), start: Offset(0), heads_from: Offset(0) }
    }

    pub(super) fn end(&self) -> Offset {
        self.items.last().map_or(Offset(0), |item| item.range().to)
    }

    pub(super) fn head(&self) -> Head {
        self.items.last().map_or(Head::initial(self.log), Item::after)
    }

    pub(super) fn append(&mut self, at: UnixMs, stamp: Stamp, batch: Batch) {
        let base = self.end();
        let after = self.head().after(base, &Leaf::of(batch.bytes()));
        self.items.push(Item::Batch(Shipped { base, appended_at: at, stamp, batch, after }));
    }

    /// Where items end, 0 included.
    pub(super) fn boundaries(&self) -> Vec<Offset> {
        std::iter::once(Offset(0)).chain(self.items.iter().map(|item| item.range().to)).collect()
    }

    pub(super) fn head_at(&self, offset: Offset) -> Option<Head> {
        if offset == Offset(0) {
            return Some(Head::initial(self.log));
        }
        self.items.iter().find(|item| item.range().to == offset).map(Item::after)
    }

    pub(super) fn read(&self, session: u64, from: Offset, bytes: usize, now: UnixMs) -> Reading {
        let known = self.head_at(from).filter(|_| from >= self.heads_from);
        let (mut pieces, mut taken, mut at) = (Vec::new(), 0, from);
        if from < self.start {
            let after = self.head_at(self.start).expect("logs start where an item does");
            let range = OffsetRange::new(from, self.start);
            let inside = self.items.iter().filter(|i| i.range().from < self.start && i.range().to > from);
            let verified = !inside.into_iter().any(|item| matches!(item, Item::Skip(s) if !s.verified));
            pieces.push(Piece::Hole(Skip { range, reason: SkipReason::Trimmed, after, verified }));
            at = self.start;
        }
        for item in self.items.iter().filter(|item| item.range().to > at) {
            if !pieces.is_empty() && taken >= bytes {
                break;
            }
            taken += item.bytes();
            pieces.push(match item {
                Item::Batch(Shipped { base, appended_at, stamp, batch, after }) => Piece::Batch {
                    base: *base,
                    appended_at: *appended_at,
                    stamp: stamp.clone(),
                    batch: batch.clone(),
                    after: *after,
                },
                Item::Skip(skip) => {
                    let range = OffsetRange::new(skip.range.from.max(at), skip.range.to);
                    Piece::Hole(Skip { range, ..*skip })
                }
            });
        }
        Reading { session, from, before: known, pieces, expired_before: Some(now) }
    }
}
