//! What the application says, and what of it goes to the node next.

use std::sync::Arc;

use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::{
    DeliveredRange, ErrorReason, Failure, SubscribeAck, SubscribeCredit, SubscribeDrain, SubscribeExtend,
    SubscribeHeartbeat, SubscribeNack, SubscribeSeek, SubscriptionStart,
};
use tokio::time::Instant;

use super::{HEARTBEATS, Ledger};
use crate::Error;
use crate::consumer::book::Said;
use crate::consumer::claims::{Claim, NAMED_MAX, Topic, Verb};
use crate::consumer::fate::{Settling, Waiter};
use crate::consumer::held::push;
use crate::consumer::hold::{Hold, Revoked, Slot};

/// Seeks that may wait to be said.
const SEEKS_MAX: usize = 16;

/// A seek that waits to be said.
#[derive(Debug)]
pub(super) struct Seek {
    /// Only this partition.
    slot: Option<Slot>,
    to: SubscriptionStart,
    waiter: Waiter,
}

impl Ledger {
    /// Something about one message.
    pub(in crate::consumer) fn say(&mut self, verb: Verb, hold: &Arc<Hold>) -> Settling {
        if let Err(error) = self.may_say(1).and_then(|()| self.check(hold)) {
            return Settling::refused(error);
        }
        let (settling, waiter) = Settling::one();
        self.claim(verb, hold, waiter);
        settling
    }

    /// Everything that the application has of the message's partition, up to and including the message, is done.
    pub(in crate::consumer) fn ack_up_to(&mut self, hold: &Arc<Hold>) -> Settling {
        let all = self.held.given_up_to(hold.slot, hold.offset);
        if let Err(error) = self.may_say(all.len()).and_then(|()| self.check(hold)) {
            return Settling::refused(error);
        }
        let (settling, waiters) = Settling::of(all.len());
        for (hold, waiter) in all.iter().zip(waiters) {
            self.claim(Verb::Ack, hold, waiter);
        }
        settling
    }

    fn claim(&mut self, verb: Verb, hold: &Arc<Hold>, waiter: Waiter) {
        if verb == Verb::Nack {
            self.held.refuse(hold);
        }
        let Hold { slot, offset, deliver_at_ms, epochs, .. } = **hold;
        self.claims.add((slot, epochs, verb), Claim { offset, deliver_at_ms, waiter });
    }

    fn check(&self, hold: &Arc<Hold>) -> Result<(), Error> {
        match hold.revoked() {
            Some(why) => Err(why.refusal()),
            None if self.held.holds(hold) => Ok(()),
            None => Err(Revoked::NotKept.refusal()),
        }
    }

    fn may_say(&self, more: usize) -> Result<(), Error> {
        if let Some(over) = &self.over {
            return Err(over.clone());
        }
        if self.closing {
            return Err(Error::Closed);
        }
        if self.claims.len() + more > self.claims_max {
            let why = format!("{} acks, refusals and extensions wait already", self.claims.len());
            return Err(Failure::new(ErrorReason::Throttled, why).into());
        }
        Ok(())
    }

    /// The subscription shall go on elsewhere; `only`: in this partition.
    pub(in crate::consumer) fn seek(&mut self, only: Option<(&str, u32)>, to: SubscriptionStart) -> Settling {
        if let Err(error) = self.may_say(0) {
            return Settling::refused(error);
        }
        if self.seeks.len() >= SEEKS_MAX {
            return Settling::refused(Failure::new(ErrorReason::Throttled, "too many seeks wait").into());
        }
        let slot = match only.map(|(topic, partition)| self.sources.find(topic, partition)) {
            Some(None) => {
                let why = "this consumer has no such partition";
                return Settling::refused(Failure::new(ErrorReason::NotFound, why).into());
            }
            found => found.flatten(),
        };
        let (settling, waiter) = Settling::one();
        self.seeks.push(Seek { slot, to, waiter });
        settling
    }

    /// No more messages shall come; resolves when nothing is held any more.
    pub(in crate::consumer) fn drain(&mut self) -> Settling {
        if self.drain.done {
            return Settling::of(0).0;
        }
        if let Err(error) = self.may_say(0) {
            return Settling::refused(error);
        }
        self.drain.wanted = true;
        let (settling, waiter) = Settling::one();
        self.drain.waiting.push(waiter);
        settling
    }

    /// What to send next, if anything.
    pub(in crate::consumer) fn next_request(&mut self, now: Instant) -> Option<Request> {
        let request = self.credit_request().or_else(|| self.claims_request(now));
        let request = request.or_else(|| self.seek_request()).or_else(|| self.drain_request());
        let request = request.or_else(|| {
            let quiet = self.said_at + self.silence / HEARTBEATS <= now;
            quiet.then_some(Request::Heartbeat(SubscribeHeartbeat {}))
        });
        if request.is_some() {
            self.said_at = now;
        }
        request
    }

    fn credit_request(&mut self) -> Option<Request> {
        if self.drain.wanted || self.closing {
            return None;
        }
        let more = self.credit.due(self.held.len())?;
        Some(Request::Credit(SubscribeCredit { messages: more.messages, bytes: more.bytes }))
    }

    fn claims_request(&mut self, now: Instant) -> Option<Request> {
        if self.extends {
            // Where nobody listens, leases are of no use.
            let mut due = self.held.extend(now, NAMED_MAX);
            due.retain(|hold| self.sources.wire(hold.slot).is_some());
            for hold in due {
                self.claim(Verb::Extend, &hold, Waiter::nobody());
            }
        }
        loop {
            let sources = &self.sources;
            let (topic, claims) = self.claims.next(now, |slot| sources.wire(slot).is_some())?;
            let (slot, epochs, verb) = topic;
            let source = self.sources.wire(slot)?;
            let mut claims = claims;
            if verb == Verb::Extend {
                // What was settled meanwhile needs no more time.
                let gone = |claim: &mut Claim| !self.held.holds_place((slot, claim.offset));
                claims.extract_if(.., gone).for_each(|claim| {
                    claim.waiter.settle(Err(Revoked::Settled.refusal()));
                });
            }
            if claims.is_empty() {
                self.claims.free(topic);
                continue;
            }
            let ranges = ranges(&claims);
            let request = self.book.say(Said::Claims { topic, claims });
            let epochs = Some(epochs.to_wire());
            return Some(match verb {
                Verb::Ack => Request::Ack(SubscribeAck { request, source, epochs, ranges, cumulative: None }),
                Verb::Nack => Request::Nack(SubscribeNack { request, source, epochs, ranges }),
                Verb::Extend => Request::Extend(SubscribeExtend { request, source, epochs, ranges }),
            });
        }
    }

    fn seek_request(&mut self) -> Option<Request> {
        let sources = &self.sources;
        let ready = |seek: &Seek| seek.slot.is_none_or(|slot| sources.wire(slot).is_some());
        let Seek { slot, to, waiter } = {
            let at = self.seeks.iter().position(ready)?;
            self.seeks.remove(at)
        };
        let source = slot.and_then(|slot| self.sources.wire(slot));
        let request = self.book.say(Said::Seek { waiter });
        Some(Request::Seek(SubscribeSeek { request, source, to: Some(to) }))
    }

    fn drain_request(&mut self) -> Option<Request> {
        if !self.drain.wanted || self.drain.said {
            return None;
        }
        self.drain.said = true;
        Some(Request::Drain(SubscribeDrain {}))
    }

    /// The answer to a request: what it was about is settled, or to be said again.
    pub(super) fn answered(&mut self, request: u64) -> Option<(Topic, Vec<Claim>)> {
        match self.book.answered(request)? {
            Said::Seek { waiter } => {
                waiter.settle(Ok(()));
                None
            }
            Said::Claims { topic, claims } => {
                self.claims.free(topic);
                Some((topic, claims))
            }
        }
    }
}

/// Claims in order, as ranges. The same message twice is one.
fn ranges(claims: &[Claim]) -> Vec<DeliveredRange> {
    let mut ranges: Vec<DeliveredRange> = Vec::new();
    for claim in claims {
        if ranges.last().is_none_or(|last| last.to <= claim.offset) {
            push(&mut ranges, claim.offset, claim.deliver_at_ms);
        }
    }
    ranges
}
