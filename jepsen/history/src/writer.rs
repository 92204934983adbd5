//! Writes a history, a line at a time, each flushed before the next begins.

use std::io::{self, Write};

use crate::{
    line::{End, Header, LineRef},
    op::Op,
};

/// Appends lines to any [`Write`].
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    ops: u64,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Writes the header and is ready for operations.
    ///
    /// # Errors
    /// Whatever the underlying writer reports.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, ops: 0, line: Vec::new() };
        writer.put(&LineRef::Header(header))?;
        Ok(writer)
    }

    /// Writes one operation.
    ///
    /// # Errors
    /// Whatever the underlying writer reports.
    pub fn op(&mut self, op: &Op) -> io::Result<()> {
        self.put(&LineRef::Op(op))?;
        self.ops += 1;
        Ok(())
    }

    /// Writes the end line and gives the underlying writer back, with the number of operations written.
    ///
    /// # Errors
    /// Whatever the underlying writer reports.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.put(&LineRef::End(End { ops: self.ops }))?;
        Ok((self.out, self.ops))
    }

    fn put(&mut self, line: &LineRef<'_>) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line)?;
        self.line.push(b'\n');
        self.out.write_all(&self.line)?;
        self.out.flush()
    }
}
