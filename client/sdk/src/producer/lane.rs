//! One partition of a producer: a task that packs, sends, and does not rest until every message is resolved.

use std::future::pending as forever;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use super::delivery::Waiters;
use super::identity::{Identities, Identity};
use super::inbox::Outlet;
use super::link::{Answer, Link, Submission};
use super::links::Links;
use super::pending::Spares;
use super::queue::SendQueue;
use super::settings::Settings;
use super::verdict::Trouble;
use crate::Error;
use crate::backoff::Backoff;
use crate::client::Shared;

/// How long a partition stays with a node that forwards its batches before it looks for the leader again.
const DETOUR_MAX: Duration = Duration::from_secs(2);

/// What all partitions of a producer have in common.
pub(super) struct Trunk {
    pub(super) shared: Arc<Shared>,
    pub(super) topic: String,
    pub(super) settings: Settings,
    pub(super) identities: Identities,
    pub(super) links: Links,
    /// Free bytes of the buffer.
    pub(super) room: Semaphore,
    /// Set once another producer of the same name has taken over.
    pub(super) fenced: OnceLock<Error>,
    pub(super) spares: Spares,
}

pub(super) enum Done {
    Linked(Result<Link, Error>),
    Renewed(Result<Identity, Error>),
    /// The producer's newest identity.
    Newest(Identity),
}

pub(super) struct Lane {
    pub(super) trunk: Arc<Trunk>,
    pub(super) partition: u32,
    pub(super) inbox: Outlet,
    answers_to: mpsc::UnboundedSender<Answer>,
    answers: mpsc::UnboundedReceiver<Answer>,
    pub(super) queue: SendQueue<Waiters>,
    pub(super) identity: Identity,
    pub(super) link: Option<Link>,
    pub(super) linked_at: Instant,
    /// Connecting or taking a new identity; nothing is sent meanwhile.
    work: Option<BoxFuture<'static, Done>>,
    pub(super) must_renew: bool,
    /// A newer epoch is in force (its number, where known); whose it is must be found out.
    pub(super) fenced_by: Option<Option<u32>>,
    /// Ask who leads before connecting.
    pub(super) must_ask: bool,
    /// Rest so long before the next work.
    pub(super) pause: Duration,
    pub(super) backoff: Backoff,
    /// Refusals while connecting that should pass.
    pub(super) refused_links: u32,
    /// What went wrong since the last ack.
    pub(super) last_trouble: Option<Error>,
    pub(super) first_error: Option<Error>,
}

impl Lane {
    pub(super) fn new(trunk: Arc<Trunk>, partition: u32, identity: Identity, inbox: Outlet) -> Self {
        let (answers_to, answers) = mpsc::unbounded_channel();
        Self {
            trunk,
            partition,
            inbox,
            answers_to,
            answers,
            queue: SendQueue::new(),
            identity,
            link: None,
            linked_at: Instant::now(),
            work: None,
            must_renew: false,
            fenced_by: None,
            must_ask: false,
            pause: Duration::ZERO,
            backoff: Backoff::brisk(),
            refused_links: 0,
            last_trouble: None,
            first_error: None,
        }
    }

    /// Until the producer is gone and every message is resolved.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.expire(now);
            self.settle();
            self.start_work();
            self.send(now);
            self.answer_flushes();
            if self.is_done() {
                return;
            }
            let wake = self.wake_at();
            let work = &mut self.work;
            tokio::select! {
                biased;
                Some(answer) = self.answers.recv() => self.answered(answer),
                done = async { match work { Some(work) => work.await, None => forever().await } } => {
                    self.work = None;
                    self.worked(done);
                }
                () = self.inbox.news() => {}
                () = async { match wake { Some(at) => tokio::time::sleep_until(at).await, None => forever().await } } => {}
            }
        }
    }

    /// Whether everything is resolved and nothing more can come.
    fn is_done(&self) -> bool {
        let waiting = self.inbox.waiting();
        waiting.closed && waiting.pending.is_empty() && waiting.flushes.is_empty() && self.queue.is_empty()
    }

    fn answered(&mut self, first: Answer) {
        let mut next = Some(first);
        while let Some(Answer { ticket, attempt, result }) = next {
            match result {
                Ok(ack) => {
                    if let Some(outgoing) = self.queue.acked(ticket) {
                        self.backoff.reset();
                        self.resolve_acked(outgoing, &ack);
                    }
                }
                Err(trouble) => self.queue.failed(ticket, attempt, trouble),
            }
            next = self.answers.try_recv().ok();
        }
    }

    /// Starts what must be done before anything can be sent, after the pause that is due.
    fn start_work(&mut self) {
        let has_work = !self.queue.is_empty() || !self.inbox.waiting().pending.is_empty();
        if self.work.is_some() || self.queue.in_flight() > 0 || !has_work {
            return;
        }
        if self.detour_is_over() {
            // There may be a straight way by now.
            (self.link, self.must_ask) = (None, true);
        }
        let pause = std::mem::take(&mut self.pause);
        let trunk = self.trunk.clone();
        if self.fenced_by.is_some() {
            self.work = Some(async move { Done::Newest(trunk.identities.current().await) }.boxed());
        } else if self.must_renew {
            let broken = self.identity;
            self.work = Some(
                async move {
                    tokio::time::sleep(pause).await;
                    Done::Renewed(trunk.identities.renew(broken).await)
                }
                .boxed(),
            );
        } else if self.link.is_none() || !pause.is_zero() {
            let (partition, ask) = (self.partition, std::mem::take(&mut self.must_ask));
            let kept = self.link.take();
            self.work = Some(
                async move {
                    tokio::time::sleep(pause).await;
                    match kept.filter(Link::is_alive) {
                        Some(link) => Done::Linked(Ok(link)),
                        None => Done::Linked(trunk.links.towards(partition, ask).await),
                    }
                }
                .boxed(),
            );
        }
    }

    fn detour_is_over(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_detour) && self.linked_at.elapsed() >= DETOUR_MAX
    }

    /// Sends what may be sent now; packs new batches only when they can go at once.
    fn send(&mut self, now: Instant) {
        if self.work.is_some() || self.must_renew || self.fenced_by.is_some() {
            return;
        }
        while let Some(link) = &self.link {
            if self.queue.in_flight() >= link.in_flight_max.min(self.trunk.settings.in_flight_max) {
                return;
            }
            let copy = match self.queue.next_copy(now) {
                Some(copy) => copy,
                // Nothing new goes by a detour that is over: what is out comes back, and then the way is looked for.
                None if !self.detour_is_over() && self.freeze(now) => continue,
                None => return,
            };
            let submission = Submission {
                partition: self.partition,
                ticket: copy.ticket,
                attempt: copy.attempt,
                batch: copy.batch,
                opened_at_ms: self.identity.opened_at_ms,
                answers: self.answers_to.clone(),
            };
            if !link.submit(submission) {
                self.link = None;
                let gone = Trouble::unsent();
                self.queue.failed(copy.ticket, copy.attempt, gone);
                self.settle();
                self.start_work();
            }
        }
    }

    /// Packs one batch if it is time: it is full, or nothing is on its way and it has lingered.
    fn freeze(&mut self, now: Instant) -> bool {
        let settings = &self.trunk.settings;
        let gathering = {
            let mut waiting = self.inbox.waiting();
            let Some(oldest) = waiting.pending.oldest() else {
                return false;
            };
            let waited =
                self.queue.is_empty() && (oldest + settings.linger <= now || !waiting.flushes.is_empty());
            if self.queue.is_troubled() || !(waited || waiting.pending.is_full(settings)) {
                return false;
            }
            waiting.pending.pop()
        };
        let Some(gathering) = gathering else {
            return false;
        };
        let published_at = self.trunk.shared.config.clock.now();
        let sequence = self.queue.next_sequence();
        let frozen = gathering.freeze(&self.trunk.spares, self.identity, sequence, published_at);
        match frozen.batch {
            Ok(batch) => {
                let (count, deadline) = (batch.header().count, frozen.queued + settings.delivery_timeout);
                self.queue.push(batch.into_bytes(), count, frozen.first_ordinal, deadline, frozen.waiters);
            }
            Err(error) => self.resolve_failed(frozen.waiters, &error),
        }
        true
    }

    fn answer_flushes(&mut self) {
        let mut waiting = self.inbox.waiting();
        let next = waiting.pending.next_ordinal();
        let oldest = self.queue.head().map(|head| head.first_ordinal);
        let oldest = oldest.or(waiting.pending.first_ordinal()).unwrap_or(next);
        while waiting.flushes.front().is_some_and(|(until, _)| *until <= oldest) {
            let Some((_, done)) = waiting.flushes.pop_front() else { return };
            let _ = done.send(self.first_error.take().map_or(Ok(()), Err));
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let settings = &self.trunk.settings;
        let oldest = self.inbox.waiting().pending.oldest();
        let lingered = oldest.filter(|_| !settings.linger.is_zero() && self.queue.is_empty());
        let overdue = self.queue.oldest_in_flight().map(|at| at + self.trunk.shared.config.attempt_timeout);
        [
            self.queue.head().map(|head| head.deadline),
            oldest.map(|at| at + settings.delivery_timeout),
            lingered.map(|at| at + settings.linger).filter(|at| *at > Instant::now()),
            overdue,
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
