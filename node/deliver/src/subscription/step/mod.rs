//! What a dispatcher does about each event, one concern in each file.

mod acking;
mod deciding;
mod delivering;
mod failing;
mod joining;
mod leaving;
mod owning;
mod reading;
mod seeking;
mod settling;
mod timing;
