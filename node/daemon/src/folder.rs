//! The data folder: whose it is, which format it has, and what happens when it is damaged.

mod aside;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use meridian_model::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

use aside::{finish_quarantine, forget, quarantine_number};
pub use aside::{is_rejoining, new_quarantine, note_rejoining, quarantines, replaced_through};

/// The format this build writes.
pub const FORMAT: u32 = 1;
const IDENTITY: &str = "meridian.json";
const CONDEMNED: &str = "CONDEMNED";

/// What `meridian.json` in the data folder says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The disk format.
    pub format: u32,
    /// The node whose folder this is.
    pub node: NodeId,
    /// The cluster it belongs to, by name.
    pub cluster: String,
    /// This life of the folder.
    pub incarnation: String,
    /// Damaged data was set aside: this life may join the cluster, but never found one, or a region whose
    /// disks were all damaged would silently begin anew.
    #[serde(default)]
    pub may_only_join: bool,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop that one first")]
    InUse(PathBuf),
    /// It belongs to another node.
    #[error("{path} belongs to {owner}, not to {asked}; check node.data and node.id")]
    OtherNode {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: NodeId,
        /// Who asked.
        asked: NodeId,
    },
    /// It belongs to another cluster.
    #[error("{path} belongs to cluster {owner:?}, not to {asked:?}; check node.data and cluster.name")]
    OtherCluster {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who asked.
        asked: String,
    },
    /// A newer build wrote it.
    #[error("{path} has format {format}, this build knows {FORMAT}; use a newer build")]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// There is nothing of that name to put back.
    #[error("{0} holds no identity and engine that could be put back; `meridian recover` lists what does")]
    NothingToRestore(PathBuf),
    /// The cluster has given this node new copies.
    #[error(
        "{0} has asked the cluster for new copies, and its old ones do not vote any more: what is set aside here \
         cannot be put back"
    )]
    Replaced(PathBuf),
    /// Its identity file is damaged.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The file system refused.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A data folder that is ours, locked against others while it lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    incarnation: Incarnation,
    may_only_join: bool,
    _lock: File,
}

impl DataFolder {
    /// Opens the folder of `node`, or makes it, with an incarnation drawn by `draw`.
    pub fn open(
        path: &Path,
        node: NodeId,
        cluster: &str,
        draw: impl FnOnce() -> u128,
    ) -> Result<Self, FolderError> {
        let io = |error| FolderError::Io { path: path.to_path_buf(), error };
        fs::create_dir_all(path).map_err(io)?;
        let lock = lock(path)?;
        let file = path.join(IDENTITY);
        let (incarnation, may_only_join) = match fs::read(&file) {
            Ok(bytes) => check(&file, &bytes, node, cluster)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let had_a_life = finish_quarantine(path).map_err(io)?;
                (found(path, node, cluster, Incarnation::from_u128(draw()), had_a_life)?, had_a_life)
            }
            Err(error) => return Err(io(error)),
        };
        Ok(Self { path: path.to_path_buf(), incarnation, may_only_join, _lock: lock })
    }

    /// This life of the folder.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether this life may join a cluster but never found one.
    pub fn may_only_join(&self) -> bool {
        self.may_only_join
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine lives.
    pub fn engine(&self) -> PathBuf {
        self.path.join("engine")
    }

    /// Sets damaged data aside, never deletes it, and begins another life with an empty engine.
    pub fn quarantine(
        &mut self,
        node: NodeId,
        cluster: &str,
        draw: impl FnOnce() -> u128,
    ) -> Result<PathBuf, FolderError> {
        let io = |error| FolderError::Io { path: self.path.clone(), error };
        let aside = new_quarantine(&self.path).map_err(io)?;
        self.set_aside(&aside).map_err(io)?;
        self.incarnation = found(&self.path, node, cluster, Incarnation::from_u128(draw()), true)?;
        self.may_only_join = true;
        forget(&self.path.join(CONDEMNED)).map_err(io)?;
        Ok(aside)
    }

    /// Puts back what `name` holds: an identity and an engine that were set aside. What is here now is set aside
    /// in its place. Refused once this life has asked the cluster for new copies.
    pub fn restore(&mut self, name: &str) -> Result<PathBuf, FolderError> {
        let io = |error| FolderError::Io { path: self.path.clone(), error };
        let from = self.path.join(name);
        let whole = from.join(IDENTITY).exists() && from.join("engine").exists();
        if quarantine_number(name.as_ref()).is_none() || !whole {
            return Err(FolderError::NothingToRestore(from));
        }
        if quarantine_number(name.as_ref()) <= replaced_through(&self.path) {
            return Err(FolderError::Replaced(self.path.clone()));
        }
        let aside = new_quarantine(&self.path).map_err(io)?;
        self.set_aside(&aside).map_err(io)?;
        // The identity comes last: a crash before it leaves everything to be put back once more.
        fs::rename(from.join("engine"), self.engine()).map_err(io)?;
        fs::rename(from.join(IDENTITY), self.path.join(IDENTITY)).map_err(io)?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(io)?;
        Ok(aside)
    }

    /// The identity goes first: whoever opens the folder after a crash in between goes on with this.
    fn set_aside(&self, aside: &Path) -> io::Result<()> {
        fs::rename(self.path.join(IDENTITY), aside.join(IDENTITY))?;
        if self.engine().exists() {
            fs::rename(self.engine(), aside.join("engine"))?;
        }
        Ok(())
    }

    /// Marks the data as not to be trusted at the next start.
    pub fn condemn(path: &Path, why: &str) -> io::Result<()> {
        fs::write(path.join(CONDEMNED), format!("{why}\n"))?;
        File::open(path)?.sync_all()
    }

    /// Whether a running node found damage before, and which. The mark stays until the data is set aside.
    pub fn condemned(&self) -> Option<String> {
        let why = fs::read_to_string(self.path.join(CONDEMNED)).ok()?;
        Some(why.trim().to_string())
    }
}

fn lock(path: &Path) -> Result<File, FolderError> {
    let io = |error| FolderError::Io { path: path.to_path_buf(), error };
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.join("lock")).map_err(io)?;
    #[allow(unsafe_code)]
    // SAFETY: flock on a descriptor that we own and that lives as long as the call.
    let taken = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0;
    match taken {
        true => Ok(lock),
        false => Err(FolderError::InUse(path.to_path_buf())),
    }
}

fn found(
    path: &Path,
    node: NodeId,
    cluster: &str,
    incarnation: Incarnation,
    may_only_join: bool,
) -> Result<Incarnation, FolderError> {
    let io = |error| FolderError::Io { path: path.to_path_buf(), error };
    let (cluster, life) = (cluster.to_string(), incarnation.to_string());
    let identity = Identity { format: FORMAT, node, cluster, incarnation: life, may_only_join };
    let text = serde_json::to_vec_pretty(&identity).map_err(|error| io(error.into()))?;
    let temporary = path.join("meridian.json.new");
    fs::write(&temporary, text).map_err(io)?;
    File::open(&temporary).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&temporary, path.join(IDENTITY)).map_err(io)?;
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(incarnation)
}

fn check(file: &Path, bytes: &[u8], node: NodeId, cluster: &str) -> Result<(Incarnation, bool), FolderError> {
    let path = file.to_path_buf();
    let damaged = |why: String| FolderError::Damaged { path: path.clone(), why };
    // The format is looked at before the rest: a newer one may have other fields.
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    let format =
        value.get("format").and_then(serde_json::Value::as_u64).ok_or_else(|| damaged("no format".into()))?;
    if format > u64::from(FORMAT) {
        return Err(FolderError::NewerFormat { path, format: format as u32 });
    }
    let identity: Identity = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    if identity.node != node {
        return Err(FolderError::OtherNode { path, owner: identity.node, asked: node });
    }
    if identity.cluster != cluster {
        return Err(FolderError::OtherCluster { path, owner: identity.cluster, asked: cluster.into() });
    }
    let number =
        u128::from_str_radix(&identity.incarnation, 16).map_err(|error| damaged(error.to_string()))?;
    Ok((Incarnation::from_u128(number), identity.may_only_join))
}

#[cfg(test)]
mod tests {
    use super::*;

    const N1: NodeId = NodeId(1);

    #[test]
    fn a_folder_keeps_its_incarnation_and_its_owner() {
        let temp = tempfile::tempdir().expect("a folder");
        let first = DataFolder::open(temp.path(), N1, "c", || 7).expect("opens");
        assert!(matches!(DataFolder::open(temp.path(), N1, "c", || 8), Err(FolderError::InUse(_))));
        drop(first);
        let again = DataFolder::open(temp.path(), N1, "c", || 8).expect("opens");
        assert_eq!(again.incarnation(), Incarnation::from_u128(7));
        drop(again);
        let other = DataFolder::open(temp.path(), NodeId(2), "c", || 8);
        assert!(matches!(other, Err(FolderError::OtherNode { .. })));
        let other = DataFolder::open(temp.path(), N1, "d", || 8);
        assert!(matches!(other, Err(FolderError::OtherCluster { .. })));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let temp = tempfile::tempdir().expect("a folder");
        fs::write(temp.path().join(IDENTITY), r#"{"format": 99, "surprise": true}"#).expect("writes");
        let refused = DataFolder::open(temp.path(), N1, "c", || 8);
        assert!(matches!(refused, Err(FolderError::NewerFormat { format: 99, .. })));
    }

    #[test]
    fn quarantine_begins_another_life_and_deletes_nothing() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut folder = DataFolder::open(temp.path(), N1, "c", || 7).expect("opens");
        fs::create_dir(folder.engine()).expect("makes");
        fs::write(folder.engine().join("data"), "x").expect("writes");
        let aside = folder.quarantine(N1, "c", || 9).expect("moves");
        assert!(aside.join("engine/data").exists());
        assert!(!folder.engine().exists());
        assert_eq!(folder.incarnation(), Incarnation::from_u128(9));
        drop(folder);
        let again = DataFolder::open(temp.path(), N1, "c", || 8).expect("opens");
        assert!(again.may_only_join(), "a life after damage never founds a cluster");
    }

    #[test]
    fn what_was_set_aside_can_be_put_back_until_the_cluster_was_asked_for_copies() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut folder = DataFolder::open(temp.path(), N1, "c", || 7).expect("opens");
        fs::create_dir(folder.engine()).expect("makes");
        fs::write(folder.engine().join("data"), "old").expect("writes");
        folder.quarantine(N1, "c", || 9).expect("moves");
        fs::create_dir(folder.engine()).expect("makes");
        assert!(matches!(folder.restore("quarantine-2"), Err(FolderError::NothingToRestore(_))));
        assert!(matches!(folder.restore("../elsewhere"), Err(FolderError::NothingToRestore(_))));
        note_rejoining(temp.path()).expect("notes");
        assert!(matches!(folder.restore("quarantine-1"), Err(FolderError::Replaced(_))));
        fs::remove_file(temp.path().join(aside::REJOINING)).expect("forgets");
        let aside = folder.restore("quarantine-1").expect("puts back");
        assert!(aside.join(IDENTITY).exists(), "the life in between is kept, too");
        assert_eq!(fs::read_to_string(folder.engine().join("data")).expect("reads"), "old");
        drop(folder);
        let again = DataFolder::open(temp.path(), N1, "c", || 8).expect("opens");
        assert_eq!((again.incarnation(), again.may_only_join()), (Incarnation::from_u128(7), false));
    }

    /// A folder with an engine, and a mark that its data is damaged.
    fn condemned(path: &Path) -> DataFolder {
        let folder = DataFolder::open(path, N1, "c", || 7).expect("opens");
        fs::create_dir(folder.engine()).expect("makes");
        fs::write(folder.engine().join("data"), "damaged").expect("writes");
        DataFolder::condemn(path, "a bit").expect("marks");
        folder
    }

    #[test]
    fn a_quarantine_that_was_interrupted_is_finished_and_its_life_never_founds() {
        for steps in 1..=3 {
            let temp = tempfile::tempdir().expect("a folder");
            let folder = condemned(temp.path());
            assert_eq!(folder.condemned().as_deref(), Some("a bit"), "until it is set aside");
            let aside = new_quarantine(temp.path()).expect("makes");
            if steps > 1 {
                fs::rename(temp.path().join(IDENTITY), aside.join(IDENTITY)).expect("moves");
            }
            if steps > 2 {
                fs::rename(folder.engine(), aside.join("engine")).expect("moves");
            }
            drop(folder);
            let again = DataFolder::open(temp.path(), N1, "c", || 9).expect("opens");
            if steps == 1 {
                assert_eq!(again.condemned().as_deref(), Some("a bit"), "nothing was moved yet");
                continue;
            }
            assert!(again.may_only_join() && again.condemned().is_none(), "after {steps} steps");
            assert!(aside.join("engine/data").exists() && !again.engine().exists(), "after {steps} steps");
            assert_eq!(again.incarnation(), Incarnation::from_u128(9));
        }
    }

    #[test]
    fn a_life_that_was_replaced_is_not_put_back_also_when_the_next_one_is_set_aside() {
        let temp = tempfile::tempdir().expect("a folder");
        let mut folder = condemned(temp.path());
        folder.quarantine(N1, "c", || 9).expect("moves");
        note_rejoining(temp.path()).expect("notes");
        fs::create_dir(folder.engine()).expect("makes");
        folder.quarantine(N1, "c", || 10).expect("moves");
        assert!(!is_rejoining(temp.path()), "the second life was not replaced");
        assert!(matches!(folder.restore("quarantine-1"), Err(FolderError::Replaced(_))));
        folder.restore("quarantine-2").expect("puts back");
        assert_eq!(folder.path(), temp.path());
    }
}
