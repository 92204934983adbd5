//! The checks by sorting keep up with long histories: tens of thousands of messages take seconds at most.

use std::time::{Duration, Instant};

use meridian_checker::{Options, check};
use meridian_history::*;

const BATCHES: u64 = 20_000;
const PRODUCERS: u64 = 20;
const BATCH: u64 = 5;

/// Twenty producers take turns on one partition; three replicas show it all in the end.
fn long_history() -> Vec<Op> {
    let topic = || "t".to_owned();
    let mut ops: Vec<Op> = Vec::new();
    let mut records: Vec<Seen> = Vec::new();
    let mut add = |at: u64, kind: Kind| {
        let (id, outcome, complete_ns) = (ops.len() as u64, Outcome::Ok, Some(at + 30));
        ops.push(Op { id, process: id % PRODUCERS, invoke_ns: at, complete_ns, outcome, why: None, kind });
    };
    for nth in 0..BATCHES {
        let producer = format!("p{}", nth % PRODUCERS);
        if nth < PRODUCERS {
            let call = OpenProducer { topic: topic(), producer: producer.clone(), epoch: Some(1) };
            add(nth, call.into());
        }
        let first = records.len() as u64;
        let first_sequence = nth / PRODUCERS * BATCH;
        let id = |nth| MessageId::new(producer.clone(), 1, first_sequence + nth);
        let messages: Vec<Sent> = (0..BATCH)
            .map(|n| Sent { id: id(n), key: None, crc: n as u32, times: Times::default() })
            .collect();
        let seen = (first..).zip(&messages).map(|(at, sent)| Seen::intact(at, sent.id.clone(), sent.crc));
        let page: Vec<Seen> = seen.collect();
        records.extend(page.iter().cloned());
        let publish = Publish {
            topic: topic(),
            partition: 0,
            producer,
            epoch: 1,
            first_sequence,
            sequenced: true,
            messages,
            appended: Some(Appended::at(first)),
        };
        add(100 + nth * 10, publish.into());
        let page = Some(Page { records: page, skips: vec![] });
        let read = Read { topic: topic(), partition: 0, session: 1, node: None, from: first, page };
        add(200 + nth * 40, read.into());
    }
    for replica in ["n1", "n2", "n3"] {
        let scan = Scan { start: 0, end: records.len() as u64, records: records.clone(), skips: vec![] };
        let call = FinalRead { topic: topic(), partition: 0, replica: replica.into(), scan: Some(scan) };
        add(u64::MAX / 2, call.into());
    }
    ops
}

#[test]
fn a_hundred_thousand_messages_take_seconds() {
    let history = History::of(long_history());
    let begun = Instant::now();
    let report = check(&history, &Options::default());
    let took = begun.elapsed();
    println!("{report}judged in {} ms", took.as_millis());
    assert!(report.is_pass(), "{report}");
    assert!(took < Duration::from_secs(30), "took {took:?}");
}
