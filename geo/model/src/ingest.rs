//! Ingest of one origin log: pipelined frames over a bad network into a log that applies later (GEO-1, GEO-3).
//!
//! The origin appends, commits and loses what it had not committed; retention removes what is committed. The shipper
//! sends frames without waiting; frames are dropped, repeated and reordered, and so are the watermarks that come back.
//! At the destination a frame is proposed to Raft first and decided when it is applied; a leader that dies may lose
//! what it proposed. Either side may lose its memory at any time.

use std::collections::BTreeSet;

use stateright::{Model, Property};

/// Frames that are on their way at most. More add schedules, not cases.
const FRAMES_MAX: usize = 2;
/// Frames proposed and not applied yet, at most.
const PROPOSED_MAX: usize = 2;

/// The model and its size.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Messages in the origin's log, at most.
    pub messages: u8,
    /// Messages in a frame, at most.
    pub frame: u8,
    /// What is wrong on purpose.
    pub fault: Option<Fault>,
}

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// "At or below the highest offset seen means duplicate, above it means new": Apache Pulsar #26113.
    MaximumMeansDuplicate,
    /// What continues is decided when a frame is proposed, from the leader's memory, and not looked at again.
    DecidesAtProposal,
    /// The shipper reads what is not committed.
    ShipsUncommitted,
    /// What was removed or is not for the destination is left out, and nothing says so.
    SkipsSilently,
    /// The shipper goes on after what it sent last, whatever the destination says.
    NeverResyncs,
}

/// What the origin stored at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Content {
    /// One message, or another one that took its place after a crash.
    For(u8),
    /// A message whose region set does not name the destination.
    NotForHere,
}

/// What a frame says of an offset, and what the destination recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// The message.
    Message(u8, u8),
    /// Not for the destination.
    Narrowed(u8),
    /// Removed before it could be shipped.
    Trimmed(u8),
}

impl Item {
    fn offset(self) -> u8 {
        let (Item::Message(offset, _) | Item::Narrowed(offset) | Item::Trimmed(offset)) = self;
        offset
    }
}

/// Offsets `[from, to)` of the origin, one item each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    from: u8,
    to: u8,
    items: Vec<Item>,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    log: Vec<Content>,
    committed: u8,
    start: u8,
    /// Where the next frame begins; unknown until a watermark arrives.
    next: Option<u8>,
    frames: BTreeSet<Frame>,
    proposed: Vec<Frame>,
    /// What the destination's leader believes, for the fault that trusts it.
    believed: u8,
    stored: Vec<Item>,
    watermark: u8,
}

impl Default for Content {
    fn default() -> Self {
        Content::For(0)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The origin appends; not committed yet.
    Append(Content),
    /// The origin commits the first message that is not.
    Commit,
    /// The origin's leader dies, and what it had not committed is gone.
    LoseTail,
    /// The origin's retention removes the oldest message, shipped or not.
    Trim,
    /// The shipper loses its memory: crash, or the leader moved.
    ShipperRestarts,
    /// The shipper hears a watermark, perhaps an old one.
    Resync(u8),
    /// The shipper sends the next so many offsets.
    Ship(u8),
    /// The network loses a frame.
    Drop(Frame),
    /// The destination gets a frame; the network may have kept a copy.
    Deliver(Frame),
    /// The destination applies what it proposed first.
    Apply,
    /// The destination's leader dies with its memory; so many proposals survive.
    DestinationFails(usize),
}

impl Ingest {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The frame that the shipper makes of `[from, to)`.
    fn read(&self, state: &State, from: u8, to: u8) -> Frame {
        let items = (from..to).map(|offset| match state.log[usize::from(offset)] {
            _ if offset < state.start => Item::Trimmed(offset),
            Content::NotForHere => Item::Narrowed(offset),
            Content::For(message) => Item::Message(offset, message),
        });
        let silent = self.has(Fault::SkipsSilently);
        let items = items.filter(|item| !silent || matches!(item, Item::Message(..))).collect();
        Frame { from, to, items }
    }

    fn readable(&self, state: &State) -> u8 {
        if self.has(Fault::ShipsUncommitted) { state.log.len() as u8 } else { state.committed }
    }

    /// A frame reaches the destination's leader.
    fn propose(&self, state: &mut State, frame: Frame) {
        if self.has(Fault::DecidesAtProposal) {
            if frame.from != state.believed {
                return;
            }
            state.believed = frame.to;
        }
        state.proposed.push(frame);
    }

    /// The first proposal is applied: all of it, or nothing.
    fn apply(&self, state: &mut State) {
        let frame = state.proposed.remove(0);
        let accepted = match self.fault {
            Some(Fault::MaximumMeansDuplicate) => frame.to > state.watermark,
            Some(Fault::DecidesAtProposal) => true,
            _ => frame.from == state.watermark,
        };
        if accepted {
            state.stored.extend(&frame.items);
            state.watermark = frame.to;
        }
    }

    /// With a good network and nobody failing, everything committed arrives.
    fn heals(&self, state: &State) -> bool {
        let mut state = state.clone();
        while !state.proposed.is_empty() {
            self.apply(&mut state);
        }
        state.believed = state.watermark;
        let from = match state.next {
            Some(next) if self.has(Fault::NeverResyncs) => next,
            _ => state.watermark,
        };
        if from < state.committed {
            let frame = self.read(&state, from, state.committed);
            self.propose(&mut state, frame);
            self.apply(&mut state);
        }
        state.watermark == state.committed && truthful(&state)
    }
}

/// GEO-1, GEO-3: the destination has each offset below its watermark once, in order, as the origin committed it or as
/// a skip that gives the true reason.
fn truthful(state: &State) -> bool {
    let dense = state.stored.iter().map(|item| item.offset()).eq(0..state.watermark);
    let true_of = |item: &Item| match (*item, state.log.get(usize::from(item.offset()))) {
        (_, None) => false,
        (Item::Message(_, message), Some(content)) => *content == Content::For(message),
        (Item::Narrowed(_), Some(content)) => *content == Content::NotForHere,
        (Item::Trimmed(offset), Some(_)) => offset < state.start,
    };
    dense && state.watermark <= state.committed && state.stored.iter().all(true_of)
}

impl Model for Ingest {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.log.len() < usize::from(self.messages) {
            // The second message is the one that may be replaced; the others have one content, to keep this small.
            actions.push(Action::Append(Content::For(0)));
            if state.log.len() == 1 {
                actions.extend([Action::Append(Content::For(1)), Action::Append(Content::NotForHere)]);
            }
        }
        if state.committed < state.log.len() as u8 {
            actions.extend([Action::Commit, Action::LoseTail]);
        }
        if state.start < state.committed && state.start < 2 {
            actions.push(Action::Trim);
        }
        if let Some(next) = state.next {
            actions.push(Action::ShipperRestarts);
            let most = self.readable(state).saturating_sub(next).min(self.frame);
            if state.frames.len() < FRAMES_MAX {
                actions.extend((1..=most).map(Action::Ship));
            }
        }
        if state.next.is_none() || !self.has(Fault::NeverResyncs) {
            // Any watermark it ever had may arrive now: reports are repeated and reordered too.
            actions.extend((0..=state.watermark).map(Action::Resync));
        }
        actions.extend(state.frames.iter().cloned().map(Action::Drop));
        if state.proposed.len() < PROPOSED_MAX {
            actions.extend(state.frames.iter().cloned().map(Action::Deliver));
        }
        if !state.proposed.is_empty() {
            actions.push(Action::Apply);
            actions.extend((0..state.proposed.len()).map(Action::DestinationFails));
        }
        if self.has(Fault::DecidesAtProposal) {
            actions.push(Action::DestinationFails(state.proposed.len()));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Append(content) => state.log.push(content),
            Action::Commit => state.committed += 1,
            Action::LoseTail => state.log.truncate(usize::from(state.committed)),
            Action::Trim => state.start += 1,
            Action::ShipperRestarts => state.next = None,
            Action::Resync(watermark) => state.next = Some(watermark),
            Action::Ship(count) => {
                let from = state.next?;
                let frame = self.read(&state, from, from + count);
                state.frames.insert(frame);
                state.next = Some(from + count);
            }
            Action::Drop(frame) => {
                state.frames.remove(&frame);
            }
            Action::Deliver(frame) => self.propose(&mut state, frame),
            Action::Apply => self.apply(&mut state),
            Action::DestinationFails(survive) => {
                state.proposed.truncate(survive);
                if self.has(Fault::DecidesAtProposal) {
                    state.believed = state.watermark;
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("GEO-1, GEO-3: a true prefix, each offset once", |_, state: &State| {
                truthful(state)
            }),
            Property::always("GEO-2: complete after heal", |model: &Ingest, state: &State| {
                model.heals(state)
            }),
            Property::sometimes("everything arrives", |model: &Ingest, state: &State| {
                state.watermark == model.messages && state.start == 0
            }),
            Property::sometimes("something is trimmed unshipped", |_, state: &State| {
                state.stored.iter().any(|item| matches!(item, Item::Trimmed(_)))
            }),
            Property::sometimes("something is narrowed", |_, state: &State| {
                state.stored.iter().any(|item| matches!(item, Item::Narrowed(_)))
            }),
        ]
    }
}
