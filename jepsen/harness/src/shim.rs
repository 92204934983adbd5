//! Syncs that lie: a library that is preloaded into nodes, compiled where it is needed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::shell;

/// What the compiler is given.
const SOURCE: &str = include_str!("../shim/lying_sync.c");
/// Names the file whose presence makes syncs lie.
pub(crate) const LIE_FILE: &str = "MERIDIAN_LIE_FILE";

/// Compiles the library into a folder, unless it is there.
///
/// # Errors
/// If there is no C compiler, or it refuses.
pub(crate) fn build(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("liblyingsync.so");
    if !library.exists() {
        let source = folder.join("lying_sync.c");
        std::fs::write(&source, SOURCE)?;
        let (from, to) = (source.to_string_lossy().into_owned(), library.to_string_lossy().into_owned());
        shell::run("cc", &["-shared", "-fPIC", "-O1", "-o", &to, &from, "-ldl"])?;
    }
    Ok(library)
}
