//! The groups of a real region keep the contract of the ports.

use meridian_commitlog::conformance::{Subject, all};
use meridian_model::{Clock, GroupId};

use crate::cluster::Region;
use crate::ledger::agreed;
use crate::trimming::{small_segments, trim};

/// LOG-1, LOG-5, LOG-7, LOG-8: with everything at hand, and again behind a trim.
#[tokio::test(flavor = "multi_thread")]
async fn replicated_partitions_keep_the_contract_of_the_ports() {
    let region = Region::start().await;
    let topic = region.topic("contract").await;
    small_segments(&region, &topic).await;
    region.make_leader(1, &topic).await;
    let registry = region.registry(1);
    let subject = Subject {
        append: &*registry,
        read: &*registry,
        group: topic.partitions[0].group,
        absent: GroupId(999),
        opened_at: region.clock.now(),
    };
    let checks = all(&subject).await;
    trim(&region, &topic, 1).await;
    let start = agreed(&region, &topic).await.start;
    assert!(start.0 > 0, "something was trimmed");
    println!("{checks} checks, and {} behind a trim to {start}", all(&subject).await);
}
