//! Random operations: every reply is the model's, and the state is sound and restorable after each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

use meridian_model::topology::Retention;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::{Cluster, create, delete, finish, form, node, open, topic};
use crate::control::ControlChange;

const CASES: u32 = 12_000;
/// How often each pair of operation and outcome must have occurred for the check to count.
const OCCURRENCES_MIN: u64 = 200;
const REQUIRED: &[&str] = &[
    "Form OK",
    "Form CONFLICT",
    "RegisterNode OK",
    "CreateTenant OK",
    "CreateTenant ALREADY_EXISTS",
    "DeleteTenant OK",
    "DeleteTenant NOT_FOUND",
    "DeleteTenant CONFLICT",
    "CreateNamespace OK",
    "CreateNamespace NOT_FOUND",
    "CreateNamespace ALREADY_EXISTS",
    "DeleteNamespace OK",
    "DeleteNamespace NOT_FOUND",
    "DeleteNamespace CONFLICT",
    "CreateTopic OK",
    "CreateTopic NOT_FOUND",
    "CreateTopic ALREADY_EXISTS",
    "CreateTopic CONFLICT",
    "CreateTopic INVALID_ARGUMENT",
    "CreateTopic NOT_ENOUGH_NODES",
    "CreateTopic REPEATED",
    "CreateTopic REUSED_ID",
    "UpdateTopic OK",
    "UpdateTopic NOT_FOUND",
    "UpdateTopic CONFLICT",
    "AddPartitions OK",
    "AddPartitions NOT_FOUND",
    "AddPartitions INVALID_ARGUMENT",
    "AddPartitions CONFLICT",
    "DeleteTopic OK",
    "DeleteTopic NOT_FOUND",
    "DeleteTopic CONFLICT",
    "FinishDelete OK",
    "FinishDelete NOT_FOUND",
    "FinishDelete CONFLICT",
    "OpenProducer OK",
    "OpenProducer NOT_FOUND",
    "OpenProducer CONFLICT",
    "OpenProducer REPEATED",
];

#[test]
#[expect(clippy::disallowed_methods, reason = "says how long the check took")]
fn random_operations_are_judged_as_the_model_judges_them() {
    let counts = RefCell::new(BTreeMap::<String, u64>::new());
    let started = Instant::now();
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let tapes = prop::collection::vec(any::<[u8; 6]>(), 1..60);
    let result = TestRunner::new(config)
        .run(&tapes, |tape| run(&tape, &mut counts.borrow_mut()).map_err(TestCaseError::fail));
    if let Err(failure) = result {
        panic!("{failure}");
    }
    println!("{CASES} cases in {:.1} s", started.elapsed().as_secs_f64());
    let counts = counts.into_inner();
    counts.iter().for_each(|(what, count)| println!("{count:>10}  {what}"));
    let rare = REQUIRED.iter().filter(|what| counts.get(**what).copied().unwrap_or(0) < OCCURRENCES_MIN);
    assert_eq!(rare.collect::<Vec<_>>(), Vec::<&&str>::new());
}

fn run(tape: &[[u8; 6]], counts: &mut BTreeMap<String, u64>) -> Result<(), String> {
    let (mut cluster, mut model) = (Cluster::formed(), Model::formed());
    for cell in tape {
        let (what, change) = change(cell);
        let outcome = model.step(&mut cluster, &change)?;
        *counts.entry(format!("{what} {outcome}")).or_default() += 1;
    }
    Ok(())
}

fn change(&[operation, a, b, c, d, e]: &[u8; 6]) -> (&'static str, ControlChange) {
    let request_id = if d < 100 { String::new() } else { format!("r-{}", d % 8) };
    let tenant = ["default", "acme"][usize::from(a % 2)].to_owned();
    let namespace = ["default", "air", "sea"][usize::from(b % 3)].to_owned();
    let full = match b % 4 {
        0..=1 => ["t", "u"][usize::from(c % 2)].to_owned(),
        _ => format!("{tenant}/{namespace}/t"),
    };
    let name = topic(&full);
    match operation % 32 {
        0 => ("Form", form(1 + u128::from(a % 2))),
        1..=3 => ("RegisterNode", {
            ControlChange::RegisterNode { record: node(1 + u64::from(a % 5), 100 + u128::from(b % 8)) }
        }),
        4..=5 => ("CreateTenant", ControlChange::CreateTenant { name: tenant, request_id }),
        6 => ("DeleteTenant", ControlChange::DeleteTenant { name: tenant, request_id }),
        7..=9 => ("CreateNamespace", ControlChange::CreateNamespace { tenant, name: namespace, request_id }),
        10 => ("DeleteNamespace", ControlChange::DeleteNamespace { tenant, name: namespace, request_id }),
        11..=16 => {
            let (partitions, replication) = (1 + u32::from(e % 4), u32::from(a % 6));
            ("CreateTopic", create(&full, partitions, replication, &request_id))
        }
        17..=18 => {
            let retention = Retention { age_ms: (e > 99).then_some(1 + u64::from(e)), bytes: None };
            (
                "UpdateTopic",
                ControlChange::UpdateTopic { name, retention, expected_version: None, request_id },
            )
        }
        19..=21 => {
            let total = 1 + u32::from(e % 6);
            ("AddPartitions", ControlChange::AddPartitions { name, total, seed: u128::from(e), request_id })
        }
        22..=24 => ("DeleteTopic", delete(&full)),
        25..=27 => ("FinishDelete", finish(&full)),
        _ => ("OpenProducer", open(&full, ["p", "q"][usize::from(e % 2)], &request_id)),
    }
}
