//! The `meridian` binary as its users meet it: as processes, through its command line and its listeners.

mod attacks;
mod authority;
mod dev;
mod process;
mod serve;
mod tls;
mod watching;
mod wire;
