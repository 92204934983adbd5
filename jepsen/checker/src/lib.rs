//! Decides from a history alone whether the log and the metadata kept their promises.
//!
//! [`check`] is a pure function from a [`History`] to a [`Report`]: one verdict per numbered promise, the
//! anomalies by name, and counts of what was looked at. A log is its own witness, so every LOG promise is
//! decided by sorting, in O(n log n); a search (WGL, from `porcupine-rs`) runs beside it, on small partitions
//! whole, on others window by window, and per key on metadata, as a second opinion by other means.
//! Subscriptions are decided by sorting too: from what consumers were given and said, and when.
//!
//! Three rules keep the verdicts honest. What was not examined is not a pass. A search that ran out of time
//! is `unknown`, and `unknown` is not a pass. And no rule here may call a correct system wrong: where a
//! history leaves room for doubt, the doubt is resolved in the system's favour or reported as such.
//!
//! One promise, one file. Deliberately absent: liveness bounds (the harness owns its deadlines) and every
//! promise about regions and tenants.

mod anomaly;
mod ctl1_linearizable;
mod ctl1_replay;
mod ctl1_search;
mod delivery;
mod final_log;
mod findings;
mod index;
mod log1_durable;
mod log2_readable;
mod log3_truthful;
mod log4_agreed;
mod log5_once_in_order;
mod log6_fenced;
mod log7_real_time;
mod log8_gapless;
mod log9_gone;
mod log_search;
mod log_windows;
mod messages;
mod options;
mod partition_view;
mod promise;
mod report;
mod run_sound;
mod search;
mod sub1_until_acked;
mod sub2_ack_ends;
mod sub3_one_owner;
mod sub4_one_possession;
mod sub5_key_order;
mod sub6_dead_letters;
mod sub6_exact;
mod sub_acks;
mod sub_keys;
mod sub_possession;
mod sub_spans;
mod sub_stored;
mod sub_view;
mod table;

pub use anomaly::{Anomaly, AnomalyKind};
pub use delivery::{DeliveryFault, DeliveryReport, Record, check_delivery};
pub use options::Options;
pub use promise::Promise;
pub use report::{Finding, Report, Verdict};

use findings::Findings;
use index::Index;
use meridian_history::History;

/// Judges a history by every promise.
pub fn check(history: &History, options: &Options) -> Report {
    let index = Index::of(history);
    let mut report = Report::about(history, &index);
    for promise in Promise::ALL {
        let findings: Findings = match promise {
            Promise::Run => run_sound::check(history, &index),
            Promise::Log1 => log1_durable::check(&index),
            Promise::Log2 => log2_readable::check(&index),
            Promise::Log3 => log3_truthful::check(&index),
            Promise::Log4 => log4_agreed::check(&index),
            Promise::Log5 => log5_once_in_order::check(&index),
            Promise::Log6 => log6_fenced::check(&index),
            Promise::Log7 => log7_real_time::check(&index),
            Promise::Log8 => log8_gapless::check(&index),
            Promise::Log9 => log9_gone::check(&index),
            Promise::LogSearch => log_search::check(&index, options),
            Promise::Ctl1 => ctl1_linearizable::check(&index, options),
            Promise::Sub1 => sub1_until_acked::check(&index, options),
            Promise::Sub2 => sub2_ack_ends::check(&index),
            Promise::Sub3 => sub3_one_owner::check(&index),
            Promise::Sub4 => sub4_one_possession::check(&index, options),
            Promise::Sub5 => sub5_key_order::check(&index, options),
            Promise::Sub6 => sub6_exact::check(&index, options),
        };
        report.add(promise, findings.settle(options.demanded.contains(&promise)));
    }
    report
}
