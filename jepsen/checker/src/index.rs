//! The history sorted into what each promise needs: partitions, openings, metadata, faults.

use std::collections::{BTreeMap, BTreeSet};

use meridian_history::{Control, Fault, FaultPhase, History, Kind, Op, OpenProducer, Publish};

use crate::{partition_view::PartitionView, sub_view::Subscriptions};

/// A borrowed, sorted view of a history.
#[derive(Debug, Default)]
pub(crate) struct Index<'a> {
    pub(crate) partitions: BTreeMap<(&'a str, u32), PartitionView<'a>>,
    pub(crate) opens: Vec<(&'a Op, &'a OpenProducer)>,
    pub(crate) controls: Vec<(&'a Op, &'a Control)>,
    pub(crate) faults: Vec<(&'a Op, &'a Fault)>,
    pub(crate) subscriptions: Subscriptions<'a>,
    /// When the last heal ended; zero if nothing was healed.
    pub(crate) healed_ns: u64,
    /// Why the history cannot be trusted as a record.
    pub(crate) malformed: Vec<String>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(history: &'a History) -> Self {
        let mut index = Self::default();
        let mut ids = BTreeSet::new();
        let mut ops: Vec<&Op> = history.ops.iter().collect();
        ops.sort_by_key(|op| (op.invoke_ns, op.id));
        for op in ops {
            if !ids.insert(op.id) {
                index.malformed.push(format!("op {} appears twice", op.id));
            } else if let Some(problem) = problem_with(op) {
                index.malformed.push(format!("op {} ({}): {problem}", op.id, op.kind.name()));
            } else {
                index.place(op);
            }
        }
        for view in index.partitions.values_mut() {
            index.malformed.append(&mut view.settle(index.healed_ns));
        }
        index.subscriptions.settle(&index.partitions);
        index
    }

    fn place(&mut self, op: &'a Op) {
        match &op.kind {
            Kind::OpenProducer(call) => self.opens.push((op, call)),
            Kind::Control(call) => self.controls.push((op, call)),
            Kind::Fault(call) => {
                self.faults.push((op, call));
                if call.phase == FaultPhase::Healed {
                    self.healed_ns = self.healed_ns.max(op.complete_ns.unwrap_or(op.invoke_ns));
                }
            }
            Kind::Publish(call) => self.view(&call.topic, call.partition).publishes.push((op, call)),
            Kind::Read(call) => self.view(&call.topic, call.partition).reads.push((op, call)),
            Kind::EndOffset(call) => self.view(&call.topic, call.partition).ends.push((op, call)),
            Kind::LogStart(call) => self.view(&call.topic, call.partition).starts.push((op, call)),
            Kind::Chain(call) => self.view(&call.topic, call.partition).chains.push((op, call)),
            Kind::FinalRead(call) => self.view(&call.topic, call.partition).scans.push((op, call)),
            Kind::Subscribe(_)
            | Kind::Join(_)
            | Kind::Part(_)
            | Kind::Deliver(_)
            | Kind::Ack(_)
            | Kind::Nack(_)
            | Kind::Extend(_)
            | Kind::LeaseEnd(_)
            | Kind::Seek(_)
            | Kind::Drain(_)
            | Kind::FinalState(_)
            | Kind::DeadLetters(_) => self.subscriptions.place(op),
        }
    }

    fn view(&mut self, topic: &'a str, partition: u32) -> &mut PartitionView<'a> {
        self.partitions.entry((topic, partition)).or_insert_with(|| PartitionView::new(topic, partition))
    }
}

/// What makes an operation impossible as a record, if anything does.
fn problem_with(op: &Op) -> Option<&'static str> {
    match op.complete_ns {
        Some(end) if end < op.invoke_ns => return Some("it ends before it begins"),
        None if op.is_ok() => return Some("it is ok but has no end"),
        _ => {}
    }
    let answered = match &op.kind {
        Kind::Publish(call) => return problem_with_publish(op, call),
        Kind::OpenProducer(call) => call.epoch.is_some(),
        Kind::Read(call) => call.page.is_some(),
        Kind::EndOffset(call) => call.end.is_some(),
        Kind::LogStart(call) => call.start.is_some(),
        Kind::Chain(call) => call.at.is_some(),
        Kind::FinalRead(call) => call.scan.is_some(),
        Kind::Fault(call) => call.effect.is_some(),
        Kind::Control(call) => call.answer.is_some(),
        Kind::Subscribe(call) => call.made.is_some(),
        Kind::Join(call) => call.joined.is_some(),
        Kind::Part(call) => call.gone.is_some(),
        Kind::Deliver(call) => call.deliveries.is_some(),
        Kind::Ack(call) => call.settled.is_some(),
        Kind::Nack(call) => call.settled.is_some(),
        Kind::Extend(call) => call.extended.is_some(),
        Kind::LeaseEnd(call) => call.seen.is_some(),
        Kind::Seek(call) => call.sought.is_some(),
        Kind::Drain(call) => call.drained.is_some(),
        Kind::FinalState(call) => call.state.is_some(),
        Kind::DeadLetters(call) => call.letters.is_some(),
    };
    (op.is_ok() && !answered).then_some("it is ok but has no answer")
}

fn problem_with_publish(op: &Op, call: &Publish) -> Option<&'static str> {
    match call.appended {
        _ if call.messages.is_empty() => Some("it has no messages"),
        None if op.is_ok() => Some("it is ok but has no answer"),
        Some(appended) if appended.first_offset.is_none() && !appended.duplicate => {
            Some("it was stored anew but has no offset")
        }
        _ => None,
    }
}
