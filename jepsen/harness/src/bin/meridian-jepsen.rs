//! The command.
fn main() {
    println!("{}", meridian_harness::probe::Probe::take().expect("probe"));
}
