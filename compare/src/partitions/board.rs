//! Who was acknowledged when: for each partition, the first ack of a message that was sent after a fault, and the
//! longest time without an ack since then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longer than any fault takes to be in.
const NOT_YET: Duration = Duration::from_secs(3_600);

/// One partition since the last fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    last_ack: Instant,
    /// From the fault to the first ack of a message that was sent after it.
    pub(super) resumed: Option<Duration>,
    /// The longest time between two acks, or between the fault and the first.
    pub(super) longest: Duration,
}

/// All partitions.
pub(super) struct Board(Mutex<State>);

struct State {
    fault: Instant,
    /// From here on nothing is acknowledged by whoever died. Before, an ack says nothing.
    installed: Instant,
    partitions: Vec<Watched>,
    errors: u64,
}

impl Board {
    pub(super) fn new(partitions: u32) -> Self {
        let now = Instant::now();
        let state = State { fault: now, installed: now, partitions: Vec::new(), errors: 0 };
        let board = Self(Mutex::new(state));
        board.begin(partitions, now);
        board
    }

    /// A fault begins: everything is counted from here.
    pub(super) fn begin(&self, partitions: u32, fault: Instant) {
        let fresh = Watched { last_ack: fault, resumed: None, longest: Duration::ZERO };
        let mut state = self.0.lock();
        (state.fault, state.installed) = (fault, fault + NOT_YET);
        state.partitions = vec![fresh; partitions as usize];
    }

    /// The fault is in: messages that are sent from now on can show that a partition is back.
    pub(super) fn installed(&self) {
        self.0.lock().installed = Instant::now();
    }

    /// A message that was sent at `sent` is acknowledged at `now`.
    pub(super) fn acked(&self, partition: u32, sent: Instant, now: Instant) {
        let mut state = self.0.lock();
        let (fault, installed) = (state.fault, state.installed);
        let Some(watched) = state.partitions.get_mut(partition as usize) else { return };
        watched.longest = watched.longest.max(now.saturating_duration_since(watched.last_ack));
        watched.last_ack = now.max(watched.last_ack);
        if sent >= installed && watched.resumed.is_none() {
            watched.resumed = Some(now.saturating_duration_since(fault));
        }
    }

    pub(super) fn failed(&self) {
        self.0.lock().errors += 1;
    }

    pub(super) fn errors(&self) -> u64 {
        self.0.lock().errors
    }

    /// What became of these partitions since the fault.
    pub(super) fn look(&self, partitions: &[u32]) -> Vec<Watched> {
        let state = self.0.lock();
        partitions.iter().filter_map(|partition| state.partitions.get(*partition as usize)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_of_what_was_on_its_way_when_the_leader_died_is_no_return() {
        let fault = Instant::now();
        let at = |ms| fault + Duration::from_millis(ms);
        let board = Board::new(1);
        board.begin(1, fault);
        board.acked(0, at(1), at(2));
        board.0.lock().installed = at(3);
        board.acked(0, at(2), at(3));
        assert_eq!(board.look(&[0])[0].resumed, None);
        board.acked(0, at(100), at(1_300));
        board.acked(0, at(300), at(1_301));
        let seen = board.look(&[0])[0];
        assert_eq!(seen.resumed, Some(Duration::from_millis(1_300)));
        assert_eq!(seen.longest, Duration::from_millis(1_297), "since the last ack of the one that died");
    }
}
