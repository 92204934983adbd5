//! What each client does next, and what it learns from how its last operation ended.

use meridian_history::*;

use super::{REPLICAS, TOPIC, chance::Chance};

pub(crate) enum Client {
    /// Sends batches; opens its name first, and again whenever it is refused.
    Producer { name: &'static str, epoch: Option<u64>, next: Vec<u64>, retry: Option<Publish> },
    /// Sends batches without deduplication.
    AtLeastOnce { next: u64, retry: Option<Publish> },
    /// Reads one partition on and on, from the cluster or from one replica.
    Reader { session: u64, partition: u32, node: Option<String>, next: u64 },
    /// Asks for ends, starts and chains.
    Asker { partitions: u64 },
    /// Changes and reads metadata.
    Admin { written: u64 },
}

fn batch(producer: &str, epoch: u64, partition: u32, first: u64, chance: &mut Chance) -> Publish {
    let sent = |sequence| Sent {
        id: MessageId::new(producer, epoch, sequence),
        key: Some(format!("k{}", chance.below(3))),
        crc: chance.next() as u32,
        times: Times::default(),
    };
    let count = 1 + (first * 7 + epoch) % 3;
    Publish {
        topic: TOPIC.into(),
        partition,
        producer: producer.into(),
        epoch,
        first_sequence: first,
        sequenced: epoch > 0,
        messages: (first..first + count).map(sent).collect(),
        appended: None,
    }
}

impl Client {
    pub(crate) fn next(&mut self, chance: &mut Chance) -> Kind {
        match self {
            Self::Producer { retry: Some(batch), .. } | Self::AtLeastOnce { retry: Some(batch), .. } => {
                batch.clone().into()
            }
            Self::Producer { name, epoch: None, .. } => {
                OpenProducer { topic: TOPIC.into(), producer: (*name).into(), epoch: None }.into()
            }
            Self::Producer { name, epoch: Some(epoch), next, retry } => {
                let partition = chance.below(next.len() as u64) as u32;
                let sequence = &mut next[partition as usize];
                let batch = batch(name, *epoch, partition, *sequence, chance);
                *sequence += batch.messages.len() as u64;
                retry.insert(batch).clone().into()
            }
            Self::AtLeastOnce { next, retry } => {
                // The last partition is left to producers with names: only those can be searched.
                let batch = batch("anyone", 0, 0, *next, chance);
                *next += batch.messages.len() as u64;
                retry.insert(batch).clone().into()
            }
            Self::Reader { session, partition, node, next } => Read {
                topic: TOPIC.into(),
                partition: *partition,
                session: *session,
                node: node.clone(),
                from: *next,
                page: None,
            }
            .into(),
            Self::Asker { partitions } => {
                let (topic, partition) = (TOPIC.to_owned(), chance.below(*partitions) as u32);
                let replica = REPLICAS[chance.below(3) as usize].to_owned();
                match chance.below(4) {
                    0 => LogStart { topic, partition, node: Some(replica), start: None }.into(),
                    1 => LogStart { topic, partition, node: None, start: None }.into(),
                    2 => Chain { topic, partition, replica, at: None }.into(),
                    _ => EndOffset { topic, partition, end: None }.into(),
                }
            }
            Self::Admin { written } => {
                use ControlOp::{Create, Delete, Describe, List, Update};
                *written += 1;
                let op = [Create, Create, Delete, Update, Describe, Describe, List][chance.below(7) as usize];
                let key = if op == List { "x".to_owned() } else { format!("x{}", chance.below(3)) };
                let value = matches!(op, Create | Update).then(|| format!("v{}", chance.next()));
                Control { op, key, value, answer: None }.into()
            }
        }
    }

    pub(crate) fn learn(&mut self, op: &Op) {
        match (self, &op.kind, op.outcome) {
            (Self::Producer { epoch, next, .. }, Kind::OpenProducer(call), Outcome::Ok) => {
                *epoch = call.epoch;
                next.fill(0);
            }
            (
                Self::Producer { retry, .. } | Self::AtLeastOnce { retry, .. },
                Kind::Publish(_),
                Outcome::Ok,
            ) => {
                *retry = None;
            }
            // After a definite refusal the numbers are void: another epoch begins.
            (Self::Producer { retry, epoch, .. }, Kind::Publish(_), Outcome::Fail) => {
                (*retry, *epoch) = (None, None);
            }
            (Self::Reader { next, .. }, Kind::Read(call), Outcome::Ok) => {
                let Some(page) = &call.page else { return };
                let told = page.skips.iter().map(|skip| skip.to);
                let seen = page.records.iter().map(|seen| seen.offset + 1);
                *next = told.chain(seen).fold(*next, u64::max);
            }
            _ => {}
        }
    }

    /// The client forgot everything but what it is.
    pub(crate) fn crash(&mut self, session_after: u64) {
        match self {
            Self::Producer { retry, epoch, .. } => (*retry, *epoch) = (None, None),
            Self::Reader { session, .. } => *session = session_after,
            _ => {}
        }
    }
}
