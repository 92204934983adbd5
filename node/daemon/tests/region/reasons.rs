//! Every published reason, produced through the API.

use meridian_model::limits::{DEDUP_WINDOW_BATCHES, MESSAGE_BYTES_MAX, PRODUCERS_MAX, TOPIC_PARTITIONS_MAX};
use meridian_model::{BatchBuilder, Codec, Message, ProducerId};
use meridian_proto::admin as pb;
use meridian_proto::admin::admin_service_client::AdminServiceClient;
use meridian_proto::v1::publish_request::Payload;
use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::publish_stream_request::Request as Sent;
use meridian_proto::v1::publish_stream_response::Response as Answer;
use meridian_proto::v1::read_service_client::ReadServiceClient;
use meridian_proto::v1::{
    ErrorReason, Failure, GetLogRequest, OpenProducerRequest, PlainMessage, PlainMessages, PublishBatch,
    PublishOpen, PublishRequest, PublishStreamRequest, ReadRequest, read_request,
};
use tonic::transport::Channel;

use crate::cluster::{Region, Settings};
use crate::patience::until;
use crate::producer::{HANG, Sender, channel, publish};

const TOPIC: &str = "reasons";

/// A refusal, told by Meridian: with a reason, and a message that says something.
async fn refused<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Failure {
    let answered = tokio::time::timeout(HANG, call).await.expect("no call hangs");
    let status = answered.err().expect("refused");
    let failure = Failure::told_by(&status).unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert!(failure.message.len() > 8, "{failure:?}");
    failure
}

struct Scene {
    region: Region,
    address: String,
}

impl Scene {
    async fn new(settings: Settings) -> Self {
        let region = Region::start_with(settings).await;
        let topic = region.topic(TOPIC).await;
        region.make_leader(1, &topic).await;
        let address = region.address(1);
        Self { region, address }
    }

    fn publish(&self) -> PublishServiceClient<Channel> {
        PublishServiceClient::new(channel(&self.address)).max_encoding_message_size(16 << 20)
    }

    fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(channel(&self.address))
    }

    fn read(&self) -> ReadServiceClient<Channel> {
        ReadServiceClient::new(channel(&self.address))
    }

    async fn sender(&self, name: &str) -> Sender {
        Sender::open(&self.address, TOPIC, name).await.expect("opens")
    }

    /// What is said of a batch.
    async fn refusal(&self, sender: &Sender, batch: impl Into<bytes::Bytes>) -> Failure {
        refused(self.publish().publish(sender.request(batch.into()))).await
    }

    async fn sequences(&self) -> Vec<(ErrorReason, &'static str, Failure)> {
        let mut sender = self.sender("").await;
        let fresh = self.sender("").await;
        let mut told = vec![(
            ErrorReason::UnknownProducer,
            "a first batch whose sequence is not 0",
            self.refusal(&fresh, fresh.batch_at(5, 1, 8)).await,
        )];
        for _ in 0..=DEDUP_WINDOW_BATCHES {
            let batch = sender.batch(2, 8);
            sender.publish(&self.address, batch).await.expect("stored");
        }
        let next = sender.next;
        let gap = self.refusal(&sender, sender.batch_at(next + 3, 1, 8)).await;
        assert_eq!(gap.metadata["expected"], next.to_string());
        told.push((ErrorReason::SequenceGap, "a sequence left out", gap));
        let overlap = self.refusal(&sender, sender.batch_at(next - 1, 2, 8)).await;
        told.push((ErrorReason::PartialOverlap, "half a batch sent before", overlap));
        let late = self.refusal(&sender, sender.batch_at(0, 2, 8)).await;
        told.push((ErrorReason::DuplicateBeyondWindow, "a resend from before the window", late));
        let mut expired = fresh.clone();
        expired.opened_at_ms = 0;
        let expired = self.refusal(&expired, expired.batch_at(0, 1, 8)).await;
        told.push((ErrorReason::TokenExpired, "a producer opened in 1970", expired));
        let first = self.sender("clerk").await;
        self.sender("clerk").await;
        let fenced = self.refusal(&first, first.batch_at(0, 1, 8)).await;
        told.push((ErrorReason::StaleEpoch, "a producer whose name was opened again", fenced));
        let mut damaged = fresh.batch_at(0, 1, 8).to_vec();
        *damaged.last_mut().expect("bytes") ^= 1;
        let damaged = self.refusal(&fresh, damaged).await;
        told.push((ErrorReason::CorruptBatch, "one bit of a batch flipped", damaged));
        let redirect = PublishRequest { accept_redirect: true, ..fresh.request(fresh.batch_at(0, 1, 8)) };
        let mut other = PublishServiceClient::new(channel(&self.region.address(2)));
        let redirect = refused(other.publish(redirect)).await;
        assert_eq!(redirect.metadata["address"], self.address);
        told.push((ErrorReason::NotLeader, "a follower and a client that goes to leaders itself", redirect));
        told
    }

    async fn requests(&self) -> Vec<(ErrorReason, &'static str, Failure)> {
        let large = PlainMessage { body: vec![0; MESSAGE_BYTES_MAX + 1].into(), ..Default::default() };
        let payload = Some(Payload::Messages(PlainMessages { messages: vec![large] }));
        let large = PublishRequest { topic: TOPIC.into(), partition: Some(0), payload, ..Default::default() };
        let unopened = [PublishStreamRequest { request: Some(Sent::Batch(PublishBatch::default())) }];
        let beyond = ReadRequest {
            topic: TOPIC.into(),
            start: Some(read_request::Start::Offset(1 << 40)),
            ..Default::default()
        };
        let nowhere = GetLogRequest { topic: TOPIC.into(), replica_node: Some(9), ..Default::default() };
        let unknown = GetLogRequest { topic: "unknown".into(), ..Default::default() };
        let out_of_range = refused(self.read().read(beyond)).await;
        assert!(out_of_range.metadata.contains_key("start") && out_of_range.metadata.contains_key("end"));
        vec![
            (ErrorReason::TooLarge, "a message over its bound", refused(self.publish().publish(large)).await),
            (
                ErrorReason::Protocol,
                "a stream that begins with a batch",
                refused(self.publish().publish_stream(futures::stream::iter(unopened))).await,
            ),
            (ErrorReason::OutOfRange, "an offset beyond the end", out_of_range),
            (
                ErrorReason::ReplicaUnavailable,
                "a node that holds no copy",
                refused(self.read().get_log(nowhere)).await,
            ),
            (ErrorReason::NotFound, "a topic nobody made", refused(self.read().get_log(unknown)).await),
        ]
    }

    async fn metadata(&self) -> Vec<(ErrorReason, &'static str, Failure)> {
        let create = |partitions, replication| pb::CreateTopicRequest {
            topic: if partitions == 1 && replication == 0 { TOPIC.into() } else { "more".into() },
            partitions,
            replication,
            ..Default::default()
        };
        let update = pb::UpdateTopicRequest { topic: TOPIC.into(), etag: "1".into(), ..Default::default() };
        vec![
            (
                ErrorReason::AlreadyExists,
                "a topic twice",
                refused(self.admin().create_topic(create(1, 0))).await,
            ),
            (ErrorReason::Conflict, "an old etag", refused(self.admin().update_topic(update)).await),
            (
                ErrorReason::Limit,
                "too many partitions",
                refused(self.admin().create_topic(create(TOPIC_PARTITIONS_MAX + 1, 1))).await,
            ),
            (
                ErrorReason::NotEnoughNodes,
                "five copies on three nodes",
                refused(self.admin().create_topic(create(1, 5))).await,
            ),
        ]
    }

    /// A topic that is being deleted refuses, until it is gone.
    async fn sealed(&self) -> Failure {
        self.region.topic("deleted").await;
        let sender = Sender::open(&self.address, "deleted", "").await.expect("opens");
        let mut admin = self.admin();
        let request = pb::DeleteTopicRequest { topic: "deleted".into(), ..Default::default() };
        let deleting = tokio::spawn(async move { admin.delete_topic(request).await });
        let failure = until("the topic refuses", async || {
            let failure = sender.publish(&self.address, sender.batch_at(0, 1, 8)).await.err()?;
            assert_ne!(failure.reason(), ErrorReason::NotFound, "it was gone before it was seen sealed");
            Some(failure)
        })
        .await;
        deleting.await.expect("no panic").expect("deleted");
        failure
    }

    /// One producer more than a partition remembers.
    async fn too_many_producers(&self) -> Failure {
        let request = pb::CreateTopicRequest { topic: "crowd".into(), replication: 1, ..Default::default() };
        self.admin().create_topic(request).await.expect("created");
        until("its partition has a leader", async || {
            let end = GetLogRequest { topic: "crowd".into(), linearizable: true, ..Default::default() };
            self.read().get_log(end).await.ok().map(drop)
        })
        .await;
        let opened_at_ms = self.sender("").await.opened_at_ms;
        let open = PublishOpen { topic: "crowd".into(), accept_redirect: false };
        let batches = (0..=PRODUCERS_MAX as u64).map(move |number| {
            let producer = ProducerId::from_u128(u128::from(number) + 1);
            let mut builder = BatchBuilder::new(Codec::None).producer(producer, 1, 0);
            builder.push(&Message::new("here"));
            let batch = builder.build().expect("a batch").into_bytes();
            Sent::Batch(PublishBatch { correlation: number, partition: 0, batch, opened_at_ms })
        });
        let requests = std::iter::once(Sent::Open(open)).chain(batches);
        let requests = requests.map(|sent| PublishStreamRequest { request: Some(sent) });
        let mut answers =
            self.publish().publish_stream(futures::stream::iter(requests)).await.expect("opens").into_inner();
        let (mut stored, mut failure) = (0, None);
        while let Some(answer) = answers.message().await.expect("the stream goes on") {
            match answer.response.expect("an answer") {
                Answer::Opened(_) => {}
                Answer::Ack(_) => stored += 1,
                Answer::Failure(told) => {
                    let told = told.failure.expect("one");
                    assert!(failure.is_none(), "{stored} stored, refused twice: {failure:?}, then {told:?}");
                    failure = Some(told);
                }
            }
        }
        assert_eq!(stored, PRODUCERS_MAX);
        failure.expect("the last one is refused")
    }
}

/// Every reason, each by a story of its own.
#[tokio::test(flavor = "multi_thread")]
async fn every_published_reason_is_produced_once() {
    let scene = Scene::new(Settings::default()).await;
    let mut told = scene.sequences().await;
    told.extend(scene.requests().await);
    told.extend(scene.metadata().await);
    told.push((ErrorReason::TopicSealed, "a topic that is being deleted", scene.sealed().await));
    let crowd = scene.too_many_producers().await;
    told.push((ErrorReason::TooManyProducers, "one producer more than a partition remembers", crowd));
    let empty = pb::CreateTopicRequest { topic: "a//b".into(), ..Default::default() };
    let empty = refused(scene.admin().create_topic(empty)).await;
    told.push((ErrorReason::InvalidArgument, "a name without a name in it", empty));
    told.extend(crate::consuming::refusals(&scene.region, 2).await);
    told.extend(without_quorum(scene).await);

    let mut full = Settings { watched_folder: Some(".".into()), ..Settings::default() };
    full.storage.watermark_percent = 0;
    let scene = Scene::new(full).await;
    let sender = scene.sender("").await;
    let full = until("the disk counts as full", async || {
        sender.publish(&scene.address, sender.batch_at(0, 1, 8)).await.err()
    })
    .await;
    told.push((ErrorReason::DiskFull, "a disk at its watermark", full));
    let mut busy = Settings::default();
    busy.limits.inflight_bytes = 64;
    let scene = Scene::new(busy).await;
    let sender = scene.sender("").await;
    let busy = scene.refusal(&sender, sender.batch_at(0, 1, 64)).await;
    told.push((ErrorReason::Throttled, "more in flight than the node may hold", busy));

    for (reason, how, failure) in &told {
        println!(
            "{:<24} {how}: {}",
            reason.as_str_name().trim_start_matches("ERROR_REASON_"),
            failure.message
        );
        assert_eq!(failure.reason(), *reason, "{how}: {failure:?}");
    }
    println!("INTERNAL                 not produced: it says that Meridian contradicts itself");
    let missing: Vec<_> = (1..)
        .map_while(|number| ErrorReason::try_from(number).ok())
        .filter(|reason| *reason != ErrorReason::Internal && !told.iter().any(|(told, ..)| told == reason))
        .collect();
    assert!(missing.is_empty(), "never produced: {missing:?}");
}

/// The leader dies with a batch in its hands; then nobody is left to decide.
async fn without_quorum(mut scene: Scene) -> Vec<(ErrorReason, &'static str, Failure)> {
    let sender = scene.sender("").await;
    let held = [1, 3].map(|node| scene.region.power(node));
    held.iter().for_each(|power| power.hold());
    let publishing = {
        let (address, request) = (scene.region.address(2), sender.request(sender.batch_at(0, 1, 8)));
        tokio::spawn(async move { publish(&address, request).await })
    };
    until("the leader's disk has the batch before it", async || held[0].is_waiting().then_some(())).await;
    scene.region.kill(1).await;
    let unknown = publishing.await.expect("no panic").expect_err("the leader is gone");
    scene.region.kill(3).await;
    scene.address = scene.region.address(2);
    let lonely = until("the last node knows that it is alone", async || {
        let failure = sender.publish(&scene.address, sender.batch_at(0, 1, 8)).await.expect_err("no quorum");
        (failure.reason() != ErrorReason::Indeterminate).then_some(failure)
    })
    .await;
    vec![
        (ErrorReason::Indeterminate, "a leader that dies with a batch in its hands", unknown),
        (ErrorReason::Unavailable, "one node of three", lonely),
    ]
}

/// A wrong field is named, and nothing is half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_is_named() {
    let scene = Scene::new(Settings::default()).await;
    let sender = scene.sender("").await;
    let batch = sender.batch_at(0, 1, 8);
    let create = |topic: &str| pb::CreateTopicRequest { topic: topic.into(), ..Default::default() };
    let open =
        |name: &str| OpenProducerRequest { topic: TOPIC.into(), name: name.into(), ..Default::default() };
    let both = GetLogRequest {
        topic: TOPIC.into(),
        linearizable: true,
        replica_node: Some(1),
        ..Default::default()
    };
    let etag = pb::UpdateTopicRequest { topic: TOPIC.into(), etag: "x".into(), ..Default::default() };
    let fewer = pb::AddPartitionsRequest { topic: TOPIC.into(), total: 0, ..Default::default() };
    let none = PublishRequest { payload: None, ..sender.request(batch.clone()) };
    let no_partition = PublishRequest { partition: None, ..sender.request(batch) };
    let empty = PublishRequest {
        payload: Some(Payload::Messages(PlainMessages::default())),
        ..sender.request(bytes::Bytes::new())
    };
    let told = [
        ("topic", refused(scene.admin().create_topic(create(""))).await),
        ("topic", refused(scene.admin().create_topic(create("with space"))).await),
        ("topic", refused(scene.admin().create_topic(create(&"x".repeat(129)))).await),
        ("name", refused(scene.publish().open_producer(open("with space"))).await),
        ("etag", refused(scene.admin().update_topic(etag)).await),
        ("total", refused(scene.admin().add_partitions(fewer)).await),
        ("linearizable", refused(scene.read().get_log(both)).await),
        ("payload", refused(scene.publish().publish(none)).await),
        ("partition", refused(scene.publish().publish(no_partition)).await),
        ("messages", refused(scene.publish().publish(empty)).await),
    ];
    for (field, failure) in &told {
        println!("{field}: {}", failure.message);
        assert_eq!(failure.reason(), ErrorReason::InvalidArgument, "{failure:?}");
        assert_eq!(failure.metadata["field"], *field, "{failure:?}");
        assert!(!failure.retryable);
    }
    let end = scene.region.client().end_offset(TOPIC, 0, true).await.expect("answers");
    assert_eq!(end.0, 0, "nothing was stored");
}
