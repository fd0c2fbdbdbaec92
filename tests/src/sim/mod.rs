//! A LAN of engines in virtual time, decided by one seed.
//!
//! [`fabric`] carries datagrams and loses, delays, doubles and cuts them;
//! [`station`] is one machine: a clock, a kernel, a process or none;
//! [`world`] runs them from one event queue; [`attacker`] disturbs them with
//! datagrams; [`referee`] checks the invariants of the design after every step;
//! [`plan`] draws random plans, [`scenario`] runs them; [`timeline`] tells the story
//! of a failure.
//!
//! Nothing here reads a clock or the operating system's randomness: a seed
//! gives the same run on every machine.

pub mod attacker;
pub mod change;
pub mod cluster;
pub mod fabric;
pub mod frames;
mod health;
pub mod notes;
pub mod plan;
mod policies;
pub mod random;
pub mod referee;
pub mod scenario;
pub mod simulation;
pub mod station;
pub mod timeline;
pub mod world;

/// Virtual time in microseconds since the start of the simulation.
pub type Micros = u64;
