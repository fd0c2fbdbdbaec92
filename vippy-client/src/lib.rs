//! The management API of a Vippy daemon: its types and an async client.
//!
//! The daemon answers HTTP/1.1 with JSON on a Unix socket (`docs/API.md`).
//! [`api`] holds what is said on that socket beside [`status`]; the daemon uses
//! the same definitions, so the two sides cannot drift apart. [`Client`] is
//! what `vippyctl` and embedding applications talk through. Nothing here
//! decides, prints or retries.

pub mod api;
mod client;

pub use api::{
    Answer, ApiError, Applying, ConfigFile, Configurations, DEFAULT_SOCKET, Reloaded, Restarting,
    SharedText, WhatIf,
};
pub use client::{ANSWER_LIMIT, Client, ClientError, DEFAULT_TIMEOUT};
pub use vippy_core::config::MOST_BYTES;
pub use vippy_core::explanation;
pub use vippy_core::explanation::Explanation;
pub use vippy_core::health;
pub use vippy_core::identity;
pub use vippy_core::plan;
pub use vippy_core::plan::Plan;
pub use vippy_core::status;
pub use vippy_core::status::Status;
pub use vippy_core::timeline;
pub use vippy_core::timeline::Timeline;
