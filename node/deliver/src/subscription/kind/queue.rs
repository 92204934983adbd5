//! Messages that wait for a consumer: holes first, then what is due, then what is new.

use std::collections::{BTreeMap, VecDeque};

use super::{DelayedLedger, Ledger, Message, Offset};

/// What may leave the window.
pub(in crate::subscription) struct Gates<'a> {
    pub(in crate::subscription) main: &'a Ledger,
    pub(in crate::subscription) delayed: &'a DelayedLedger,
}

/// A message that left a queue.
#[derive(Clone, Copy, Debug)]
pub(in crate::subscription) enum Popped {
    /// It was delivered before. It may be settled by now.
    Again(Offset),
    /// It was not.
    New(Message),
}

/// Messages that wait for a consumer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Delivered before: offset and key.
    again: BTreeMap<Offset, u64>,
    /// Held back for their key, and let go.
    released: VecDeque<Message>,
    due: VecDeque<Message>,
    fresh: VecDeque<Message>,
}

/// Everything that was in a queue.
pub(super) struct Emptied {
    pub(super) again: BTreeMap<Offset, u64>,
    pub(super) new: Vec<Message>,
}

impl Gates<'_> {
    fn admit(&self, message: &Message) -> bool {
        match message.is_delayed() {
            true => self.delayed.admits(message.place()),
            false => self.main.admits(message.offset),
        }
    }
}

impl Queue {
    pub(super) fn push(&mut self, message: Message) {
        match message.is_delayed() {
            true => self.due.push_back(message),
            false => self.fresh.push_back(message),
        }
    }

    pub(super) fn push_again(&mut self, offset: Offset, key: u64) {
        self.again.insert(offset, key);
    }

    /// Puts messages of one key in front of what is new.
    pub(super) fn release(&mut self, messages: VecDeque<Message>) {
        // Lanes are bounded apart, so a delayed message must not stand in front of others.
        let (due, fresh): (VecDeque<_>, VecDeque<_>) = messages.into_iter().partition(Message::is_delayed);
        self.due.extend(due);
        self.released.extend(fresh);
    }

    pub(super) fn pop(&mut self, gates: &Gates<'_>) -> Option<Popped> {
        if let Some((offset, _)) = self.again.pop_first() {
            return Some(Popped::Again(offset));
        }
        for queue in [&mut self.released, &mut self.due, &mut self.fresh] {
            if queue.front().is_some_and(|message| gates.admit(message)) {
                return queue.pop_front().map(Popped::New);
            }
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.again.is_empty() && self.released.is_empty() && self.due.is_empty() && self.fresh.is_empty()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes everything out.
    pub(super) fn empty(&mut self) -> Emptied {
        let Queue { again, released, due, fresh } = std::mem::take(self);
        Emptied { again, new: released.into_iter().chain(due).chain(fresh).collect() }
    }
}
