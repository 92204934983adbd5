//! Stories of one subscription in two regions.

use super::*;

const LOG: LogId = LogId::from_u128(5);

fn region(name: &str) -> Region {
    Region::parse(name).expect("a name")
}

fn two() -> (AckState, AckState) {
    let (mut a, mut b) = (AckState::unknown(region("a")), AckState::unknown(region("b")));
    a.create(AckSet::default()).expect("new");
    assert_eq!(b.join(&a.whole().expect("live")), Joined::Adopted);
    (a, b)
}

fn one(offset: u64) -> [OffsetRange; 1] {
    [OffsetRange::one(Offset(offset))]
}

#[test]
fn a_hole_is_a_hole_everywhere() {
    let (mut a, mut b) = two();
    a.ack(LOG, &one(2)).expect("active");
    a.ack(LOG, &one(0)).expect("active");
    assert_eq!(b.join(&a.take_delta().expect("dirty")), Joined::United(2));
    assert!(!b.acked().contains(LOG, Offset(1)));
    assert_eq!(a.digest(), b.digest());
    assert_eq!(a.take_delta(), None);
}

#[test]
fn only_the_active_region_acks_until_another_takes_over() {
    let (mut a, mut b) = two();
    assert_eq!(b.ack(LOG, &one(0)), Err(AckRefused::NotActive { active: region("a") }));
    b.take_over().expect("live");
    b.ack(LOG, &one(0)).expect("active");
    assert_eq!(a.join(&b.take_delta().expect("dirty")), Joined::AskWhole);
    assert_eq!(a.join(&b.whole().expect("live")), Joined::Adopted);
    assert_eq!(a.ack(LOG, &one(1)), Err(AckRefused::NotActive { active: region("b") }));
}

#[test]
fn of_two_takeovers_at_once_the_same_one_wins_everywhere() {
    let (mut a, mut b) = two();
    a.take_over().expect("live");
    b.take_over().expect("live");
    let (from_a, from_b) = (a.whole().expect("live"), b.whole().expect("live"));
    assert_eq!((a.join(&from_b), b.join(&from_a)), (Joined::Adopted, Joined::Dropped));
    assert_eq!(a.digest(), b.digest());
}

#[test]
fn a_seek_back_takes_acks_away_and_old_acks_do_not_return() {
    let (mut a, mut b) = two();
    a.ack_through(LOG, Offset(5), &OffsetRanges::new()).expect("active");
    let old = a.take_delta().expect("dirty");
    a.seek(AckSet::below([(LOG, Offset(2))])).expect("active");
    b.join(&a.whole().expect("live"));
    assert_eq!(b.join(&old), Joined::Dropped);
    assert!(b.acked().contains(LOG, Offset(1)) && !b.acked().contains(LOG, Offset(2)));
}

#[test]
fn what_is_deleted_stays_deleted_until_it_is_created_again() {
    let (mut a, mut b) = two();
    let old = a.whole().expect("live");
    a.delete().expect("live");
    b.join(&a.whole().expect("known"));
    assert_eq!(b.join(&old), Joined::Dropped);
    assert_eq!((b.is_live(), b.take_over()), (false, Err(AckRefused::Absent)));
    b.create(AckSet::default()).expect("absent");
    assert_eq!(a.join(&b.whole().expect("live")), Joined::Adopted);
    assert!(a.is_live());
}

#[test]
fn a_skip_is_settled_here_and_acked_nowhere() {
    let (mut a, _) = two();
    let skipped = OffsetRanges::from_iter(one(1));
    a.ack_through(LOG, Offset(3), &skipped).expect("active");
    assert!(!a.acked().contains(LOG, Offset(1)));
    assert!(a.is_settled(LOG, Offset(1), &skipped));
}

#[test]
fn at_the_bound_acks_are_refused_whole_and_filling_a_hole_is_not() {
    let (mut a, _) = two();
    for hole in 0..limits::GEO_ACK_RANGES_MAX as u64 {
        a.ack(LOG, &one(hole * 2)).expect("within the bound");
    }
    let before = a.clone();
    assert_eq!(a.ack(LOG, &one(1_000_000)), Err(AckRefused::TooManyRanges));
    assert_eq!(a, before);
    a.ack(LOG, &one(1)).expect("two ranges become one");
}
