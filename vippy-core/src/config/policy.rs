//! The keys that say who may hold a group, and when it moves back: `failback`,
//! `hold_down`, `quorum`, `witness`, `isolation`.
//!
//! Owns their values and the rules between them. Which node of a list stands
//! by is part of `nodes`, and a group's own `failback` part of `vips`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::groups::{Groups, host_rule};
use super::model::Failback;
use super::reader::{Fields, Reader, in_seconds, quoted, span};
use super::shared::{Nodes, Timers};
use super::suggest::nearest;
use super::text::{Node, Value};

/// A day: who waits longer wants `"never"`.
const FAILBACK: (f64, f64) = (0.1, 86_400.0);

/// From too short to calm anything to the longest hold-down there is.
const HOLD_DOWN: (f64, f64) = (1.0, 1_800.0);

/// First hold-down of a node that comes and goes.
pub(super) const DEFAULT_HOLD_DOWN: Duration = Duration::from_secs(30);

const ISOLATION: (f64, f64) = (0.0, 86_400.0);

/// All of them are asked at every missed interval.
const MOST_WITNESSES: usize = 16;

/// How long an isolated node waits when the configuration does not say.
pub(super) fn default_isolation(stale: Duration) -> Duration {
    10 * stale
}

/// Who may hold anything when nodes are missing (O7), and what calms down who
/// comes and goes (O4).
pub(super) struct Policy {
    pub(super) quorum: Option<u16>,
    pub(super) witness: Vec<IpAddr>,
    pub(super) isolation: Duration,
    pub(super) hold_down: Option<Duration>,
}

/// A word of the configuration's language, or seconds.
enum Setting<'w> {
    Word(&'w str),
    Span(Duration),
}

impl Reader {
    pub(super) fn policy(
        &mut self,
        top: &Fields<'_>,
        timers: &Timers,
        nodes: &Nodes<'_>,
        groups: &Groups,
    ) -> Policy {
        Policy {
            quorum: top.get("quorum").and_then(|node| self.quorum(node, nodes)),
            witness: self.witnesses(top, groups),
            isolation: self.isolation(top, timers),
            hold_down: self.hold_down(top),
        }
    }

    /// `failback`, of the whole configuration or of one group.
    pub(super) fn failback(&mut self, node: &Node<'_>) -> Option<Failback> {
        let expected = "\"auto\", \"never\" or 0.1 to 86400 seconds";
        Some(match self.setting(node, &["auto", "never"], FAILBACK, expected)? {
            Setting::Word("never") => Failback::Never,
            Setting::Word(_) => Failback::Auto,
            Setting::Span(delay) => Failback::After(delay),
        })
    }

    fn hold_down(&mut self, top: &Fields<'_>) -> Option<Duration> {
        let expected = "\"off\" or 1 to 1800 seconds";
        let Some(node) = top.get("hold_down") else { return Some(DEFAULT_HOLD_DOWN) };
        match self.setting(node, &["off"], HOLD_DOWN, expected)? {
            Setting::Word(_) => None,
            Setting::Span(first) => Some(first),
        }
    }

    /// One of `words`, or seconds between bounds.
    fn setting<'w>(
        &mut self,
        node: &Node<'_>,
        words: &[&'w str],
        bounds: (f64, f64),
        expected: &str,
    ) -> Option<Setting<'w>> {
        let hint = match &node.value {
            Value::String(text) => {
                let text = text.as_str();
                if let Some(word) = words.iter().find(|word| **word == text) {
                    return Some(Setting::Word(word));
                }
                let number = span(text, bounds).map(|_| text.to_owned());
                number.or_else(|| nearest(text, words.iter().copied()).map(quoted))
            }
            Value::Number(literal) => {
                if let Some(span) = span(literal, bounds) {
                    return Some(Setting::Span(span));
                }
                None
            }
            // `false` and 0 mean the word for «not at all», which comes last.
            Value::Bool(false) => words.last().copied().map(quoted),
            Value::Bool(true) => words.first().filter(|_| words.len() > 1).copied().map(quoted),
            Value::Null | Value::Array(_) | Value::Object(_) | Value::Broken => None,
        };
        self.wrong_but(node, expected, hint)
    }

    /// How many live nodes it takes to hold anything, out of all in `nodes`.
    fn quorum(&mut self, node: &Node<'_>, nodes: &Nodes<'_>) -> Option<u16> {
        let all = nodes.trusted_names().len();
        let expected = match all {
            0 => "\"majority\" or a whole number of nodes".to_owned(),
            _ => {
                format!("\"majority\" or a whole number from 1 to {all}, as there are {all} nodes")
            }
        };
        let needed = match &node.value {
            Value::String(text) if text.as_str() == "majority" => all / 2 + 1,
            Value::String(text) => {
                let number = text.as_str().parse().ok().filter(|n| (1..=all).contains(n));
                let word = || nearest(text.as_str(), ["majority"]).map(quoted);
                let hint = number.map(|number| number.to_string()).or_else(word);
                return self.wrong_but(node, expected, hint);
            }
            Value::Number(literal) => {
                let number = super::reader::whole(literal).and_then(|n| usize::try_from(n).ok());
                // The number of nodes is unknown when the list is broken.
                match number.filter(|n| (1..=all).contains(n) || (all == 0 && *n > 0)) {
                    Some(number) => number,
                    None => return self.wrong(node, expected),
                }
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::Broken => {
                return self.wrong(node, expected);
            }
        };
        if needed == all && all > 1 {
            let found = format!("a quorum of {needed} out of {all} nodes");
            let expected = if all == 2 {
                "a `witness` instead: with two nodes, the death of either leaves no quorum"
            } else {
                "fewer: when any node is down, nobody holds anything"
            };
            self.report.warn(node.start, found, expected);
        }
        u16::try_from(needed).ok()
    }

    /// One address or a list of addresses.
    fn witnesses(&mut self, top: &Fields<'_>, groups: &Groups) -> Vec<IpAddr> {
        let Some(node) = top.get("witness") else { return Vec::new() };
        let Value::Array(items) = &node.value else {
            return self.witness(node, groups).into_iter().collect();
        };
        if items.is_empty() && self.intact(node) {
            self.wrong::<()>(node, "at least one address, or no `witness`");
        }
        if let Some(excess) = items.get(MOST_WITNESSES) {
            let found = format!("{} addresses", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_WITNESSES}"));
        }
        let mut witnesses = Vec::new();
        let mut places = BTreeMap::new();
        for item in items {
            let Some(ip) = self.witness(item, groups) else { continue };
            if let Some(&first) = places.get(&ip) {
                let found = format!("the address {ip}");
                self.report.error(item.start, found, "every address once").first_at(first);
                continue;
            }
            places.insert(ip, item.start);
            witnesses.push(ip);
        }
        witnesses
    }

    fn witness(&mut self, node: &Node<'_>, groups: &Groups) -> Option<IpAddr> {
        let ip = self.ip(node, "a router's address, such as \"10.1.2.1\"")?;
        if let Some(rule) = host_rule(ip) {
            return self.wrong(node, rule);
        }
        if groups.addresses.contains_key(&ip) {
            let expected = "an address outside the cluster, not one in `vips`";
            return self.wrong(node, expected);
        }
        Some(ip)
    }

    /// A node is asked by its peers all the time: as a witness it tells nothing
    /// new, and its death would look like this node's isolation (O7).
    pub(super) fn check_witnesses(
        &mut self,
        top: &Fields<'_>,
        policy: &Policy,
        own: impl Iterator<Item = IpAddr>,
    ) {
        for ip in own.filter(|ip| policy.witness.contains(ip)) {
            let expected = "an address outside the cluster, not a node's";
            self.report.error(top.place_of("witness"), format!("the address {ip}"), expected);
        }
    }

    fn isolation(&mut self, top: &Fields<'_>, timers: &Timers) -> Duration {
        let default = default_isolation(timers.stale);
        let Some(node) = top.get("isolation") else { return default };
        let Some(isolation) = self.seconds(node, ISOLATION) else { return default };
        if top.get("witness").is_some() {
            let expected = "no `isolation` with a `witness`: only its answer ends an isolation";
            self.report.warn(node.start, format!("isolation {}", in_seconds(isolation)), expected);
        }
        isolation
    }
}
