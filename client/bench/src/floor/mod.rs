//! `meridian bench floor`: what this machine can do, part by part, without a cluster.

mod disk;
mod loopback;
pub(crate) mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use meridian_cli::GlobalArgs;
use meridian_cli::units::period;
use serde::Serialize;

use crate::failure::local;
use crate::table::Table;
use crate::{BenchError, OpenStore, table, units};
use disk::DiskFloor;
use loopback::LoopbackFloor;
use store::StoreFloor;

pub(crate) const EXAMPLES: &str = "\
Examples:
  meridian bench floor --data /var/lib/meridian            on the disk that nodes will use
  meridian bench floor --data . --paced 30MB               and synced writes at 30 MB/s

A folder is made below --data and deleted afterwards. No cluster is needed; nothing else should run.";

/// Options of `bench floor`.
#[derive(Clone, Debug, Args)]
pub struct FloorArgs {
    /// A folder on the disk to measure
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// How long each part is measured
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = period)]
    duration: Duration,
    /// Bytes of one synced write of the storage engine; repeatable
    #[arg(long, default_values = ["128KiB", "512KiB", "1MiB"], value_name = "BYTES", value_parser = units::size)]
    batch: Vec<usize>,
    /// Also write synced at this many bytes a second, on a schedule
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    paced: Option<usize>,
    /// Bytes of one write on that schedule
    #[arg(long, default_value = "128KiB", value_name = "BYTES", value_parser = units::size)]
    paced_batch: usize,
    /// How long the schedule is
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = period)]
    paced_duration: Duration,
}

/// All parts.
#[derive(Debug, Serialize)]
struct FloorReport {
    disk: DiskFloor,
    loopback: LoopbackFloor,
    /// As fast as possible, for each size of write.
    store: Vec<StoreFloor>,
    paced: Option<StoreFloor>,
}

/// A folder that is gone afterwards, however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn below(data: &Path) -> Result<Self, BenchError> {
        let folder = data.join(format!("bench-floor-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(local(&format!("make {}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be deleted stays and is named after a process that is gone.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) async fn run(
    args: FloorArgs,
    global: &GlobalArgs,
    open_store: OpenStore,
) -> Result<(), BenchError> {
    let loopback = loopback::measure(args.duration).await?;
    let measured = tokio::task::spawn_blocking(move || -> Result<_, BenchError> {
        let scratch = Scratch::below(&args.data)?;
        let disk = disk::measure(&scratch.0, args.duration)?;
        let mut store = Vec::new();
        for (number, batch) in args.batch.iter().enumerate() {
            let folder = scratch.0.join(format!("store-{number}"));
            store.push(store::fastest(open_store, &folder, *batch, args.duration)?);
        }
        let folder = scratch.0.join("store-paced");
        let paced = args
            .paced
            .map(|rate| store::paced(open_store, &folder, args.paced_batch, rate, args.paced_duration));
        Ok((disk, store, paced.transpose()?))
    });
    let (disk, store, paced) = measured.await.map_err(|error| BenchError::Local(error.to_string()))??;
    let report = FloorReport { disk, loopback, store, paced };
    table::print(global.output, &report.table(), &report)
}

impl FloorReport {
    fn table(&self) -> Table {
        let mut table = Table::default();
        table.row("4 KiB appended, fdatasync", self.disk.append_sync.in_words());
        table.row("4 KiB overwritten, fdatasync", self.disk.overwrite_sync.in_words());
        table.row("sequential write, 1 MiB each", format!("{:.0} MB/s", self.disk.write_mb_per_s));
        table.row("loopback gRPC there and back", self.loopback.round_trip.in_words());
        table.row("loopback gRPC stream", format!("{:.0} MB/s", self.loopback.stream_mb_per_s));
        for store in self.store.iter().chain(&self.paced) {
            let how = if store.asked_mb_per_s.is_some() { ", on a schedule" } else { "" };
            table.row(
                format!("storage engine, synced {} KiB{how}", store.batch_bytes / 1024),
                format!("{:.1} MB/s  {}", store.mb_per_s, store.latency.in_words()),
            );
        }
        table
    }
}
