//! Any node takes any request. Whoever would rather go to the leader himself is told where it is.

use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{
    ErrorReason, Failure, GetLogRequest, PublishAck, PublishBatch, PublishOpen, PublishStreamRequest,
    ReadFormat, ReadRequest,
};
use meridian_sdk::admin::TopicInfo;

use crate::cluster::{NODES, Region};
use crate::ledger::agreed;
use crate::patience::until;
use crate::producer::{HANG, Sender, body, bounded, channel, publish};

const BODY_BYTES: usize = 256;
const BATCHES: u64 = 200;

/// Makes a node lead, and waits until every copy knows.
async fn led_by(leader: u64, region: &Region, topic: &TopicInfo) {
    region.make_leader(leader, topic).await;
    for node in NODES {
        until("every node knows the leader", async || {
            (region.group(node, topic)?.leader()?.0 == leader).then_some(())
        })
        .await;
    }
}

/// A topic led by node 1.
async fn led_by_one(name: &str) -> (Region, TopicInfo, Sender) {
    let region = Region::start().await;
    let topic = region.topic(name).await;
    led_by(1, &region, &topic).await;
    let sender = Sender::open(&region.address(2), name, "").await.expect("opens at any node");
    (region, topic, sender)
}

/// Sends batches on one stream, closes its sending end, and collects the answers in order of correlation.
async fn stream(
    address: &str,
    topic: &str,
    accept_redirect: bool,
    sender: &mut Sender,
) -> Vec<Result<PublishAck, Failure>> {
    let open = PublishOpen { topic: topic.into(), accept_redirect };
    let mut requests = vec![PublishStreamRequest { request: Some(Sent::Open(open)) }];
    for correlation in 0..BATCHES {
        let batch = sender.batch(2, BODY_BYTES);
        let (partition, opened_at_ms) = (0, sender.opened_at_ms);
        let batch = PublishBatch { correlation, partition, batch, opened_at_ms };
        requests.push(PublishStreamRequest { request: Some(Sent::Batch(batch)) });
    }
    let mut client = PublishServiceClient::new(channel(address));
    let mut answers = bounded(client.publish_stream(futures::stream::iter(requests))).await.expect("opens");
    let mut found = Vec::new();
    while let Some(answer) = tokio::time::timeout(HANG, answers.message())
        .await
        .expect("no stream hangs")
        .expect("the stream goes on")
    {
        match answer.response.expect("an answer") {
            Answer::Opened(opened) => assert!(opened.credit_bytes > 0),
            Answer::Ack(ack) => found.push((ack.correlation, Ok(ack.ack.expect("an ack")))),
            Answer::Failure(failure) => {
                found.push((failure.correlation, Err(failure.failure.expect("a failure"))));
            }
        }
    }
    found.sort_by_key(|(correlation, _)| *correlation);
    let each_once = found.iter().map(|(correlation, _)| *correlation).eq(0..BATCHES);
    assert!(each_once, "each batch is answered once");
    found.into_iter().map(|(_, answer)| answer).collect()
}

/// LOG-5, LOG-7: through a node that does not lead, by single calls.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_one_follower_publishes_and_reads() {
    let (region, topic, mut sender) = led_by_one("one-follower").await;
    let (follower, name) = (region.address(2), topic.name.resource());
    for number in 0..10 {
        let batch = sender.batch(2, BODY_BYTES);
        let ack = sender.publish(&follower, batch).await.expect("forwarded and stored");
        assert_eq!((ack.base_offset, ack.duplicate), (number * 2, false));
    }
    let mut client = ReadServiceClient::new(channel(&follower));
    let request = GetLogRequest { topic: name.clone(), linearizable: true, ..Default::default() };
    let log = bounded(client.get_log(request)).await.expect("forwarded to the leader");
    assert_eq!(log.log_end, 20, "nothing acked is missing from a linearizable end (LOG-7)");
    let request = ReadRequest { topic: name, format: ReadFormat::Messages as i32, ..Default::default() };
    let mut pages = bounded(client.read(request)).await.expect("forwarded to the leader");
    let mut read = Vec::new();
    while let Some(page) = pages.message().await.expect("reads") {
        read.extend(page.messages);
    }
    assert_eq!(read.len(), 20);
    for (message, number) in read.iter().zip(0..) {
        assert_eq!((message.offset, &message.body), (number, &body(number, BODY_BYTES)));
    }
    println!("{} messages published and read through a follower", read.len());
}

/// LOG-5: a client that has sent everything may close its end and wait for the answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_stream_answers_everything_also_behind_a_closed_end() {
    let (region, topic, mut sender) = led_by_one("closed-end").await;
    for node in [1, 2] {
        let first = sender.next;
        let answers = stream(&region.address(node), "closed-end", false, &mut sender).await;
        for (answer, number) in answers.into_iter().zip(0..) {
            let ack = answer.unwrap_or_else(|failure| panic!("node {node}, batch {number}: {failure:?}"));
            assert_eq!((ack.base_offset, ack.duplicate), (first + number * 2, false), "node {node}");
        }
    }
    let log = agreed(&region, &topic).await;
    assert_eq!(log.end.0, 4 * BATCHES, "stored once (LOG-5)");
    println!("{} batches answered at the leader and as many at a follower", BATCHES);
}

/// LOG-5: a node that has no copy finds the leader by itself, whoever it is, and keeps a producer's order.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_knows_one_node_without_a_copy_publishes_and_reads() {
    let (mut region, topic, mut sender) = led_by_one("no-copy").await;
    let name = topic.name.resource();
    region.add_node(4).await;
    let outside = region.address(4);
    until("the new node knows the topic", async || Sender::open(&outside, &name, "").await.ok()).await;
    assert!(region.group(4, &topic).is_none());
    let mut stored = 0;
    for leader in [1, 3, 2] {
        led_by(leader, &region, &topic).await;
        let answers = stream(&outside, &name, false, &mut sender).await;
        for (answer, number) in answers.into_iter().zip(0..) {
            let ack = answer.unwrap_or_else(|failure| panic!("led by {leader}, batch {number}: {failure:?}"));
            assert_eq!((ack.base_offset, ack.duplicate), (stored + number * 2, false), "led by {leader}");
        }
        stored += 2 * BATCHES;
        for _ in 0..6 {
            let batch = sender.batch(1, BODY_BYTES);
            let ack = sender.publish(&outside, batch).await.expect("forwarded to the leader");
            assert_eq!((ack.base_offset, ack.duplicate), (stored, false), "led by {leader}");
            stored += 1;
        }
        let mut client = ReadServiceClient::new(channel(&outside));
        for _ in 0..6 {
            let request = GetLogRequest { topic: name.clone(), linearizable: true, ..Default::default() };
            let log = bounded(client.get_log(request)).await.expect("forwarded to the leader");
            assert_eq!(log.log_end, stored, "led by {leader}");
        }
    }
    region.kill(2).await;
    let ack = sender.publish_surely(&[outside], sender.batch_at(sender.next, 1, BODY_BYTES)).await;
    assert_eq!(ack.base_offset, stored, "another leader is found as well");
    println!("{} messages through a node without a copy, under four leaders", stored + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_accepts_redirects_is_told_the_leaders_address() {
    let (region, topic, mut sender) = led_by_one("redirect").await;
    let mut request = sender.request(sender.batch_at(0, 1, BODY_BYTES));
    request.accept_redirect = true;
    let refused = publish(&region.address(3), request).await.expect_err("not led there");
    let mut failures = vec![refused];
    for answer in stream(&region.address(3), "redirect", true, &mut sender).await {
        failures.push(answer.expect_err("not led there"));
    }
    for failure in &failures {
        assert_eq!(failure.reason(), ErrorReason::NotLeader, "{failure:?}");
        assert_eq!(failure.metadata["node"], "1");
        assert_eq!(failure.metadata["address"], region.address(1));
        assert!(failure.retryable);
    }
    assert_eq!(agreed(&region, &topic).await.end.0, 0, "nothing was stored on the way");
    println!("{} redirects name the leader's address", failures.len());
}

/// LOG-3: a leader that dies with a forwarded batch in its hands leaves an unknown outcome, and it is said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_batch_whose_leader_dies_is_indeterminate() {
    let (mut region, topic, mut sender) = led_by_one("dies").await;
    let held = [region.power(1), region.power(3)];
    held.iter().for_each(|power| power.hold());
    let publishing = {
        let (sender, address, batch) = (sender.clone(), region.address(2), sender.batch(1, BODY_BYTES));
        tokio::spawn(async move { sender.publish(&address, batch).await })
    };
    until("the leader's disk has the batch before it", async || held[0].is_waiting().then_some(())).await;
    region.kill(1).await;
    let failure = publishing.await.expect("no panic").expect_err("the leader is gone");
    assert_eq!(failure.reason(), ErrorReason::Indeterminate, "{failure:?}");
    held[1].release();
    let ack = sender.publish_surely(&[region.address(3)], sender.batch_at(0, 1, BODY_BYTES)).await;
    sender.next = 1;
    let end = region.client().end_offset(&topic.name.resource(), 0, true).await.expect("answers");
    assert_eq!((ack.base_offset, end.0), (0, 1), "resent, it is stored once (LOG-5)");
    println!("indeterminate, then {}", if ack.duplicate { "found stored" } else { "stored" });
}
