//! Two snapshots for one replica: the second waits until the first is in place, also when the sender of the
//! first is gone by then.

use meridian_proto::internal as pb;
use meridian_proto::internal::peer_service_client::PeerServiceClient;
use pb::send_snapshot_request::Part;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::cluster::Region;
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::power::Moment;
use crate::producer::{Sender, channel};
use crate::trimming::{purged_beyond, small_segments, trim};

const BODY_BYTES: usize = 1024;

/// LOG-1, LOG-4, LOG-5: what the first snapshot brought is not mixed with the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_sender_dies_is_not_mixed_with_the_next() {
    let mut region = Region::start().await;
    let topic = region.topic("two-snapshots").await;
    let (name, group) = (topic.name.resource(), topic.partitions[0].group);
    small_segments(&region, &topic).await;
    region.make_leader(1, &topic).await;
    let mut sender = Sender::open(&region.address(1), &name, "").await.expect("opens");
    let mut ledger = Ledger::default();
    let replica = until("node 3 has a replica", async || region.group(3, &topic)).await.replica();
    let last = region.status(3, &topic).await.expect("answers").last_index;
    region.kill(3).await;
    for _ in 0..30 {
        let first = sender.next;
        let batch = sender.batch(4, BODY_BYTES);
        let ack = sender.publish_surely(&[region.address(1)], batch).await;
        ledger.note(&sender, first, &ack, BODY_BYTES);
    }
    trim(&region, &topic, 1).await;
    purged_beyond(&region, &topic, last).await;

    // The first snapshot arrives and stops at its first step. Its sender dies.
    region.start_node_that(3, Moment::HoldInstalling(group)).await;
    let power = region.power(3);
    until("the snapshot is about to be installed", async || power.is_waiting().then_some(())).await;
    region.kill(1).await;

    // Another sender begins, and has no row to tell yet.
    let begin = pb::SnapshotBegin {
        group: group.0,
        to_replica: replica.0,
        from_node: 2,
        cluster_id: vec![0; 16].into(),
        ..Default::default()
    };
    let (parts, stream) = mpsc::channel(1);
    let connection = channel(&region.raft_address(3));
    let mut client = PeerServiceClient::new(connection.clone());
    let second = tokio::spawn(async move { client.send_snapshot(ReceiverStream::new(stream)).await });
    parts.send(pb::SendSnapshotRequest { part: Some(Part::Begin(begin)) }).await.expect("sent");
    // Probed behind it on the same connection, so the beginning was read; whether it was acted upon shows below.
    let mut client = PeerServiceClient::new(connection);
    for _ in 0..20 {
        client.probe(pb::ProbeRequest::default()).await.expect_err("of no cluster: refused, hence read");
    }
    power.release();
    until("the first snapshot is in place", async || {
        let applied = region.group(3, &topic)?.view().applied();
        (applied.index > Some(last) && !applied.catching_up).then_some(())
    })
    .await;
    drop(parts);
    second.await.expect("no panic").expect_err("a snapshot without an end is refused");

    region.start_node(1).await;
    let log = agreed(&region, &topic).await;
    let (held, records) = replica_holds(&region, &topic, 3).await;
    assert_eq!((held.start, held.end, &held.chain_head), (log.start, log.end, &log.chain_head));
    let checked = ledger.check(&held, &records);
    region.make_leader(3, &topic).await;
    let resent = sender.publish(&region.address(3), sender.batch_at(0, 4, BODY_BYTES)).await.expect("known");
    assert!(resent.duplicate, "the producer is remembered (LOG-5)");
    println!("acked {}, checked {checked} on the replica that two snapshots met at", ledger.len());
}
