//! Delivery: from the committed log to readers and consumers.
//!
//! A [`ReadSession`] is a place in a log that moves forward. A [`subscription::Dispatcher`] decides who of a
//! subscription's consumers gets which message.
#![forbid(unsafe_code)]

#[cfg(test)]
#[macro_use]
mod met;
#[macro_use]
mod planted;

mod session;
pub mod subscription;

#[cfg(any(test, feature = "mutants"))]
pub use planted::{Mutant, with_mutant};
pub use session::{Page, ReadSession};
