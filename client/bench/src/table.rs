//! Results for people: names to the left, values to the right.

use meridian_cli::Output;
use serde::Serialize;

use crate::BenchError;

/// Rows in the order in which they are read.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<(String, String)>);

impl Table {
    pub(crate) fn row(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    fn render(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let line = |(name, value): &(String, String)| format!("{name:<width$}  {value}\n");
        self.0.iter().map(line).collect()
    }
}

/// Prints a result: the table for people, one line of JSON for programs.
pub(crate) fn print(output: Output, table: &Table, report: &impl Serialize) -> Result<(), BenchError> {
    match output {
        Output::Human => print!("{}", table.render()),
        Output::Json => {
            let line = serde_json::to_string(report).map_err(|error| BenchError::Local(error.to_string()))?;
            println!("{line}");
        }
    }
    Ok(())
}
