//! A node that is attacked: how much memory it takes, and whether it still serves.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use meridian_proto::v1::publish_service_client::PublishServiceClient;
use meridian_proto::v1::{PlainMessage, PlainMessages, PublishRequest, publish_request};
use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig};
use tonic::transport::Channel;

use crate::process::Server;
use crate::serve::Lone;

/// Attacks are measured one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A node, and what it needed before it was attacked.
pub(crate) struct Victim {
    lone: Lone,
    server: Server,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) kib_before: u64,
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Victim {
    pub(crate) fn new(limits: &str) -> Self {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lone = Lone::new();
        let server = lone.serve(&format!("[limits]\n{limits}\n"));
        lone.ready();
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let mut victim = Self { lone, server, runtime, kib_before: 0, _alone: alone };
        let address = victim.address();
        victim.runtime.block_on(async {
            let client = Client::new(ClientConfig::new([address])).expect("a client");
            client.admin().create_topic(NewTopic::new("t", 1)).await.expect("created");
        });
        let _warm: Vec<_> = (0..20).map(|_| victim.publish()).collect();
        victim.kib_before = victim.kib();
        victim
    }

    pub(crate) fn address(&self) -> String {
        self.lone.address(0)
    }

    /// Memory of the process that is in use, in KiB.
    pub(crate) fn kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Publishes over a connection of its own.
    fn publish(&self) -> Duration {
        let address = self.address();
        let begun = Instant::now();
        let published = self.runtime.block_on(async { client(&address).await.publish(request(5)).await });
        published.expect("published");
        begun.elapsed()
    }

    /// What the attack cost. `others` are connections that must still be there while this is measured.
    pub(crate) fn survives<T>(&self, attack: &str, kib_max: u64, others: T) {
        let grown = self.kib().saturating_sub(self.kib_before);
        let fastest = (0..3).map(|_| self.publish()).min().expect("three");
        drop(others);
        println!("{attack}: memory grew by {grown} KiB of {kib_max}; a publish took {fastest:?}");
        assert!(grown < kib_max, "{attack}: memory grew by {grown} KiB");
        assert!(fastest < Duration::from_secs(1), "{attack}: a publish took {fastest:?}");
    }
}

pub(crate) async fn client(address: &str) -> PublishServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    let channel = endpoint.connect().await.expect("it listens");
    PublishServiceClient::new(channel).max_encoding_message_size(64 << 20)
}

pub(crate) fn request(bytes: usize) -> PublishRequest {
    let message = PlainMessage { body: vec![7; bytes].into(), ..Default::default() };
    let messages = PlainMessages { messages: vec![message] };
    PublishRequest {
        topic: "t".into(),
        payload: Some(publish_request::Payload::Messages(messages)),
        ..Default::default()
    }
}
