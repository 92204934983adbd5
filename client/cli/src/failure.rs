//! How a command fails: in words that say what to do next, or as JSON, with an exit code.

use std::io;

use meridian_sdk::Error;
use serde_json::json;

use crate::{Console, Output};

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The cluster, or the way to it.
    Client(Error),
    /// Something on this machine: a file, a line of input.
    Local {
        /// What.
        message: String,
        /// What to do next.
        hint: String,
    },
    /// It goes on, and was not done in the time given.
    TooSlow {
        /// What is left.
        message: String,
        /// What to do next.
        hint: String,
    },
    /// Whoever read the output has gone; nothing is wrong.
    OutputClosed,
}

impl Failure {
    pub(crate) fn local(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure::Local { message: message.into(), hint: hint.into() }
    }

    /// 1 failed, 2 wrong argument, 3 unavailable or too slow; 0 where the reader of the output has gone.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::OutputClosed => 0,
            Failure::Local { .. } => 1,
            Failure::TooSlow { .. } => 3,
            Failure::Client(error) if error.is_unavailable() => 3,
            Failure::Client(error) if error.reason() == "INVALID_ARGUMENT" => 2,
            Failure::Client(_) => 1,
        }
    }

    /// Prints it to the second stream.
    pub(crate) fn print(&self, output: Output, console: &mut Console) {
        let (reason, message, retryable, hint) = match self {
            Failure::OutputClosed => return,
            Failure::Local { message, hint } => ("LOCAL", message.clone(), false, hint.clone()),
            Failure::TooSlow { message, hint } => ("TOO_SLOW", message.clone(), true, hint.clone()),
            Failure::Client(error) => (error.reason(), error.to_string(), error.retryable(), error.hint()),
        };
        match output {
            Output::Human => {
                console.error_line(&format!("error: {message}"));
                console.error_line(&format!("hint: {hint}"));
            }
            Output::Json => {
                let error =
                    json!({ "reason": reason, "message": message, "retryable": retryable, "hint": hint });
                console.error_line(&json!({ "error": error }).to_string());
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Client(error)
    }
}

/// Only for writing output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::local(format!("cannot write the output: {error}"), "check where the output goes"),
        }
    }
}
