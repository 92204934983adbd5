//! The batches of one partition between freezing and ack: a pure state machine.
//!
//! Batches are sent in order and pipelined. When one of them fails, nothing more is sent until every copy that
//! is out has been answered or given up; then the oldest batch alone decides: send all again, unchanged, or
//! break off. This rests on density: a partition stores a sequence only after the one before it, so where the
//! oldest batch is certainly not stored, none of the later ones is.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::time::Instant;

use super::identity::Identity;
use super::pending::renumber;
use super::verdict::{Trouble, Verdict};
use crate::Error;

/// One frozen batch. `W` is whoever waits for it.
#[derive(Debug)]
pub(super) struct Outgoing<W> {
    /// Names this numbering of this batch; late answers to an older numbering do not match.
    pub(super) ticket: u64,
    pub(super) batch: Bytes,
    pub(super) count: u32,
    pub(super) first_sequence: u64,
    pub(super) first_ordinal: u64,
    pub(super) deadline: Instant,
    pub(super) waiters: W,
    state: State,
    /// Some copy of it was never answered, or answered with "unknown".
    maybe_stored: bool,
    /// When last sent, nothing unanswered was before it.
    sent_as_head: bool,
    /// Refusals that should pass but might not.
    soft_refusals: u32,
    /// What its last copy met.
    last: Option<Error>,
}

#[derive(Debug)]
enum State {
    Unsent,
    InFlight { attempt: u64, since: Instant },
    Answered(Trouble),
}

/// A copy to put on the wire.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub(super) ticket: u64,
    pub(super) attempt: u64,
    pub(super) batch: Bytes,
}

/// A batch that is over, without success.
pub(super) type Ended<W> = (W, Error);

/// The queue.
#[derive(Debug)]
pub(super) struct SendQueue<W> {
    batches: VecDeque<Outgoing<W>>,
    next_ticket: u64,
    next_sequence: u64,
    attempt: u64,
    in_flight: usize,
    troubled: bool,
}

impl<W> SendQueue<W> {
    pub(super) fn new() -> Self {
        let (batches, next_ticket, next_sequence) = (VecDeque::new(), 0, 0);
        Self { batches, next_ticket, next_sequence, attempt: 0, in_flight: 0, troubled: false }
    }

    /// The sequence of the next message.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The oldest batch.
    pub(super) fn head(&self) -> Option<&Outgoing<W>> {
        self.batches.front()
    }

    /// When the copy that waits longest was sent.
    pub(super) fn oldest_in_flight(&self) -> Option<Instant> {
        self.batches.iter().find_map(|outgoing| match outgoing.state {
            State::InFlight { since, .. } => Some(since),
            _ => None,
        })
    }

    /// Appends a batch that was built with [`SendQueue::next_sequence`].
    pub(super) fn push(
        &mut self,
        batch: Bytes,
        count: u32,
        first_ordinal: u64,
        deadline: Instant,
        waiters: W,
    ) {
        let (ticket, first_sequence) = (self.next_ticket, self.next_sequence);
        self.next_ticket += 1;
        self.next_sequence += u64::from(count);
        self.batches.push_back(Outgoing {
            ticket,
            batch,
            count,
            first_sequence,
            first_ordinal,
            deadline,
            waiters,
            state: State::Unsent,
            maybe_stored: false,
            sent_as_head: false,
            soft_refusals: 0,
            last: None,
        });
    }

    /// The next copy to send, in order; `None` while trouble is being settled.
    pub(super) fn next_copy(&mut self, now: Instant) -> Option<Copy> {
        if self.troubled {
            return None;
        }
        let attempt = self.attempt;
        let (position, next) = self
            .batches
            .iter_mut()
            .enumerate()
            .find(|(_, outgoing)| matches!(outgoing.state, State::Unsent))?;
        next.state = State::InFlight { attempt, since: now };
        next.sent_as_head = position == 0;
        self.in_flight += 1;
        Some(Copy { ticket: next.ticket, attempt, batch: next.batch.clone() })
    }

    /// An ack, of whichever copy. The batch leaves the queue.
    pub(super) fn acked(&mut self, ticket: u64) -> Option<Outgoing<W>> {
        let position = self.batches.iter().position(|outgoing| outgoing.ticket == ticket)?;
        let outgoing = self.batches.remove(position)?;
        if matches!(outgoing.state, State::InFlight { .. }) {
            self.in_flight -= 1;
        }
        Some(outgoing)
    }

    /// A copy came back, or will not come back.
    pub(super) fn failed(&mut self, ticket: u64, attempt: u64, trouble: Trouble) {
        let found = self.batches.iter_mut().find(|outgoing| outgoing.ticket == ticket);
        let Some(outgoing) = found else { return };
        if !matches!(outgoing.state, State::InFlight { attempt: sent, .. } if sent == attempt) {
            return;
        }
        outgoing.maybe_stored |= trouble.may_be_stored();
        outgoing.state = State::Answered(trouble);
        self.in_flight -= 1;
        self.troubled = true;
    }

    /// Nothing that is out will be waited for any longer.
    pub(super) fn lost(&mut self, why: &Error) {
        for outgoing in &mut self.batches {
            if matches!(outgoing.state, State::InFlight { .. }) {
                outgoing.maybe_stored = true;
                outgoing.state = State::Answered(Trouble::Lost(why.clone()));
                self.troubled = true;
            }
        }
        self.in_flight = 0;
    }

    /// Once every copy is answered after trouble: what the oldest batch met, and what follows from it.
    /// [`Verdict::Again`] has been carried out when this returns: everything left is to be sent anew.
    pub(super) fn settle(&mut self) -> Option<(Verdict, Option<Error>)> {
        if !self.troubled || self.in_flight > 0 {
            return None;
        }
        let mut settled = (Verdict::again_at_once(), None);
        if let Some(head) = self.batches.front_mut() {
            // Anything else: the one that failed was acked meanwhile by a late answer.
            if let State::Answered(trouble) = &head.state {
                let verdict = trouble.judge(head.sent_as_head, head.soft_refusals);
                head.soft_refusals += u32::from(verdict.is_soft());
                settled = (verdict, Some(trouble.error().clone()));
            }
        }
        self.send_all_again();
        Some(settled)
    }

    fn send_all_again(&mut self) {
        self.troubled = false;
        self.attempt += 1;
        for outgoing in &mut self.batches {
            if let State::Answered(trouble) = std::mem::replace(&mut outgoing.state, State::Unsent) {
                outgoing.last = Some(trouble.error().clone());
            }
        }
    }

    /// The head is over with `error`, stored or not: takes it out and keeps the others and the numbering.
    pub(super) fn drop_head(&mut self, error: Error) -> Vec<Ended<W>> {
        self.batches.pop_front().map(|head| (head.waiters, error)).into_iter().collect()
    }

    /// The identity is broken, nothing is in flight. Takes out the head if it `fails` with an error, and, where
    /// the head may be stored, each later batch that may be stored too: their outcome will never be known.
    /// What stays was certainly not stored and waits for [`SendQueue::renumber`].
    pub(super) fn break_off(&mut self, fails: Option<Error>) -> Vec<Ended<W>> {
        if let Some(error) = &fails {
            self.lost(error);
        }
        self.send_all_again();
        let Some(head_maybe) = self.batches.front().map(|head| head.maybe_stored) else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        let mut kept = VecDeque::with_capacity(self.batches.len());
        for (position, outgoing) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            let in_doubt = head_maybe && outgoing.maybe_stored;
            match &fails {
                _ if in_doubt => {
                    let last = fails.clone().or(outgoing.last);
                    ended.push((outgoing.waiters, unknown(last)));
                }
                Some(error) if position == 0 => ended.push((outgoing.waiters, error.clone())),
                _ => kept.push_back(outgoing),
            }
        }
        self.batches = kept;
        ended
    }

    /// The refusal of the head proves that nothing in the queue is stored.
    pub(super) fn nothing_is_stored(&mut self) {
        self.batches.iter_mut().for_each(|outgoing| outgoing.maybe_stored = false);
    }

    /// Everything left goes out under a new identity, from sequence 0 on.
    pub(super) fn renumber(&mut self, identity: Identity) -> Result<(), Error> {
        self.next_sequence = 0;
        self.attempt += 1;
        for outgoing in &mut self.batches {
            outgoing.batch = renumber(&outgoing.batch, identity, self.next_sequence)?;
            outgoing.first_sequence = self.next_sequence;
            outgoing.ticket = self.next_ticket;
            outgoing.maybe_stored = false;
            self.next_ticket += 1;
            self.next_sequence += u64::from(outgoing.count);
        }
        Ok(())
    }

    /// The end of everything in the queue: unknown where a copy may be stored, `error` elsewhere.
    pub(super) fn abandon(&mut self, error: &Error) -> Vec<Ended<W>> {
        self.lost(error);
        self.send_all_again();
        let all = std::mem::take(&mut self.batches).into_iter();
        all.map(|outgoing| match outgoing.maybe_stored {
            true => (outgoing.waiters, unknown(Some(error.clone()))),
            false => (outgoing.waiters, error.clone()),
        })
        .collect()
    }

    /// Whether a failed batch waits to be settled.
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled
    }
}

fn unknown(last: Option<Error>) -> Error {
    Error::Indeterminate { what: "publish".into(), last: last.map(Box::new) }
}
