//! x

pub mod management;
