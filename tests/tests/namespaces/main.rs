//! Real daemons in network namespaces, from the outside: what an operator, a
//! client of an address and an attacker on the LAN would see.
//!
//! Needs root and fails without it. The kernels of the nodes and the answers a
//! client gets are the witnesses wherever that is possible; what the daemons
//! say about themselves comes second.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which may unwrap")]

mod attacks;
mod chains;
mod clusters;
mod deaths;
mod hands;
mod health;
mod interfaces;
mod links;
mod neighbourhood;
mod neighbours;
mod operators;
mod partitions;
mod plans;
mod policies;
mod programs;
mod restarts;
mod rollouts;
mod rotation;
mod sample;
mod size;
mod stories;
mod support;
