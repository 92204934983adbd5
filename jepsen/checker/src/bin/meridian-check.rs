//! Judges a recorded history: exit 0 if it passes, 1 if a promise was broken, 2 if that cannot be told.

use std::{fs::File, io::BufReader, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use meridian_checker::{Options, Promise, check};
use meridian_history::History;

/// Judges a recorded history of a Meridian cluster.
#[derive(Debug, Parser)]
#[command(name = "meridian-check", version)]
struct Args {
    /// The history, as JSON lines.
    file: PathBuf,
    /// Print the whole report as JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Also demand that this promise was exercised, such as LOG-6; may be given again.
    #[arg(long, value_name = "PROMISE")]
    demand: Vec<Promise>,
    /// Do not demand that this promise was exercised; may be given again.
    #[arg(long, value_name = "PROMISE")]
    excuse: Vec<Promise>,
    /// Seconds for the search of one name or partition.
    #[arg(long, default_value_t = 10)]
    search_secs: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let history = match File::open(&args.file) {
        Ok(file) => History::read(BufReader::new(file)).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let history = match history {
        Ok(history) => history,
        Err(error) => {
            eprintln!("{}: {error}", args.file.display());
            return ExitCode::from(2);
        }
    };
    let mut options =
        Options { search_each_max: Duration::from_secs(args.search_secs), ..Options::default() };
    options.demanded.extend(args.demand);
    options.demanded.retain(|promise| !args.excuse.contains(promise));
    let report = check(&history, &options);
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{report}");
    }
    ExitCode::from(match (report.is_pass(), report.is_fail()) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    })
}
