//! Where output goes: results to one stream, progress and warnings to the other.

use std::io::{self, BufWriter, IsTerminal, Write};

use serde_json::Value;

use crate::Output;

/// Two streams, and whether a person watches the second.
pub struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Whether progress may be drawn.
    pub(crate) watched: bool,
}

impl Console {
    /// Standard output, buffered, and standard error.
    pub fn standard() -> Self {
        let out = Box::new(BufWriter::with_capacity(64 * 1024, io::stdout()));
        Self { out, err: Box::new(io::stderr()), watched: io::stderr().is_terminal() }
    }

    /// Any two writers; no progress is drawn.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), err: Box::new(err), watched: false }
    }

    /// One result, for people or as one line of JSON.
    pub(crate) fn result(&mut self, output: Output, human: &str, json: &Value) -> io::Result<()> {
        match output {
            Output::Human => writeln!(self.out, "{}", human.trim_end()),
            Output::Json => writeln!(self.out, "{json}"),
        }
    }

    /// Bytes and a line end.
    pub(crate) fn line(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.write_all(b"\n")
    }

    /// Something the reader should know that is no result. Best effort.
    pub(crate) fn warn(&mut self, output: Output, text: &str) {
        let _ = match output {
            Output::Human => writeln!(self.err, "warning: {text}"),
            Output::Json => writeln!(self.err, "{}", serde_json::json!({ "warning": text })),
        };
    }

    /// A line on the second stream. Best effort.
    pub(crate) fn error_line(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    /// Hands buffered results on.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
