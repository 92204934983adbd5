//! What consumers do with what they are given, and producers send.

use meridian_history::*;

use super::{Chance, FAR_MS, NAME, TOPIC, wall_ms};

/// One consumer, for one life of its name.
pub(crate) struct Client {
    pub(crate) name: String,
    /// Whether it still runs on its stream, as far as it knows.
    pub(crate) runs: bool,
    /// Whether the stream carries anything.
    pub(crate) linked: bool,
    pub(crate) last_heard: u64,
    /// Messages arrive in the order in which they were sent.
    pub(crate) last_arrival: u64,
    /// Highest offset it was given under these epochs.
    pub(crate) highest: Option<(u64, Epochs)>,
}

pub(crate) fn holder(client: &Client, epochs: Epochs) -> Holder {
    Holder {
        topic: TOPIC.into(),
        partition: 0,
        subscription: NAME.into(),
        consumer: client.name.clone(),
        epochs,
    }
}

/// Messages that every consumer refuses, as long as there are attempts.
pub(crate) fn is_poison(id: &MessageId) -> bool {
    id.sequence % 6 == 3
}

/// What a consumer says about a message it holds; none: it keeps silent.
pub(crate) fn decide(
    client: &Client,
    delivery: &Delivery,
    rules: &Subscribe,
    calm: bool,
    chance: &mut Chance,
) -> Option<Kind> {
    let (offset, attempt, settled) = (delivery.offset, delivery.attempt, None);
    let by = holder(client, delivery.epochs);
    let nack = || Nack { by: by.clone(), offset, attempt, settled }.into();
    if is_poison(&delivery.id) && rules.attempts_max.is_some() {
        return Some(nack());
    }
    let ack = |of| Ack { by: by.clone(), of, settled }.into();
    let luck = if calm { 50 } else { chance.below(100) };
    match luck {
        0..8 => Some(nack()),
        8..14 => None,
        14..20 => Some(Extend { by: by.clone(), offset, extended: None }.into()),
        20..40 if rules.kind.is_owned() => {
            let highest = client.highest.filter(|(_, epochs)| *epochs == delivery.epochs);
            highest.map(|(highest, _)| ack(AckOf::Cumulative(highest + 1)))
        }
        40..50 => Some(ack(AckOf::Batch(vec![offset]))),
        _ => Some(ack(AckOf::Single(offset))),
    }
}

/// A batch of one or two messages.
pub(crate) fn batch(now: u64, sequence: u64, chance: &mut Chance) -> Publish {
    let now_ms = wall_ms(now);
    let mut times = Times::default();
    match chance.below(100) {
        0..3 => times.deliver_at_ms = Some(FAR_MS + chance.below(1_000)),
        3..18 => times.deliver_at_ms = Some(now_ms + 150 + chance.below(500)),
        18..28 => times.expire_at_ms = Some(now_ms + 200 + chance.below(1_200)),
        _ => {}
    }
    let sent = |sequence| Sent {
        id: MessageId::new("p", 0, sequence),
        key: Some(format!("k{}", chance.below(3))),
        crc: sequence as u32,
        times,
    };
    let messages: Vec<Sent> = (sequence..sequence + 2).map(sent).collect();
    Publish {
        topic: TOPIC.into(),
        partition: 0,
        producer: "p".into(),
        epoch: 0,
        first_sequence: sequence,
        sequenced: false,
        messages,
        appended: None,
    }
}

/// The rules of a history.
pub(crate) fn rules(chance: &mut Chance) -> Subscribe {
    use SubscriptionKind::{Exclusive, Failover, KeyShared, Shared};
    let kind = chance.pick(&[Exclusive, Failover, Shared, KeyShared]).expect("there are four");
    let dies = chance.percent(70);
    Subscribe {
        topic: TOPIC.into(),
        subscription: NAME.into(),
        kind,
        lease_ms: super::LEASE_MS,
        attempts_max: dies.then_some(2 + chance.below(2) as u32),
        dead_letter: dies.then(|| "dead".into()),
        start: chance.pick(&[Place::Earliest, Place::Offset(0), Place::Latest]).expect("there are three"),
        unacked_consumer_max: chance.percent(50).then(|| 2 + chance.below(3)),
        unacked_max: chance.percent(50).then(|| 4 + chance.below(3)),
        made: None,
    }
}
