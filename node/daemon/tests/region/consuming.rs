//! Consumers on the wire: what they are given, and why they are refused.

use meridian_proto::v1::subscribe_request::Request;
use meridian_proto::v1::subscribe_response::Response;
use meridian_proto::v1::subscribe_service_client::SubscribeServiceClient;
use meridian_proto::v1::{
    AcknowledgeRequest, DeliveredMessage, DeliveredRange, DeliveryEpochs, ErrorReason, Failure, PullRequest,
    RevokeReason, SourceState, SubscribeAck, SubscribeOpen, SubscribeRequest, SubscribeResponse,
    SubscribeSeek, SubscriptionKind, SubscriptionSettings, SubscriptionStart, subscription_start,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::cluster::{NODES, Region};
use crate::patience::until;
use crate::producer::{HANG, Sender, channel};

const LEASE_MS: u64 = 30_000;

/// A consumer's stream.
struct Stream {
    requests: mpsc::Sender<SubscribeRequest>,
    answers: Streaming<SubscribeResponse>,
    source: u32,
    epochs: Option<DeliveryEpochs>,
    numbers: u64,
}

impl Stream {
    async fn open(address: &str, topic: &str, name: &str, kind: SubscriptionKind, lease_ms: u64) -> Self {
        let settings = SubscriptionSettings { lease_ms: Some(lease_ms), ..SubscriptionSettings::default() };
        let open = SubscribeOpen {
            topics: vec![topic.into()],
            subscription: name.into(),
            kind: kind as i32,
            create: true,
            settings: Some(settings),
            start: Some(SubscriptionStart { at: Some(subscription_start::At::Earliest(true)) }),
            credit_messages: 1_000,
            credit_bytes: 1 << 20,
            ..SubscribeOpen::default()
        };
        let (requests, outgoing) = mpsc::channel(64);
        let open = SubscribeRequest { request: Some(Request::Open(open)) };
        requests.send(open).await.expect("a queue with room");
        let mut client = SubscribeServiceClient::new(channel(address));
        let answers = client.subscribe(ReceiverStream::new(outgoing)).await.expect("opens").into_inner();
        Self { requests, answers, source: 0, epochs: None, numbers: 0 }
    }

    async fn next(&mut self) -> Result<Response, Status> {
        let answer = tokio::time::timeout(HANG, self.answers.message()).await.expect("no stream hangs");
        let answer = answer?.ok_or_else(|| Status::cancelled("the stream ended"))?;
        let response = answer.response.expect("a response");
        if let Response::Source(source) = &response {
            assert_eq!(source.state(), SourceState::Attached, "{source:?}");
            self.source = source.source;
        }
        Ok(response)
    }

    async fn messages(&mut self, count: usize) -> Vec<DeliveredMessage> {
        let mut messages = Vec::new();
        while messages.len() < count {
            if let Response::Messages(frame) = self.next().await.expect("goes on") {
                self.epochs = frame.epochs;
                messages.extend(frame.messages);
            }
        }
        messages
    }

    /// Says something, and waits for the answer to it.
    async fn say(
        &mut self,
        request: impl FnOnce(u64, u32, Option<DeliveryEpochs>) -> Request,
    ) -> Option<Failure> {
        self.numbers += 1;
        let number = self.numbers;
        let request = request(number, self.source, self.epochs);
        self.requests.send(SubscribeRequest { request: Some(request) }).await.expect("the stream is open");
        loop {
            match self.next().await.expect("goes on") {
                Response::Confirmed(frame) if frame.requests.contains(&number) => return None,
                Response::Refused(frame) if frame.request == number => return frame.failure,
                _ => {}
            }
        }
    }

    async fn ack(&mut self, from: u64, to: u64) -> Option<Failure> {
        let ranges = vec![DeliveredRange { from, to, deliver_at_ms: 0 }];
        self.say(|request, source, epochs| {
            Request::Ack(SubscribeAck { request, source, epochs, ranges, cumulative: None })
        })
        .await
    }

    /// Why the stream ends.
    async fn end(&mut self) -> Failure {
        loop {
            if let Err(status) = self.next().await {
                return Failure::told_by(&status).unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
            }
        }
    }
}

/// Three messages in a topic with one partition.
async fn topic(region: &Region, name: &str) {
    region.topic(name).await;
    let addresses: Vec<String> = region.running().into_iter().map(|node| region.address(node)).collect();
    let mut sender = Sender::open(&addresses[0], name, "").await.expect("opens");
    let batch = sender.batch(3, 8);
    sender.publish_surely(&addresses, batch).await;
}

/// The reasons that only consumers are given, each with how it came about.
pub(crate) async fn refusals(region: &Region, node: u64) -> Vec<(ErrorReason, &'static str, Failure)> {
    let address = region.address(node);
    topic(region, "consumed").await;
    let open = |name: &'static str, kind, lease_ms| {
        let address = address.clone();
        async move { Stream::open(&address, "consumed", name, kind, lease_ms).await }
    };
    let mut told = Vec::new();
    let mut shared = open("shared", SubscriptionKind::Shared, LEASE_MS).await;
    assert_eq!(shared.messages(3).await.len(), 3);
    let never = shared.ack(700, 701).await.expect("refused");
    told.push((ErrorReason::NotHeld, "an ack of what was never delivered", never));
    let mut other = open("shared", SubscriptionKind::Failover, LEASE_MS).await;
    told.push((ErrorReason::OtherKind, "a failover consumer of a shared subscription", other.end().await));

    let seek = |request, source, _| {
        let to = Some(SubscriptionStart { at: Some(subscription_start::At::Earliest(true)) });
        Request::Seek(SubscribeSeek { request, source: Some(source), to })
    };
    let before = shared.epochs;
    assert_eq!(shared.say(seek).await, None);
    assert_eq!(shared.messages(3).await.len(), 3, "once more");
    shared.epochs = before;
    let stale = shared.ack(0, 1).await.expect("refused");
    told.push((ErrorReason::StaleDelivery, "an ack of what was delivered before a seek", stale));

    let mut first = open("alone", SubscriptionKind::Exclusive, LEASE_MS).await;
    assert_eq!(first.messages(3).await.len(), 3);
    let mut second = open("alone", SubscriptionKind::Exclusive, LEASE_MS).await;
    let present = second.end().await;
    told.push((ErrorReason::ConsumerPresent, "a second consumer of an exclusive subscription", present));

    let mut slow = open("slow", SubscriptionKind::Shared, 100).await;
    assert_eq!(slow.messages(3).await.len(), 3);
    loop {
        let answer = slow.next().await.expect("goes on");
        if matches!(&answer, Response::Revoked(frame) if frame.reason() == RevokeReason::LeaseEnded) {
            break;
        }
    }
    let late = slow.ack(0, 1).await.expect("refused");
    told.push((ErrorReason::LeaseEnded, "an ack after the lease", late));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_node_a_stream_ends_at_its_consumer_is_given_every_message() {
    let region = Region::start().await;
    topic(&region, "everywhere").await;
    for node in NODES {
        let name = format!("from-{node}");
        let mut stream =
            Stream::open(&region.address(node), "everywhere", &name, SubscriptionKind::Shared, LEASE_MS)
                .await;
        let offsets: Vec<u64> = stream
            .messages(3)
            .await
            .into_iter()
            .map(|delivered| delivered.message.expect("a message").offset)
            .collect();
        assert_eq!(offsets, [0, 1, 2], "through node {node}");
        assert_eq!(stream.ack(0, 3).await, None, "through node {node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pulled_at_one_node_is_acked_at_another() {
    let region = Region::start().await;
    topic(&region, "pulled").await;
    let name = "pulled";
    let mut stream =
        Stream::open(&region.address(1), "pulled", name, SubscriptionKind::Shared, LEASE_MS).await;
    assert_eq!(stream.messages(3).await.len(), 3);
    // It leaves with everything unacked: that goes to whoever pulls.
    drop(stream);
    let pull = PullRequest {
        topic: "pulled".into(),
        subscription: name.into(),
        messages_max: 3,
        wait_ms_max: 5_000,
        partition: None,
    };
    let mut here = SubscribeServiceClient::new(channel(&region.address(2)));
    let pulled = until("three messages are pulled", async || {
        let pulled = here.pull(pull.clone()).await.ok()?.into_inner().messages;
        (pulled.len() == 3).then_some(pulled)
    })
    .await;
    let mut ack_ids: Vec<_> = pulled.into_iter().map(|message| message.ack_id).collect();
    ack_ids.push(vec![1, 2, 3].into());
    let ack = AcknowledgeRequest { topic: "pulled".into(), subscription: name.into(), ack_ids };
    let mut there = SubscribeServiceClient::new(channel(&region.address(3)));
    let refused = there.acknowledge(ack).await.expect("answers").into_inner().refused;
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), [3], "only what is no id: {refused:?}");
}
