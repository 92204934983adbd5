//! Log lines, for people or as JSON.

use tracing_subscriber::EnvFilter;

use meridian_config::{LogConfig, LogFormat};

/// Installs the process's log. Later calls change nothing.
pub fn install(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.level).unwrap_or_else(|_| EnvFilter::new("info"));
    // openraft explains every step at info; its warnings are what an operator needs.
    let filter = ["openraft=error", "h2=warn", "hyper=warn", "tonic=warn"].into_iter().fold(
        filter,
        |filter, quiet| match quiet.parse() {
            Ok(directive) if !config.level.contains(quiet.split('=').next().unwrap_or(quiet)) => {
                filter.add_directive(directive)
            }
            _ => filter,
        },
    );
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match config.format {
        LogFormat::Human => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    // Somebody installed one before: in `dev` nodes share a process.
    drop(installed);
}
