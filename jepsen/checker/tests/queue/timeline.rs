//! Runs the clients against the queue on one timeline and writes down what they recorded.

mod troubles;

use std::{cmp::Reverse, collections::BinaryHeap};

use meridian_history::*;

use super::{
    Chance, MS, NAME, TOPIC,
    clients::{Client, batch, decide, holder, rules},
    server::{Credit, Queue},
    wall_ms,
};

/// Faults end here.
const CALM: u64 = 2_500 * MS;

/// What becomes of an operation on its way.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Answered,
    ReplyLost,
    Vanished,
    Late,
    TurnedAway,
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    Publish,
    Effect(usize),
    End(usize),
    Arrive(usize),
    Decide(usize, usize, usize),
    Trouble,
    Missed(usize, bool),
    Noticed(usize),
    Told(usize, u64, Epochs),
    Grant(usize),
    Tick,
}

struct Entry {
    op: Op,
    way: Way,
    client: usize,
}

struct Timeline {
    chance: Chance,
    queue: Queue,
    clients: Vec<Client>,
    entries: Vec<Entry>,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pushed: u64,
    sequence: u64,
    seeks: bool,
    /// Consumers leave, and neither crash nor are cut off: what they were given is in the history.
    gentle: bool,
}

/// A legal history of one subscription: about forty messages, a dozen troubles, then calm and a drain.
pub(crate) fn history(seed: u64) -> Vec<Op> {
    let mut chance = Chance::of(seed);
    let rules = rules(&mut chance);
    let queue = Queue::of(rules.clone(), &mut chance);
    let (seeks, gentle) = (chance.percent(30), chance.percent(25));
    let mut timeline = Timeline {
        chance,
        queue,
        clients: Vec::new(),
        entries: Vec::new(),
        heap: BinaryHeap::new(),
        pushed: 0,
        sequence: 0,
        seeks,
        gentle,
    };
    timeline.instantly(0, Subscribe { made: Some(Done {}), ..rules });
    timeline.run();
    timeline.entries.into_iter().map(|entry| entry.op).collect()
}

impl Timeline {
    fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, event)));
    }

    fn add(&mut self, now: u64, client: usize, way: Way, kind: Kind) -> usize {
        let id = self.entries.len() as u64;
        let (invoke_ns, outcome) = (now * 1_000, Outcome::Info);
        let op = Op { id, process: id, invoke_ns, complete_ns: None, outcome, why: None, kind };
        self.entries.push(Entry { op, way, client });
        self.entries.len() - 1
    }

    fn complete(&mut self, now: u64, at: usize, outcome: Outcome) {
        let op = &mut self.entries[at].op;
        (op.complete_ns, op.outcome) = (Some(now * 1_000), outcome);
    }

    /// Something that takes effect at once and is known at once.
    fn instantly(&mut self, now: u64, kind: impl Into<Kind>) {
        let at = self.add(now, usize::MAX, Way::Answered, kind.into());
        self.complete(now + 1, at, Outcome::Ok);
    }

    fn run(&mut self) {
        (0..2).for_each(|_| self.join(10));
        self.push(20, Event::Publish);
        self.push(100 * MS, Event::Trouble);
        self.push(MS, Event::Tick);
        while let Some(Reverse((now, _, event))) = self.heap.pop() {
            assert!(now < 60_000 * MS, "the queue never drained");
            if matches!(event, Event::Tick) && now > CALM && self.queue.is_done() {
                return self.finish(now + MS);
            }
            self.step(now, event);
            while let Some((credit, deliveries)) = self.queue.dispatch(now, &mut self.chance) {
                self.send(now, &credit, deliveries);
            }
        }
    }

    fn step(&mut self, now: u64, event: Event) {
        match event {
            Event::Publish if now < CALM => self.publish(now),
            Event::Trouble if now < CALM => self.trouble(now),
            Event::Publish | Event::Trouble => {}
            Event::Effect(at) => self.effect(now, at),
            Event::End(at) => self.end(now, at),
            Event::Arrive(at) => self.arrive(now, at),
            Event::Decide(client, at, nth) => self.decide(now, client, at, nth),
            Event::Missed(client, counts) => self.queue.remove(now, client, counts),
            Event::Noticed(client) => self.notice(now, client),
            Event::Grant(client) => self.grant(now, client),
            Event::Told(client, offset, epochs) => {
                if self.clients[client].runs && self.clients[client].linked {
                    let by = holder(&self.clients[client], epochs);
                    self.instantly(now, LeaseEnd { by, offset, seen: Some(Done {}) });
                }
            }
            Event::Tick => {
                for (client, offset, epochs) in self.queue.pass_time(now) {
                    if self.chance.percent(50) {
                        let later = now + self.chance.below(20 * MS);
                        self.push(later, Event::Told(client, offset, epochs));
                    }
                }
                if now > CALM && self.queue.consumers.is_empty() {
                    self.join(now);
                }
                self.push(now + 2 * MS, Event::Tick);
            }
        }
    }

    fn delay(&mut self) -> u64 {
        200 + self.chance.below(12 * MS)
    }

    fn publish(&mut self, now: u64) {
        let batch = batch(now, self.sequence, &mut self.chance);
        self.sequence += 2;
        self.say(now, usize::MAX, batch.into());
        let next = now + 20 * MS + self.chance.below(160 * MS);
        self.push(next, Event::Publish);
    }

    /// Sends a request on its way.
    fn say(&mut self, now: u64, client: usize, kind: Kind) {
        let way = match self.chance.below(if now > CALM { 1_000 } else { 60 }) {
            0..3 => Way::ReplyLost,
            3..6 => Way::Vanished,
            6..8 => Way::Late,
            8..10 => Way::TurnedAway,
            _ => Way::Answered,
        };
        let at = self.add(now, client, way, kind);
        let (soon, more) = (now + self.delay(), self.delay());
        match way {
            Way::Answered | Way::ReplyLost => {
                self.push(soon, Event::Effect(at));
                self.push(soon + more, Event::End(at));
            }
            Way::Late => {
                self.push(soon, Event::End(at));
                self.push(soon + more, Event::Effect(at));
            }
            Way::Vanished | Way::TurnedAway => self.push(soon, Event::End(at)),
        }
    }

    fn effect(&mut self, now: u64, at: usize) {
        let Entry { op, way, client } = &mut self.entries[at];
        let mut kind = op.kind.clone();
        let done = match &mut kind {
            Kind::Publish(call) => {
                call.appended = Some(Appended::at(self.queue.append(&call.messages)));
                true
            }
            Kind::Deliver(_) => {
                if self.clients[*client].linked && self.queue.consumers.contains(client) {
                    let messages = 1 + self.chance.below(3);
                    self.queue.credits.push(Credit { op: at, consumer: *client, messages });
                }
                return;
            }
            _ if *client != usize::MAX && !self.clients[*client].linked => {
                *way = Way::Vanished;
                return;
            }
            other => self.queue.apply(now, *client, other, &mut self.chance),
        };
        if *way == Way::Answered {
            op.kind = kind;
            op.outcome = if done { Outcome::Ok } else { Outcome::Fail };
        }
    }

    fn end(&mut self, now: u64, at: usize) {
        let Entry { op, way, client } = &mut self.entries[at];
        if let Some(client) = self.clients.get_mut(*client) {
            if !client.runs || !client.linked {
                // Nobody is there to hear the answer.
                op.outcome = Outcome::Info;
                return;
            }
            if *way == Way::Answered {
                client.last_heard = now;
            }
        }
        if *way == Way::TurnedAway {
            op.outcome = Outcome::Fail;
        }
        op.complete_ns = Some(now * 1_000);
    }

    fn join(&mut self, now: u64) {
        let client = self.clients.len();
        let owned = self.queue.rules.kind.is_owned();
        let name = if client > 2 && !owned && self.chance.percent(30) {
            // The same name again, if nobody bears it. An owner's cumulative acks would mean its earlier life too.
            let old = self.clients[self.chance.below(client as u64) as usize].name.clone();
            let borne =
                self.clients.iter().zip(0..).any(|(other, nth)| {
                    other.name == old && (other.runs || self.queue.consumers.contains(&nth))
                });
            if borne { format!("c{client}") } else { old }
        } else {
            format!("c{client}")
        };
        let (topic, subscription, kind) = (TOPIC.into(), NAME.into(), self.queue.rules.kind);
        let joined = self.queue.join(client);
        let answer = joined.then_some(Done {});
        let call = Join { topic, subscription, consumer: name.clone(), kind, joined: answer };
        let at = self.add(now, client, Way::Answered, call.into());
        self.complete(now + 1, at, if joined { Outcome::Ok } else { Outcome::Fail });
        self.clients.push(Client {
            name,
            runs: joined,
            linked: joined,
            last_heard: now + 1,
            last_arrival: 0,
            highest: None,
        });
        (0..2).for_each(|nth| self.push(now + 2 + nth, Event::Grant(client)));
    }

    fn grant(&mut self, now: u64, client: usize) {
        if self.clients[client].runs {
            let consumer = self.clients[client].name.clone();
            let (topic, subscription) = (TOPIC.into(), NAME.into());
            let call = Deliver { topic, subscription, consumer, deliveries: None };
            let at = self.add(now, client, Way::Answered, call.into());
            let soon = now + self.delay();
            self.push(soon, Event::Effect(at));
        }
    }

    fn send(&mut self, now: u64, credit: &Credit, deliveries: Vec<Delivery>) {
        if let Kind::Deliver(call) = &mut self.entries[credit.op].op.kind {
            call.deliveries = Some(deliveries);
        }
        let soon = now + self.delay();
        let client = &mut self.clients[credit.consumer];
        client.last_arrival = soon.max(client.last_arrival + 1);
        let at = client.last_arrival;
        self.push(at, Event::Arrive(credit.op));
    }

    fn arrive(&mut self, now: u64, at: usize) {
        let client = self.entries[at].client;
        let heard = self.clients[client].runs && self.clients[client].linked;
        let Kind::Deliver(call) = &mut self.entries[at].op.kind else { return };
        if !heard {
            call.deliveries = None;
            return;
        }
        let mut decisions = 0;
        for delivery in call.deliveries.iter_mut().flatten() {
            delivery.at_ms = wall_ms(now);
            decisions += 1;
            let client = &mut self.clients[client];
            let same = client.highest.filter(|(_, epochs)| *epochs == delivery.epochs);
            let highest = same.map_or(delivery.offset, |(highest, _)| highest.max(delivery.offset));
            client.highest = Some((highest, delivery.epochs));
        }
        self.clients[client].last_heard = now;
        self.complete(now, at, Outcome::Ok);
        for nth in 0..decisions {
            let slow = if now < CALM && self.chance.percent(10) { 380 * MS } else { 60 * MS };
            let later = now + 100 + self.chance.below(slow);
            self.push(later, Event::Decide(client, at, nth));
        }
        let later = now + 1 + self.chance.below(30 * MS);
        self.push(later, Event::Grant(client));
    }

    fn decide(&mut self, now: u64, client: usize, at: usize, nth: usize) {
        let Kind::Deliver(call) = &self.entries[at].op.kind else { return };
        let Some(delivery) = call.deliveries.as_ref().and_then(|all| all.get(nth)) else { return };
        if self.clients[client].runs {
            let bearer = &self.clients[client];
            let calm = now > CALM;
            let said = decide(bearer, delivery, &self.queue.rules, calm, &mut self.chance);
            let again = matches!(said, Some(Kind::Extend(_)));
            said.into_iter().for_each(|kind| self.say(now, client, kind));
            if again {
                self.push(now + 50 * MS, Event::Decide(client, at, nth));
            }
        }
    }
}
