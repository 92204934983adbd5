//! Two of three nodes are down: whatever is asked, a clear error comes within a bounded time, and what comes
//! back afterwards is whole.

use std::time::{Duration, Instant};

use meridian_proto::admin as pb;
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{
    ErrorReason, Failure, GetLogRequest, OpenProducerRequest, PublishBatch, PublishOpen, PublishStreamRequest,
};

use crate::cluster::Region;
use crate::ledger::{Ledger, agreed, replica_holds};
use crate::patience::until;
use crate::producer::{Sender, bounded, channel};

/// No answer takes longer. (A control change waits ten seconds for a leader before it gives up.)
const ANSWER_MAX: Duration = Duration::from_secs(15);
const BODY_BYTES: usize = 64;

async fn timed<T>(what: &str, call: impl Future<Output = Result<T, Failure>>) -> Failure {
    let begun = Instant::now();
    let failure = call.await.err().unwrap_or_else(|| panic!("{what}: there is no quorum"));
    let took = begun.elapsed();
    println!("{what}: {:?} after {took:?}: {}", failure.reason(), failure.message);
    assert!(took < ANSWER_MAX, "{what}: {took:?}");
    assert!(failure.retryable, "{what}: {failure:?}");
    failure
}

/// One batch on a stream of its own.
async fn stream_one(address: &str, sender: &Sender, topic: &str, first: u64) -> Result<(), Failure> {
    let open = PublishOpen { topic: topic.into(), accept_redirect: false };
    let batch = PublishBatch {
        correlation: 1,
        partition: 0,
        batch: sender.batch_at(first, 1, BODY_BYTES),
        opened_at_ms: sender.opened_at_ms,
    };
    let requests =
        [Sent::Open(open), Sent::Batch(batch)].map(|sent| PublishStreamRequest { request: Some(sent) });
    let mut client = PublishServiceClient::new(channel(address));
    let mut answers = bounded(client.publish_stream(futures::stream::iter(requests))).await?;
    loop {
        let answer = tokio::time::timeout(crate::producer::HANG, answers.message()).await.expect("no hang");
        match answer.expect("the stream goes on").expect("an answer").response.expect("an answer") {
            Answer::Opened(_) => {}
            Answer::Ack(_) => return Ok(()),
            Answer::Failure(failure) => return Err(failure.failure.expect("a failure")),
        }
    }
}

/// LOG-1, LOG-3, LOG-5.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_every_call_ends_with_a_clear_error() {
    let mut region = Region::start().await;
    let topic = region.topic("outage").await;
    let name = topic.name.resource();
    region.make_leader(1, &topic).await;
    let address = region.address(1);
    let mut sender = Sender::open(&address, &name, "").await.expect("opens");
    let mut ledger = Ledger::default();
    for _ in 0..5 {
        let first = sender.next;
        let batch = sender.batch(1, BODY_BYTES);
        let ack = sender.publish(&address, batch).await.expect("stored");
        ledger.note(&sender, first, &ack, BODY_BYTES);
    }
    region.kill(2).await;
    region.kill(3).await;

    // At once, while the leader still believes in itself: it may be proposed, and nobody knows.
    let early = timed("publish at once", sender.publish(&address, sender.batch_at(5, 1, BODY_BYTES))).await;
    assert!(matches!(early.reason(), ErrorReason::Indeterminate | ErrorReason::Unavailable), "{early:?}");
    until("the leader has noticed", async || {
        let failure = sender.publish(&address, sender.batch_at(5, 1, BODY_BYTES)).await.err()?;
        (failure.reason() == ErrorReason::Unavailable).then_some(())
    })
    .await;
    until("it no longer calls itself leader", async || {
        region.status(1, &topic).await?.leader.is_none().then_some(())
    })
    .await;
    let late = timed("publish", sender.publish(&address, sender.batch_at(5, 1, BODY_BYTES))).await;
    assert_eq!(late.reason(), ErrorReason::Unavailable);
    let late = timed("publish on a stream", stream_one(&address, &sender, &name, 5)).await;
    assert_eq!(late.reason(), ErrorReason::Unavailable);
    let request = GetLogRequest { topic: name.clone(), linearizable: true, ..Default::default() };
    let mut read = ReadServiceClient::new(channel(&address));
    assert_eq!(
        timed("linearizable end", bounded(read.get_log(request))).await.reason(),
        ErrorReason::Unavailable
    );
    let mut admin = AdminServiceClient::new(channel(&address));
    let request = pb::CreateTopicRequest { topic: "another".into(), ..Default::default() };
    let created = timed("create topic", bounded(admin.create_topic(request))).await;
    assert!(matches!(created.reason(), ErrorReason::Unavailable | ErrorReason::Indeterminate), "{created:?}");
    let request = OpenProducerRequest { topic: name.clone(), name: "clerk".into(), ..Default::default() };
    let mut publish = PublishServiceClient::new(channel(&address));
    let opened = timed("open producer", bounded(publish.open_producer(request))).await;
    assert!(matches!(opened.reason(), ErrorReason::Unavailable | ErrorReason::Indeterminate), "{opened:?}");
    let (held, records) = replica_holds(&region, &topic, 1).await;
    assert!(held.end.0 >= 5, "its own copy can still be read");
    ledger.check(&held, &records);

    region.start_node(2).await;
    let addresses = [region.address(1), region.address(2)];
    let batch = sender.batch(1, BODY_BYTES);
    let ack = sender.publish_surely(&addresses, batch).await;
    ledger.note(&sender, 5, &ack, BODY_BYTES);
    region.start_node(3).await;
    agreed(&region, &topic).await;
    let (held, records) = replica_holds(&region, &topic, 3).await;
    assert_eq!((ledger.check(&held, &records), records.len()), (6, 6), "each once");
}
