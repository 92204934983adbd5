//! Where the examples find their cluster and their topics.

use meridian_sdk::admin::NewTopic;
use meridian_sdk::{Client, ClientConfig, Error, Reason};

/// The cluster at MERIDIAN_SERVER, or on this machine.
pub(crate) async fn connect() -> Result<Client, Error> {
    let server = std::env::var("MERIDIAN_SERVER").unwrap_or_else(|_| "127.0.0.1:7171".into());
    Client::connect(ClientConfig::new(server.split(','))).await
}

/// A topic, made if there is none of that name.
pub(crate) async fn topic(client: &Client, name: &str, partitions: u32) -> Result<(), Error> {
    match client.admin().create_topic(NewTopic::new(name, partitions)).await {
        Err(error) if error.refusal() != Some(Reason::AlreadyExists) => Err(error),
        _ => Ok(()),
    }
}
