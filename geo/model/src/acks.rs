//! Replicated subscriptions: acks of one origin log in two regions, joined under epochs (GEO-4).
//!
//! An epoch is (counter, region), totally ordered; the region in it is the active one. Within an epoch states join by
//! union; a higher epoch is adopted with its whole base; a lower one is dropped. Create, seek, takeover and delete
//! each make an epoch. One offset was skipped in the second region: there it counts as settled, and must never be
//! shipped as acked. Acks may arrive before their messages.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

const FLYING_MAX: usize = 2;
/// The offset that the second region skipped, as a bit.
const SKIPPED: u8 = 0b01;

/// The model and its size.
#[derive(Clone, Debug)]
pub struct Acks {
    /// Messages, at most 8.
    pub messages: u8,
    /// The highest counter of an epoch.
    pub counters: u8,
    /// What is wrong on purpose.
    pub fault: Option<Fault>,
}

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A higher epoch is joined to what is there, instead of replacing it.
    KeepsLowerSet,
    /// A lower epoch is joined too.
    JoinsLowerEpoch,
    /// Epochs are compared by counter alone, so two takeovers at once are one epoch.
    CounterOnly,
    /// A part of a higher epoch is taken for all of it.
    AdoptsPart,
    /// What was skipped here is shipped as acked.
    ShipsSkipped,
    /// Acks of messages that are not here yet are dropped.
    DropsEarlyAcks,
    /// Deleting forgets the epoch, so an old state brings the subscription back.
    DeleteForgets,
    /// A region that is not active lets its consumers ack.
    PassiveAcks,
    /// A cumulative ack covers what was skipped below it.
    CumulativeCoversSkips,
}

/// (counter, region): the region is the active one.
pub type Epoch = (u8, u8);

/// What a region knows of the subscription. Sets are bits by offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    epoch: Epoch,
    deleted: bool,
    /// What the epoch began with.
    base: u8,
    acked: u8,
}

/// What one region tells the other: all of its state, or a part of the acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    to: u8,
    whole: bool,
    known: Known,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    regions: [Known; 2],
    /// Messages that have arrived in each region. The first region is their origin.
    present: [u8; 2],
    flying: BTreeSet<Told>,
    /// What may be acked in an epoch: its base, and what consumers acked in it.
    rightful: BTreeMap<Epoch, u8>,
    /// What each epoch began with.
    bases: BTreeMap<Epoch, u8>,
    /// The highest epoch each region has ever been in.
    highest: [Epoch; 2],
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The next message arrives in a region.
    Arrive(u8),
    /// A consumer acks one message.
    Ack(u8, u8),
    /// A consumer acks everything up to an offset.
    AckThrough(u8, u8),
    /// The region becomes the active one, whether or not it has heard everything.
    TakeOver(u8),
    /// The active region moves the subscription: everything below the offset is settled, all else is not.
    Seek(u8, u8),
    /// The subscription is deleted.
    Delete(u8),
    /// The subscription is created again.
    Create(u8),
    /// A region tells the other of one ack: whichever part is told, and when, must not matter.
    TellDelta(u8, u8),
    /// A region tells the other everything, as when their digests differ.
    TellAll(u8),
    /// The network loses something.
    Drop(Told),
    /// Something arrives; the network may have kept a copy.
    Hear(Told),
}

impl Acks {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn begin(&self, state: &mut State, region: u8, deleted: bool, base: u8) {
        let known = &mut state.regions[usize::from(region)];
        let epoch = (known.epoch.0 + 1, region);
        *known = Known { epoch, deleted, base, acked: base };
        if deleted && self.has(Fault::DeleteForgets) {
            *known = Known { deleted, ..Known::default() };
        }
        state.rightful.insert(epoch, base);
        state.bases.insert(epoch, base);
        let highest = &mut state.highest[usize::from(region)];
        *highest = epoch.max(*highest);
    }

    fn ack(&self, state: &mut State, region: u8, offsets: u8) {
        let known = &mut state.regions[usize::from(region)];
        known.acked |= offsets;
        let covered = offsets & !skipped(region);
        let rightful = if known.epoch.1 == region { covered } else { 0 };
        *state.rightful.entry(known.epoch).or_default() |= rightful;
    }

    fn tell(&self, from: u8, whole: bool, known: Known, acked: u8) -> Told {
        let settled = if self.has(Fault::ShipsSkipped) { acked | skipped(from) } else { acked };
        Told { to: 1 - from, whole, known: Known { acked: settled, ..known } }
    }

    /// The join. The only place where a region believes another one.
    fn hear(&self, state: &mut State, told: &Told) {
        let region = usize::from(told.to);
        let known = &mut state.regions[region];
        let order = match self.fault {
            Some(Fault::CounterOnly) => told.known.epoch.0.cmp(&known.epoch.0),
            _ => told.known.epoch.cmp(&known.epoch),
        };
        let present = (1 << state.present[region]) - 1;
        let news = told.known.acked & if self.has(Fault::DropsEarlyAcks) { present } else { u8::MAX };
        if order.is_gt() {
            if told.whole || self.has(Fault::AdoptsPart) {
                let kept = if self.has(Fault::KeepsLowerSet) { known.acked } else { 0 };
                *known = Known { acked: news | kept, ..told.known };
                state.highest[region] = state.highest[region].max(told.known.epoch);
            }
        } else if order.is_eq() || self.has(Fault::JoinsLowerEpoch) {
            known.acked |= news;
        }
    }

    /// After everything is told, both ways and in either order, both regions know the same.
    fn converges(&self, state: &State) -> bool {
        [[0, 1], [1, 0]].into_iter().all(|order| {
            let mut state = state.clone();
            for from in order.into_iter().chain(order) {
                let known = state.regions[usize::from(from)];
                let told = self.tell(from, true, known, known.acked);
                self.hear(&mut state, &told);
            }
            state.regions[0] == state.regions[1]
        })
    }
}

impl State {
    /// Epochs that nobody can speak of any more need no history.
    fn forget(&mut self) {
        let known = self.regions.iter().chain(self.flying.iter().map(|told| &told.known));
        let epochs: BTreeSet<Epoch> = known.map(|known| known.epoch).collect();
        self.rightful.retain(|epoch, _| epochs.contains(epoch));
        self.bases.retain(|epoch, _| epochs.contains(epoch));
    }
}

fn skipped(region: u8) -> u8 {
    if region == 1 { SKIPPED } else { 0 }
}

/// GEO-4: a region has what its epoch began with, and beyond that only what consumers acked in that epoch.
fn rightful(state: &State) -> bool {
    state.regions.iter().all(|known| {
        let rightful = state.rightful.get(&known.epoch).copied().unwrap_or_default();
        let base = state.bases.get(&known.epoch).copied().unwrap_or_default();
        known.acked & !rightful == 0 && base & !known.acked == 0
    })
}

impl Model for Acks {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { present: [self.messages, 0], ..State::default() }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for region in 0..2 {
            let known = state.regions[usize::from(region)];
            if state.present[usize::from(region)] < self.messages {
                actions.push(Action::Arrive(region));
            }
            if known.epoch.0 < self.counters {
                match known.deleted {
                    true => actions.push(Action::Create(region)),
                    false => actions.extend([Action::TakeOver(region), Action::Delete(region)]),
                }
            }
            if state.flying.len() < FLYING_MAX {
                actions.push(Action::TellAll(region));
                let acked = (0..self.messages).filter(|offset| known.acked & (1 << offset) != 0);
                actions.extend(acked.map(|offset| Action::TellDelta(region, offset)));
            }
            if known.deleted || (known.epoch.1 != region && !self.has(Fault::PassiveAcks)) {
                continue;
            }
            let here = (0..state.present[usize::from(region)]).filter(|o| skipped(region) & (1 << o) == 0);
            for offset in here {
                actions.extend([Action::Ack(region, offset), Action::AckThrough(region, offset)]);
            }
            if known.epoch.0 < self.counters {
                actions.extend((0..=self.messages).map(|floor| Action::Seek(region, floor)));
            }
        }
        actions.extend(state.flying.iter().copied().map(Action::Drop));
        actions.extend(state.flying.iter().copied().map(Action::Hear));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let below = |offset: u8| ((1u16 << offset) - 1) as u8;
        match action {
            Action::Arrive(region) => state.present[usize::from(region)] += 1,
            Action::Ack(region, offset) => self.ack(&mut state, region, 1 << offset),
            Action::AckThrough(region, offset) => {
                let skips = if self.has(Fault::CumulativeCoversSkips) { 0 } else { skipped(region) };
                self.ack(&mut state, region, below(offset + 1) & !skips);
            }
            Action::TakeOver(region) => {
                let acked = state.regions[usize::from(region)].acked;
                self.begin(&mut state, region, false, acked);
            }
            Action::Seek(region, floor) => self.begin(&mut state, region, false, below(floor)),
            Action::Delete(region) => self.begin(&mut state, region, true, 0),
            Action::Create(region) => self.begin(&mut state, region, false, 0),
            Action::TellDelta(region, offset) => {
                let told = self.tell(region, false, state.regions[usize::from(region)], 1 << offset);
                state.flying.insert(told);
            }
            Action::TellAll(region) => {
                let known = state.regions[usize::from(region)];
                state.flying.insert(self.tell(region, true, known, known.acked));
            }
            Action::Drop(told) => {
                state.flying.remove(&told);
            }
            Action::Hear(told) => self.hear(&mut state, &told),
        }
        state.forget();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("GEO-4: only what was acked in its epoch", |_, state: &State| rightful(state)),
            Property::always("GEO-4: converges", |model: &Acks, state: &State| model.converges(state)),
            Property::always("epochs never go back", |_, state: &State| {
                state.regions.iter().zip(state.highest).all(|(known, highest)| known.epoch == highest)
            }),
            Property::sometimes("two takeovers at once", |_, state: &State| {
                let [one, two] = state.regions.map(|known| known.epoch);
                one.0 == two.0 && one.1 != two.1
            }),
            Property::sometimes("an ack before its message", |_, state: &State| {
                let [_, known] = state.regions;
                known.acked & !((1u8 << state.present[1]) - 1) & !known.base != 0
            }),
            Property::sometimes("a hole travels", |_, state: &State| {
                state.regions.iter().all(|known| known.acked == 0b10 && known.base == 0)
            }),
            Property::sometimes("deleted everywhere", |_, state: &State| {
                state.regions.iter().all(|known| known.deleted)
            }),
        ]
    }
}
