//! The wire: generated from the `.proto` files beside this crate, and conversions to the model. Nothing else.
//!
//! `cargo xtask codegen` writes `src/generated`; CI checks that it is up to date.
#![forbid(unsafe_code)]

pub mod failure;
pub mod requests;

/// What clients speak: publish, read, metadata.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod v1 {
    include!("generated/meridian.v1.rs");
}

/// What operators speak.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod admin {
    include!("generated/meridian.admin.v1.rs");
}

/// What nodes of a region speak among themselves.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
pub mod internal {
    include!("generated/meridian.internal.v1.rs");
}

/// The encoded file descriptors of what clients speak, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
