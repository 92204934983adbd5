//! The wire: generated from the `.proto` files beside this crate, and conversions to the model. Nothing else.
//!
//! `cargo xtask codegen` writes `src/generated`; CI checks that it is up to date.
#![forbid(unsafe_code)]

pub mod failure;
pub mod requests;

/// The packages as they are named on the wire, so that one can speak of another.
#[allow(missing_docs, clippy::all, clippy::too_many_lines, unreachable_pub)]
mod meridian {
    pub mod v1 {
        include!("generated/meridian.v1.rs");
    }
    pub mod admin {
        pub mod v1 {
            include!("generated/meridian.admin.v1.rs");
        }
    }
    pub mod internal {
        pub mod v1 {
            include!("generated/meridian.internal.v1.rs");
        }
    }
}

/// What operators speak.
pub use meridian::admin::v1 as admin;
/// What nodes of a region speak among themselves.
pub use meridian::internal::v1 as internal;
/// What clients speak: publish, read, subscribe, metadata.
pub use meridian::v1;

/// The encoded file descriptors of what clients speak, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
