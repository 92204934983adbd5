//! Who stands for election when the node that led a group is lost, and when.
//!
//! Those who are left stand one after the other, in an order that is another one for each group: if all stood at
//! once they would split the votes, and if always the same stood first it would lead everything. Nobody stands
//! before the lease of the lost leader has run out here; whether it has run out elsewhere, and whose log is good
//! enough, is for the voters to say, as in any election.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_model::{GroupId, NodeId, ReplicaId, hash};
use tokio::time::Instant;

/// How much later each next one in the row stands.
const TURN: Duration = Duration::from_millis(200);
/// The first one in the row tries again so soon: the lease may have run a little longer elsewhere.
const AGAIN: Duration = Duration::from_millis(50);
/// The longest pause between two tries, as long as nothing changes.
const AGAIN_MAX: Duration = Duration::from_secs(2);
/// The lease runs from when openraft has looked at what the leader sent: a little after it came.
const AFTER_LEASE: Duration = Duration::from_millis(10);

/// The place of a replica in the row of those who may stand, from 0. `None`: it may not.
pub(crate) fn place(
    group: GroupId,
    own: ReplicaId,
    voters: &BTreeMap<ReplicaId, NodeId>,
    lost: &BTreeSet<NodeId>,
) -> Option<u32> {
    let mut row: Vec<(u64, ReplicaId)> = voters
        .iter()
        .filter(|(_, node)| !lost.contains(node))
        .map(|(replica, _)| {
            let key = [group.0.to_be_bytes(), replica.0.to_be_bytes()].concat();
            (hash::key_hash(&key), *replica)
        })
        .collect();
    row.sort_unstable();
    row.iter().position(|(_, replica)| *replica == own).map(|place| place as u32)
}

/// What a candidate does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing before this time.
    Wait(Instant),
    /// It stands for election.
    Stand,
}

/// One replica that would stand for a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidacy {
    place: u32,
    term: u64,
    tries: u32,
    next: Instant,
}

impl Candidacy {
    /// In `term` the leader is lost; its lease ends at `lease_ends` as far as this replica knows.
    pub(crate) fn new(place: u32, term: u64, lease_ends: Instant) -> Self {
        Self { place, term, tries: 0, next: lease_ends + AFTER_LEASE + TURN * place }
    }

    /// What to do now that the group is in `term`. `chance` is any number; it keeps tries apart.
    pub(crate) fn step(&mut self, now: Instant, term: u64, chance: u64) -> Step {
        if term != self.term {
            // Somebody stands, and gets time to win.
            (self.term, self.tries) = (term, 0);
            self.next = now + TURN * (self.place + 1) + part(TURN, chance);
        }
        if now < self.next {
            return Step::Wait(self.next);
        }
        let first = if self.place == 0 { AGAIN } else { TURN };
        let pause = (first * (1 << self.tries.min(8))).min(AGAIN_MAX);
        self.tries += 1;
        self.next = now + pause + part(pause / 2, chance);
        Step::Stand
    }
}

/// A part of a duration, by chance.
fn part(whole: Duration, chance: u64) -> Duration {
    Duration::from_micros(chance % (whole.as_micros() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn three() -> BTreeMap<ReplicaId, NodeId> {
        (1..=3).map(|number| (ReplicaId(number), NodeId(number))).collect()
    }

    #[test]
    fn every_survivor_has_a_place_of_its_own_and_each_is_first_for_about_half_of_the_groups() {
        let lost = BTreeSet::from([NodeId(1)]);
        let mut first = [0; 4];
        for group in (1..=1_000).map(GroupId) {
            let places: Vec<_> = (1..=3).map(|own| place(group, ReplicaId(own), &three(), &lost)).collect();
            assert_eq!(places[0], None);
            let leads = places.iter().position(|place| *place == Some(0)).expect("somebody is first");
            assert_eq!(places.iter().flatten().sum::<u32>(), 1, "{places:?}");
            first[leads + 1] += 1;
        }
        assert!(first[2] > 400 && first[3] > 400, "{first:?}");
    }

    #[test]
    fn nobody_stands_before_the_lease_has_ended_and_the_second_waits_for_the_first() {
        let begun = Instant::now();
        let lease_ends = begun + ms(1_000);
        let (mut first, mut second) = (Candidacy::new(0, 5, lease_ends), Candidacy::new(1, 5, lease_ends));
        assert_eq!(first.step(lease_ends, 5, 0), Step::Wait(lease_ends + AFTER_LEASE));
        assert_eq!(first.step(lease_ends + AFTER_LEASE, 5, 0), Step::Stand);
        let turn = lease_ends + AFTER_LEASE + TURN;
        assert_eq!(second.step(lease_ends + AFTER_LEASE, 5, 0), Step::Wait(turn));
        assert_eq!(second.step(turn, 5, 0), Step::Stand);
    }

    #[test]
    fn whoever_sees_another_stand_leaves_him_time() {
        let now = Instant::now();
        let mut second = Candidacy::new(1, 5, now);
        let Step::Wait(until) = second.step(now + TURN + AFTER_LEASE, 6, 0) else { panic!("it stands") };
        assert!(until >= now + TURN * 3);
        assert_eq!(second.step(until, 6, 0), Step::Stand);
    }

    #[test]
    fn tries_without_success_become_rare() {
        let mut now = Instant::now();
        let mut lonely = Candidacy::new(0, 1, now);
        let end = now + Duration::from_secs(60);
        let mut stood = 0;
        while now < end {
            match lonely.step(now, 1, 7) {
                Step::Stand => stood += 1,
                Step::Wait(until) => now = until,
            }
        }
        assert!((20..40).contains(&stood), "{stood}");
    }
}
