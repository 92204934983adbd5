//! What is written is what is read, for every kind and for random ids; damage is refused by line.

use meridian_history::*;
use proptest::prelude::*;

fn one_of_each() -> Vec<Op> {
    let (topic, partition) = ("t".to_owned(), 3);
    let id = MessageId::new("a/b", 2, 7);
    let seen = Seen { key: Some("k".into()), ..Seen::intact(9, id.clone(), 5) };
    let skip = Skip { from: 0, to: 9, reason: SkipReason::BeforeLink };
    let kinds: Vec<Kind> = vec![
        Publish {
            topic: topic.clone(),
            partition,
            producer: "a/b".into(),
            epoch: 2,
            first_sequence: 7,
            sequenced: true,
            messages: vec![Sent { id, key: Some("k".into()), crc: 5, times: Times::default() }],
            appended: Some(Appended::already_at(9)),
        }
        .into(),
        OpenProducer { topic: topic.clone(), producer: "a/b".into(), epoch: None }.into(),
        Read {
            topic: topic.clone(),
            partition,
            session: 1,
            node: Some("n1".into()),
            from: 0,
            page: Some(Page { records: vec![seen.clone()], skips: vec![skip] }),
        }
        .into(),
        EndOffset { topic: topic.clone(), partition, end: Some(u64::MAX) }.into(),
        LogStart { topic: topic.clone(), partition, node: None, start: Some(0) }.into(),
        Chain {
            topic: topic.clone(),
            partition,
            replica: "n1".into(),
            at: Some(ChainHead { offset: 4, head: "00ff".into() }),
        }
        .into(),
        FinalRead {
            topic,
            partition,
            replica: "n1".into(),
            scan: Some(Scan { start: 0, end: 10, records: vec![seen], skips: vec![] }),
        }
        .into(),
        Fault {
            name: "kill".into(),
            target: "n1".into(),
            phase: FaultPhase::Healed,
            effect: Some(FaultEffect::Indeterminate),
        }
        .into(),
        Control {
            op: ControlOp::List,
            key: String::new(),
            value: None,
            answer: Some((ControlAnswer::Names(vec!["x".into()]), 12)),
        }
        .into(),
    ];
    let kinds = kinds.into_iter().chain(of_subscriptions());
    let op = |(id, kind)| Op {
        id: id as u64,
        process: 1,
        invoke_ns: 10,
        complete_ns: (id != 3).then_some(20),
        outcome: if id == 3 { Outcome::Info } else { Outcome::Ok },
        why: (id == 3).then(|| "deadline".to_owned()),
        kind,
    };
    kinds.enumerate().map(op).collect()
}

const EPOCHS: Epochs = Epochs { dispatch: 17, seek: 1, owner: Some(4) };

fn topic() -> String {
    "t".to_owned()
}

fn name() -> String {
    "s".to_owned()
}

fn of_subscriptions() -> Vec<Kind> {
    let (consumer, kind, done) = ("c".to_owned(), SubscriptionKind::KeyShared, Some(Done {}));
    let made = Subscribe {
        topic: topic(),
        subscription: name(),
        kind,
        lease_ms: 100,
        attempts_max: Some(3),
        dead_letter: Some("d".into()),
        start: Place::Time(4),
        unacked_consumer_max: Some(10),
        unacked_max: None,
        made: done,
    };
    let joined =
        Join { topic: topic(), subscription: name(), consumer: consumer.clone(), kind, joined: done };
    let how = Parting::Cut;
    let gone = Part { topic: topic(), subscription: name(), consumer: consumer.clone(), how, gone: done };
    let deliveries = Some(vec![delivery()]);
    let asked = Deliver { topic: topic(), subscription: name(), consumer, deliveries };
    let sought = Some(Sought { position: 4, epoch: 1 });
    let seek = Seek { topic: topic(), partition: 3, subscription: name(), to: Place::Earliest, sought };
    let mut kinds = vec![made.into(), joined.into(), gone.into(), asked.into(), seek.into()];
    kinds.extend(said());
    kinds.extend(left());
    kinds
}

fn delivery() -> Delivery {
    Delivery {
        partition: 3,
        log: "00aa".into(),
        offset: 9,
        id: MessageId::new("a", 0, 7),
        key: Some("k".into()),
        attempt: 1,
        epochs: EPOCHS,
        times: Times { deliver_at_ms: Some(5), expire_at_ms: Some(9) },
        lease_until_ms: Some(8),
        at_ms: 7,
    }
}

/// What a consumer says about what it holds.
fn said() -> Vec<Kind> {
    let (topic, subscription, consumer) = (topic(), name(), "c".into());
    let by = Holder { topic, partition: 3, subscription, consumer, epochs: EPOCHS };
    let (of, settled) = (AckOf::Batch(vec![9, 11]), Some(Settled { index: Some(40) }));
    vec![
        Ack { by: by.clone(), of, settled }.into(),
        Nack { by: by.clone(), offset: 9, attempt: 1, settled }.into(),
        Extend { by: by.clone(), offset: 9, extended: Some(Done {}) }.into(),
        LeaseEnd { by, offset: 9, seen: Some(Done {}) }.into(),
    ]
}

/// What is left in the end.
fn left() -> Vec<Kind> {
    let source = Source { partition: 3, log: "00aa".into(), offset: 9 };
    let letter = DeadLetter { partition: 0, offset: 1, id: MessageId::new("a", 0, 7), source };
    let (letters, dead_letter) = (Some(vec![letter]), "d".to_owned());
    let state = Some(SettledState {
        floor: 9,
        ranges: vec![Span { from: 10, to: 12 }],
        waiting: vec![4],
        dropped: vec![Span { from: 0, to: 2 }],
        at_ms: 9,
    });
    let drained = Some(Drained { through: 12, at_ms: 9 });
    vec![
        Drain { topic: topic(), partition: 3, subscription: name(), drained }.into(),
        FinalState { topic: topic(), partition: 3, subscription: name(), state }.into(),
        DeadLetters { topic: topic(), subscription: name(), dead_letter, letters }.into(),
    ]
}

#[test]
fn a_settled_state_says_of_every_offset_whether_it_is_settled() {
    let Some(Kind::FinalState(FinalState { state: Some(state), .. })) = left().into_iter().nth(1) else {
        panic!("the second is a final state");
    };
    let settled: Vec<u64> = (0..14).filter(|offset| state.is_settled(*offset)).collect();
    assert_eq!(settled, [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]);
    assert!(state.is_dropped(1) && !state.is_dropped(2));
}

#[test]
fn a_history_of_the_first_version_is_still_read() {
    let text = written(&one_of_each()[..9]).replace("\"version\":2", "\"version\":1");
    let history = History::read(text.as_bytes()).unwrap();
    assert_eq!((history.header.version, history.ops.len()), (1, 9));
}

fn written(ops: &[Op]) -> String {
    let header = Header::new(Some(42)).with_option("partitions", 3);
    let mut writer = Writer::new(Vec::new(), &header).expect("memory takes it");
    ops.iter().for_each(|op| writer.op(op).expect("memory takes it"));
    let (bytes, count) = writer.finish().expect("memory takes it");
    assert_eq!(count, ops.len() as u64);
    String::from_utf8(bytes).expect("JSON is text")
}

#[test]
fn every_kind_survives_the_trip() {
    let ops = one_of_each();
    let text = written(&ops);
    assert_eq!(text.lines().count(), ops.len() + 2);
    let history = History::read(text.as_bytes()).unwrap();
    assert_eq!(history.ops, ops);
    assert_eq!(history.header.seed, Some(42));
    assert_eq!(history.header.options["partitions"], "3");
    assert!(history.complete);
    let names: std::collections::BTreeSet<_> = ops.iter().map(|op| op.kind.name()).collect();
    assert_eq!(names.len(), ops.len());
    for (name, line) in ops.iter().map(|op| op.kind.name()).zip(text.lines().skip(1)) {
        assert!(line.contains(&format!("\"kind\":{{\"{name}\":")), "{line}");
    }
}

#[test]
fn a_history_cut_short_is_not_complete() {
    let text = written(&one_of_each());
    let cut: String = text.lines().take(4).map(|line| format!("{line}\n")).collect();
    let history = History::read(cut.as_bytes()).unwrap();
    assert_eq!(history.ops.len(), 3);
    assert!(!history.complete);
}

#[test]
fn damage_is_refused_and_names_its_line() {
    let text = written(&one_of_each());
    let lines: Vec<&str> = text.lines().collect();
    let message = |lines: &[&str]| History::read(lines.join("\n").as_bytes()).unwrap_err().to_string();
    assert!(message(&[lines[0], lines[1], "{\"op\":{\"id\":"]).starts_with("line 3: "));
    assert!(message(&[lines[0], lines[1], lines[22]]).contains("line 3: the end line says 21"));
    assert!(message(&lines[1..]).starts_with("line 1: a history begins"));
    assert!(message(&[lines[0], lines[0]]).starts_with("line 2: a history begins"));
    assert!(message(&[&lines[..], &[lines[1]]].concat()).starts_with("line 24: something follows"));
    let later = lines[0].replace("\"version\":2", "\"version\":3");
    assert!(message(&[&later]).contains("version 3 is not"));
    assert!(message(&[]).starts_with("line 1: "));
}

proptest! {
    #[test]
    fn message_ids_survive_as_text(producer in "[a-z/\\-0-9]{1,12}", epoch: u64, sequence: u64) {
        let id = MessageId::new(producer, epoch, sequence);
        prop_assert_eq!(id.to_string().parse::<MessageId>().unwrap(), id);
    }

    #[test]
    fn other_text_is_no_message_id(text in "[a-z]{0,5}(/[0-9]{1,3})?") {
        prop_assert!(text.parse::<MessageId>().is_err());
    }
}
