//! Reads a history as a stream of operations; every complaint names its line.

use std::io::{self, BufRead};

use crate::{
    line::{Header, Line, SCHEMA, SCHEMA_VERSION, SCHEMA_VERSION_MIN},
    op::Op,
};

/// Why a history could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The underlying reader failed.
    #[error("line {line}: {source}")]
    Io {
        /// Line being read, from one.
        line: u64,
        /// What it reported.
        source: io::Error,
    },
    /// The line is not one this schema knows.
    #[error("line {line}: not a line of a history: {source}")]
    Malformed {
        /// Line being read, from one.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// There is no header, or not where it belongs.
    #[error("line {line}: a history begins with its one header line")]
    Header {
        /// Line being read, from one.
        line: u64,
    },
    /// The header names a schema this crate does not read.
    #[error(
        "line 1: schema {schema} version {version} is not {SCHEMA} version {SCHEMA_VERSION_MIN} to {SCHEMA_VERSION}"
    )]
    Version {
        /// Schema named.
        schema: String,
        /// Version named.
        version: u32,
    },
    /// The end line is not the end, or counts other than what came before it.
    #[error("line {line}: the end line says {said} operations, {read} came before it")]
    Count {
        /// Line of the end.
        line: u64,
        /// Operations it says there are.
        said: u64,
        /// Operations read so far.
        read: u64,
    },
    /// Something follows the end line.
    #[error("line {line}: something follows the end of the history")]
    AfterEnd {
        /// Line of the surplus.
        line: u64,
    },
}

fn is_known(version: u32) -> bool {
    (SCHEMA_VERSION_MIN..=SCHEMA_VERSION).contains(&version)
}

/// Streams the operations of a history.
#[derive(Debug)]
pub struct Reader<R: BufRead> {
    input: R,
    header: Header,
    line: u64,
    ops: u64,
    ended: bool,
    stopped: bool,
    text: String,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If there is none, or its schema or version is not one this crate reads.
    pub fn new(input: R) -> Result<Self, ReadError> {
        let header = Header::default();
        let mut reader =
            Self { input, header, line: 0, ops: 0, ended: false, stopped: false, text: String::new() };
        match reader.next_line()? {
            Some(Line::Header(h)) if h.schema == SCHEMA && is_known(h.version) => reader.header = h,
            Some(Line::Header(h)) => {
                return Err(ReadError::Version { schema: h.schema, version: h.version });
            }
            _ => return Err(ReadError::Header { line: 1 }),
        }
        Ok(reader)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the end line has been read, so that nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.ended
    }

    fn next_line(&mut self) -> Result<Option<Line>, ReadError> {
        loop {
            self.text.clear();
            self.line += 1;
            let line = self.line;
            let read = self.input.read_line(&mut self.text);
            if read.map_err(|source| ReadError::Io { line, source })? == 0 {
                return Ok(None);
            }
            if !self.text.trim().is_empty() {
                let parsed = serde_json::from_str(&self.text);
                return parsed.map(Some).map_err(|source| ReadError::Malformed { line, source });
            }
        }
    }

    fn advance(&mut self) -> Result<Option<Op>, ReadError> {
        let Some(found) = self.next_line()? else { return Ok(None) };
        let line = self.line;
        match found {
            _ if self.ended => Err(ReadError::AfterEnd { line }),
            Line::Header(_) => Err(ReadError::Header { line }),
            Line::Op(op) => {
                self.ops += 1;
                Ok(Some(op))
            }
            Line::End(end) if end.ops != self.ops => {
                Err(ReadError::Count { line, said: end.ops, read: self.ops })
            }
            Line::End(_) => {
                self.ended = true;
                self.advance()
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Op, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let item = self.advance().transpose();
        self.stopped = !matches!(item, Some(Ok(_)));
        item
    }
}

/// A whole history in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// Its header.
    pub header: Header,
    /// Its operations, in the order they were written.
    pub ops: Vec<Op>,
    /// Whether the end line was there; a history cut short proves nothing.
    pub complete: bool,
}

impl History {
    /// A whole history made of these operations.
    pub fn of(ops: Vec<Op>) -> Self {
        Self { header: Header::default(), ops, complete: true }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// The first line that cannot be read. A missing end line is no error: see [`History::complete`].
    pub fn read(input: impl BufRead) -> Result<Self, ReadError> {
        let mut reader = Reader::new(input)?;
        let ops = reader.by_ref().collect::<Result<Vec<_>, _>>()?;
        let complete = reader.is_complete();
        Ok(Self { header: reader.header, ops, complete })
    }
}
