//! Reaching the cluster, the seam to the network, the admin calls, and one publish in one call.

mod fake_cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fake_cluster::{FakeCluster, Fault};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig, Error, Message, Reason, Retention, default_endpoint};

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let config = ClientConfig::new(["127.0.0.1:1"]);
    match Client::connect(config).await {
        Err(error @ Error::Connect { .. }) => {
            assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
            assert!(error.hint().contains("meridian dev"), "{}", error.hint());
        }
        other => panic!("{other:?}"),
    }
    let lazy =
        Client::new(ClientConfig::new(["127.0.0.1:1"]).with_operation_timeout(Duration::from_millis(200)));
    let error = lazy.expect("connects later").lookup("t").await.expect_err("nobody");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn one_bootstrap_node_of_many_is_enough_and_others_are_learned() {
    let cluster = FakeCluster::with_topic(2).await;
    let servers = ["127.0.0.1:1".to_string(), format!("http://{}/", cluster.addresses[2])];
    let client = Client::connect(ClientConfig::new(servers)).await.expect("the second one is up");
    client.lookup("t").await.expect("found");
    cluster.take_down(3);
    client.lookup("t").await.expect("another node, learned from the first answer");
}

/// Nodes that are cut off break no connection. All partitions of a producer wait for the same answer.
#[tokio::test]
async fn a_node_that_says_nothing_holds_no_lookup_up() {
    let cluster = FakeCluster::with_topic(2).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let servers = [silent.local_addr().expect("bound").to_string(), cluster.addresses[0].clone()];
    let config = ClientConfig::new(servers).with_attempt_timeout(Duration::from_secs(300));
    let client =
        Client::new(config.with_operation_timeout(Duration::from_secs(600))).expect("good addresses");
    let looked_up = tokio::time::timeout(Duration::from_secs(60), client.lookup("t")).await;
    assert_eq!(looked_up.expect("another node is asked").expect("found").partition_count(), 2);
}

#[tokio::test]
async fn the_network_can_be_replaced() {
    let cluster = FakeCluster::with_topic(3).await;
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    let connector = move |address: String| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            default_endpoint(&address)?.connect().await.map_err(|e| Arc::new(e) as meridian_sdk::ConnectError)
        }
    };
    let client = Client::connect(cluster.config().with_connector(connector)).await.expect("up");
    let producer = client.producer("t").build().await.expect("opened");
    for key in 0..30 {
        producer.send(Message::new("m").with_key(key.to_string())).await.expect("taken in");
    }
    producer.flush().await.expect("delivered");
    assert_eq!(connections.load(Ordering::SeqCst), 3, "one connection for each node");
}

#[tokio::test]
async fn admin_calls_go_there_and_back() {
    let cluster = FakeCluster::start(3).await;
    let admin = cluster.client().await.admin();
    admin.create_tenant("acme").await.expect("created");
    assert_eq!(admin.list_tenants().await.expect("two pages"), ["default", "acme"]);
    admin.create_namespace("acme", "web").await.expect("created");
    assert_eq!(admin.list_namespaces("acme").await.expect("listed"), ["web"]);
    let retention = Retention { age_ms: Some(1_000), bytes: None };
    let topic = NewTopic { retention, ..NewTopic::new("acme/web/clicks", 4) };
    let created = admin.create_topic(topic.clone()).await.expect("created");
    assert_eq!((created.topic.name.topic(), created.topic.partitions.len()), ("clicks", 4));
    let again = admin.create_topic(topic).await.expect_err("exists");
    assert_eq!(again.refusal(), Some(Reason::AlreadyExists));
    let found = admin.get_topic("acme/web/clicks").await.expect("found");
    assert_eq!((found.retention, found.etag.as_str()), (retention, "7"));
    assert_eq!(admin.list_topics("acme", "").await.expect("listed").len(), 1);
    let stale =
        admin.update_topic("acme/web/clicks", Retention::default(), Some("6")).await.expect_err("changed");
    assert_eq!(stale.refusal(), Some(Reason::Conflict));
    let changed =
        admin.update_topic("acme/web/clicks", Retention::default(), Some("7")).await.expect("changed");
    assert_eq!(changed.pending_partitions, [1]);
    let more = admin.add_partitions("acme/web/clicks", 6).await.expect("added");
    assert!(more.warning.contains("re-route") && more.topic.partitions.len() == 6);
    admin.delete_topic("acme/web/clicks").await.expect("deleted");
    admin.delete_namespace("acme", "web").await.expect("deleted");
    admin.delete_tenant("acme").await.expect("deleted");
    let info = admin.get_cluster(true).await.expect("state");
    assert_eq!((info.nodes.len(), info.groups.len(), info.name.as_str()), (3, 1, "fake"));
    let third = admin.get_cluster_at(&cluster.addresses[2], false).await.expect("state");
    assert_eq!(third.answering_node.0, 3);
}

#[tokio::test]
async fn publish_once_never_repeats_what_may_be_stored() {
    let cluster = FakeCluster::with_topic(2).await;
    let client = cluster.client().await;
    let messages = || vec![Message::new("a").with_key("k"), Message::new("b")];
    let done = client.publish_once("t", None, messages()).await.expect("stored");
    assert_eq!(done.count, 2);
    cluster.script(done.partition, [Fault::Refuse(Reason::Throttled)]);
    let retried =
        client.publish_once("t", None, messages()).await.expect("refused for certain, so tried again");
    assert_eq!(retried.first.offset.0, 2);
    for fault in [Fault::UnknownAfterStore, Fault::BreakAfterStore] {
        cluster.script(done.partition, [fault]);
        let error = client.publish_once("t", None, messages()).await.expect_err("unknown");
        assert!(matches!(error, Error::Indeterminate { .. }), "{error:?}");
        assert!(!error.retryable());
    }
    assert_eq!(cluster.messages(done.partition).len(), 8);
}
