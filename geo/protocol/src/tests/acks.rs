//! Acks in three regions against a history of who was allowed to ack what (GEO-4).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use meridian_model::{LogId, Offset, OffsetRange, OffsetRanges};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::dice::Dice;
use crate::acks::{AckEpoch, AckSet, AckState, Joined, Told};
use crate::region::Region;

met!(
    OpAck,
    OpAckThrough,
    OpTakeOver,
    OpSeek,
    OpDelete,
    OpCreate,
    OpDelta,
    OpWhole,
    OpDigest,
    OpHear,
    OpDrop,
    OpRepeat,
    AckRefusedPassive,
    AckRefusedAbsent,
    CumulativeOverSkip,
    AckBeforeMessage,
    TwoEpochsAtOnce,
    JoinedDropped,
    JoinedUnited,
    JoinedNothingNew,
    JoinedAdopted,
    JoinedAskWhole,
    DigestsDiffer,
    DigestsAgree,
    HoleTravels,
    SeekTakesBack,
    DeletedAdopted,
    Converged,
);

const STEPS_MAX: usize = 120;
const OCCURRENCES_MIN: u64 = 10_000;
const CASES: u32 = 80_000;
const OFFSETS: u64 = 12;
const REGIONS: [&str; 3] = ["a", "b", "c"];
const LOGS: [LogId; 2] = [LogId::from_u128(1), LogId::from_u128(2)];

/// How many messages of each log each region has when a run begins.
const PRESENT: [[u64; 2]; 3] = [[12, 8], [5, 12], [8, 4]];

type Plain = BTreeSet<(LogId, u64)>;

/// What may be acked in an epoch, and what it began with.
#[derive(Default)]
struct Rightful {
    acked: Plain,
    base: Plain,
}

struct World {
    regions: Vec<AckState>,
    flying: Vec<(usize, Vec<u8>)>,
    rightful: BTreeMap<AckEpoch, Rightful>,
    /// How far messages of each log have arrived in each region.
    present: [[u64; 2]; 3],
}

pub(super) fn tapes() -> impl Strategy<Value = Vec<[u8; 8]>> {
    prop::collection::vec(any::<[u8; 8]>(), 10..STEPS_MAX)
}

/// One region skipped some offsets of the first log.
fn skipped(region: usize, log: LogId) -> OffsetRanges {
    let range = OffsetRange::new(Offset(2), Offset(4));
    if region == 1 && log == LOGS[0] { OffsetRanges::from_iter([range]) } else { OffsetRanges::new() }
}

fn plain(set: &AckSet) -> Plain {
    set.logs()
        .flat_map(|(log, ranges)| ranges.iter().flat_map(move |r| (r.from.0..r.to.0).map(move |o| (log, o))))
        .collect()
}

pub(super) fn run(tape: &[[u8; 8]], counts: &mut Coverage) -> Result<(), String> {
    let regions = REGIONS.map(|name| AckState::unknown(Region::parse(name).expect("a name"))).to_vec();
    let (flying, rightful) = (Vec::new(), BTreeMap::new());
    let mut world = World { regions, flying, rightful, present: PRESENT };
    world.regions[0].create(AckSet::default()).map_err(|error| error.to_string())?;
    world.begun(0, counts);
    let told = world.regions[0].whole();
    world.tell(0, told);
    for bytes in tape {
        world.step(&mut Dice::new(bytes), counts)?;
        world.check()?;
    }
    world.converge(counts)
}

impl World {
    fn step(&mut self, dice: &mut Dice<'_>, counts: &mut Coverage) -> Result<(), String> {
        let (operation, region) = (dice.roll(), dice.below(3));
        match operation {
            0..=69 => self.ack(region, dice, counts)?,
            70..=89 => self.ack_through(region, dice, counts)?,
            90..=93 => self.begin(region, Met::OpTakeOver, counts, |state, _| state.take_over()),
            94..=99 => {
                let floor = Offset(dice.below(OFFSETS as usize + 1) as u64);
                let base = AckSet::below([(LOGS[dice.below(2)], floor)]);
                let before = plain(self.regions[region].acked());
                self.begin(region, Met::OpSeek, counts, |state, _| state.seek(base.clone()));
                if !before.is_subset(&plain(self.regions[region].acked())) {
                    counts.met(Met::SeekTakesBack);
                }
            }
            100..=102 => self.begin(region, Met::OpDelete, counts, |state, _| state.delete()),
            103..=115 => {
                self.begin(region, Met::OpCreate, counts, |state, _| state.create(AckSet::default()))
            }
            116..=149 => {
                counts.met(Met::OpDelta);
                let told = self.regions[region].take_delta();
                self.tell(region, told);
            }
            150..=169 => {
                counts.met(Met::OpWhole);
                let told = self.regions[region].whole();
                self.tell(region, told);
            }
            170..=184 => self.compare(region, (region + 1 + dice.below(2)) % 3, counts),
            185..=189 => {
                let log = dice.below(2);
                let present = &mut self.present[region][log];
                *present = (*present + 1 + dice.below(3) as u64).min(OFFSETS);
            }
            _ => {
                self.hear(dice, counts)?;
                self.hear(dice, counts)?;
            }
        }
        Ok(())
    }

    fn ack(&mut self, region: usize, dice: &mut Dice<'_>, counts: &mut Coverage) -> Result<(), String> {
        let (log, offset) = (dice.below(2), dice.below(OFFSETS as usize) as u64);
        if offset >= self.present[region][log] || skipped(region, LOGS[log]).contains(Offset(offset)) {
            return Ok(());
        }
        counts.met(Met::OpAck);
        let ranges = [OffsetRange::one(Offset(offset))];
        let acked = self.regions[region].ack(LOGS[log], &ranges).is_ok();
        self.acked(region, acked, [(LOGS[log], offset)].into(), counts)
    }

    fn ack_through(
        &mut self,
        region: usize,
        dice: &mut Dice<'_>,
        counts: &mut Coverage,
    ) -> Result<(), String> {
        let log = dice.below(2);
        let floor = dice.below(self.present[region][log] as usize + 1) as u64;
        counts.met(Met::OpAckThrough);
        let skipped = skipped(region, LOGS[log]);
        if skipped.iter().any(|range| range.from.0 < floor) {
            counts.met(Met::CumulativeOverSkip);
        }
        let acked = self.regions[region].ack_through(LOGS[log], Offset(floor), &skipped).is_ok();
        let offsets = (0..floor).filter(|o| !skipped.contains(Offset(*o))).map(|o| (LOGS[log], o)).collect();
        self.acked(region, acked, offsets, counts)
    }

    /// A consumer acked, or was refused: only the active region may let it.
    fn acked(
        &mut self,
        region: usize,
        acked: bool,
        offsets: Plain,
        counts: &mut Coverage,
    ) -> Result<(), String> {
        let state = &self.regions[region];
        let active = state.is_live() && state.epoch().is_some_and(|e| e.region.name() == REGIONS[region]);
        if acked != active {
            return Err(format!("{}: acked {acked}, active {active}", REGIONS[region]));
        }
        match (acked, state.epoch().cloned()) {
            (true, Some(epoch)) => self.rightful.entry(epoch).or_default().acked.extend(offsets),
            _ if state.is_live() => counts.met(Met::AckRefusedPassive),
            _ => counts.met(Met::AckRefusedAbsent),
        }
        Ok(())
    }

    fn begin<E>(
        &mut self,
        region: usize,
        met: Met,
        counts: &mut Coverage,
        operation: impl Fn(&mut AckState, usize) -> Result<(), E>,
    ) {
        if operation(&mut self.regions[region], region).is_err() {
            return;
        }
        counts.met(met);
        self.begun(region, counts);
    }

    /// A region has begun an epoch.
    fn begun(&mut self, region: usize, counts: &mut Coverage) {
        let state = &self.regions[region];
        let Some(epoch) = state.epoch().cloned() else {
            return;
        };
        if self.rightful.keys().any(|other| other.counter == epoch.counter && *other != epoch) {
            counts.met(Met::TwoEpochsAtOnce);
        }
        let base = plain(state.acked());
        self.rightful.insert(epoch, Rightful { acked: base.clone(), base });
    }

    fn tell(&mut self, from: usize, told: Option<Told>) {
        let Some(told) = told else {
            return;
        };
        let mut bytes = Vec::new();
        told.encode(&mut bytes);
        let others = (0..3).filter(|to| *to != from);
        self.flying.extend(others.map(|to| (to, bytes.clone())));
        let surplus = self.flying.len().saturating_sub(16);
        self.flying.drain(..surplus);
    }

    fn hear(&mut self, dice: &mut Dice<'_>, counts: &mut Coverage) -> Result<(), String> {
        if self.flying.is_empty() {
            return Ok(());
        }
        let at = dice.below(self.flying.len());
        let (to, bytes) = match dice.below(6) {
            0 => {
                counts.met(Met::OpDrop);
                self.flying.remove(at);
                return Ok(());
            }
            1..=2 => {
                counts.met(Met::OpRepeat);
                self.flying[at].clone()
            }
            _ => self.flying.remove(at),
        };
        counts.met(Met::OpHear);
        let told = Told::decode(&bytes).map_err(|error| error.to_string())?;
        self.join(to, &told, counts)
    }

    fn join(&mut self, to: usize, told: &Told, counts: &mut Coverage) -> Result<(), String> {
        let before = self.regions[to].epoch().cloned();
        let joined = self.regions[to].join(told);
        counts.met(match joined {
            Joined::Dropped => Met::JoinedDropped,
            Joined::United(0) => Met::JoinedNothingNew,
            Joined::United(_) => Met::JoinedUnited,
            Joined::Adopted => Met::JoinedAdopted,
            Joined::AskWhole => Met::JoinedAskWhole,
        });
        if joined == Joined::Adopted && told.deleted {
            counts.met(Met::DeletedAdopted);
        }
        if let Joined::United(1..) = joined {
            let early = plain(&told.acked)
                .iter()
                .any(|(log, o)| *o >= self.present[to][usize::from(*log == LOGS[1])]);
            if early {
                counts.met(Met::AckBeforeMessage);
            }
            if told.acked.ranges() > 1 {
                counts.met(Met::HoleTravels);
            }
        }
        if self.regions[to].epoch().cloned() < before {
            return Err(format!("{}: the epoch went back", REGIONS[to]));
        }
        Ok(())
    }

    /// Digests must tell exactly whether states differ.
    fn compare(&mut self, one: usize, other: usize, counts: &mut Coverage) {
        counts.met(Met::OpDigest);
        let [one, other] = [&self.regions[one], &self.regions[other]];
        let same = one.whole() == other.whole();
        counts.met(if same { Met::DigestsAgree } else { Met::DigestsDiffer });
        assert_eq!(one.digest() == other.digest(), same, "the digests lie");
    }

    /// GEO-4: a region has all that its epoch began with, and beyond that only what was rightfully acked in it.
    fn check(&self) -> Result<(), String> {
        for (state, name) in self.regions.iter().zip(REGIONS) {
            let Some(epoch) = state.epoch() else {
                continue;
            };
            let acked = plain(state.acked());
            let rightful = self.rightful.get(epoch).ok_or("an epoch that nobody began")?;
            if let Some((log, offset)) = acked.difference(&rightful.acked).next() {
                return Err(format!("{name}: {log} {offset} was acked by nobody in {epoch:?}"));
            }
            if let Some((log, offset)) = rightful.base.difference(&acked).next() {
                return Err(format!("{name}: {log} {offset} was lost from the base of {epoch:?}"));
            }
        }
        Ok(())
    }

    /// Everybody tells everybody everything: all know the same, and the highest epoch has won.
    fn converge(&mut self, counts: &mut Coverage) -> Result<(), String> {
        self.flying.clear();
        let highest = self.regions.iter().filter_map(|state| state.epoch().cloned()).max();
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2), (2, 1), (2, 0)] {
            if let Some(told) = self.regions[from].whole() {
                self.join(to, &told, counts)?;
                self.check()?;
            }
        }
        let all: Vec<_> = self.regions.iter().map(AckState::whole).collect();
        if all[0] != all[1] || all[1] != all[2] {
            return Err("told everything, they differ".into());
        }
        if self.regions[0].epoch().cloned() != highest {
            return Err("the highest epoch did not win".into());
        }
        counts.met(Met::Converged);
        Ok(())
    }
}

/// GEO-4: whatever is lost, repeated or late, no region acks what no consumer acked, and all converge.
#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn every_schedule_of_acks_converges_to_what_was_acked() {
    let counts = RefCell::new(Coverage::default());
    let started = Instant::now();
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&tapes(), |tape| run(&tape, &mut counts.borrow_mut()).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{CASES} schedules in {:.1} s\n{}", started.elapsed().as_secs_f64(), counts.borrow());
    assert_eq!(counts.borrow().rarer_than(OCCURRENCES_MIN), Vec::<String>::new());
}
