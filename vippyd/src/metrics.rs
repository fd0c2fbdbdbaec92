//! Metrics as OpenMetrics text (`docs/METRICS.md`): made when somebody asks, from
//! the one [`Status`] and what the events came to. At rest nothing is done for
//! them.
//!
//! Each subject has a file; a new one is a file with a function that writes on the
//! `Page`, and a line in `render`.

mod checks;
mod cluster;
mod groups;
mod node;
mod page;
mod peers;
mod process;

use std::fmt;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;
use vippy_client::Status;

use self::page::Page;
use crate::histogram::Histogram;
use crate::history::Tally;

/// The type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the loop knows.
#[derive(Debug)]
pub struct Facts {
    /// The cluster as this node sees it.
    pub status: Status,
    /// How late announcements left.
    pub announcing: Histogram,
}

/// What is known beside the loop.
#[derive(Debug)]
pub struct Surroundings {
    /// What the events came to.
    pub tally: Tally,
    /// Who follows the events.
    pub readers: usize,
    /// Lines that the log did not take.
    pub lost_lines: u64,
    /// When this process started.
    pub started: SystemTime,
}

/// The whole text.
///
/// # Errors
/// When the encoder refuses something, which no value makes it do.
pub fn render(facts: Facts, surroundings: Surroundings) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape { facts, surroundings }));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Scrape {
    facts: Facts,
    surroundings: Surroundings,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Scrape { facts, surroundings } = self;
        let mut page = Page::new(encoder);
        node::write(&mut page, &facts.status)?;
        cluster::write(&mut page, facts, &surroundings.tally)?;
        groups::write(&mut page, &facts.status)?;
        peers::write(&mut page, &facts.status)?;
        checks::write(&mut page, &facts.status)?;
        process::write(&mut page, surroundings)
    }
}

/// A value's name as it is everywhere, in kebab case.
fn kebab(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}
