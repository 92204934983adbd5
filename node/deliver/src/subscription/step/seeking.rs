//! The subscription goes on elsewhere, or the log begins elsewhere.

use meridian_commitlog::{SeekTo, Standing};
use meridian_model::{ConsumerId, Offset, OffsetRange};

use crate::subscription::kind::KeyChange;
use crate::subscription::state::{DelayedLedger, DelayedReader, Known, Leases, Ledger, Places, Redelivery};
use crate::subscription::state::{Waits, Window};
use crate::subscription::{Action, Dispatcher, Refusal, Revoked};

impl Dispatcher {
    pub(in crate::subscription) fn seek(
        &mut self,
        consumer: ConsumerId,
        request: u64,
        to: SeekTo,
        out: &mut Vec<Action>,
    ) {
        let Some(seat) = self.heard(consumer, Some(request), out) else { return };
        let (start, end) = (self.log.start, self.window.end);
        let refusal = match to {
            _ if !self.may_speak(seat) => Refusal::NotOwner,
            SeekTo::Offset(to) if to < start || to > end => Refusal::SeekOutside { to, start, end },
            _ => return out.push(Action::Seek { consumer, request, to }),
        };
        out.push(Action::Refuse { consumer, request: Some(request), refusal });
    }

    /// Everything that was delivered is void. What is in flight was before, or will be refused.
    pub(in crate::subscription) fn sought(&mut self, standing: Standing, out: &mut Vec<Action>) {
        if standing.seek_epoch <= self.epochs.seek {
            return;
        }
        let got = std::mem::replace(&mut self.epochs.seek, standing.seek_epoch);
        for held in std::mem::take(&mut self.leases).within(Offset(0), Offset(u64::MAX)) {
            self.consumers.let_go(held.seat);
            self.revoke(held.seat, held.message.place(), Revoked::Sought, out);
        }
        for (place, seat) in self.claims.drop_below(Offset(u64::MAX)) {
            self.let_go(seat);
            self.revoke(seat, place, Revoked::Sought, out);
        }
        let refusal = Refusal::StaleSeek { got, current: standing.seek_epoch };
        let pending = std::mem::take(&mut self.pending);
        self.refuse_all(pending.requests, refusal, out);
        self.kind.clear();
        self.leases = Leases::default();
        self.redelivery = Redelivery::default();
        let floor = standing.floor.max(self.log.start);
        self.main_ledger = Ledger::new(floor, &standing.settled, self.bounds.settled_ranges_max);
        let next = self.main_ledger.next_undecided(floor);
        self.window = Window::new(next, self.window.end, self.bounds.window_messages_max);
        let stamp = self.delayed.stamp.max(standing.stamp);
        self.delayed = DelayedReader::new(standing.delayed_floor, stamp);
        self.delayed_ledger = DelayedLedger::new(&standing.delayed_settled, self.bounds.settled_delayed_max);
        self.known = Known::new(self.bounds.settled_known_ranges_max);
        (self.delayed_from, self.delayed_told) = (standing.delayed_from, standing.delayed_floor);
        self.unseen = Places::default();
        self.attempts = standing.attempts;
        let seats: Vec<_> = self.consumers.iter().map(|(seat, _)| seat).collect();
        seats.into_iter().for_each(|seat| self.kind.has_room(seat));
    }

    /// What lies below counts as settled: the partition says so, or it was settled before.
    pub(in crate::subscription) fn trimmed(&mut self, start: Offset, out: &mut Vec<Action>) {
        if start <= self.log.start {
            return;
        }
        self.log.start = start;
        let held: Vec<Offset> =
            self.leases.within(Offset(0), start).map(|held| held.message.offset).collect();
        for offset in held {
            let Some(held) = self.take_back(offset) else { continue };
            self.closed(&held.message);
            self.kind.key(held.message.key, KeyChange::HeldGone);
            self.revoke(held.seat, held.message.place(), Revoked::Trimmed, out);
        }
        let loose: Vec<Offset> =
            self.redelivery.within(Offset(0), start).map(|loose| loose.message.offset).collect();
        for offset in loose {
            let Some(loose) = self.redelivery.take(offset) else { continue };
            self.closed(&loose.message);
            self.pending.nacked.remove(&loose.message.place());
            let deciding = loose.waits == Waits::Commit;
            let change = if deciding { KeyChange::Settled } else { KeyChange::LooseGone };
            self.kind.key(loose.message.key, change);
        }
        self.main_ledger.decide(OffsetRange::new(Offset(0), start));
        self.delayed_ledger.trim(start, self.delayed.place);
        for (place, seat) in self.claims.drop_below(start) {
            self.let_go(seat);
            self.revoke(seat, place, Revoked::Trimmed, out);
        }
        self.attempts.retain(|place, _| place.offset >= start);
        self.window.next = self.read_on_from(self.window.next.max(start));
        self.window.end = self.window.end.max(start);
    }
}
