//! Keeps the book of addresses as the control group says, and who is not spoken to.

use meridian_raft::alone::Fence;

use super::Keeper;

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
    // What cannot be read stays in force as it was read at the start.
    let fence = Fence::load(&keeper.parts.disk).await.ok();
    loop {
        seen = keeper.control_moved(seen).await;
        let book = keeper.parts.links.addresses();
        keeper.control.look(|machine| {
            if let Some(cluster) = machine.cluster_id() {
                book.set_cluster(cluster);
            }
            for record in machine.nodes() {
                book.set(record.node, &record.addresses.raft);
            }
            if let Some(Fence { lives }) = &fence {
                let still = lives.iter().filter(|(node, life)| {
                    machine.node(**node).is_none_or(|record| record.incarnation == **life)
                });
                book.fence(still.map(|(node, _)| *node).collect());
            }
        });
    }
}
