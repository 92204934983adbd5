//! Keeps the book of addresses as the control group says.

use super::Keeper;

pub(super) async fn keep(keeper: Keeper) {
    let mut seen = None;
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
        });
    }
}
