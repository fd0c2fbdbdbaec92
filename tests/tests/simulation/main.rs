//! The simulated LAN at work.
//!
//! A test that fails prints what happened, or the seed that replays it.

mod authority;
mod belief;
mod cases;
mod cleaning_up;
mod health;
mod lan;
mod rules;
