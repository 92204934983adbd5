//! `meridian recover`: what a stopped node has set aside, and what can be done with it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use meridian_config::Config;
use meridian_daemon::folder::{self, DataFolder, FolderError};
use meridian_model::NodeId;

/// The options of `meridian recover`.
#[derive(clap::Args)]
pub(crate) struct RecoverArgs {
    /// The configuration file of the node, which must not run
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Put back what this folder holds, once you have repaired it: `quarantine-1`
    #[arg(long, value_name = "NAME", conflicts_with = "rejoin")]
    restore: Option<String>,
    /// Do not wait for groups that have no quorum: join with an empty disk, and give up what only this node had
    #[arg(long)]
    rejoin: bool,
}

pub(crate) fn run(args: &RecoverArgs) -> ExitCode {
    let config = match Config::load(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("meridian: {error}");
            return ExitCode::from(2);
        }
    };
    match recover(&config, args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("meridian: {error}");
            ExitCode::FAILURE
        }
    }
}

fn recover(config: &Config, args: &RecoverArgs) -> Result<(), FolderError> {
    let path = config.node.data.as_path();
    let io = |error| FolderError::Io { path: path.to_path_buf(), error };
    if !path.exists() {
        return Err(io(std::io::ErrorKind::NotFound.into()));
    }
    let mut folder =
        DataFolder::open(path, NodeId(config.node.id), &config.cluster.name, super::serve::draw)?;
    if let Some(name) = &args.restore {
        let aside = folder.restore(name)?;
        println!("{name} is put back; what was here lies in {}", aside.display());
        println!("Start the node. If it finds the damage again, it sets the data aside again.");
        return Ok(());
    }
    if args.rejoin {
        folder::note_rejoining(path).map_err(io)?;
        println!("At its next start this node asks the cluster for new copies and waits for nobody.");
        println!("Groups that had their quorum only with what is set aside here stay without one.");
        return Ok(());
    }
    list(path).map_err(io)
}

fn list(path: &Path) -> std::io::Result<()> {
    let found = folder::quarantines(path)?;
    if found.is_empty() {
        println!("Nothing is set aside in {}.", path.display());
        return Ok(());
    }
    let replaced = folder::replaced_through(path);
    for (number, aside) in &found {
        let of_use = match Some(*number) <= replaced {
            true => "; replaced by new copies, it may be deleted",
            false => "",
        };
        match std::fs::read_to_string(aside.join("WHY")) {
            Ok(why) => println!("quarantine-{number}  a copy of one group: {}{of_use}", why.trim()),
            Err(_) => println!("quarantine-{number}  everything this node had{of_use}"),
        }
    }
    if !folder::is_rejoining(path) {
        println!(
            "Where the cluster has no quorum without it: repair it, then `--restore quarantine-N`; or give it up with \
             `--rejoin`."
        );
    }
    Ok(())
}
