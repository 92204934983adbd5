//! Who was acknowledged when: for each partition, the first ack of a message that was sent after a fault, and the
//! longest time without an ack since then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

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
    partitions: Vec<Watched>,
    errors: u64,
}

impl Board {
    pub(super) fn new(partitions: u32) -> Self {
        let state = State { fault: Instant::now(), partitions: Vec::new(), errors: 0 };
        let board = Self(Mutex::new(state));
        board.begin(partitions, Instant::now());
        board
    }

    /// A fault begins: everything is counted from here.
    pub(super) fn begin(&self, partitions: u32, fault: Instant) {
        let fresh = Watched { last_ack: fault, resumed: None, longest: Duration::ZERO };
        let mut state = self.0.lock();
        state.fault = fault;
        state.partitions = vec![fresh; partitions as usize];
    }

    /// A message that was sent at `sent` is acknowledged at `now`.
    pub(super) fn acked(&self, partition: u32, sent: Instant, now: Instant) {
        let mut state = self.0.lock();
        let fault = state.fault;
        let Some(watched) = state.partitions.get_mut(partition as usize) else { return };
        watched.longest = watched.longest.max(now.saturating_duration_since(watched.last_ack));
        watched.last_ack = now.max(watched.last_ack);
        if sent >= fault && watched.resumed.is_none() {
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
        board.acked(0, fault - Duration::from_millis(5), at(3));
        assert_eq!(board.look(&[0])[0].resumed, None);
        board.acked(0, at(100), at(1_300));
        board.acked(0, at(300), at(1_301));
        let seen = board.look(&[0])[0];
        assert_eq!(seen.resumed, Some(Duration::from_millis(1_300)));
        assert_eq!(seen.longest, Duration::from_millis(1_297));
    }
}
