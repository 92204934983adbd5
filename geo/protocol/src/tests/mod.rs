//! The protocol against models that are plainly right: random schedules, counted, and faults that must be seen.

mod acks;
mod dice;
mod mutants;
mod shipping;
