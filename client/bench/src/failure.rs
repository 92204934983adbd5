//! How a measurement fails.

use meridian_cli::{Failure, Output};
use meridian_sdk::Error;
use serde_json::json;

/// Why there is no result, or none to be content with.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The cluster, or the way to it.
    #[error(transparent)]
    Client(#[from] Error),
    /// Something on this machine.
    #[error("{0}")]
    Local(String),
    /// An option makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Messages failed, or were read back otherwise than they were acknowledged. The report says which.
    #[error("{0}")]
    Unsound(String),
}

/// Only for connecting, as the other commands do.
impl From<Failure> for BenchError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Client(error) => BenchError::Client(error),
            Failure::Local { message, hint } | Failure::TooSlow { message, hint } => {
                BenchError::Usage(format!("{message}; {hint}"))
            }
            Failure::OutputClosed => BenchError::Local("the output is closed".into()),
        }
    }
}

impl BenchError {
    /// 1 failed, 2 wrong argument, 3 the cluster is unavailable.
    pub fn exit_code(&self) -> u8 {
        match self {
            BenchError::Client(error) if error.is_unavailable() => 3,
            BenchError::Client(error) if error.reason() == "INVALID_ARGUMENT" => 2,
            BenchError::Usage(_) => 2,
            BenchError::Client(_) | BenchError::Local(_) | BenchError::Unsound(_) => 1,
        }
    }

    fn hint(&self) -> String {
        match self {
            BenchError::Client(error) => error.hint(),
            BenchError::Local(_) => "see that the folder exists, can be written, and has room".into(),
            BenchError::Usage(_) => "see --help".into(),
            BenchError::Unsound(_) => {
                "the report above has the counts; --keep leaves the topic for a look".into()
            }
        }
    }

    /// To the second stream, as the other commands do.
    pub(crate) fn print(&self, output: Output) {
        let reason = match self {
            BenchError::Client(error) => error.reason(),
            BenchError::Local(_) => "LOCAL",
            BenchError::Usage(_) => "INVALID_ARGUMENT",
            BenchError::Unsound(_) => "UNSOUND",
        };
        match output {
            Output::Human => eprintln!("error: {self}\nhint: {}", self.hint()),
            Output::Json => {
                let error = json!({ "reason": reason, "message": self.to_string(), "hint": self.hint() });
                eprintln!("{}", json!({ "error": error }));
            }
        }
    }
}

/// Something on this machine that went wrong while doing `what`.
pub(crate) fn local(what: &str) -> impl Fn(std::io::Error) -> BenchError {
    let what = what.to_string();
    move |error| BenchError::Local(format!("cannot {what}: {error}"))
}
