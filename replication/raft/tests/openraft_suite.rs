//! openraft's own storage suite, on the simulated engine and on RocksDB.

use std::sync::Arc;

use meridian_model::{GroupId, LogId};
use meridian_raft::log_store::{LogStore, TailBudget};
use meridian_raft::machine_store::MachineStore;
use meridian_raft::types::TypeConfig;
use meridian_storage::rocks::RocksOptions;
use meridian_storage::{Disk, Engine, MemoryEngine, RocksEngine, Writer};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

const GROUP: GroupId = GroupId(7);

async fn stores(disk: Disk) -> (LogStore, MachineStore) {
    let (writer, handle) = Writer::new(Arc::clone(disk.engine()));
    tokio::spawn(writer.run());
    let log = LogStore::open(GROUP, handle.clone(), disk.clone(), TailBudget::new(0)).expect("opens");
    let machine =
        MachineStore::open(GROUP, LogId::from_u128(1), handle, disk, log.clone()).await.expect("opens");
    (log, machine.with_untrimmed_snapshots())
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, MachineStore, ()> for InMemory {
    async fn build(&self) -> Result<((), LogStore, MachineStore), StorageError<TypeConfig>> {
        let (log, machine) = stores(Disk::inline(Arc::new(MemoryEngine::default()))).await;
        Ok(((), log, machine))
    }
}

struct OnRocks;

impl StoreBuilder<TypeConfig, LogStore, MachineStore, tempfile::TempDir> for OnRocks {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, MachineStore), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().expect("a folder");
        let engine: Arc<dyn Engine> =
            Arc::new(RocksEngine::open(folder.path(), &RocksOptions::default()).expect("opens"));
        let (log, machine) = stores(Disk::pooled(engine)).await;
        Ok((folder, log, machine))
    }
}

#[tokio::test]
async fn the_simulated_engine_passes_the_suite() {
    Suite::test_all(InMemory).await.expect("the suite passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn rocksdb_passes_the_suite() {
    Suite::test_all(OnRocks).await.expect("the suite passes");
}
