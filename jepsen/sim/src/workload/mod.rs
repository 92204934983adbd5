//! The clients of a run, each writing down what it did and saw.

mod administrator;
mod ends;
mod follower;
mod once;
mod oracle;
mod pages;
mod rescan;
mod scene;
mod sdk_producer;
mod supervisor;
mod wire_producer;
mod wires;

use std::sync::Arc;

use tokio::task::JoinSet;

pub(crate) use scene::{Scene, Stage};
pub(crate) use supervisor::supervise;

use crate::net::Net;
use crate::plan::{HOSTS, NODES};
use wires::Wires;

/// Everything the clients of one host do, from the beginning of the work to its end.
pub(crate) async fn work(scene: Arc<Scene>, host: usize) -> turmoil::Result {
    scene.reached(Stage::Working).await;
    let wires = Wires::new(Net::new(HOSTS[host].into(), Arc::clone(&scene.trace)));
    let nth = (host - NODES) as u64;
    let fork = |label: &str| scene.chance(&format!("{label}-{nth}"));
    let mut clients = JoinSet::new();
    clients.spawn_local(sdk_producer::produce(Arc::clone(&scene), wires.clone(), nth, fork("sdk")));
    clients.spawn_local(wire_producer::produce(
        Arc::clone(&scene),
        wires.clone(),
        format!("wire-{nth}"),
        None,
        fork("wire"),
    ));
    let rival = (format!("rival-{nth}"), Some("rival".to_owned()));
    clients.spawn_local(wire_producer::produce(
        Arc::clone(&scene),
        wires.clone(),
        rival.0,
        rival.1,
        fork("rival"),
    ));
    clients.spawn_local(pages::read(Arc::clone(&scene), wires.clone(), None, fork("pages")));
    clients.spawn_local(ends::probe(Arc::clone(&scene), wires.clone(), fork("ends")));
    clients.spawn_local(administrator::administer(Arc::clone(&scene), wires.clone(), fork("control")));
    match nth {
        0 => clients.spawn_local(follower::follow(Arc::clone(&scene), wires, fork("follow"))),
        _ => clients.spawn_local(pages::read(
            Arc::clone(&scene),
            wires,
            Some(scene.plan.seed % NODES as u64),
            fork("replica"),
        )),
    };
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    scene.client_host_done();
    Ok(())
}
