//! `hooks`: programs that run when something happens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::line::Line;
use super::reader::{Fields, Reader, quoted};
use super::shared::Nodes;
use super::suggest::nearest;
use super::text::{Node, Value};
use crate::event::{self, Event};
use crate::identity::{GroupId, NodeName};

/// Before a group's addresses are put on: what no event tells.
pub const BEFORE_UP: &str = "before-up";

/// A node's process is gone without a goodbye.
pub const NODE_DOWN: &str = "node-down";

const MOST_HOOKS: usize = 256;
const TIMEOUT: (f64, f64) = (0.1, 3_600.0);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const FORM: &str = "a hook, such as {\"on\": [\"group-up\"], \"run\": [\"/usr/local/bin/tell\"]}";

/// A program that runs when something happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Names of events, or [`BEFORE_UP`]; at least one, each once.
    pub on: Vec<String>,
    /// The program and its arguments; at least one.
    pub run: Vec<String>,
    /// The groups it is about; empty: all.
    pub groups: Vec<GroupId>,
    /// Where it runs; empty: on every node.
    pub nodes: Vec<NodeName>,
    /// For each death one surviving node runs it, the next one if that dies too.
    pub once: bool,
    /// Of [`BEFORE_UP`]: unless it succeeds the addresses are not put on.
    pub required: bool,
    /// When it is ended.
    pub timeout: Duration,
    /// Whom it runs as; `None`: as the daemon.
    pub user: Option<String>,
}

impl Hook {
    /// Whether it runs on this node when that happens.
    pub fn minds(&self, node: &NodeName, event: &str, group: Option<&GroupId>) -> bool {
        let here = self.nodes.is_empty() || self.nodes.contains(node);
        let about =
            || self.groups.is_empty() || group.is_some_and(|group| self.groups.contains(group));
        self.on.iter().any(|on| on == event) && here && about()
    }

    /// On one line, as documents and the canonical text have it.
    pub(super) fn line(&self) -> String {
        Line::new()
            .list("on", &self.on)
            .list("run", &self.run)
            .list("groups", self.groups.iter().map(address_or_name))
            .list("nodes", self.nodes.iter().map(NodeName::as_str))
            .flag("once", self.once)
            .flag("required", self.required)
            .span("timeout", self.timeout, DEFAULT_TIMEOUT)
            .maybe("user", self.user.as_deref())
            .done()
    }
}

/// What a group is called where its name, or one of its addresses, is meant.
fn address_or_name(group: &GroupId) -> &str {
    group.as_str().split(',').next().unwrap_or_default()
}

impl Reader {
    pub(super) fn hooks(
        &mut self,
        top: &Fields<'_>,
        nodes: &Nodes<'_>,
        groups: &Groups,
    ) -> Vec<Hook> {
        let expected = "a list of hooks";
        let Some(list) = top.get("hooks") else { return Vec::new() };
        let Some(items) = self.list(list, expected) else { return Vec::new() };
        if let Some(excess) = items.get(MOST_HOOKS) {
            let found = format!("{} hooks", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_HOOKS}"));
        }
        items.iter().filter_map(|item| self.hook(item, nodes, groups)).collect()
    }

    fn hook(&mut self, node: &Node<'_>, nodes: &Nodes<'_>, groups: &Groups) -> Option<Hook> {
        let known = ["on", "run", "groups", "nodes", "once", "required", "timeout", "user"];
        let fields = self.object(node, FORM, &known)?;
        let on = match fields.get("on") {
            Some(on) => self.occasions(on),
            None => self.missing(&fields, "on", "names of events"),
        };
        let run = match fields.get("run") {
            Some(run) => self.command(run),
            None => self.missing(&fields, "run", "a program and its arguments"),
        };
        let mut flag = |key| fields.get(key).and_then(|node| self.boolean(node)).unwrap_or(false);
        let (once, required) = (flag("once"), flag("required"));
        let timeout = fields.get("timeout").and_then(|node| self.seconds(node, TIMEOUT));
        let about = "the name of a group in `vips`, or one of its addresses";
        let groups = fields.get("groups").map(|node| self.group_ids(node, groups, about));
        let nodes = fields.get("nodes").map(|node| self.node_names(node, nodes));
        let hook = Hook {
            on: on?,
            run: run?,
            groups: groups.unwrap_or_default(),
            nodes: nodes.unwrap_or_default(),
            once,
            required,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            user: fields.get("user").and_then(|node| self.user(node)),
        };
        self.check_hook(&fields, &hook);
        Some(hook)
    }

    fn check_hook(&mut self, fields: &Fields<'_>, hook: &Hook) {
        let mut refuse = |key: &str, found: &str, expected: &str| {
            self.report.error(fields.place_of(key), found, expected);
        };
        if hook.once && hook.on != [NODE_DOWN] {
            refuse("once", "once with another event", "`once` with \"on\": [\"node-down\"] alone");
        }
        if hook.once && !hook.nodes.is_empty() {
            refuse("nodes", "nodes with once", "no `nodes`: whoever survives runs it");
        }
        if hook.required && hook.on != [BEFORE_UP] {
            let expected = "`required` with \"on\": [\"before-up\"] alone";
            refuse("required", "required with another event", expected);
        }
        let of_group = |on: &String| on == BEFORE_UP || event::OF_GROUPS.contains(&on.as_str());
        if let Some(other) = hook.on.iter().find(|on| !of_group(on))
            && !hook.groups.is_empty()
        {
            let found = format!("groups with {}", quoted(other));
            refuse("groups", &found, "no `groups`: that event is about no group");
        }
    }

    /// `on`: a name, or a list of names.
    fn occasions(&mut self, node: &Node<'_>) -> Option<Vec<String>> {
        if matches!(node.value, Value::String(_)) {
            return self.occasion(node).map(|one| vec![one]);
        }
        let items = self.list(node, "a list of events' names")?;
        if items.is_empty() && self.intact(node) {
            return self.wrong(node, "at least one event's name");
        }
        let mut on: Vec<String> = Vec::new();
        for item in items {
            let Some(one) = self.occasion(item) else { continue };
            if on.contains(&one) {
                self.report.error(item.start, quoted(&one), "every event once");
                continue;
            }
            on.push(one);
        }
        (!on.is_empty()).then_some(on)
    }

    fn occasion(&mut self, node: &Node<'_>) -> Option<String> {
        let name = self.text(node, "an event's name, such as \"group-up\"")?;
        if name == event::HOOK_ENDED {
            return self.wrong(node, "another event: a hook's end would cause the next one");
        }
        let known = || Event::NAMES.into_iter().chain([BEFORE_UP]);
        if known().any(|known| known == name) {
            return Some(name.to_owned());
        }
        let hint = nearest(name, known()).map(quoted);
        self.wrong_but(node, "the name of an event (docs/EVENTS.md), or \"before-up\"", hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SharedPart, document, parse, parse_document};

    fn with(hooks: &str) -> Result<SharedPart, String> {
        let text = format!(
            "{{ chat: '239.77.0.1:5007', secret: '0123456789abcdef', nodes: ['a', 'b'],
               vips: [{{ name: 'web', vips: [{{ ip: '192.0.2.10/24' }}] }},
                      [{{ ip: '192.0.2.12/24' }}, {{ ip: '192.0.2.11/24' }}]], hooks: {hooks} }}"
        );
        let told = |problems: Vec<_>| problems.iter().map(|p| format!("{p}\n")).collect();
        parse(&text, "f").map(|parsed| parsed.config.shared).map_err(told)
    }

    #[test]
    fn a_hook_is_read_with_its_defaults_and_travels_as_it_was() {
        let shared = with(
            "[{ on: 'group-up', run: ['/bin/true'] },
              { on: ['group-down', 'before-up'], run: ['say', 'a \"b\\u0007'], groups: ['web', '192.0.2.12'],
                nodes: ['b'], timeout: 2.5, user: 'nobody' },
              { on: ['node-down'], run: ['x'], once: true },
              { on: ['before-up'], run: ['x'], required: true }]",
        )
        .unwrap();
        let [first, second, third, fourth] = &shared.hooks[..] else { panic!() };
        assert_eq!((first.timeout, first.once, first.required), (DEFAULT_TIMEOUT, false, false));
        assert_eq!(second.groups[1].as_str(), "192.0.2.11,192.0.2.12");
        assert!(third.once && fourth.required);
        let back = parse_document(&document(&shared), "d").unwrap();
        assert_eq!((&back.hooks, back.digest), (&shared.hooks, shared.digest));
        assert_ne!(shared.digest, with("[]").unwrap().digest);
    }

    #[test]
    fn what_a_hook_minds_is_its_events_groups_and_nodes() {
        let shared =
            with("[{ on: 'group-up', run: ['x'], groups: ['web'], nodes: ['b'] }]").unwrap();
        let (hook, a, b) = (&shared.hooks[0], NodeName::from("a"), NodeName::from("b"));
        let (web, other) = (GroupId::from("web"), GroupId::from("db"));
        assert!(hook.minds(&b, "group-up", Some(&web)));
        assert!(!hook.minds(&a, "group-up", Some(&web)));
        assert!(!hook.minds(&b, "group-up", Some(&other)) && !hook.minds(&b, "group-up", None));
        assert!(!hook.minds(&b, "group-down", Some(&web)));
    }

    #[test]
    fn every_mistake_is_told_with_what_was_probably_meant() {
        for (hook, wanted) in [
            ("{ on: 'group_up', run: ['x'] }", "group-up"),
            ("{ on: 'group-up', run: 'x y' }", "[\"x\", \"y\"]"),
            ("{ on: 'group-up' }", "run"),
            ("{ run: ['x'] }", "on"),
            ("{ on: [], run: ['x'] }", "at least one event"),
            ("{ on: 'hook-ended', run: ['x'] }", "cause the next one"),
            ("{ on: 'group-up', run: ['x'], once: true }", "node-down"),
            ("{ on: 'node-down', run: ['x'], once: true, nodes: ['a'] }", "whoever survives"),
            ("{ on: 'group-up', run: ['x'], required: true }", "before-up"),
            ("{ on: 'peer-up', run: ['x'], groups: ['web'] }", "about no group"),
            ("{ on: 'group-up', run: ['x'], groups: ['wep'] }", "\"web\""),
            ("{ on: 'group-up', run: ['x'], nodes: ['c'] }", "a node in `nodes`"),
            ("{ on: 'group-up', run: ['x'], timeout: 0 }", "0.1 to 3600"),
            ("{ on: 'group-up', run: ['x'], user: '-x' }", "user"),
        ] {
            let told = with(&format!("[{hook}]")).unwrap_err();
            assert!(told.contains(wanted), "{hook}: {told}");
        }
    }
}
