//! Stories of a link: what it says when it does not move, and how late it says it is.

use meridian_model::{Offset, UnixMs};

use super::*;

const JITTER: f64 = 0.5;

fn shipping() -> Link {
    let mut link = Link::new(0, Backoff::new(100, 10_000));
    assert_eq!(link.handle(0, JITTER, Event::Tick), [Action::Connect]);
    link.handle(10, JITTER, Event::Connected);
    assert_eq!(link.state(), LinkState::Syncing);
    link.handle(20, JITTER, Event::Synced);
    assert_eq!(link.state(), LinkState::Shipping);
    link
}

fn probe(link: &mut Link, now_ms: u64) -> u64 {
    let sent = link.handle(now_ms, JITTER, Event::Tick);
    let mut probes =
        sent.iter().filter_map(|a| if let Action::Probe { probe } = a { Some(*probe) } else { None });
    probes.next_back().expect("a probe")
}

#[test]
fn a_link_is_healthy_only_after_a_probe_went_all_the_way() {
    let mut link = shipping();
    assert!(!link.is_healthy(30));
    let sent = probe(&mut link, 1_100);
    link.handle(1_200, JITTER, Event::Probed { probe: sent + 1 });
    assert!(!link.is_healthy(1_200));
    link.handle(1_200, JITTER, Event::Probed { probe: sent });
    assert!(link.is_healthy(1_200));
    assert!(!link.is_healthy(1_200 + PROBE_FRESH_MS + 1));
}

#[test]
fn a_link_whose_frames_are_not_confirmed_says_so_and_resyncs() {
    let mut link = shipping();
    link.handle(100, JITTER, Event::Sent);
    let actions = link.handle(100 + STALL_MS, JITTER, Event::Tick);
    assert!(actions.contains(&Action::Resync));
    assert_eq!(link.state(), LinkState::Stalled(StallReason::NoProgress));
    link.handle(6_000, JITTER, Event::Progress { outstanding: false });
    assert_eq!(link.state(), LinkState::Shipping);
    assert!(!link.is_healthy(6_000));
}

#[test]
fn an_idle_link_does_not_stall() {
    let mut link = shipping();
    for second in 1..100 {
        let probe = probe(&mut link, second * 1_100);
        link.handle(second * 1_100 + 1, JITTER, Event::Probed { probe });
        assert_eq!(link.state(), LinkState::Shipping);
    }
}

#[test]
fn a_reason_that_was_given_is_not_replaced_by_one_that_was_inferred() {
    let mut link = shipping();
    link.handle(100, JITTER, Event::Sent);
    link.handle(200, JITTER, Event::Blocked(StallReason::DestinationFull));
    link.handle(200 + STALL_MS, JITTER, Event::Tick);
    assert_eq!(link.state(), LinkState::Stalled(StallReason::DestinationFull));
}

#[test]
fn a_destination_that_never_answers_is_named_and_in_the_end_connected_anew() {
    let mut link = Link::new(0, Backoff::new(100, 10_000));
    link.handle(0, JITTER, Event::Tick);
    link.handle(0, JITTER, Event::Connected);
    link.handle(STALL_MS, JITTER, Event::Tick);
    assert_eq!(link.state(), LinkState::Stalled(StallReason::NoAnswer));
    let actions = link.handle(STALL_MS + RECONNECT_MS, JITTER, Event::Tick);
    assert_eq!((actions, link.state()), (vec![Action::Close], LinkState::Connecting));
}

#[test]
fn probes_that_are_lost_are_a_stall_and_their_return_ends_it() {
    let mut link = shipping();
    probe(&mut link, 1_000);
    let again = probe(&mut link, 1_000 + PROBE_FRESH_MS);
    assert_eq!(link.state(), LinkState::Stalled(StallReason::ProbeLost));
    link.handle(7_000, JITTER, Event::Probed { probe: again });
    assert!(link.is_healthy(7_000));
}

#[test]
fn waits_double_up_to_their_bound_and_are_spread() {
    let mut backoff = Backoff::new(100, 1_000);
    let waits: Vec<u64> = (0..6).map(|_| backoff.next_ms(1.0)).collect();
    assert_eq!(waits, [100, 200, 400, 800, 1_000, 1_000]);
    backoff.reset();
    assert_eq!(backoff.next_ms(0.0), 50);
    let mut endless = Backoff::new(u64::MAX / 2, u64::MAX);
    (0..100).for_each(|_| assert!(endless.next_ms(1.0) >= u64::MAX / 4));
}

#[test]
fn only_an_operator_ends_a_divergence_or_a_pause() {
    for (event, state) in [(Event::Diverged, LinkState::Diverged), (Event::Pause, LinkState::Paused)] {
        let mut link = shipping();
        assert_eq!(link.handle(50, JITTER, event), [Action::Close]);
        for late in
            [Event::Lost, Event::Connected, Event::Synced, Event::Tick, Event::Progress { outstanding: true }]
        {
            assert_eq!(link.handle(90_000, JITTER, late), []);
            assert_eq!(link.state(), state);
        }
        assert_eq!(link.handle(90_001, JITTER, Event::Resume), [Action::Connect]);
    }
}

#[test]
fn a_link_that_breaks_waits_before_it_connects() {
    let mut link = shipping();
    link.handle(1_000, JITTER, Event::Lost);
    assert_eq!(link.handle(1_050, JITTER, Event::Tick), []);
    assert_eq!(link.handle(1_075, JITTER, Event::Tick), [Action::Connect]);
    assert_eq!(link.handle(9_000, JITTER, Event::Tick), []);
}

#[test]
fn lag_is_told_by_the_clock_of_the_origin_alone() {
    // The origin's clock is a year ahead of ours; nobody notices.
    let (year, mut meter) = (365 * 24 * 3_600_000, LagMeter::new());
    let beat = |second: u64, end: u64| Heartbeat {
        at: UnixMs(year + second * 1_000),
        end: Offset(end),
        bytes: end * 10,
    };
    assert_eq!(meter.lag(), None);
    meter.heard(5, beat(0, 10));
    meter.reached(Offset(10));
    // An hour of nothing, then one message.
    (1..=3_600).for_each(|second| meter.heard(5 + second, beat(second, 10)));
    assert_eq!(meter.lag(), Some(Lag::default()));
    meter.heard(9_000, beat(3_601, 11));
    assert_eq!(meter.lag(), Some(Lag { messages: 1, bytes: 10, ms: 1_000 }));
    (3_602..3_612).for_each(|second| meter.heard(10_000, beat(second, 11)));
    assert_eq!(meter.lag().map(|lag| lag.ms), Some(11_000));
    assert_eq!(meter.silent_ms(10_700), Some(700));
    meter.reached(Offset(11));
    assert_eq!(meter.lag(), Some(Lag::default()));
}

#[test]
fn a_late_heartbeat_is_no_news_and_samples_are_bounded() {
    let mut meter = LagMeter::new();
    let beat = |at: u64| Heartbeat { at: UnixMs(at), end: Offset(at), bytes: at };
    (0..10_000).for_each(|at| meter.heard(at, beat(at)));
    meter.heard(10_000, beat(3));
    assert!(meter.samples() <= meridian_model::limits::GEO_LAG_SAMPLES_MAX);
    assert_eq!(meter.lag(), Some(Lag { messages: 9_999, bytes: 9_999, ms: 9_999 }));
}

#[test]
fn every_reason_has_its_own_name() {
    let names: std::collections::BTreeSet<&str> =
        StallReason::ALL.iter().map(|reason| reason.reason()).collect();
    assert_eq!(names.len(), StallReason::ALL.len());
}
