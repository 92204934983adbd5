//! What goes wrong while the clients run, and how their history ends.

use meridian_history::*;

use super::{Entry, Event, Timeline, Way};
use crate::queue::{MS, NAME, TOPIC, clients::Client, server::Fate, wall_ms};

impl Timeline {
    pub(super) fn trouble(&mut self, now: u64) {
        let running: Vec<usize> = (0..self.clients.len()).filter(|nth| self.clients[*nth].runs).collect();
        match (self.chance.below(100), self.chance.pick(&running)) {
            (0..25, _) => self.queue.change_leader(&mut self.chance),
            (luck @ 25..72, Some(client)) if luck < 40 || self.gentle => {
                self.part(now, client, Parting::Left);
                self.queue.remove(now, client, false);
            }
            (40..55, Some(client)) => {
                self.part(now, client, Parting::Crashed);
                let later = now + self.chance.below(300 * MS);
                let counts = self.chance.percent(50);
                self.push(later, Event::Missed(client, counts));
            }
            (55..72, Some(client)) => {
                self.clients[client].linked = false;
                let counts = self.chance.percent(50);
                let (missed, noticed) = (self.chance.below(300 * MS), self.chance.below(300 * MS));
                self.push(now + missed, Event::Missed(client, counts));
                self.push(now + noticed, Event::Noticed(client));
            }
            (72..80, _) if self.seeks => {
                let to = Place::Offset(self.chance.below(self.queue.log.len() as u64 + 1));
                let (topic, subscription) = (TOPIC.into(), NAME.into());
                let call = Seek { topic, partition: 0, subscription, to, sought: None };
                self.say(now, usize::MAX, call.into());
            }
            _ if running.len() < 4 => self.join(now),
            _ => {}
        }
        let next = now + 40 * MS + self.chance.below(250 * MS);
        self.push(next, Event::Trouble);
    }

    fn part(&mut self, now: u64, client: usize, how: Parting) {
        // On a broken stream nobody hears a goodbye, and the node may have given up any time.
        let Client { linked, last_heard, .. } = self.clients[client];
        let since = if linked { now } else { last_heard };
        let how = if linked || how == Parting::Crashed { how } else { Parting::Cut };
        (self.clients[client].runs, self.clients[client].linked) = (false, false);
        let (topic, subscription) = (TOPIC.into(), NAME.into());
        let consumer = self.clients[client].name.clone();
        let call = Part { topic, subscription, consumer, how, gone: Some(Done {}) };
        let at = self.add(since, client, Way::Answered, call.into());
        self.complete(now, at, Outcome::Ok);
    }

    pub(super) fn notice(&mut self, now: u64, client: usize) {
        if self.clients[client].runs {
            self.part(now, client, Parting::Cut);
        }
    }

    pub(super) fn finish(&mut self, now: u64) {
        for nth in 0..self.clients.len() {
            if !self.clients[nth].linked {
                self.notice(now, nth);
            }
        }
        // What never arrived was seen by nobody.
        for Entry { op, .. } in &mut self.entries {
            if let (None, Kind::Deliver(call)) = (op.complete_ns, &mut op.kind) {
                call.deliveries = None;
            }
            if op.complete_ns.is_none() {
                op.outcome = Outcome::Info;
            }
        }
        let (topic, subscription) = (|| TOPIC.to_owned(), || NAME.to_owned());
        let through = self.queue.log.len() as u64;
        let drained = Some(Drained { through, at_ms: wall_ms(now) });
        self.instantly(now, Drain { topic: topic(), partition: 0, subscription: subscription(), drained });
        let letters = Some(self.queue.letters.clone());
        let dead_letter = "dead".to_owned();
        let call = DeadLetters { topic: topic(), subscription: subscription(), dead_letter, letters };
        self.instantly(now + 2, call);
        let open = self.queue.log.iter().zip(0u64..).filter(|(message, _)| message.fate == Fate::Open);
        let state = SettledState {
            floor: through,
            waiting: open.map(|(_, offset)| offset).collect(),
            at_ms: wall_ms(now),
            ..SettledState::default()
        };
        let (topic, subscription) = (topic(), subscription());
        self.instantly(now + 4, FinalState { topic, partition: 0, subscription, state: Some(state) });
    }
}
