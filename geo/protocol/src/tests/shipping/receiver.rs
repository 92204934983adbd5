//! A region that takes frames: a leader that proposes, a log that applies, and what is stored in the end.

use std::collections::BTreeMap;

use bytes::Bytes;
use meridian_model::{LogId, Offset};

use super::coverage::{Coverage as Counts, Met};
use super::image::Image;
use super::world::{Body, Leg, Packet, region};
use crate::coverage::{Accepted, Coverage, Decision, Refused};
use crate::frame::{Frame, Item, SkipReason, Verified};

/// What the destination takes in one frame, in bytes: small, so that frames meet it.
pub(super) const ENTRY_BYTES: usize = 900;

/// A frame on its way into the receiver's log.
pub(super) struct Proposal {
    leg: Leg,
    session: u64,
    verified: Verified,
}

pub(super) struct Receiver {
    pub(super) name: &'static str,
    pub(super) coverage: Coverage,
    pub(super) images: BTreeMap<LogId, Image>,
    pub(super) proposed: Vec<Proposal>,
    /// Logs that diverged here: nothing more may be accepted.
    pub(super) diverged: Vec<LogId>,
}

impl Receiver {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            coverage: Coverage::new(region(name)),
            images: BTreeMap::new(),
            proposed: Vec::new(),
            diverged: Vec::new(),
        }
    }

    pub(super) fn watermark(&self, log: LogId) -> Offset {
        self.coverage.row(log).map_or(Offset(0), |row| row.watermark)
    }

    /// A shipper asks what is here.
    pub(super) fn answer(&self, leg: Leg, log: LogId, session: u64) -> Packet {
        let body = match self.coverage.row(log) {
            Some(row) => Body::Watermark(row.watermark, row.head),
            None => Body::Refused(Refused::ForeignOrigin),
        };
        Packet { leg, log, session, body }
    }

    /// The leader gets a frame: it checks it, and proposes it or says why not.
    pub(super) fn take(
        &mut self,
        leg: Leg,
        session: u64,
        bytes: &Bytes,
        counts: &mut Counts,
    ) -> Result<Option<Packet>, String> {
        let frame = Frame::decode(bytes).map_err(|error| format!("an honest frame: {error}"))?;
        let log = frame.log();
        match self.coverage.admit(&leg.upstream(), &frame, ENTRY_BYTES) {
            Ok(()) => {
                let verified = frame.verify().map_err(|error| format!("an honest frame: {error}"))?;
                self.proposed.push(Proposal { leg, session, verified });
                Ok(None)
            }
            Err(why) => {
                count_refusal(&why, counts);
                Ok(Some(Packet { leg, log, session, body: Body::Refused(why) }))
            }
        }
    }

    /// The first proposal is applied.
    pub(super) fn apply(&mut self, counts: &mut Counts) -> Result<Option<Packet>, String> {
        if self.proposed.is_empty() {
            return Ok(None);
        }
        let Proposal { leg, session, verified } = self.proposed.remove(0);
        let log = verified.frame().log();
        let route = self.coverage.row(log).map(|row| (row.upstream.clone(), row.epoch));
        let body = match self.coverage.apply(&leg.upstream(), &verified) {
            Decision::Accept(accepted) => {
                if self.diverged.contains(&log) {
                    return Err(format!("{}: {log} goes on after it diverged", self.name));
                }
                if route != Some((leg.upstream(), verified.frame().epoch())) {
                    return Err(format!("{}: {log} accepts what is not of its route", self.name));
                }
                self.store(&verified, &accepted, counts);
                Body::Watermark(accepted.watermark, accepted.head)
            }
            Decision::Ignore { watermark, head } => {
                counts.met(Met::Ignored);
                Body::Watermark(watermark, head)
            }
            Decision::Refuse(why) => {
                if matches!(why, Refused::Diverged(_)) && !self.diverged.contains(&log) {
                    self.diverged.push(log);
                }
                count_refusal(&why, counts);
                Body::Refused(why)
            }
        };
        Ok(Some(Packet { leg, log, session, body }))
    }

    fn store(&mut self, verified: &Verified, accepted: &Accepted, counts: &mut Counts) {
        counts.met(Met::Accepted);
        if verified.frame().items().len() > 1 {
            counts.met(Met::AcceptedOfSeveralItems);
        }
        let image = self.images.entry(accepted.log).or_insert_with(|| Image::new(accepted.log));
        let batches = accepted.batches.iter().map(|arrived| Item::Batch(arrived.shipped.clone()));
        let mut items: Vec<Item> = batches.chain(accepted.skips.iter().copied().map(Item::Skip)).collect();
        items.sort_by_key(|item| item.range().from);
        let unverified = accepted.skips.iter().any(|skip| !skip.verified);
        match verified.frame().before() {
            None => counts.met(Met::HeadUnknown),
            Some(_) if unverified => counts.met(Met::UnverifiedRelayed),
            Some(_) => {}
        }
        for skip in &accepted.skips {
            counts.met(match skip.reason {
                SkipReason::Narrowed => Met::SkipNarrowed,
                SkipReason::Residency => Met::SkipResidency,
                SkipReason::Trimmed => Met::SkipTrimmed,
                SkipReason::Expired => Met::SkipExpired,
                SkipReason::BeforeLink => Met::SkipBeforeLink,
            });
        }
        image.items.extend(items);
    }
}

fn count_refusal(why: &Refused, counts: &mut Counts) {
    counts.met(match why {
        Refused::Gap { .. } => Met::RefusedGap,
        Refused::Diverged(_) => Met::RefusedDiverged,
        Refused::WrongRoute { .. } => Met::RefusedRoute,
        Refused::ForeignOrigin => Met::RefusedForeign,
        Refused::Residency { .. } => Met::RefusedResidency,
        Refused::Oversized { .. } => Met::RefusedOversized,
    });
}
