//! What every client command takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use meridian_sdk::{Client, ClientConfig, ClientTls};

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
    /// Speak TLS with nodes whose certificates come from these authorities (PEM)
    #[arg(long, global = true, env = "MERIDIAN_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The certificate to show to nodes that ask for one (PEM)
    #[arg(long, global = true, env = "MERIDIAN_TLS_CERTIFICATE", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, global = true, env = "MERIDIAN_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
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
    ///
    /// # Errors
    /// Where the options do not fit together, and where no node can be reached.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let mut config = ClientConfig::new(self.server.clone());
        if let Some(timeout) = self.timeout {
            config.operation_timeout = timeout;
            config.attempt_timeout = config.attempt_timeout.min(timeout);
        }
        if let Some(tls) = self.tls()? {
            config = config.with_tls(tls);
        }
        Ok(Client::connect(config).await?)
    }

    /// TLS as the options say, if they say anything of it.
    pub fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        let with = |what: &str| {
            let hint = "give --tls-ca, and --tls-certificate together with --tls-key";
            Failure::local(format!("{what} is missing"), hint)
        };
        let shown = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
            (None, None) => None,
            (Some(_), None) => return Err(with("--tls-key")),
            (None, Some(_)) => return Err(with("--tls-certificate")),
        };
        match (&self.tls_ca, shown) {
            (Some(ca), shown) => Ok(Some(ClientTls::from_files(ca, shown)?)),
            (None, Some(_)) => Err(with("--tls-ca")),
            (None, None) => Ok(None),
        }
    }
}
