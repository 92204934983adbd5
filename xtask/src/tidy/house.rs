//! The files of the repository, and the crates they make.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use toml::{Table, Value};

/// Every text file that is, or is about to be, committed.
pub(crate) struct House {
    /// Path from the root, with `/`, to text.
    files: BTreeMap<String, String>,
    crates: Vec<Crate>,
}

/// A crate of the workspace.
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Its folder, from the root.
    pub(crate) folder: String,
    pub(crate) manifest: Table,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line of a manifest that names another crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Only for tests and examples.
    pub(crate) dev: bool,
}

/// The folder of the workspace: as cargo says now, or as it was when this was compiled.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let own = Path::new(&own);
    own.parent().unwrap_or(own).to_path_buf()
}

impl House {
    /// Reads what git knows or would add. Files that are no text are left out.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        // A clone that belongs to somebody else, as in a container, is as good as one's own.
        let listed = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("run git ls-files")?;
        let why = || String::from_utf8_lossy(&listed.stderr).trim().to_string();
        anyhow::ensure!(listed.status.success(), "tidy looks at what git knows: {}", why());
        let names = String::from_utf8(listed.stdout).context("a file name that is not UTF-8")?;
        let paths = names.split('\0').filter(|path| !path.is_empty());
        // A file that was deleted but not yet committed as such cannot be read either.
        let texts =
            paths.filter_map(|path| Some((path.to_string(), fs::read_to_string(root.join(path)).ok()?)));
        Self::of(texts.collect())
    }

    fn of(files: BTreeMap<String, String>) -> Result<Self> {
        let mut crates = Vec::new();
        for (path, text) in files.iter().filter(|(path, _)| is_manifest(path)) {
            let manifest: Table = toml::from_str(text).with_context(|| format!("parse {path}"))?;
            crates.extend(Crate::of(path, manifest));
        }
        Ok(Self { files, crates })
    }

    /// A house of made-up files, for the tests of the rules.
    #[cfg(test)]
    pub(crate) fn made_of<const N: usize>(files: [(&str, &str); N]) -> Self {
        let files = files.into_iter().map(|(path, text)| (path.into(), text.into()));
        Self::of(files.collect()).expect("a house whose manifests parse")
    }

    /// Paths and texts, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Rust that people write: without what is generated.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files().filter(|(path, _)| path.ends_with(".rs") && !path.contains("/generated/"))
    }

    /// The text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The crates of the workspace, in order of their folders.
    pub(crate) fn crates(&self) -> &[Crate] {
        &self.crates
    }

    /// The first line of a file that contains `needle`; 1 where none does.
    pub(crate) fn line_of(&self, path: &str, needle: &str) -> usize {
        let lines = self.text(path).unwrap_or_default().lines();
        lines.zip(1..).find(|(line, _)| line.contains(needle)).map_or(1, |(_, number)| number)
    }
}

fn is_manifest(path: &str) -> bool {
    path == "Cargo.toml" || path.ends_with("/Cargo.toml")
}

impl Crate {
    /// `None` for a manifest that has no package: the workspace's own.
    fn of(path: &str, manifest: Table) -> Option<Self> {
        let name = manifest.get("package")?.get("name")?.as_str()?.to_string();
        let folder = path.strip_suffix("Cargo.toml")?.trim_end_matches('/').to_string();
        let mut dependencies = Vec::new();
        collect(&manifest, &mut dependencies);
        let targets = manifest.get("target").and_then(Value::as_table);
        for target in targets.into_iter().flat_map(Table::values).filter_map(Value::as_table) {
            collect(target, &mut dependencies);
        }
        Some(Self { name, folder, manifest, dependencies })
    }

    /// Its manifest's path.
    pub(crate) fn manifest_path(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

fn collect(section: &Table, found: &mut Vec<Dependency>) {
    for (kind, dev) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)] {
        let lines = section.get(kind).and_then(Value::as_table);
        for (key, value) in lines.into_iter().flatten() {
            let name = value.get("package").and_then(Value::as_str).unwrap_or(key).to_string();
            found.push(Dependency { name, dev });
        }
    }
}
