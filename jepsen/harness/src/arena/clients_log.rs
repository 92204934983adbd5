//! What the clients' own library says, in the run's folder: half of the evidence when a client hangs.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter};

/// The file of the run under way.
static CURRENT: Mutex<Option<File>> = Mutex::new(None);

/// From now on the clients' log goes there.
pub(super) fn write_to(file: &Path) -> io::Result<()> {
    static INSTALL: Once = Once::new();
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(File::create(file)?);
    INSTALL.call_once(|| {
        let ours = filter::Targets::new().with_target("meridian_sdk", LevelFilter::DEBUG);
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| Current).with_filter(ours);
        // A program that has a subscriber of its own keeps it.
        let _ = tracing_subscriber::registry().with(layer).try_init();
    });
    Ok(())
}

struct Current;

impl Write for Current {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match CURRENT.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(file) => file.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
