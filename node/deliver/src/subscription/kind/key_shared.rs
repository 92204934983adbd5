//! Key-shared: each key goes to one consumer, and moves only after its earlier messages are settled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meridian_model::ConsumerId;

use super::key_state::KeyState;
use super::queue::Queue;
use super::routes::Routes;
use super::turns::Turns;
use super::{Consumers, Gates, KeyChange, Message, Offset, Popped, Refusal, Seat};
use crate::subscription::event::KeyRange;

/// A queue for each consumer.
#[derive(Debug, Default)]
pub(in crate::subscription) struct KeyShared {
    queues: BTreeMap<Seat, Queue>,
    /// Messages whose keys nobody wants.
    unwanted: Queue,
    /// Keys with messages that are not settled.
    keys: BTreeMap<u64, KeyState>,
    routes: Routes,
    turns: Turns,
    /// Consumers whose queue holds only what may not leave the window yet.
    held_back: BTreeSet<Seat>,
}

impl KeyShared {
    pub(super) fn admits(&self, ranges: &[KeyRange], seat: Option<Seat>) -> Result<(), Refusal> {
        self.routes.admits(ranges, seat)
    }

    pub(super) fn joined(&mut self, seat: Seat, consumer: ConsumerId, ranges: &[KeyRange]) {
        self.routes.remove(seat);
        self.routes.add(seat, consumer, ranges);
        self.queues.entry(seat).or_default();
        self.share_anew();
    }

    pub(super) fn draining(&mut self, seat: Seat) {
        self.routes.remove(seat);
        self.share_anew();
    }

    pub(super) fn left(&mut self, seat: Seat) {
        self.routes.remove(seat);
        for state in self.keys.values_mut().filter(|state| state.holder == Some(seat)) {
            state.orphan();
        }
        if let Some(mut queue) = self.queues.remove(&seat) {
            let left = queue.empty();
            left.again.into_iter().for_each(|(offset, key)| self.push_again(offset, key));
            left.new.into_iter().for_each(|message| self.unwanted.push(message));
        }
        self.share_anew();
    }

    pub(super) fn has_room(&mut self, seat: Seat) {
        self.turns.enter(seat);
    }

    pub(super) fn push(&mut self, message: Message) {
        let target = self.routes.of(spread(message.key, message.offset));
        self.queue_of(target).push(message);
        target.into_iter().for_each(|seat| self.turns.enter(seat));
    }

    pub(super) fn push_again(&mut self, offset: Offset, key: u64) {
        let holder = self.keys.get(&key).and_then(|state| state.holder);
        let target = holder.or_else(|| self.routes.of(spread(key, offset)));
        self.queue_of(target).push_again(offset, key);
        target.into_iter().for_each(|seat| self.turns.enter(seat));
    }

    pub(super) fn next(
        &mut self,
        consumers: &Consumers,
        held_max: usize,
        gates: &Gates<'_>,
    ) -> Option<(Seat, Popped)> {
        while let Some(seat) = self.turns.first() {
            let room = consumers.get(seat).is_some_and(|consumer| consumer.has_room(held_max));
            let queue = self.queues.get_mut(&seat).filter(|_| room);
            let Some((popped, queue)) = queue.and_then(|queue| Some((queue.pop(gates)?, queue))) else {
                if self.queues.get(&seat).is_some_and(|queue| room && !queue.is_empty()) {
                    self.held_back.insert(seat);
                }
                self.turns.leave();
                continue;
            };
            match popped {
                Popped::New(message) if Self::parks(&mut self.keys, seat, message) => continue,
                _ => {}
            }
            if queue.is_empty() {
                self.turns.leave();
            } else {
                self.turns.rotate();
            }
            return Some((seat, popped));
        }
        None
    }

    pub(super) fn change(&mut self, key: u64, change: KeyChange) {
        let state = self.keys.entry(key).or_default();
        state.change(change);
        self.look_at(key);
    }

    pub(super) fn committed(&mut self) {
        std::mem::take(&mut self.held_back).into_iter().for_each(|seat| self.turns.enter(seat));
    }

    pub(super) fn clear(&mut self) {
        self.queues.values_mut().for_each(Queue::clear);
        self.unwanted.clear();
        self.keys.clear();
    }

    /// Whether a new message must wait for earlier ones of its key.
    fn parks(keys: &mut BTreeMap<u64, KeyState>, seat: Seat, message: Message) -> bool {
        let state = if message.key == 0 { None } else { keys.get_mut(&message.key) };
        let Some(state) = state.filter(|state| !state.is_open_to(seat) || !state.parked.is_empty()) else {
            return false;
        };
        if planted!(ParkedLost) && state.parked.len() == 1 {
            return true;
        }
        state.parked.push_back(message);
        true
    }

    /// Lets go what waits for a key, if it needs not wait any more.
    fn look_at(&mut self, key: u64) {
        let Some(state) = self.keys.get_mut(&key) else { return };
        let target = self.routes.of(key);
        let open = target.is_some_and(|seat| state.is_open_to(seat));
        let parked = match state.is_over() || open {
            true => std::mem::take(&mut state.parked),
            false => return,
        };
        if state.is_over() {
            self.keys.remove(&key);
        }
        self.release(target, parked);
    }

    fn release(&mut self, target: Option<Seat>, messages: VecDeque<Message>) {
        if !messages.is_empty() {
            self.queue_of(target).release(messages);
            target.into_iter().for_each(|seat| self.turns.enter(seat));
        }
    }

    fn queue_of(&mut self, target: Option<Seat>) -> &mut Queue {
        match target {
            Some(seat) => self.queues.entry(seat).or_default(),
            None => &mut self.unwanted,
        }
    }

    /// Gives every message that waits to the consumer that it belongs to by now.
    fn share_anew(&mut self) {
        let queues = self.queues.values_mut().chain([&mut self.unwanted]);
        let (mut again, mut new) = (BTreeMap::new(), Vec::new());
        for emptied in queues.map(Queue::empty) {
            again.extend(emptied.again);
            new.extend(emptied.new);
        }
        // In the order in which they would have been read: so each key keeps its order.
        new.sort_unstable_by_key(|message: &Message| (message.deliver_at, message.offset));
        again.into_iter().for_each(|(offset, key)| self.push_again(offset, key));
        new.into_iter().for_each(|message| self.push(message));
        let keys: Vec<u64> = self.keys.keys().copied().collect();
        keys.into_iter().for_each(|key| self.look_at(key));
    }
}

/// Where a message without a key goes: anywhere, but always the same way.
fn spread(key: u64, offset: Offset) -> u64 {
    if key == 0 { offset.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) } else { key }
}
