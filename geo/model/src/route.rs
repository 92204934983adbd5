//! Changing the route of one (origin, destination): straight, or over a hop that may not have everything (GEO-1).
//!
//! Every message is for the destination; some are not for the hop, whose own log then has a skip where they were. A
//! message that is lost shows as a skip at the destination. Once the route leads over the hop, no message may omit it.

use std::collections::BTreeSet;

use stateright::{Model, Property};

const FRAMES_MAX: usize = 2;

/// The model and its size.
#[derive(Clone, Debug)]
pub struct Route {
    /// Messages, at most.
    pub messages: usize,
    /// The last route epoch. Odd ones are straight, even ones lead over the hop.
    pub epochs: u8,
    /// What is wrong on purpose.
    pub fault: Option<Fault>,
}

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The epoch starts without waiting for what omits the new hop.
    StartsEarly,
    /// The place to wait for is taken before publishes that omit the hop are refused.
    BarrierBeforeRule,
    /// The rule is lifted before the destination has left the hop.
    RelaxesEarly,
    /// The destination takes frames of any upstream and epoch.
    EpochNotCompared,
    /// The destination knows its upstream, but not since which epoch. No fault, as exploration shows: the hop cannot
    /// lack what is above the watermark at which its epoch started, and what is below is ignored.
    UpstreamOnly,
    /// Publishes that omit the hop are accepted all the time.
    PublishUnchecked,
}

/// Who ships to the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Upstream {
    /// The origin itself.
    Origin,
    /// The region in between.
    Hop,
}

/// What a region has of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// The message.
    Message,
    /// Nothing: it was not for that region, or not for its upstream.
    Skip,
}

/// Consecutive offsets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    upstream: Upstream,
    epoch: u8,
    from: usize,
    items: Vec<Item>,
}

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// By offset: whether the region set omits the hop.
    omits: Vec<bool>,
    /// Publishes that omit the hop are refused.
    rule: bool,
    /// A change to the hop is under way, and waits until the destination's watermark is here.
    barrier: Option<usize>,
    hop: Vec<Item>,
    destination: Vec<Item>,
    epoch: u8,
    /// The route epoch that each upstream believes to be in force.
    believed: [u8; 2],
    frames: BTreeSet<Frame>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A message is published; whether its set omits the hop.
    Publish(bool),
    /// The hop takes the next offset from the origin.
    HopTakes,
    /// The change to the hop begins: the place to wait for is taken, and the rule set.
    Announce,
    /// For the fault: the rule alone.
    SetRule,
    /// The destination starts the epoch that leads over the hop.
    StartOverHop,
    /// The destination starts the epoch that leads straight again.
    StartStraight,
    /// Publishes may omit the hop again.
    Relax,
    /// An upstream hears of the epoch in force.
    Learn(Upstream),
    /// An upstream ships so many offsets from a watermark that the destination has or had.
    Ship(Upstream, usize, usize),
    /// The network loses a frame.
    Drop(Frame),
    /// The destination applies a frame; the network may have kept a copy.
    Deliver(Frame),
}

fn leads_over(epoch: u8) -> Upstream {
    if epoch.is_multiple_of(2) { Upstream::Hop } else { Upstream::Origin }
}

impl Route {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn changes(&self, state: &State, actions: &mut Vec<Action>) {
        let straight = leads_over(state.epoch) == Upstream::Origin;
        if straight && state.epoch < self.epochs {
            match state.barrier {
                None => actions.push(Action::Announce),
                Some(_) if !state.rule && !self.has(Fault::PublishUnchecked) => actions.push(Action::SetRule),
                Some(at) if state.destination.len() >= at || self.has(Fault::StartsEarly) => {
                    actions.push(Action::StartOverHop);
                }
                Some(_) => {}
            }
        }
        if !straight && state.epoch < self.epochs {
            actions.push(Action::StartStraight);
        }
        if state.rule && state.barrier.is_none() && (straight || self.has(Fault::RelaxesEarly)) {
            actions.push(Action::Relax);
        }
    }

    fn ships(&self, state: &State, actions: &mut Vec<Action>) {
        for upstream in [Upstream::Origin, Upstream::Hop] {
            if leads_over(state.believed[upstream as usize]) != upstream {
                continue;
            }
            let end = state.available(upstream);
            for from in 0..=state.destination.len() {
                let most = end.saturating_sub(from).min(2);
                actions.extend((1..=most).map(|count| Action::Ship(upstream, from, count)));
            }
        }
    }

    fn deliver(&self, state: &mut State, frame: &Frame) {
        let right = match self.fault {
            Some(Fault::EpochNotCompared) => true,
            Some(Fault::UpstreamOnly) => frame.upstream == leads_over(state.epoch),
            _ => frame.epoch == state.epoch && frame.upstream == leads_over(state.epoch),
        };
        if right && frame.from == state.destination.len() {
            state.destination.extend(&frame.items);
        }
    }

    /// With everybody told and a good network, all messages arrive.
    fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        while state.hop.len() < state.omits.len() {
            state.hop_takes();
        }
        let from = state.destination.len();
        let frame = state.read(leads_over(state.epoch), state.epoch, from, state.omits.len() - from);
        self.deliver(&mut state, &frame);
        state.destination == vec![Item::Message; state.omits.len()]
    }
}

impl State {
    fn available(&self, upstream: Upstream) -> usize {
        match upstream {
            Upstream::Origin => self.omits.len(),
            Upstream::Hop => self.hop.len(),
        }
    }

    fn hop_takes(&mut self) {
        let omitted = self.omits[self.hop.len()];
        self.hop.push(if omitted { Item::Skip } else { Item::Message });
    }

    fn read(&self, upstream: Upstream, epoch: u8, from: usize, count: usize) -> Frame {
        let items = match upstream {
            Upstream::Origin => vec![Item::Message; count],
            Upstream::Hop => self.hop[from..from + count].to_vec(),
        };
        Frame { upstream, epoch, from, items }
    }
}

impl Model for Route {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            omits: Vec::new(),
            rule: false,
            barrier: None,
            hop: Vec::new(),
            destination: Vec::new(),
            epoch: 1,
            believed: [1, 1],
            frames: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.omits.len() < self.messages {
            actions.push(Action::Publish(false));
            if !state.rule {
                actions.push(Action::Publish(true));
            }
        }
        if state.hop.len() < state.omits.len() {
            actions.push(Action::HopTakes);
        }
        self.changes(state, actions);
        actions.extend([Action::Learn(Upstream::Origin), Action::Learn(Upstream::Hop)]);
        if state.frames.len() < FRAMES_MAX {
            self.ships(state, actions);
        }
        actions.extend(state.frames.iter().cloned().map(Action::Drop));
        actions.extend(state.frames.iter().cloned().map(Action::Deliver));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Publish(omits) => state.omits.push(omits),
            Action::HopTakes => state.hop_takes(),
            Action::Announce => {
                state.barrier = Some(state.omits.iter().rposition(|omits| *omits).map_or(0, |last| last + 1));
                // One command in the origin's log: nothing can be published in between.
                state.rule = !self.has(Fault::BarrierBeforeRule) && !self.has(Fault::PublishUnchecked);
            }
            Action::SetRule => state.rule = true,
            Action::StartOverHop => (state.epoch, state.barrier) = (state.epoch + 1, None),
            Action::StartStraight => state.epoch += 1,
            Action::Relax => state.rule = false,
            Action::Learn(upstream) => state.believed[upstream as usize] = state.epoch,
            Action::Ship(upstream, from, count) => {
                let epoch = state.believed[upstream as usize];
                let frame = state.read(upstream, epoch, from, count);
                state.frames.insert(frame);
            }
            Action::Drop(frame) => {
                state.frames.remove(&frame);
            }
            Action::Deliver(frame) => self.deliver(&mut state, &frame),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("GEO-1: nothing for the destination is skipped", |_, state: &State| {
                state.destination.iter().all(|item| *item == Item::Message)
            }),
            Property::always("GEO-2: complete after heal", |model: &Route, state: &State| model.heals(state)),
            Property::sometimes("over the hop and back", |model: &Route, state: &State| {
                state.epoch == model.epochs && state.destination.len() == model.messages
            }),
            Property::sometimes("the hop lacks what the destination has", |_, state: &State| {
                leads_over(state.epoch) == Upstream::Hop && state.hop.contains(&Item::Skip)
            }),
        ]
    }
}
