//! Runs the clients against the cluster on one timeline and writes down what they recorded.

use std::{cmp::Reverse, collections::BinaryHeap};

use meridian_history::*;

use super::{REPLICAS, TOPIC, chance::Chance, clients::Client, cluster::Cluster};

/// What becomes of an operation on its way.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    /// Took effect, but the client gave up waiting.
    ReplyLost,
    /// Never arrived, and the client gave up waiting.
    Vanished,
    /// Took effect after the client had given up.
    Late,
    /// Turned away at the door, which the client was told.
    TurnedAway,
    /// The client died while it waited.
    Crashed,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake(usize),
    Effect(usize),
    End(usize),
    Tick,
}

struct Timeline {
    chance: Chance,
    cluster: Cluster,
    clients: Vec<(u64, Client)>,
    ops: Vec<(Op, Fate, usize)>,
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pushed: u64,
    processes: u64,
    stormy: bool,
}

/// A history of a correct cluster: three producers (two of them rivals for a name), one without a name,
/// readers, askers and administrators, on two partitions.
pub(crate) fn history(seed: u64) -> Vec<Op> {
    simulate(seed, false)
}

/// The same, but every third operation goes wrong.
pub(crate) fn stormy_history(seed: u64) -> Vec<Op> {
    simulate(seed, true)
}

fn simulate(seed: u64, stormy: bool) -> Vec<Op> {
    let partitions = 2;
    let producer = |name| Client::Producer { name, epoch: None, next: vec![0; partitions], retry: None };
    let reader = |session, partition, node: Option<&str>| Client::Reader {
        session,
        partition,
        node: node.map(str::to_owned),
        next: 0,
    };
    let clients = vec![
        producer("rivals"),
        producer("rivals"),
        producer("alone"),
        Client::AtLeastOnce { next: 0, retry: None },
        reader(1, 0, None),
        reader(2, 1, None),
        reader(3, 0, Some(REPLICAS[1])),
        reader(4, 1, Some(REPLICAS[2])),
        Client::Asker { partitions: partitions as u64 },
        Client::Admin { written: 0 },
        Client::Admin { written: 0 },
    ];
    let processes = clients.len() as u64;
    let mut timeline = Timeline {
        chance: Chance::of(seed),
        cluster: Cluster::new(partitions),
        clients: (0..).zip(clients).collect(),
        ops: Vec::new(),
        heap: BinaryHeap::new(),
        pushed: 0,
        processes,
        stormy,
    };
    timeline.run(4_000);
    timeline.ops.into_iter().map(|(op, ..)| op).collect()
}

impl Timeline {
    fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, event)));
    }

    fn run(&mut self, stop_ns: u64) {
        for client in 0..self.clients.len() {
            let at = 1 + self.chance.below(50);
            self.push(at, Event::Wake(client));
        }
        self.push(1, Event::Tick);
        self.instantly(stop_ns / 4, fault(FaultPhase::Installed));
        while let Some(Reverse((now, _, event))) = self.heap.pop() {
            match event {
                Event::Wake(client) if now < stop_ns => self.invoke(now, client),
                Event::Wake(_) => {}
                Event::Effect(at) => self.effect(at),
                Event::End(at) => self.end(now, at),
                Event::Tick if now < stop_ns => {
                    self.cluster.tick(&mut self.chance);
                    self.push(now + 40, Event::Tick);
                }
                Event::Tick => {}
            }
        }
        self.cluster.converge();
        self.instantly(2 * stop_ns, fault(FaultPhase::Healed));
        for (nth, partition) in (0..self.cluster.partitions.len() as u64).zip(0..) {
            for (replica, later) in REPLICAS.iter().zip(0..) {
                let (topic, replica) = (TOPIC.to_owned(), (*replica).to_owned());
                let at = 3 * stop_ns + 10 * (nth * 3 + later);
                let head = Chain { topic: topic.clone(), partition, replica: replica.clone(), at: None };
                self.instantly(at, head.into());
                self.instantly(at, FinalRead { topic, partition, replica, scan: None }.into());
            }
        }
    }

    /// An operation of the harness itself, which always succeeds.
    fn instantly(&mut self, now: u64, mut kind: Kind) {
        self.cluster.apply(&mut kind, &mut self.chance);
        let id = self.ops.len() as u64;
        let (outcome, complete_ns) = (Outcome::Ok, Some(now + 5));
        let op = Op { id, process: 99, invoke_ns: now, complete_ns, outcome, why: None, kind };
        self.ops.push((op, Fate::Answered, usize::MAX));
    }

    fn invoke(&mut self, now: u64, client: usize) {
        let (process, state) = &mut self.clients[client];
        let kind = state.next(&mut self.chance);
        let fate = match self.chance.below(if self.stormy { 34 } else { 100 }) {
            0..3 => Fate::ReplyLost,
            3..6 => Fate::Vanished,
            6..8 => Fate::Late,
            8..11 => Fate::TurnedAway,
            11 => Fate::Crashed,
            _ => Fate::Answered,
        };
        let at = self.ops.len();
        let (id, outcome) = (at as u64, Outcome::Info);
        let op = Op { id, process: *process, invoke_ns: now, complete_ns: None, outcome, why: None, kind };
        self.ops.push((op, fate, client));
        let (soon, later) = (now + 1 + self.chance.below(40), now + 60 + self.chance.below(90));
        match fate {
            Fate::Answered | Fate::ReplyLost | Fate::Crashed => {
                self.push(soon, Event::Effect(at));
                let end = soon + 1 + self.chance.below(40);
                self.push(end, Event::End(at));
            }
            Fate::Late => {
                self.push(soon, Event::End(at));
                self.push(later, Event::Effect(at));
            }
            Fate::Vanished | Fate::TurnedAway => self.push(soon, Event::End(at)),
        }
    }

    fn effect(&mut self, at: usize) {
        let (op, fate, _) = &mut self.ops[at];
        let mut kind = op.kind.clone();
        let taken = self.cluster.apply(&mut kind, &mut self.chance);
        if *fate == Fate::Answered {
            op.kind = kind;
            op.outcome = if taken { Outcome::Ok } else { Outcome::Fail };
        }
    }

    fn end(&mut self, now: u64, at: usize) {
        let (op, fate, client) = &mut self.ops[at];
        let (process, state) = &mut self.clients[*client];
        let client = *client;
        match fate {
            Fate::Crashed => {
                state.crash(100 + at as u64);
                self.processes += 1;
                *process = self.processes;
            }
            Fate::TurnedAway => op.outcome = Outcome::Fail,
            _ => {}
        }
        if *fate != Fate::Crashed {
            op.complete_ns = Some(now);
            state.learn(op);
        }
        let again = now + 1 + self.chance.below(120);
        self.push(again, Event::Wake(client));
    }
}

fn fault(phase: FaultPhase) -> Kind {
    Fault { name: "kill".into(), target: REPLICAS[0].into(), phase, effect: None }.into()
}
