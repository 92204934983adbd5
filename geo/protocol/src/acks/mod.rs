//! Replicated subscriptions: which messages are acked, the same in every region, holes included (GEO-4).
//!
//! State, not operations, is exchanged, so it may be lost, repeated and reordered. An epoch is (counter, region),
//! totally ordered; the region in it is the active one, and only there consumers ack. Within an epoch the join is
//! union. A higher epoch replaces what is there, if all of it came; of a part alone nothing is taken and the whole is
//! asked for. A lower epoch is dropped. Create, seek, takeover and delete each begin an epoch.
//!
//! Offsets are those of the origins' logs, so they mean the same everywhere, and acks may come before their messages.
//! What a region skipped is settled there and acked nowhere: it is never in here.

mod set;
#[cfg(test)]
mod stories;
mod told;

use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges, limits};

pub use self::set::AckSet;
pub use self::told::{Told, ToldError};
use crate::region::Region;

/// The version of a subscription's state, and who is active in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckEpoch {
    /// One above the highest that its region knew when it began.
    pub counter: u64,
    /// The active region. Breaks ties between regions that began an epoch at once.
    pub region: Region,
}

/// One partition's acks of one subscription, in one region. Replicated state of that partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AckState {
    here: Region,
    /// `None` until anything was heard of the subscription.
    epoch: Option<AckEpoch>,
    deleted: bool,
    acked: AckSet,
    /// Acked here since the last delta.
    dirty: AckSet,
}

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckRefused {
    /// Another region is the active one. Take over, or ack there.
    #[error("region {active} is the active one of this subscription")]
    NotActive {
        /// Which.
        active: Region,
    },
    /// The subscription does not exist, or does no more.
    #[error("the subscription does not exist")]
    Absent,
    /// It exists already.
    #[error("the subscription exists")]
    Exists,
    /// More holes than may be kept ([`limits::GEO_ACK_RANGES_MAX`]). Acking what lies in the holes helps.
    #[error("too many holes: ack older messages first")]
    TooManyRanges,
}

/// What became of something that another region told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It was of a lower epoch: dropped.
    Dropped,
    /// It was of this epoch: so many offsets are new.
    United(u64),
    /// It was of a higher epoch, and replaced what was here. Deliveries of the old epoch are void.
    Adopted,
    /// It was a part of a higher epoch, or there are too many holes between parts: the whole is needed.
    AskWhole,
}

impl AckState {
    /// Nothing is known yet.
    pub fn unknown(here: Region) -> Self {
        Self { here, epoch: None, deleted: false, acked: AckSet::default(), dirty: AckSet::default() }
    }

    /// The epoch in force.
    pub fn epoch(&self) -> Option<&AckEpoch> {
        self.epoch.as_ref()
    }

    /// Whether the subscription exists.
    pub fn is_live(&self) -> bool {
        self.epoch.is_some() && !self.deleted
    }

    /// Whether consumers may ack here.
    pub fn is_active(&self) -> bool {
        self.is_live() && self.epoch.as_ref().is_some_and(|epoch| epoch.region == self.here)
    }

    /// What is acked.
    pub fn acked(&self) -> &AckSet {
        &self.acked
    }

    /// Whether a message is settled here: acked somewhere, or skipped here.
    pub fn is_settled(&self, log: LogId, offset: Offset, skipped: &OffsetRanges) -> bool {
        self.acked.contains(log, offset) || skipped.contains(offset)
    }

    /// Creates the subscription, with what is settled from the beginning. This region becomes the active one.
    pub fn create(&mut self, base: AckSet) -> Result<(), AckRefused> {
        if self.is_live() {
            return Err(AckRefused::Exists);
        }
        self.begin(false, base)
    }

    /// Makes this region the active one, with the acks that it knows. Planned, the old region stops first and
    /// tells all; forced, what had not arrived is delivered again.
    pub fn take_over(&mut self) -> Result<(), AckRefused> {
        self.live()?;
        self.begin(false, self.acked.clone())
    }

    /// Moves the subscription: exactly `base` is settled from now on.
    pub fn seek(&mut self, base: AckSet) -> Result<(), AckRefused> {
        self.active()?;
        self.begin(false, base)
    }

    /// Deletes the subscription. The epoch stays, so that nothing old can bring it back.
    pub fn delete(&mut self) -> Result<(), AckRefused> {
        self.live()?;
        self.begin(true, AckSet::default())
    }

    /// A consumer acked messages that were delivered here.
    pub fn ack(&mut self, log: LogId, ranges: &[OffsetRange]) -> Result<(), AckRefused> {
        self.active()?;
        // Room is judged before anything changes: refused means refused whole.
        let holes = self.acked.ranges() + ranges.len();
        if holes > limits::GEO_ACK_RANGES_MAX && self.grown(log, ranges) > limits::GEO_ACK_RANGES_MAX {
            return Err(AckRefused::TooManyRanges);
        }
        for range in ranges {
            self.acked.insert(log, *range);
            self.dirty.insert(log, *range);
        }
        Ok(())
    }

    /// A consumer acked everything up to, and without, a place: per origin log the floor that the local offset stood
    /// for when this was applied. What was skipped here below the floor stays unacked: elsewhere it is a message.
    pub fn ack_through(
        &mut self,
        log: LogId,
        floor: Offset,
        skipped: &OffsetRanges,
    ) -> Result<(), AckRefused> {
        let below = OffsetRange::new(Offset(0), floor);
        let covered = if planted!(CumulativeCoversSkips) { vec![below] } else { skipped.absent_in(below) };
        self.ack(log, &covered)
    }

    /// Joins what another region told.
    pub fn join(&mut self, told: &Told) -> Joined {
        let order = match (&self.epoch, planted!(CounterOnly)) {
            (Some(ours), true) => told.epoch.counter.cmp(&ours.counter),
            (ours, _) => Some(&told.epoch).cmp(&ours.as_ref()),
        };
        if order.is_lt() && !planted!(JoinsLowerEpoch) {
            return Joined::Dropped;
        }
        if order.is_gt() {
            return self.adopt(told);
        }
        let mut united = self.acked.clone();
        let news = united.unite(&told.acked);
        if united.ranges() > limits::GEO_ACK_RANGES_MAX {
            return Joined::AskWhole;
        }
        self.acked = united;
        Joined::United(news)
    }

    fn adopt(&mut self, told: &Told) -> Joined {
        if !told.whole && !planted!(AdoptsPart) {
            return Joined::AskWhole;
        }
        let before = std::mem::replace(&mut self.acked, told.acked.clone());
        if planted!(KeepsLowerSet) {
            self.acked.unite(&before);
        }
        self.epoch = Some(told.epoch.clone());
        self.deleted = told.deleted;
        self.dirty = AckSet::default();
        Joined::Adopted
    }

    /// What was acked here since this was last asked, for every other region. What gets lost is found by digests.
    pub fn take_delta(&mut self) -> Option<Told> {
        let acked = std::mem::take(&mut self.dirty);
        let epoch = self.epoch.clone().filter(|_| !acked.is_empty())?;
        Some(Told { epoch, deleted: self.deleted, whole: false, acked })
    }

    /// Everything.
    pub fn whole(&self) -> Option<Told> {
        let epoch = self.epoch.clone()?;
        Some(Told { epoch, deleted: self.deleted, whole: true, acked: self.acked.clone() })
    }

    /// 32 bytes that are equal exactly where the states are. Told now and then; who differs tells the whole.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = Vec::new();
        if let Some(told) = self.whole() {
            told.encode(&mut bytes);
        }
        if planted!(DigestOfEnds) {
            bytes.truncate(64);
        }
        *blake3::hash(&bytes).as_bytes()
    }

    fn begin(&mut self, deleted: bool, base: AckSet) -> Result<(), AckRefused> {
        if base.ranges() > limits::GEO_ACK_RANGES_MAX {
            return Err(AckRefused::TooManyRanges);
        }
        let counter = self.epoch.as_ref().map_or(0, |epoch| epoch.counter) + 1;
        self.epoch = Some(AckEpoch { counter, region: self.here.clone() });
        (self.deleted, self.acked, self.dirty) = (deleted, base, AckSet::default());
        Ok(())
    }

    fn live(&self) -> Result<(), AckRefused> {
        if self.is_live() { Ok(()) } else { Err(AckRefused::Absent) }
    }

    fn active(&self) -> Result<(), AckRefused> {
        self.live()?;
        match &self.epoch {
            Some(epoch) if epoch.region != self.here && !planted!(PassiveAcks) => {
                Err(AckRefused::NotActive { active: epoch.region.clone() })
            }
            _ => Ok(()),
        }
    }

    fn grown(&self, log: LogId, ranges: &[OffsetRange]) -> usize {
        let mut grown = self.acked.clone();
        ranges.iter().for_each(|range| grown.insert(log, *range));
        grown.ranges()
    }
}
