//! The metronome of a node: one beat for the groups that it leads, so that their heartbeats share frames.
//!
//! With a timer in each group, hundreds of groups send hundreds of frames with one heartbeat each, and each replica
//! wakes several times in an interval to look at its timer. Here one task looks, and the frames are full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use meridian_model::GroupId;
use openraft::async_runtime::WatchReceiver;
use openraft::{RaftMetrics, ServerState};
use tokio::time::{Instant, MissedTickBehavior};

use crate::group::Group;
use crate::quiet::{QUIET_AFTER, QUIET_EVERY, ack_age, is_alone};
use crate::registry::Registry;
use crate::types::TypeConfig;

/// Parts of an interval: so many groups at once would hold everything else up.
const PARTS: u64 = 4;

/// Lets the groups of a node send their heartbeats, and lets those rest where nothing happens.
pub struct Metronome {
    registry: Arc<Registry>,
    every: Duration,
    lease: Duration,
    led: BTreeMap<GroupId, Rhythm>,
}

impl Metronome {
    /// Heartbeats of these groups, as often as this; a leader that no quorum answered for a `lease` beats now and
    /// then only, so that others may be elected.
    pub fn new(registry: Arc<Registry>, every: Duration, lease: Duration) -> Self {
        Self { registry, every, lease, led: BTreeMap::new() }
    }

    /// Beats, for ever.
    pub async fn keep(mut self) {
        let mut beat = tokio::time::interval((self.every / PARTS as u32).max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut part = 0;
        loop {
            beat.tick().await;
            let groups = self.registry.all();
            for group in groups.iter().filter(|group| group.id().0 % PARTS == part) {
                self.look_at(group);
            }
            if part == 0 {
                self.led.retain(|id, _| groups.binary_search_by_key(id, |group| group.id()).is_ok());
            }
            part = (part + 1) % PARTS;
        }
    }

    fn look_at(&mut self, group: &Group) {
        group.look_at_timer();
        let metrics = group.raft().metrics();
        let metrics = metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            self.led.remove(&group.id());
            return;
        }
        let now = Instant::now();
        let rhythm = self.led.entry(group.id()).or_insert_with(|| Rhythm::new(now));
        if rhythm.beats(now, group, &metrics, self.lease) {
            // A group whose queue is full hears of the next beat, and the others do not wait for it.
            let _ = group.raft().trigger().heartbeat().now_or_never();
        }
    }
}

/// When a group that is led here beats.
struct Rhythm {
    /// The last log index, and since when it is the last.
    log: (u64, Instant),
    beaten: Instant,
}

impl Rhythm {
    fn new(now: Instant) -> Self {
        Self { log: (0, now), beaten: now }
    }

    /// Whether the group beats now.
    fn beats(
        &mut self,
        now: Instant,
        group: &Group,
        metrics: &RaftMetrics<TypeConfig>,
        lease: Duration,
    ) -> bool {
        let last = metrics.last_log_index.unwrap_or(0);
        if last != self.log.0 {
            self.log = (last, now);
        }
        let unanswered = ack_age(metrics).filter(|_| !is_alone(metrics)).unwrap_or_default();
        if group.quiet().is_set() {
            return self.quiet_beat(now, group, unanswered, lease);
        }
        if now - self.log.1 >= QUIET_AFTER && may_rest(group, metrics) && unanswered < lease {
            group.quiet().set(true);
        }
        self.beaten = now;
        unanswered < lease || shows_itself(unanswered - lease, lease)
    }

    /// A beat that no quorum answered ends the quiet.
    fn quiet_beat(&mut self, now: Instant, group: &Group, unanswered: Duration, lease: Duration) -> bool {
        let since = now - self.beaten;
        if since >= lease && unanswered > since + lease / 2 {
            group.quiet().set(false);
        }
        let due = since >= QUIET_EVERY || !group.quiet().is_set();
        if due {
            self.beaten = now;
        }
        due
    }
}

/// Whether every member has everything, and knows that it is committed.
fn may_rest(group: &Group, metrics: &RaftMetrics<TypeConfig>) -> bool {
    let last = metrics.last_log_index;
    let applied = metrics.last_applied.as_ref().map(|id| id.index);
    let uniform = metrics.membership_config.membership().get_joint_config().len() == 1;
    let replicated = metrics
        .replication
        .as_ref()
        .is_some_and(|members| members.values().all(|matched| matched.as_ref().map(|id| id.index) == last));
    !group.id().is_control() && uniform && replicated && applied == last
}

/// A leader that a quorum does not answer is silent and beats in turn, longer than a lease and an election take: those
/// that hear it may elect another one meanwhile, and hear it again if nobody could be elected.
/// (Raft dissertation 6.2, and openraft's `quorum_loss_probe_interval`, which knows nothing of quiet groups.)
fn shows_itself(unanswered: Duration, lease: Duration) -> bool {
    let turn = lease * 5 / 2;
    (unanswered.as_millis() / turn.as_millis().max(1)) % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_without_a_quorum_is_silent_for_longer_than_an_election_takes_and_then_shows_itself() {
        let lease = Duration::from_secs(1);
        let at = |ms| shows_itself(Duration::from_millis(ms), lease);
        assert_eq!([0, 2_499, 2_500, 4_999, 5_000].map(at), [false, false, true, true, false]);
    }
}
