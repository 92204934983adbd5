//! Whatever a correct cluster does, no check calls it wrong, and every check had something to examine.

mod correct_log;

use meridian_checker::{Options, Promise, Verdict, check};
use meridian_history::History;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_correct_cluster_passes(seed: u64) {
        let history = History::of(correct_log::history(seed));
        let report = check(&history, &Options::default());
        prop_assert!(report.is_pass(), "{report}");
    }

    #[test]
    fn a_correct_cluster_in_a_storm_passes(seed: u64) {
        let history = History::of(correct_log::stormy_history(seed));
        let report = check(&history, &Options::default());
        prop_assert!(report.is_pass(), "{report}");
    }
}

#[test]
fn every_promise_is_exercised() {
    // Subscriptions have histories of their own: `subscriptions_random.rs`.
    let logs = || Promise::ALL.into_iter().filter(|promise| !promise.code().starts_with("SUB-"));
    let options = logs().fold(Options::default(), Options::demanding);
    let report = check(&History::of(correct_log::history(11)), &options);
    println!("{report}");
    for promise in logs() {
        assert_eq!(*report.verdict(promise), Verdict::Pass, "{promise}");
    }
}
