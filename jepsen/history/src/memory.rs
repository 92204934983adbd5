//! A history kept in memory, for simulations that check themselves at the end of a run.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use crate::reader::{History, ReadError};

/// A growing buffer that many handles share; give one to a recorder and read from another.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Memory {
    /// What has been written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has been written so far, parsed.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn history(&self) -> Result<History, ReadError> {
        History::read(self.bytes().as_slice())
    }
}

impl Write for Memory {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
