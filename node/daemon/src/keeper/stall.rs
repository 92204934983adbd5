//! Sheds leadership while this node's disk hangs: whoever leads here answers nobody until it moves again.

use std::time::Duration;

use super::{Keeper, leadership};

/// How often it is looked whether the disk moves again.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long handing everything over may take.
const SHED_MAX: Duration = Duration::from_secs(1);

pub(super) async fn keep(keeper: Keeper) {
    // Half an election: the groups have successors before anybody would have to elect one.
    let stall = Duration::from_millis(keeper.parts.config.election_ms_max / 2);
    loop {
        keeper.parts.writer.stalled(stall).await;
        tracing::warn!(?stall, "a write hangs: this node gives up what it leads until its disk moves again");
        keeper.parts.clocks.set_disk_stalled(true);
        let (registry, clocks) = (&keeper.registry, &keeper.parts.clocks);
        leadership::hand_over_all(registry, clocks, "the disk of this node hangs", SHED_MAX).await;
        keeper.parts.writer.moved_on(LOOK_EVERY).await;
        keeper.parts.clocks.set_disk_stalled(false);
        tracing::info!("the disk moves again");
    }
}
