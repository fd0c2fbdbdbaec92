//! The configuration: one file for the whole cluster.
//!
//! [`parse`] turns text into a validated [`Config`] or into every problem it
//! has, each with its place. [`model`] is what the rest of the program sees;
//! it holds only configurations that can work.

pub mod model;

pub use model::{
    Address, ChatInterface, Config, Digest, Group, Lifetime, LocalPart, Logging, LoggingDriver,
    Node, NotifyTarget, Secret, SharedPart,
};
