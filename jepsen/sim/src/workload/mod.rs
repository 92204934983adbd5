//! The clients of a run, each writing down what it did and saw.

mod consumers;
mod rescan;
mod scene;
mod supervisor;
mod wires;

use std::sync::Arc;

use meridian_workload::{
    Chance, Pager, administer, follow, probe, produce_by_sdk, produce_by_wire, read_pages,
};
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
    let shared = || (Arc::clone(&scene.clients), wires.clone());
    let mut clients = JoinSet::new();
    let (all, region) = shared();
    clients.spawn_local(produce_by_sdk(all, region, nth, fork("sdk")));
    let (all, region) = shared();
    clients.spawn_local(produce_by_wire(all, region, format!("wire-{nth}"), None, fork("wire")));
    let (all, region) = shared();
    let name = Some("rival".to_owned());
    clients.spawn_local(produce_by_wire(all, region, format!("rival-{nth}"), name, fork("rival")));
    let (all, region) = shared();
    clients.spawn_local(read_pages(all, region, pager(&scene, None, fork("pager")), fork("pages")));
    let (all, region) = shared();
    clients.spawn_local(probe(all, region, fork("ends")));
    let (all, region) = shared();
    clients.spawn_local(administer(all, region, fork("control")));
    let (all, region) = shared();
    match nth {
        0 => {
            let partition = scene.clients.any_partition(&mut scene.chance("followed"));
            clients.spawn_local(follow(all, region, partition, fork("follow")))
        }
        _ => {
            let replica = wires::number((scene.plan.seed % NODES as u64) as usize);
            let pager = pager(&scene, Some(replica), fork("replica-pager"));
            clients.spawn_local(read_pages(all, region, pager, fork("replica")))
        }
    };
    let consumers = async {
        match &scene.consumers {
            Some(consumers) => consumers.work(&wires, nth, &scene.chance("consumers")).await,
            None => Ok(()),
        }
    };
    let others = async {
        while let Some(ended) = clients.join_next().await {
            ended?;
        }
        scene.client_host_done();
        Ok(())
    };
    let (consumers, others) = tokio::join!(consumers, others);
    consumers.and(others)
}

fn pager(scene: &Scene, replica: Option<u64>, mut chance: Chance) -> Pager {
    Pager { partition: scene.clients.any_partition(&mut chance), replica }
}
