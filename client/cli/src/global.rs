//! What every client command takes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use meridian_sdk::{Client, ClientConfig};

use crate::{Failure, units};

/// Options of all client commands.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// Nodes to begin with, repeatable or separated by commas; any one that answers is enough
    #[arg(
        long,
        global = true,
        env = "MERIDIAN_SERVER",
        value_name = "HOST:PORT",
        value_delimiter = ',',
        default_value = "127.0.0.1:7171"
    )]
    pub server: Vec<String>,
    /// How results and errors are printed
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// How long to try, such as 10s or 2m [default: 30s; for each message of a publish 1m]
    #[arg(long, global = true, value_name = "DURATION", value_parser = units::duration)]
    pub timeout: Option<Duration>,
}

/// For whom output is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// For programs: JSON, one document for each result.
    Json,
}

impl GlobalArgs {
    /// A client that has reached a node.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let mut config = ClientConfig::new(self.server.clone());
        if let Some(timeout) = self.timeout {
            config.operation_timeout = timeout;
            config.attempt_timeout = config.attempt_timeout.min(timeout);
        }
        Ok(Client::connect(config).await?)
    }
}
