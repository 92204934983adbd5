//! Nodes and clients that know each other by certificates, and everybody else refused: in words, in time.

use std::path::Path;
use std::time::{Duration, Instant};

use meridian_proto::internal::peer_service_client::PeerServiceClient;
use meridian_proto::internal::{ExchangeRequest, Hello};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig, ClientTls, Connector, Error, Message};
use tonic::transport::Channel;

use crate::authority::{Authority, Shown};
use crate::founders::Founders;
use crate::process::{PATIENCE, Server, run, run_with, stdout_of};
use crate::serve::Lone;

/// A refusal comes within this.
const IN_TIME: Duration = Duration::from_secs(6);

fn tls(ca: &Path, shown: Option<&Shown>) -> ClientTls {
    let shown = shown.map(|shown| (shown.certificate.as_path(), shown.key.as_path()));
    ClientTls::from_files(ca, shown).expect("sound files")
}

fn config(address: &str) -> ClientConfig {
    ClientConfig::new([address]).with_operation_timeout(Duration::from_secs(20))
}

/// Publishes one message, which shows that everything on the way works.
async fn publish(client: &Client, topic: &str) {
    let producer = client.producer(topic).build().await.expect("a producer");
    let sent = producer.send(Message::new("hello")).await.expect("sent");
    sent.await.expect("stored");
}

/// Why no connection is made.
async fn refusal(connector: impl Connector, address: &str) -> String {
    let begun = Instant::now();
    let why = match Client::connect(config(address).with_connector(connector)).await {
        Ok(_) => panic!("{address} let it in"),
        Err(error) => error.to_string(),
    };
    println!("refused after {:?}: {why}", begun.elapsed());
    assert!(begun.elapsed() < IN_TIME, "{why}");
    why
}

#[test]
fn three_nodes_with_certificates_of_the_command_form_a_region() {
    let region = Founders::new();
    let folder = region.folder.path();
    let keys = folder.join("keys").display().to_string();
    let made =
        ["certificates", "--folder", &keys, "--cluster", "Blue", "--host", "127.0.0.1", "--client", "shop"];
    assert!(stdout_of(&run(&made)).contains("[tls]"));
    // Again: the authority stays, the certificates are new.
    let authority = std::fs::read(folder.join("keys/ca.pem")).expect("there");
    stdout_of(&run(&made));
    assert_eq!(std::fs::read(folder.join("keys/ca.pem")).expect("there"), authority);
    let start = |id: u16| {
        let section = format!(
            "[tls]\ncertificate = \"{keys}/node-{id}.pem\"\nkey = \"{keys}/node-{id}.key\"\nca = \"{keys}/ca.pem\"\n\
             client_certificates = \"required\"\n"
        );
        region.start(id, "Blue", &[1, 2, 3], &section)
    };
    let _nodes = [1, 2, 3].map(start);
    let server = region.client(2);
    let (ca, certificate, key) =
        (format!("{keys}/ca.pem"), format!("{keys}/shop.pem"), format!("{keys}/shop.key"));
    let shop = ["--server", &server, "--tls-ca", &ca, "--tls-certificate", &certificate, "--tls-key", &key];
    let call = |arguments: &[&str], input: &str| {
        stdout_of(&run_with(&[&shop[..], arguments].concat(), input.as_bytes()))
    };
    let create = [&shop[..], &["topic", "create", "orders", "--partitions", "3"]].concat();
    let begun = Instant::now();
    // Refused while fewer nodes have registered than copies are wanted.
    while !run(&create).status.success() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", run(&create));
        std::thread::sleep(Duration::from_millis(200));
    }
    let lines: String = (0..300).map(|number| format!("order {number}\n")).collect();
    call(&["publish", "orders"], &lines);
    assert_eq!(call(&["read", "orders"], "").lines().count(), 300);
    let measured = call(&["bench", "publish", "--warm-up", "0s", "--duration", "500ms", "--verify"], "");
    assert!(measured.contains("PASSED"), "{measured}");
    let nameless = run(&["--server", &server, "--tls-ca", &ca, "--timeout", "3s", "status"]);
    let said = String::from_utf8_lossy(&nameless.stderr).into_owned();
    assert!(said.contains("asks for a client certificate"), "{said}");
}

#[test]
fn half_an_authority_is_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().display().to_string();
    let make = ["certificates", "--folder", &keys, "--cluster", "blue", "--nodes", "1"];
    stdout_of(&run(&make));
    for (kept, moved) in [("ca.pem", "ca.key"), ("ca.key", "ca.pem")] {
        let [kept, moved, away] = [kept, moved, "elsewhere"].map(|name| folder.path().join(name));
        std::fs::rename(&moved, &away).expect("moved");
        let before = std::fs::read(&kept).expect("there");
        let output = run(&make);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{} is not", moved.display())), "{said}");
        assert_eq!(std::fs::read(&kept).expect("there"), before);
        assert!(!moved.exists(), "nothing is made in its place");
        std::fs::rename(&away, &moved).expect("moved back");
    }
}

#[tokio::test]
async fn clients_and_listeners_that_do_not_fit_say_so() {
    let lone = Lone::new();
    let ours = Authority::new(lone.folder.path(), "ours");
    let theirs = Authority::new(lone.folder.path(), "theirs");
    let server = lone.serve(&ours.node(1, "lone").section(&ours.ca));
    lone.ready();
    let address = lone.address(0);
    let client = Client::connect(config(&address).with_tls(tls(&ours.ca, None))).await.expect("let in");
    client.admin().create_topic(NewTopic::new("t", 1)).await.expect("created");
    publish(&client, "t").await;

    let why = refusal(tls(&theirs.ca, None), &address).await;
    assert!(why.contains("the node's certificate is refused"), "{why}");
    let begun = Instant::now();
    let plaintext = Client::connect(config(&address).with_operation_timeout(Duration::from_secs(2))).await;
    let why = match plaintext {
        Err(error) => error.to_string(),
        Ok(client) => {
            client.admin().list_topics("default", "default").await.expect_err("refused").to_string()
        }
    };
    assert!(begun.elapsed() < IN_TIME && why.contains("speaks TLS only"), "{why}");
    publish(&client, "t").await;
    assert_eq!(server.stop(), Some(0));

    let plain = Lone::new();
    let _server = plain.serve("");
    plain.ready();
    let why = refusal(tls(&ours.ca, None), &plain.address(0)).await;
    assert!(why.contains("does not speak TLS"), "{why}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_either_side() {
    let lone = Lone::new();
    let ours = Authority::new(lone.folder.path(), "ours");
    let old = ours.sign("old", &["127.0.0.1", "node-1.lone.meridian"], true);
    let server = lone.serve(&old.section(&ours.ca));
    lone.ready();
    let why = refusal(tls(&ours.ca, None), &lone.address(0)).await;
    assert!(why.contains("expired"), "{why}");
    drop(server);

    let asking = Lone::new();
    let section = ours.node(1, "lone").section(&ours.ca) + "client_certificates = \"required\"\n";
    let _server = asking.serve(&section);
    asking.ready();
    let valid = ours.sign("shop", &["shop.example"], false);
    Client::connect(config(&asking.address(0)).with_tls(tls(&ours.ca, Some(&valid)))).await.expect("let in");
    let expired = ours.sign("late", &["shop.example"], true);
    let why = refusal(tls(&ours.ca, Some(&expired)), &asking.address(0)).await;
    assert!(why.contains("CertificateExpired"), "{why}");
    let foreign = Authority::new(lone.folder.path(), "theirs").sign("shop", &["shop.example"], false);
    let why = refusal(tls(&ours.ca, Some(&foreign)), &asking.address(0)).await;
    assert!(why.contains("refused this client's certificate"), "{why}");
    let why = refusal(tls(&ours.ca, None), &asking.address(0)).await;
    assert!(why.contains("none was given"), "{why}");
}

#[tokio::test]
async fn only_nodes_of_this_cluster_reach_the_raft_listener() {
    let lone = Lone::new();
    let ours = Authority::new(lone.folder.path(), "ours");
    let server = lone.serve(&ours.node(1, "lone").section(&ours.ca));
    lone.ready();
    let raft = lone.address(1);
    let shop = ours.sign("shop", &["shop.example"], false);
    let foreign = ours.node(2, "other");
    let stranger = Authority::new(lone.folder.path(), "theirs").node(2, "lone");
    for (who, shown, what) in [
        ("a client", Some(&shop), "AccessDenied"),
        ("a node of another cluster", Some(&foreign), "AccessDenied"),
        ("a node of another authority", Some(&stranger), "refused this client's certificate"),
        ("nobody", None, "none was given"),
    ] {
        let why = refusal(tls(&ours.ca, shown), &raft).await;
        assert!(why.contains(what), "{who}: {why}");
    }
    assert!(server.says("connection refused").contains("names no node of cluster"));

    // A node of this cluster comes in, but speaks for itself only.
    let second = ours.node(2, "lone");
    let channel = tls(&ours.ca, Some(&second)).connect(raft).await.expect("let in");
    let hello = |from_node| Hello { from_node, to_node: 1, cluster_id: vec![].into(), protocol_version: 1 };
    let status = say(channel.clone(), hello(3)).await.expect_err("refused");
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status:?}");
    assert!(status.message().contains("your certificate says node-2"), "{status:?}");
    say(channel, hello(2)).await.expect("heard");
}

async fn say(channel: Channel, hello: Hello) -> Result<(), tonic::Status> {
    let first = ExchangeRequest { hello: Some(hello), ..Default::default() };
    let rest = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    let mut client = PeerServiceClient::new(channel);
    let said = client.exchange(rest);
    tokio::time::timeout(IN_TIME, said).await.expect("in time").map(|_| ())
}

#[test]
fn a_node_does_not_start_with_the_certificate_of_another_or_broken_files() {
    let lone = Lone::new();
    let ours = Authority::new(lone.folder.path(), "ours");
    let second = ours.node(2, "lone");
    let mixed = Shown { key: ours.node(3, "lone").key, ..ours.node(1, "lone") };
    let swapped = Shown { certificate: second.key.clone(), key: second.key.clone() };
    for (shown, what) in [
        (&second, "node-1.lone.meridian is needed"),
        (&ours.node(1, "other"), "node-1.lone.meridian is needed"),
        (&mixed, "tls:"),
        (&swapped, "tls.certificate"),
        (&ours.files("nowhere"), "tls.certificate"),
    ] {
        let begun = Instant::now();
        let output = run(&["serve", "--config", &lone.config(1, "lone", &shown.section(&ours.ca))]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(what), "{what}: {said}");
        assert!(begun.elapsed() < IN_TIME);
    }
}

#[tokio::test]
async fn new_certificates_are_met_by_new_connections_and_broken_ones_by_nobody() {
    let lone = Lone::new();
    let ours = Authority::new(lone.folder.path(), "ours");
    let next = Authority::new(lone.folder.path(), "next");
    let shown = ours.node(1, "lone");
    let server = lone.serve(&shown.section(&ours.ca));
    lone.ready();
    let address = lone.address(0);
    let before = Client::connect(config(&address).with_tls(tls(&ours.ca, None))).await.expect("let in");
    before.admin().create_topic(NewTopic::new("t", 1)).await.expect("created");

    std::fs::write(&shown.certificate, "no certificate").expect("written");
    server.says("CANNOT BE USED");
    Client::connect(config(&address).with_tls(tls(&ours.ca, None)))
        .await
        .expect("the old one is still shown");

    let replaced = next.node(1, "lone");
    let old_ca = lone.folder.path().join("old-ca.pem");
    std::fs::copy(&ours.ca, &old_ca).expect("copied");
    std::fs::copy(&next.ca, &ours.ca).expect("copied");
    std::fs::copy(&replaced.key, &shown.key).expect("copied");
    std::fs::copy(&replaced.certificate, &shown.certificate).expect("copied");
    server.says("new certificates");
    let after = Client::connect(config(&address).with_tls(tls(&next.ca, None))).await.expect("let in");
    publish(&after, "t").await;
    publish(&before, "t").await;
    let refused = Client::connect(config(&address).with_tls(tls(&old_ca, None))).await;
    assert!(matches!(refused, Err(Error::Connect { .. })), "{refused:?}");
}

#[test]
fn plaintext_stays_on_this_machine_unless_told_otherwise() {
    let lone = Lone::new();
    let path = lone.config(1, "lone", "");
    let beyond = |more: &str| {
        let text = std::fs::read_to_string(&path).expect("written before");
        let raft = format!("raft = \"{}\"\nmetrics", lone.address(1));
        let changed = text.replace(&raft, &format!("{more}raft = \"0.0.0.0:{}\"\nmetrics", lone.port + 1));
        assert_ne!(changed, text);
        let path = lone.folder.path().join("beyond.toml");
        std::fs::write(&path, changed).expect("written");
        path.display().to_string()
    };
    let output = run(&["serve", "--config", &beyond("")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for words in ["listen.raft", "plaintext_beyond_loopback = true", "meridian certificates", "[tls]"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let server = Server::start(&["serve", "--config", &beyond("plaintext_beyond_loopback = true\n")]);
    server.says("listening");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn operators_are_served_where_they_listen_and_only_there() {
    let lone = Lone::new();
    let path = lone.config(1, "lone", "");
    let text = std::fs::read_to_string(&path).expect("written before");
    let admin = lone.address(3);
    std::fs::write(&path, text.replace("[listen]", &format!("[listen]\nadmin = \"{admin}\"")))
        .expect("written");
    let _server = Server::start(&["serve", "--config", &path]);
    assert_eq!(lone.ready()["admin"], admin.as_str());
    stdout_of(&run(&["--server", &admin, "topic", "create", "t"]));
    let elsewhere = run(&["--server", &lone.address(0), "--timeout", "3s", "topic", "create", "u"]);
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    stdout_of(&run_with(&["--server", &lone.address(0), "publish", "t"], b"hello\n"));
    assert_eq!(stdout_of(&run(&["--server", &lone.address(0), "read", "t"])), "hello\n");
}
