//! The metronome of a node: one beat for the groups that it leads, so that their heartbeats share frames.
//!
//! With a timer in each group, hundreds of groups send hundreds of frames with one heartbeat each, and each replica
//! wakes several times in an interval to look at its timer. Here one task looks, and the frames are full.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::MissedTickBehavior;

use crate::group::Group;
use crate::registry::Registry;

/// Parts of an interval: so many groups at once would hold everything else up.
const PARTS: u64 = 4;

/// Lets the groups of a node send their heartbeats.
pub struct Metronome {
    registry: Arc<Registry>,
    every: Duration,
}

impl Metronome {
    /// Heartbeats of these groups, as often as this.
    pub fn new(registry: Arc<Registry>, every: Duration) -> Self {
        Self { registry, every }
    }

    /// Beats, for ever.
    pub async fn keep(self) {
        let mut beat = tokio::time::interval((self.every / PARTS as u32).max(Duration::from_millis(1)));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut part = 0;
        loop {
            beat.tick().await;
            let due = |group: &Arc<Group>| group.id().0 % PARTS == part && leads(group);
            for group in self.registry.all().into_iter().filter(due) {
                // A group whose queue is full hears of the next beat, and the others do not wait for it.
                let _ = group.raft().trigger().heartbeat().now_or_never();
            }
            part = (part + 1) % PARTS;
        }
    }
}

fn leads(group: &Group) -> bool {
    group.raft().metrics().borrow_watched().state == ServerState::Leader
}
