//! What a partition does when something goes wrong, and how messages are resolved.

use std::time::Duration;

use meridian_model::{LogId, NodeId};
use meridian_proto::v1::{ErrorReason, Failure, PublishAck};
use tokio::time::Instant;

use super::delivery::{Outcome, Waiters};
use super::identity::Identity;
use super::lane::{Done, Lane};
use super::pending::Gathering;
use super::queue::{Ended, Outgoing};
use super::verdict::Verdict;
use crate::Error;
use crate::call::redirect;
use crate::metadata::log_id;

/// A topic that was there when the producer was built is believed gone after so many answers.
const REFUSED_LINKS_MAX: u32 = 5;

impl Lane {
    /// Gives up what has waited too long: answers, then messages.
    pub(super) fn expire(&mut self, now: Instant) {
        let patience = self.trunk.shared.config.attempt_timeout;
        if self.queue.oldest_in_flight().is_some_and(|since| since + patience <= now) {
            self.overdue(patience);
        }
        let fenced = self.trunk.fenced.get().cloned();
        let timeout = self.trunk.settings.delivery_timeout;
        while let Some(waiters) = self.give_up_if(|oldest| fenced.is_some() || oldest + timeout <= now) {
            let error = fenced.clone().unwrap_or_else(|| self.timed_out());
            self.resolve_failed(waiters, &error);
        }
        while self.queue.head().is_some_and(|head| head.deadline <= now) {
            let ended = self.queue.break_off(Some(self.timed_out()));
            self.end(ended);
            self.must_renew = true;
        }
    }

    /// Takes the oldest messages that are not frozen yet, if their time says so.
    fn give_up_if(&self, when: impl FnOnce(Instant) -> bool) -> Option<Waiters> {
        let mut waiting = self.inbox.waiting();
        waiting.pending.oldest().filter(|oldest| when(*oldest))?;
        waiting.pending.pop().map(Gathering::into_waiters)
    }

    /// An answer is overdue. A node that is silent altogether is given up; where it answers for other
    /// partitions, these keep their stream.
    fn overdue(&mut self, patience: Duration) {
        let mut why = String::from("a batch was left unanswered");
        if let Some(link) = self.link.take() {
            why = format!("{} left a batch unanswered", link.address);
            if link.silent_for() >= patience {
                link.kill();
                self.trunk.shared.channels.suspect(&link.address);
            }
        }
        self.queue.lost(&Failure::new(ErrorReason::Unavailable, why).into());
    }

    fn timed_out(&self) -> Error {
        let what = format!("publish to {} partition {}", self.trunk.topic, self.partition);
        let last = self.last_trouble.clone().map(Box::new);
        Error::Timeout { what, after: self.trunk.settings.delivery_timeout, last }
    }

    /// Acts on what the oldest batch met, once every copy is answered.
    pub(super) fn settle(&mut self) {
        let Some((verdict, trouble)) = self.queue.settle() else {
            return;
        };
        if let Some(error) = &trouble {
            tracing::debug!(topic = %self.trunk.topic, partition = self.partition, %error, ?verdict, "publish");
        }
        let (topic, partition) = (self.trunk.topic.clone(), self.partition);
        match verdict {
            Verdict::Again { after, reroute, .. } => self.again(after, reroute, trouble.as_ref()),
            Verdict::Renew => {
                self.queue.nothing_is_stored();
                self.must_renew = true;
                self.pause = self.rest(Duration::ZERO);
            }
            Verdict::StoredSomewhere(error) => {
                let ended = self.queue.drop_head(error);
                self.end(ended);
            }
            Verdict::Fenced { current_epoch, .. } if self.identity.named => {
                self.fenced_by = Some(current_epoch);
            }
            Verdict::Refused(error) | Verdict::Fenced { error, .. } => {
                tracing::warn!(%topic, partition, %error, "a batch is refused for good");
                let ended = self.queue.break_off(Some(error));
                self.end(ended);
                self.must_renew = true;
            }
            Verdict::TopicGone(error) => self.fail_all(&error),
        }
        self.last_trouble = trouble.or(self.last_trouble.take());
    }

    fn again(&mut self, after: Duration, reroute: bool, trouble: Option<&Error>) {
        let channels = &self.trunk.shared.channels;
        let mut at_once = trouble.is_none() || (after.is_zero() && !reroute);
        if reroute {
            self.link = None;
            self.must_ask = true;
            match trouble.and_then(redirect) {
                Some(address) => {
                    let node = match trouble {
                        Some(Error::Refused(refused)) => refused.number("node").map(NodeId),
                        _ => None,
                    };
                    let metadata = &self.trunk.shared.metadata;
                    metadata.correct(&self.trunk.topic, self.partition, node, Some(&address));
                    at_once = node.is_some() && self.backoff.attempts() == 0;
                    // A redirect is followed every other time: the one who gives it may be wrong for long.
                    self.must_ask = node.is_none() || self.backoff.attempts() % 2 == 1;
                }
                None => channels.turn(),
            }
        }
        let pause = self.rest(after);
        self.pause = if at_once { Duration::ZERO } else { pause };
    }

    /// The next pause. A node's hint counts, up to a quarter of the time that a message has.
    fn rest(&mut self, hint: Duration) -> Duration {
        let hint = hint.min(self.trunk.settings.delivery_timeout / 4);
        self.backoff.next(hint, &self.trunk.shared.random)
    }

    /// A connection or an identity has come, or could not be had.
    pub(super) fn worked(&mut self, done: Done) {
        match done {
            Done::Linked(Ok(link)) => {
                self.refused_links = 0;
                (self.link, self.linked_at) = (Some(link), Instant::now());
            }
            Done::Renewed(Ok(identity)) => self.renewed(identity),
            Done::Newest(newest) => self.judge_fence(newest),
            Done::Linked(Err(error)) | Done::Renewed(Err(error)) => {
                let passing = error.is_unavailable() || error.retryable();
                let behind = error.refusal() == Some(ErrorReason::NotFound);
                self.refused_links += u32::from(!passing);
                if !passing && (!behind || self.refused_links > REFUSED_LINKS_MAX) {
                    self.refused_links = 0;
                    self.fail_all(&error);
                    return;
                }
                let hint = match &error {
                    Error::Refused(refused) => refused.retry_after,
                    _ => Duration::ZERO,
                };
                self.must_ask = true;
                self.trunk.shared.channels.turn();
                self.pause = self.rest(hint);
                self.last_trouble = Some(error);
            }
        }
    }

    fn renewed(&mut self, identity: Identity) {
        self.refused_links = 0;
        self.must_renew = false;
        self.identity = identity;
        if let Err(error) = self.queue.renumber(identity) {
            self.fail_all(&error);
        }
    }

    /// A newer epoch is in force. If it is our own, another partition took it after a refusal; otherwise
    /// somebody else did, and this producer is over.
    fn judge_fence(&mut self, newest: Identity) {
        let Some(current_epoch) = self.fenced_by.take() else {
            return;
        };
        if newest != self.identity && current_epoch.is_none_or(|current| current <= newest.epoch) {
            let ended = self.queue.break_off(None);
            self.end(ended);
            self.must_renew = true;
            return;
        }
        let name = self.trunk.identities.name().unwrap_or_default().to_string();
        let error = Error::Fenced { name, current_epoch };
        let _ = self.trunk.fenced.set(error.clone());
        self.fail_all(&error);
    }

    /// Nothing of what is left will be stored, or nobody will ever know.
    fn fail_all(&mut self, error: &Error) {
        let ended = self.queue.abandon(error);
        self.end(ended);
        while let Some(waiters) = self.give_up_if(|_| true) {
            self.resolve_failed(waiters, error);
        }
        self.must_renew = !matches!(error, Error::Fenced { .. });
    }

    fn end(&mut self, ended: Vec<Ended<Waiters>>) {
        for (waiters, error) in ended {
            self.resolve_failed(waiters, &error);
        }
    }

    pub(super) fn resolve_failed(&mut self, waiters: Waiters, error: &Error) {
        self.first_error.get_or_insert_with(|| error.clone());
        self.resolve(waiters, Outcome::Failed(error.clone()));
    }

    fn resolve(&self, waiters: Waiters, outcome: Outcome) {
        self.trunk.room.add_permits(waiters.room_bytes);
        waiters.promise.settle(outcome);
    }

    pub(super) fn resolve_acked(&mut self, outgoing: Outgoing<Waiters>, ack: &PublishAck) {
        self.last_trouble = None;
        let log = match check_ack(ack, self.partition, outgoing.count) {
            Ok(log) => log,
            Err(error) => {
                let error = Error::Indeterminate { what: "publish".into(), last: Some(Box::new(error)) };
                self.resolve_failed(outgoing.waiters, &error);
                return;
            }
        };
        let (partition, base, duplicate) = (self.partition, ack.base_offset, ack.duplicate);
        self.resolve(outgoing.waiters, Outcome::Acked { log, partition, base, duplicate });
    }
}

fn check_ack(ack: &PublishAck, partition: u32, count: u32) -> Result<LogId, Error> {
    if ack.partition != partition || ack.count != count {
        return Err(Error::nonsense(format!(
            "sent {count} messages to partition {partition}, the ack speaks of {} to partition {}",
            ack.count, ack.partition
        )));
    }
    log_id(&ack.log_id)
}
