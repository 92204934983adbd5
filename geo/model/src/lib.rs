//! The geo protocol as models that are explored exhaustively: every schedule of a few messages, none left out.
//!
//! Each model is small: the fewest offsets, frames and regions at which its faults show. Each has planted faults,
//! among them what other systems do, and exploration must find every one: a model in which nothing can go wrong
//! proves nothing. What the models leave out (bytes, bounds, time, several origins) is checked on the code itself,
//! in `geo/protocol`.
#![forbid(unsafe_code)]

pub mod acks;
pub mod exploration;
pub mod history;
pub mod ingest;
pub mod route;
