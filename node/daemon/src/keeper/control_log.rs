//! Where this node leads the control group: keeps that group's own log short. All it ever said is in the tables,
//! so it is needed only for replicas that are a little behind; those far behind get a snapshot.

use std::io;
use std::time::Duration;

use meridian_machine::control::ControlChange;
use meridian_model::limits::{CONTROL_SEGMENT_BYTES, CONTROL_SEGMENT_ENTRIES};
use meridian_raft::Group;

use super::Keeper;

/// How often the log is looked at even if few entries came, because they may be large.
const EVERY: Duration = Duration::from_millis(1_000);
/// The shortest time between two looks.
const REST: Duration = Duration::from_millis(50);

pub(super) async fn keep(keeper: Keeper) {
    let mut open = OpenSegment::default();
    loop {
        tokio::time::sleep(REST).await;
        keeper.control_log_grown(open.closed + CONTROL_SEGMENT_ENTRIES).await;
        if let Err(error) = keeper.trim_control_log(&mut open).await {
            tracing::warn!(%error, "the control group's log could not be measured");
        }
    }
}

impl Keeper {
    /// Waits until the control log reaches an index, or for a while.
    async fn control_log_grown(&self, index: u64) {
        let grown = async {
            match self.control.group() {
                Some(group) if group.is_leader() => {
                    let mut applied = group.view().watch();
                    let _ = applied.wait_for(|applied| applied.index >= Some(index)).await;
                }
                _ => std::future::pending().await,
            }
        };
        let _ = tokio::time::timeout(EVERY, grown).await;
    }

    async fn trim_control_log(&self, open: &mut OpenSegment) -> io::Result<()> {
        let Some(group) = self.control.group().filter(|group| group.is_leader()) else { return Ok(()) };
        let bounds = self.control.look(|machine| {
            let closed = machine.log_closed().map_or(0, |at| at.index);
            (closed, machine.last_applied().index)
        });
        let Some((closed, applied)) = bounds else { return Ok(()) };
        open.measure(&group, closed, applied).await?;
        if open.entries() < CONTROL_SEGMENT_ENTRIES && open.bytes < CONTROL_SEGMENT_BYTES {
            return Ok(());
        }
        match self.control.propose_here(ControlChange::TrimLog { closed }).await {
            Ok(reply) => {
                tracing::info!(?reply, entries = open.entries(), "the control group's log was trimmed")
            }
            Err(error) => tracing::debug!(%error, "the control group's log was not trimmed"),
        }
        Ok(())
    }
}

/// What came since the last segment's end. Counted from the log itself, each entry once: nothing is stored for it.
#[derive(Default)]
struct OpenSegment {
    closed: u64,
    measured: u64,
    bytes: u64,
}

impl OpenSegment {
    async fn measure(&mut self, group: &Group, closed: u64, applied: u64) -> io::Result<()> {
        if self.closed != closed {
            *self = Self { closed, measured: closed, bytes: 0 };
        }
        self.bytes += group.view().command_bytes(self.measured + 1, applied + 1).await?;
        self.measured = applied.max(self.measured);
        Ok(())
    }

    fn entries(&self) -> u64 {
        self.measured - self.closed
    }
}
