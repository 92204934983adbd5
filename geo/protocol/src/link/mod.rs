//! A link: what it is doing, why it is not, and when to try again.
//!
//! A link never stands still without saying why. Whoever ships reports what happens; a watchdog names what does not.
//! It is healthy only while a probe goes all the way, to the destination's applied state and back: RabbitMQ's
//! federation showed "running" while its upstream was gone (#10), Pulsar's replicators hang after bursts (#25097).

mod backoff;
mod lag;
mod reason;
#[cfg(test)]
mod stories;

pub use self::backoff::Backoff;
pub use self::lag::{Heartbeat, Lag, LagMeter};
pub use self::reason::StallReason;

/// Without progress for so long, although something is on its way, a link is stalled, in milliseconds.
pub const STALL_MS: u64 = 5_000;
/// Stalled for so long it is taken down and connected anew, in milliseconds.
pub const RECONNECT_MS: u64 = 30_000;
/// How often a probe is sent, in milliseconds.
pub const PROBE_EVERY_MS: u64 = 1_000;
/// Without an answer to a probe for so long, a link is not healthy, in milliseconds.
pub const PROBE_FRESH_MS: u64 = 5_000;

const _: () = assert!(PROBE_EVERY_MS < PROBE_FRESH_MS && STALL_MS < RECONNECT_MS);

/// What a link is doing. Published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Waiting to connect, or for the connection.
    Connecting,
    /// Connected; the destination has not said yet what it has.
    Syncing,
    /// Everything that there is travels.
    Shipping,
    /// Nothing moves, and this is why.
    Stalled(StallReason),
    /// Histories differ. Only an operator ends this.
    Diverged,
    /// An operator stopped it.
    Paused,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The stream stands.
    Connected,
    /// The stream broke, or did not come about.
    Lost,
    /// The destination said what it has.
    Synced,
    /// Something was sent and is not confirmed yet.
    Sent,
    /// The destination's watermark rose; whether anything is still on its way.
    Progress {
        /// Sent, and not confirmed.
        outstanding: bool,
    },
    /// One of both sides says why it cannot go on.
    Blocked(StallReason),
    /// The answer to a probe came.
    Probed {
        /// Which.
        probe: u64,
    },
    /// Histories differ.
    Diverged,
    /// An operator stops the link.
    Pause,
    /// An operator starts it, also after a divergence was resolved.
    Resume,
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect now.
    Connect,
    /// Take the stream down.
    Close,
    /// Ask the destination anew what it has: [`crate::shipper::Event::Silence`].
    Resync,
    /// Send a probe, to be answered from the destination's applied state.
    Probe {
        /// To be given back.
        probe: u64,
    },
}

/// One link from one region to another. Times are of one monotonic clock, in milliseconds.
#[derive(Clone, Debug)]
pub struct Link {
    state: LinkState,
    backoff: Backoff,
    /// When to connect; `None` while connected or connecting.
    connect_at: Option<u64>,
    /// Since when something is on its way, or was asked, without an answer.
    waiting_since: Option<u64>,
    stalled_since: Option<u64>,
    probe: u64,
    probe_sent: Option<u64>,
    probe_answered: Option<u64>,
}

impl Link {
    /// Connects with the first event.
    pub fn new(now_ms: u64, backoff: Backoff) -> Self {
        Self {
            state: LinkState::Connecting,
            backoff,
            connect_at: Some(now_ms),
            waiting_since: None,
            stalled_since: None,
            probe: 0,
            probe_sent: None,
            probe_answered: None,
        }
    }

    /// What it is doing.
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Whether messages travel, and a probe went all the way a short time ago.
    pub fn is_healthy(&self, now_ms: u64) -> bool {
        let fresh = self.probe_answered.is_some_and(|at| now_ms.saturating_sub(at) <= PROBE_FRESH_MS);
        self.state == LinkState::Shipping && fresh
    }

    /// Takes an event. `jitter` is a random number in `0.0..1.0`, drawn by the caller.
    pub fn handle(&mut self, now_ms: u64, jitter: f64, event: Event) -> Vec<Action> {
        match (self.state, event) {
            (_, Event::Pause) => self.leave(LinkState::Paused),
            (LinkState::Paused | LinkState::Diverged, Event::Resume) => {
                self.state = LinkState::Connecting;
                self.connect_at = Some(now_ms);
                self.tick(now_ms)
            }
            // Both end by an operator's word alone, whatever still arrives.
            (LinkState::Paused | LinkState::Diverged, _) | (_, Event::Resume) => Vec::new(),
            (_, Event::Diverged) => self.leave(LinkState::Diverged),
            (_, Event::Lost) => self.lose(now_ms, jitter),
            (LinkState::Connecting, Event::Connected) => {
                (self.state, self.connect_at) = (LinkState::Syncing, None);
                self.waiting_since = Some(now_ms);
                Vec::new()
            }
            (LinkState::Connecting, Event::Tick) => self.tick(now_ms),
            (LinkState::Connecting, _) | (_, Event::Connected) => Vec::new(),
            (_, Event::Tick) => self.watch(now_ms, jitter),
            (_, event) => self.progress(now_ms, event),
        }
    }

    fn progress(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        match event {
            Event::Sent => {
                self.waiting_since.get_or_insert(now_ms);
            }
            Event::Synced => {
                (self.waiting_since, self.stalled_since) = (None, None);
                self.state = LinkState::Shipping;
            }
            Event::Progress { outstanding } => {
                self.waiting_since = outstanding.then_some(now_ms);
                self.stalled_since = None;
                self.state = LinkState::Shipping;
                self.backoff.reset();
            }
            Event::Blocked(reason) => self.stall(now_ms, reason),
            Event::Probed { probe } if probe == self.probe => {
                self.probe_answered = Some(now_ms);
                if self.state == LinkState::Stalled(StallReason::ProbeLost) {
                    (self.state, self.stalled_since) = (LinkState::Shipping, None);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    /// The watchdog.
    fn watch(&mut self, now_ms: u64, jitter: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.stalled_since.is_some_and(|at| now_ms.saturating_sub(at) >= RECONNECT_MS) {
            actions.push(Action::Close);
            actions.extend(self.lose(now_ms, jitter));
            return actions;
        }
        let waited = self.waiting_since.is_some_and(|at| now_ms.saturating_sub(at) >= STALL_MS);
        let unanswered = self.probe_sent.is_some_and(|at| {
            now_ms.saturating_sub(self.probe_answered.unwrap_or(at).max(at)) >= PROBE_FRESH_MS
        });
        if waited {
            let syncing = self.state == LinkState::Syncing;
            self.waiting_since = Some(now_ms);
            self.stall(now_ms, if syncing { StallReason::NoAnswer } else { StallReason::NoProgress });
            actions.push(Action::Resync);
        } else if unanswered {
            self.stall(now_ms, StallReason::ProbeLost);
        }
        let due = self.probe_sent.is_none_or(|at| {
            let answered = self.probe_answered.is_some_and(|answer| answer >= at);
            now_ms.saturating_sub(at) >= if answered { PROBE_EVERY_MS } else { PROBE_FRESH_MS }
        });
        if due {
            self.probe += 1;
            self.probe_sent = Some(now_ms);
            actions.push(Action::Probe { probe: self.probe });
        }
        actions
    }

    /// A reason that was given is not replaced by one that was only inferred.
    fn stall(&mut self, now_ms: u64, reason: StallReason) {
        let named = matches!(self.state, LinkState::Stalled(known) if !known.is_inferred());
        if !(named && reason.is_inferred()) {
            self.state = LinkState::Stalled(reason);
        }
        self.stalled_since.get_or_insert(now_ms);
    }

    fn lose(&mut self, now_ms: u64, jitter: f64) -> Vec<Action> {
        self.forget();
        self.state = LinkState::Connecting;
        self.connect_at = Some(now_ms.saturating_add(self.backoff.next_ms(jitter)));
        Vec::new()
    }

    fn leave(&mut self, state: LinkState) -> Vec<Action> {
        if self.state == state {
            return Vec::new();
        }
        self.forget();
        self.state = state;
        vec![Action::Close]
    }

    fn forget(&mut self) {
        (self.connect_at, self.waiting_since, self.stalled_since) = (None, None, None);
        (self.probe_sent, self.probe_answered) = (None, None);
    }

    fn tick(&mut self, now_ms: u64) -> Vec<Action> {
        match self.connect_at {
            Some(at) if at <= now_ms => {
                self.connect_at = None;
                vec![Action::Connect]
            }
            _ => Vec::new(),
        }
    }
}
