//! The management API of a Vippy daemon: its types and an async client.
//!
//! The daemon answers HTTP/1.1 with JSON on a Unix socket (`docs/API.md`).
//! [`api`] holds what is said on that socket beside [`status`]; the daemon uses
//! the same definitions, so the two sides cannot drift apart. [`Client`] is
//! what `vippyctl` and embedding applications talk through. Nothing here
//! decides, prints or retries. How events and times are worded ([`narrate`],
//! [`Stamp`]) is here because the daemon's log and `vippyctl` say the same.

pub mod api;
mod client;
mod event_stream;
pub mod events;
mod level;
pub mod narrate;
mod stamp;

pub use api::{
    Answer, ApiError, Applying, ConfigFile, Configurations, DEFAULT_SOCKET, LogLevel, Reloaded,
    Restarting, SharedText, WhatIf,
};
pub use client::{ANSWER_LIMIT, Client, ClientError, DEFAULT_TIMEOUT};
pub use event_stream::{Arrival, EventStream};
pub use level::{Level, NotALevel};
pub use stamp::Stamp;
pub use vippy_core::config::MOST_BYTES;
pub use vippy_core::event;
pub use vippy_core::event::Event;
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
