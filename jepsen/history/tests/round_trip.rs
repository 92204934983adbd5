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
            messages: vec![Sent { id, key: Some("k".into()), crc: 5 }],
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
    let op = |(id, kind)| Op {
        id: id as u64,
        process: 1,
        invoke_ns: 10,
        complete_ns: (id != 3).then_some(20),
        outcome: if id == 3 { Outcome::Info } else { Outcome::Ok },
        why: (id == 3).then(|| "deadline".to_owned()),
        kind,
    };
    kinds.into_iter().enumerate().map(op).collect()
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
    assert!(message(&[lines[0], lines[1], lines[10]]).contains("line 3: the end line says 9"));
    assert!(message(&lines[1..]).starts_with("line 1: a history begins"));
    assert!(message(&[lines[0], lines[0]]).starts_with("line 2: a history begins"));
    assert!(message(&[&lines[..], &[lines[1]]].concat()).starts_with("line 12: something follows"));
    let later = lines[0].replace("\"version\":1", "\"version\":2");
    assert!(message(&[&later]).contains("version 2 is not"));
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
