//! When segments are closed, and which of them go.

use meridian_model::UnixMs;

use super::subscription::Waits;
use super::{PartitionMachine, PartitionReply, TrimHold};
use crate::{At, Effect};

impl PartitionMachine {
    /// Closes the open segment at this entry where it is large, long or old enough.
    pub(super) fn close_if_due(&mut self, at: At, effects: &mut Vec<Effect>) {
        let (open, policy) = (&self.core.open, &self.core.policy);
        let age_ms = self.core.last_stamp.0.saturating_sub(open.first_stamp.0);
        let due = open.entry_bytes >= policy.segment_bytes
            || open.entries >= policy.segment_entries
            || (open.messages > 0 && age_ms >= self.bounds.segment_age_ms);
        // A trim may have closed the segment at this very entry: then nothing is open.
        if due && open.entries > 0 {
            self.close_segment(at, effects);
        }
    }

    fn close_segment(&mut self, at: At, effects: &mut Vec<Effect>) {
        let segment = self.core.open.close(at, self.core.end, self.core.head);
        self.subscriptions.segment_closed(at.index);
        effects.push(segment.put());
        effects.push(Effect::SegmentClosed { at });
        self.segments.push_back(segment);
    }

    /// Removes the longest prefix of segments of which each is too old, or not needed to keep `keep_bytes`, and none
    /// has a message that must stay for a subscription.
    pub(super) fn trim(
        &mut self,
        at: At,
        before: Option<UnixMs>,
        keep_bytes: Option<u64>,
        waits: Waits,
        effects: &mut Vec<Effect>,
    ) -> PartitionReply {
        let too_old =
            |last: UnixMs| before.is_some_and(|b| last < b || (planted!(TrimsAtCutoff) && last == b));
        // Stamps never go back: when the open segment's messages are too old, every closed one is.
        if self.core.open.messages > 0 && too_old(self.core.open.last_stamp) {
            self.close_segment(at, effects);
        }
        let hold = self.hold(waits);
        let mut held = None;
        let mut bytes = self.log_bytes();
        let mut removed = 0;
        for segment in &self.segments {
            let left = bytes - segment.bytes;
            let kept = if planted!(TrimsBelowKeptBytes) { bytes } else { left };
            if !too_old(segment.last_stamp) && keep_bytes.is_none_or(|keep| kept < keep) {
                break;
            }
            held = hold.filter(|hold| segment.end > hold.offset);
            if held.is_some() {
                break;
            }
            bytes = left;
            removed += 1;
        }
        let reply = self.remove_segments(removed, effects);
        self.settle_accounts(reply, held, waits)
    }

    /// Says what held the trim back and what it took from subscriptions.
    fn settle_accounts(
        &mut self,
        reply: PartitionReply,
        held: Option<TrimHold>,
        waits: Waits,
    ) -> PartitionReply {
        let (removed_bytes, dropped) = match reply {
            PartitionReply::Trimmed { removed_bytes, .. } => (removed_bytes, self.drop_backlog(waits)),
            _ => (0, Vec::new()),
        };
        match held.is_none() && dropped.is_empty() {
            true => reply,
            false => PartitionReply::BacklogTrimmed { start: self.start(), removed_bytes, held, dropped },
        }
    }

    /// Removes the oldest `count` segments. The row of the last of them stays: there the log starts.
    fn remove_segments(&mut self, count: usize, effects: &mut Vec<Effect>) -> PartitionReply {
        let mut removed_bytes = 0;
        let mut boundary = self.boundary;
        for segment in self.segments.drain(..count) {
            effects.extend(boundary.map(|passed| passed.delete()));
            removed_bytes += segment.bytes;
            self.subscriptions.segment_removed(segment.at.index);
            boundary = Some(segment);
        }
        let Some(start) = boundary.filter(|_| count > 0) else {
            return PartitionReply::NothingToTrim;
        };
        self.boundary = boundary;
        self.core.start_index = start.at.index;
        effects.push(Effect::Trimmed { at: start.at, start: start.end });
        PartitionReply::Trimmed { start: start.end, removed_bytes }
    }
}
