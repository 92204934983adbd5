//! From `.proto` to Rust, without a protoc on the machine. The result is committed, so builds need neither.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use prost::Message;

/// What clients speak: server reflection tells of these.
const PUBLIC: [&str; 6] = [
    "meridian/v1/error.proto",
    "meridian/v1/metadata.proto",
    "meridian/v1/publish.proto",
    "meridian/v1/read.proto",
    "meridian/v1/subscribe.proto",
    "meridian/admin/v1/admin.proto",
];
/// What only nodes speak, among themselves.
const INTERNAL: &str = "meridian/internal/v1/peer.proto";

/// Writes `proto/src/generated`, or compares it with what would be written.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let target = root.join("src/generated");
    let fresh = root.join("../target/codegen");
    fs::create_dir_all(&fresh)?;
    let public = protox::compile(PUBLIC, [&root]).context("compile the .proto files")?;
    fs::write(fresh.join("descriptors.bin"), public.encode_to_vec())?;
    let all = PUBLIC.into_iter().chain([INTERNAL]);
    let descriptors = protox::compile(all, [&root]).context("compile the .proto files")?;
    // Maps in key order: the same message is always the same bytes.
    let configured = tonic_prost_build::configure().bytes(".").btree_map(".").out_dir(&fresh);
    configured.compile_fds(descriptors).context("generate")?;
    let mut stale = Vec::new();
    for entry in fs::read_dir(&fresh)? {
        let from = entry?.path();
        let to = target.join(from.file_name().context("a file name")?);
        if !same(&from, &to) {
            stale.push(to.display().to_string());
            if !check {
                fs::create_dir_all(&target)?;
                fs::copy(&from, &to)?;
            }
        }
    }
    match check && !stale.is_empty() {
        true => bail!("stale, run `cargo xtask codegen`: {}", stale.join(", ")),
        false => Ok(()),
    }
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b)
}
