//! The partitions that a consumer takes part in: found, attached, lost, found again.

mod finding;

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_machine::control::{BeginAt, SubscriptionSettings};
use meridian_model::subscription::SubscriptionKind;
use meridian_model::{ConsumerId, GroupId, LogId, SubscriptionId, TopicName};
use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::{
    self, DeliveredRange, ErrorReason, Failure, SourceState, SubscribeCredit, SubscribeDrain, SubscribeSource,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::finding::Found;
use super::confirmed;
use super::held::Held;
use super::part::{Heard, Part, ToPart, Ways};
use super::selection::Selection;
use super::way::Wanted;

/// The first pause after a leader was not there, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How long the other partitions of an exclusive subscription wait for the first one.
const FIRST_MAX: Duration = Duration::from_secs(5);
/// Longer than any consumer waits.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// What a consumer wants.
pub(in crate::services) struct Consumer {
    pub(in crate::services) ways: Ways,
    pub(in crate::services) topics: Selection,
    pub(in crate::services) subscription: String,
    pub(in crate::services) id: ConsumerId,
    pub(in crate::services) kind: SubscriptionKind,
    pub(in crate::services) priority: u32,
    pub(in crate::services) key_ranges: Vec<v1::KeyRange>,
    pub(in crate::services) batches: bool,
    /// Only this partition of each topic.
    pub(in crate::services) partition: Option<u32>,
    /// What it holds from before.
    pub(in crate::services) holds: BTreeMap<(TopicName, u32), (u64, Vec<DeliveredRange>)>,
    /// How a subscription is created where there is none. `None`: it must exist.
    pub(in crate::services) create: Option<(SubscriptionSettings, BeginAt)>,
}

enum State {
    /// To be tried again.
    Lost {
        at: Instant,
    },
    /// Comes after the first partition of its topic.
    Waits {
        until: Instant,
    },
    /// Under way.
    Finding,
    Attached(mpsc::UnboundedSender<ToPart>),
    /// Nothing comes from it any more.
    Over,
}

struct Source {
    topic: TopicName,
    partition: u32,
    group: GroupId,
    log: LogId,
    subscription: SubscriptionId,
    held: Held,
    state: State,
    /// Whether its leader has ever taken the consumer in.
    taken_in: bool,
    life: u64,
    pause: Duration,
}

/// All of them, by the number that the stream knows them by.
pub(in crate::services) struct Sources {
    consumer: Consumer,
    hears: mpsc::Sender<Heard>,
    sources: BTreeMap<u32, Source>,
    numbers: BTreeMap<(TopicName, u32, SubscriptionId), u32>,
    lives: u64,
    looked: bool,
    /// Seeks of every partition: how many have still to confirm.
    seeks: BTreeMap<u64, usize>,
}

impl Sources {
    pub(super) fn new(consumer: Consumer, hears: mpsc::Sender<Heard>) -> Self {
        let (sources, numbers, seeks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { consumer, hears, sources, numbers, lives: 0, looked: false, seeks }
    }

    /// Looks for topics, subscriptions and partitions that are new. Returns those that are gone.
    pub(super) async fn look(&mut self) -> Result<Vec<SubscribeSource>, Failure> {
        self.create_missing().await?;
        let found = self.find()?;
        self.looked = true;
        let mut gone = Vec::new();
        for (number, source) in &mut self.sources {
            let still =
                |found: &Found| found.group == source.group && found.subscription == source.subscription;
            if !matches!(source.state, State::Over) && !found.iter().any(still) {
                source.state = State::Over;
                let why = "the topic or the subscription was deleted";
                let failure = Some(Failure::new(ErrorReason::NotFound, why));
                gone.push(SubscribeSource { failure, ..source.told(*number, SourceState::Ended) });
            }
        }
        for found in found {
            let key = (found.topic.clone(), found.partition, found.subscription);
            if !self.numbers.contains_key(&key) {
                let number = self.numbers.len() as u32 + 1;
                self.numbers.insert(key, number);
                self.add(number, found);
            }
        }
        self.retry();
        Ok(gone)
    }

    fn add(&mut self, number: u32, found: Found) {
        let before = self.consumer.holds.remove(&(found.topic.clone(), found.partition));
        let held = before.map(|(epoch, ranges)| Held::from_before(&ranges, epoch));
        let state = self.begins(&found.topic);
        let Found { topic, partition, group, log, subscription } = found;
        let source = Source {
            topic,
            partition,
            group,
            log,
            subscription,
            held: held.unwrap_or_default(),
            state,
            taken_in: false,
            life: 0,
            pause: RETRY_FIRST,
        };
        self.sources.insert(number, source);
    }

    /// An exclusive consumer takes the first partition of a topic before the others: of two that come at once one is
    /// refused there, where otherwise each would have some partitions and be refused by the rest. A first partition
    /// that nobody leads is not waited for.
    fn begins(&self, topic: &TopicName) -> State {
        let now = Instant::now();
        let exclusive = self.consumer.kind == SubscriptionKind::Exclusive;
        let mut of_topic = self.sources.values().filter(|source| source.topic == *topic);
        match of_topic.next().filter(|first| exclusive && !first.taken_in) {
            Some(first) if !matches!(first.state, State::Over) => State::Waits { until: now + FIRST_MAX },
            _ => State::Lost { at: now },
        }
    }

    /// When something is to be tried again.
    pub(super) fn retry_at(&self) -> Instant {
        let waiting = self.sources.values().filter_map(|source| match source.state {
            State::Lost { at } | State::Waits { until: at } => Some(at),
            _ => None,
        });
        waiting.min().unwrap_or_else(|| Instant::now() + NEVER)
    }

    /// Tries again what is due.
    pub(super) fn retry(&mut self) {
        let now = Instant::now();
        for (number, source) in &mut self.sources {
            if !matches!(source.state, State::Lost { at } | State::Waits { until: at } if at <= now) {
                continue;
            }
            self.lives += 1;
            (source.life, source.state) = (self.lives, State::Finding);
            let (holds, seek_epoch) = source.held.messages();
            let wanted = Wanted {
                group: source.group,
                subscription: source.subscription,
                consumer: self.consumer.id,
                kind: self.consumer.kind,
                priority: self.consumer.priority,
                key_ranges: self.consumer.key_ranges.clone(),
                holds,
                seek_epoch,
                batches: self.consumer.batches,
                source: *number,
            };
            let part = Part {
                ways: self.consumer.ways.clone(),
                topic: source.topic.clone(),
                partition: source.partition,
                wanted,
                life: source.life,
                heard: self.hears.clone(),
            };
            tokio::spawn(part.run());
        }
    }

    /// Whether what was heard comes from the latest try.
    pub(super) fn is_current(&self, number: u32, life: u64) -> bool {
        self.sources
            .get(&number)
            .is_some_and(|source| source.life == life && !matches!(source.state, State::Over))
    }

    /// There is a way to its leader, who may still refuse the consumer.
    pub(super) fn attached(&mut self, number: u32, way: mpsc::UnboundedSender<ToPart>, draining: bool) {
        let Some(source) = self.sources.get_mut(&number) else { return };
        if draining {
            // A way that ends is heard of.
            let _ = way.send(ToPart::Say(Box::new(Request::Drain(SubscribeDrain {}))));
        }
        source.state = State::Attached(way);
    }

    /// Its leader takes the consumer in: what the stream is told.
    pub(super) fn taken_in(&mut self, number: u32) -> SubscribeSource {
        let Some(source) = self.sources.get_mut(&number) else { return SubscribeSource::default() };
        source.taken_in = true;
        let (topic, told) = (source.topic.clone(), source.told(number, SourceState::Attached));
        for other in self.sources.values_mut().filter(|other| other.topic == topic) {
            if matches!(other.state, State::Waits { .. }) {
                other.state = State::Lost { at: Instant::now() };
            }
        }
        told
    }

    /// Tells the stream so, unless nothing was attached.
    pub(super) fn detached(&mut self, number: u32) -> (Option<SubscribeSource>, Vec<(u64, bool)>) {
        let Some(source) = self.sources.get_mut(&number) else { return (None, Vec::new()) };
        let was_attached = matches!(source.state, State::Attached(_));
        source.pause = if was_attached { RETRY_FIRST } else { (2 * source.pause).min(RETRY_MAX) };
        source.state = State::Lost { at: Instant::now() + source.pause };
        let told = was_attached.then(|| source.told(number, SourceState::Detached));
        (told, source.held.unanswered())
    }

    pub(super) fn hear(&mut self, number: u32, response: &Response) {
        if let Some(source) = self.sources.get_mut(&number) {
            source.held.hear(response);
        }
        if let Response::Refused(refused) = response {
            self.seeks.remove(&refused.request);
        }
    }

    /// Requests that are confirmed: a seek of every partition by the last of them.
    pub(super) fn confirmed(&mut self, response: Response) -> Option<Response> {
        let Response::Confirmed(mut frame) = response else { return None };
        frame.requests.retain(|request| match self.seeks.get_mut(request) {
            Some(left) if *left > 1 => {
                *left -= 1;
                false
            }
            _ => {
                self.seeks.remove(request);
                true
            }
        });
        confirmed(frame.requests)
    }

    /// The consumer holds nothing of it any more, and takes nothing.
    pub(super) fn drained(&mut self, number: u32) {
        if let Some(source) = self.sources.get_mut(&number) {
            source.state = State::Over;
        }
    }

    pub(super) fn all_drained(&self) -> bool {
        self.sources.values().all(|source| match source.state {
            State::Over => true,
            State::Lost { .. } | State::Waits { .. } | State::Finding => source.held.is_empty(),
            State::Attached(_) => false,
        })
    }

    pub(super) fn grant(&self, number: u32, messages: u64, bytes: u64) {
        self.say(number, Request::Credit(SubscribeCredit { messages, bytes }));
    }

    pub(super) fn say_to_all(&self, request: &Request) {
        for number in self.sources.keys() {
            self.say(*number, request.clone());
        }
    }

    /// Where it cannot be said, the way ends, which is heard of.
    fn say(&self, number: u32, request: Request) {
        if let Some(Source { state: State::Attached(way), .. }) = self.sources.get(&number) {
            let _ = way.send(ToPart::Say(Box::new(request)));
        }
    }

    /// Passes on what the consumer asks of one partition, or of each.
    pub(super) fn ask(&mut self, number: u64, source: Option<u32>, request: Request) -> Result<(), Failure> {
        let sources: Vec<u32> = match source {
            Some(source) => vec![source],
            None => self.sources.keys().copied().collect(),
        };
        for source in &sources {
            let known = self.sources.get(source);
            let Some(known) = known else {
                return Err(Failure::invalid("source", format!("this stream knows no source {source}")));
            };
            if !matches!(known.state, State::Attached(_)) {
                let why = "the partition has no leader at the moment; say it again once it is attached";
                return Err(Failure::new(ErrorReason::Unavailable, why));
            }
        }
        if source.is_none() && sources.len() > 1 {
            self.seeks.insert(number, sources.len());
        }
        for source in sources {
            let asked = self.sources.get_mut(&source).is_none_or(|source| source.held.ask(&request));
            if !asked {
                let why = "too many requests of this consumer wait for an answer";
                return Err(Failure::new(ErrorReason::Throttled, why));
            }
            self.say(source, request.clone());
        }
        Ok(())
    }

    /// The consumer leaves for good.
    pub(super) fn leave(self) {
        for source in self.sources.into_values() {
            if let State::Attached(way) = source.state {
                let _ = way.send(ToPart::Leave);
            }
        }
    }
}

impl Source {
    fn told(&self, number: u32, state: SourceState) -> SubscribeSource {
        SubscribeSource {
            source: number,
            topic: self.topic.resource(),
            partition: self.partition,
            state: state as i32,
            log_id: self.log.0.to_vec().into(),
            failure: None,
        }
    }
}
