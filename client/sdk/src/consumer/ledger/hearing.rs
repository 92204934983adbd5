//! What the node says.

use std::time::Duration;

use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    DeliveredBatches, DeliveredMessages, ErrorReason, Failure, RevokeReason, SourceState, SubscribeRevoked,
    SubscribeSource,
};
use tokio::time::Instant;

use super::Ledger;
use crate::Error;
use crate::consumer::book::Said;
use crate::consumer::claims::{Claim, Topic, Verb};
use crate::consumer::credit::Amount;
use crate::consumer::decode::Origin;
use crate::consumer::delivery::Delivery;
use crate::consumer::hold::{Epochs, Revoked, Slot};

/// The pause before something that was refused for now is said again, where the node gives no hint.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// Leases are not extended more often.
const EXTEND_EVERY_MIN: Duration = Duration::from_millis(500);

impl Ledger {
    /// Takes in what the node says. `wall_ms`: the time now, as it is written on leases. Errors: it makes no sense, and
    /// the stream is to be given up.
    pub(in crate::consumer) fn hear(
        &mut self,
        response: Response,
        now: Instant,
        wall_ms: u64,
    ) -> Result<(), Error> {
        self.heard_at = now;
        match response {
            Response::Opened(opened) => {
                if opened.silence_ms_max > 0 {
                    self.silence = Duration::from_millis(opened.silence_ms_max);
                }
            }
            Response::Source(source) => self.source(&source)?,
            Response::Messages(messages) => self.messages(messages, now, wall_ms)?,
            Response::Batches(batches) => self.batches(batches, now, wall_ms)?,
            Response::Confirmed(confirmed) => {
                confirmed.requests.into_iter().for_each(|request| self.confirmed(request));
            }
            Response::Refused(refused) => {
                self.refused(refused.request, refused.failure.unwrap_or_default(), now);
            }
            Response::Revoked(revoked) => self.revoked(&revoked)?,
            Response::Lag(lag) => {
                let slot = self.called(lag.source)?;
                self.sources.behind(slot, lag.backlog_messages);
            }
            Response::Drained(_) => self.drained(),
            Response::Heartbeat(_) => {}
        }
        Ok(())
    }

    fn called(&self, wire: u32) -> Result<Slot, Error> {
        let unknown = || Error::nonsense(format!("the node spoke of partition {wire} before it named it"));
        self.sources.called(wire).ok_or_else(unknown)
    }

    fn source(&mut self, told: &SubscribeSource) -> Result<(), Error> {
        let named = self.sources.name(told)?;
        if let Some(old) = named.instead_of {
            self.held.revoke_all(old, Revoked::NotKept);
            let gone = self.claims.give_up(old);
            self.forget(gone, &Revoked::NotKept.refusal());
        }
        match told.state() {
            SourceState::Detached => {
                for said in self.book.lose(named.slot) {
                    self.lost(said);
                }
            }
            SourceState::Ended => self.source_ended(named.slot, told.failure.clone()),
            SourceState::Attached | SourceState::Unspecified => {}
        }
        Ok(())
    }

    fn source_ended(&mut self, slot: Slot, failure: Option<Failure>) {
        let why = failure.clone().map_or_else(|| Revoked::NotKept.refusal(), Error::from);
        for said in self.book.lose(slot) {
            if let Said::Claims { topic, claims } = said {
                self.claims.free(topic);
                self.forget(claims, &why);
            }
        }
        let waiting = self.claims.give_up(slot);
        self.forget(waiting, &why);
        self.held.revoke_all(slot, Revoked::NotKept);
        if let Some(failure) = failure {
            self.tell(failure.into());
        }
    }

    /// Something that the application should know.
    fn tell(&mut self, error: Error) {
        if let Some(ready) = &self.ready {
            let _ = ready.send(Err(error));
        }
    }

    fn messages(&mut self, delivered: DeliveredMessages, now: Instant, wall_ms: u64) -> Result<(), Error> {
        let slot = self.called(delivered.source)?;
        let source = self.sources.get(slot).clone();
        let origin = Origin { slot, source: &source, epochs: Epochs::from_wire(delivered.epochs) };
        let spent = Amount { messages: delivered.messages.len() as u64, bytes: delivered.credit_bytes };
        let came = delivered.messages.into_iter().filter_map(|message| origin.message(message));
        self.deliver(came.collect(), spent, now, wall_ms)
    }

    fn batches(&mut self, delivered: DeliveredBatches, now: Instant, wall_ms: u64) -> Result<(), Error> {
        let slot = self.called(delivered.source)?;
        let source = self.sources.get(slot).clone();
        let origin = Origin { slot, source: &source, epochs: Epochs::from_wire(delivered.epochs) };
        let named = delivered.ranges.iter().map(|range| range.to.saturating_sub(range.from));
        let spent = Amount { messages: named.sum(), bytes: delivered.credit_bytes };
        let mut came = Vec::new();
        for delivery in origin.batches(delivered) {
            match delivery {
                Ok(delivery) => came.push(delivery),
                Err(error) => self.tell(error),
            }
        }
        self.deliver(came, spent, now, wall_ms)
    }

    /// Messages came. What of the credit was spent on others, which cannot be read, is free again.
    fn deliver(
        &mut self,
        came: Vec<Delivery>,
        spent: Amount,
        now: Instant,
        wall_ms: u64,
    ) -> Result<(), Error> {
        if !self.credit.arrived(spent) {
            let why = "the node sends far more than it was granted";
            return Err(Failure::new(ErrorReason::Protocol, why).into());
        }
        let (count, cost_bytes) = (came.len() as u64, spent.bytes / spent.messages.max(1));
        let rest = Amount {
            messages: spent.messages.saturating_sub(count),
            bytes: spent.bytes.saturating_sub(cost_bytes * count),
        };
        self.credit.taken(rest);
        for delivery in came {
            let lease = Duration::from_millis(delivery.lease_until.0.saturating_sub(wall_ms));
            let every = (lease / 2).max(EXTEND_EVERY_MIN);
            self.held.insert(delivery.hold.clone(), self.extends.then_some((now + every, every)));
            if let Some(ready) = &self.ready {
                let _ = ready.send(Ok(Delivery { cost_bytes, ..delivery }));
            }
        }
        Ok(())
    }

    fn confirmed(&mut self, request: u64) {
        let Some((topic, claims)) = self.answered(request) else { return };
        for claim in claims {
            match topic.2 {
                Verb::Ack => self.held.settle((topic.0, claim.offset)),
                Verb::Nack => self.held.revoke((topic.0, claim.offset), Revoked::NotKept),
                Verb::Extend => {}
            }
            claim.waiter.settle(Ok(()));
        }
    }

    fn refused(&mut self, request: u64, failure: Failure, now: Instant) {
        match self.book.answered(request) {
            None if request == 0 => self.tell(failure.into()),
            None => tracing::debug!(request, "a refusal of what was given up, or never said"),
            Some(Said::Seek { waiter }) => waiter.settle(Err(failure.into())),
            Some(Said::Claims { topic, claims }) => {
                self.claims.free(topic);
                self.claims_refused(topic, claims, failure, now);
            }
        }
    }

    fn claims_refused(&mut self, topic: Topic, claims: Vec<Claim>, failure: Failure, now: Instant) {
        let reason = failure.reason();
        let in_doubt = reason == ErrorReason::Indeterminate;
        if (failure.retryable || in_doubt) && !(in_doubt && topic.2 == Verb::Nack) {
            let pause = Duration::from_millis(failure.retry_after_ms).max(AGAIN_AFTER);
            return self.claims.again(topic, claims, Some(now + pause));
        }
        if claims.len() > 1 && !in_doubt {
            // One of them is the reason, and the others shall not suffer for it.
            return self.claims.split(topic, claims);
        }
        for claim in claims {
            let why = Revoked::told_by(reason);
            if let Some(why) = why.or(in_doubt.then_some(Revoked::NotKept)) {
                self.held.revoke((topic.0, claim.offset), why);
            }
            claim.waiter.settle(Err(failure.clone().into()));
        }
    }

    fn revoked(&mut self, told: &SubscribeRevoked) -> Result<(), Error> {
        let slot = self.called(told.source)?;
        let why = match told.reason() {
            RevokeReason::LeaseEnded => Revoked::LeaseEnded,
            RevokeReason::Settled => Revoked::Settled,
            RevokeReason::Sought => Revoked::Sought,
            RevokeReason::Trimmed => Revoked::Trimmed,
            RevokeReason::NotKept | RevokeReason::Unspecified => Revoked::NotKept,
        };
        told.ranges.iter().for_each(|range| self.held.revoke_range(slot, range.from, range.to, why));
        Ok(())
    }
}
