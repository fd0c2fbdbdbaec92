//! `checks`: what tells whether this node can serve.
//!
//! Owns the key and the rules between its parts. What a verdict leads to is in
//! [`health`](crate::health); asking is the daemon's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::groups::{Groups, host_rule};
use super::reader::{Fields, Reader, in_seconds, quoted};
use super::shared::Nodes;
use super::suggest::nearest;
use super::text::{Node, Value};
use crate::health::Verdict;
use crate::identity::{CheckName, GroupId, NodeName};

/// Bounds what a node does every interval.
const MOST_CHECKS: usize = 1_024;

const MOST_WORDS: usize = 256;

const INTERVAL: (f64, f64) = (0.01, 3_600.0);
const TIMEOUT: (f64, f64) = (0.001, 3_600.0);

/// Outcomes in a row.
const COUNT: RangeInclusive<u8> = 1..=100;
const FALL: u8 = 3;
const RISE: u8 = 2;

/// What the kernel keeps of a process's name.
const LONGEST_COMM: usize = 15;

const FORM: &str = "a check: an object such as {\"name\": \"proxy\", \"tcp\": \"127.0.0.1:80\"}";

/// The kinds, as they are written.
const KINDS: [&str; 7] = ["run", "tcp", "http", "process", "interface", "file", "ping"];

/// Keys that go with one kind alone.
const COMPANIONS: [(&str, &str); 3] = [("user", "run"), ("status", "http"), ("absent", "file")];

const KEYS: [&str; 18] = [
    "name",
    "run",
    "tcp",
    "http",
    "process",
    "interface",
    "file",
    "ping",
    "user",
    "status",
    "absent",
    "interval",
    "timeout",
    "fall",
    "rise",
    "first",
    "groups",
    "nodes",
];

/// Something that is asked again and again, on every node by itself (H1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: CheckName,
    /// What is asked.
    pub kind: Kind,
    /// From one run to the next.
    pub interval: Duration,
    /// A run that takes longer has failed.
    pub timeout: Duration,
    /// So many bad outcomes in a row make it bad.
    pub fall: u8,
    /// So many good ones make it good.
    pub rise: u8,
    /// What it is until it has been asked often enough.
    pub first: Verdict,
    /// The groups that this node had better not hold while it is bad; none: all.
    pub groups: Vec<GroupId>,
    /// The nodes that ask it; none: all.
    pub nodes: Vec<NodeName>,
}

impl Check {
    /// Whether a node asks it.
    pub fn is_for(&self, node: &NodeName) -> bool {
        self.nodes.is_empty() || self.nodes.contains(node)
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Whether a command ends with 0.
    Run {
        /// The program and its arguments.
        words: Vec<String>,
        /// As whom; `None`: as the daemon's user.
        user: Option<String>,
    },
    /// Whether a TCP connection can be made.
    Tcp(Endpoint),
    /// What a GET is answered with.
    Http {
        /// Where.
        endpoint: Endpoint,
        /// What is asked for.
        path: String,
        /// The status expected; `None`: any from 200 to 399.
        status: Option<u16>,
    },
    /// Whether a process of this name runs.
    Process(String),
    /// Whether the process runs whose number a file holds.
    PidFile(PathBuf),
    /// Whether an interface is there, up, and has a carrier.
    Interface(String),
    /// Whether a file is there, or not.
    File {
        /// Which.
        path: PathBuf,
        /// It must not be there.
        absent: bool,
    },
    /// Whether an address answers an echo request.
    Ping(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// A name or an address, an IPv6 one without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Reader {
    pub(super) fn checks(
        &mut self,
        top: &Fields<'_>,
        nodes: &Nodes<'_>,
        groups: &Groups,
    ) -> Vec<Arc<Check>> {
        let expected =
            "a list of checks, such as [{\"name\": \"proxy\", \"tcp\": \"127.0.0.1:80\"}]";
        let Some(items) = top.get("checks").and_then(|node| self.list(node, expected)) else {
            return Vec::new();
        };
        if let Some(excess) = items.get(MOST_CHECKS) {
            let found = format!("{} checks", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_CHECKS}"));
        }
        let mut places = BTreeMap::new();
        let mut checks = Vec::new();
        for item in items {
            let Some((at, check)) = self.check(item, nodes, groups) else { continue };
            match places.get(&check.name) {
                Some(&first) => {
                    let found = quoted(check.name.as_str());
                    let note = self.report.error(at, found, "every check's name once");
                    note.first_at(first);
                }
                None => {
                    places.insert(check.name.clone(), at);
                    checks.push(Arc::new(check));
                }
            }
        }
        checks
    }

    /// A check and where its name stands.
    fn check(
        &mut self,
        node: &Node<'_>,
        nodes: &Nodes<'_>,
        groups: &Groups,
    ) -> Option<(usize, Check)> {
        let fields = self.object(node, FORM, &KEYS)?;
        let name = match fields.get("name") {
            Some(name) => self.name(name, "the check's name").map(CheckName::from),
            None => self.missing(&fields, "name", "the check's name"),
        };
        let kind = self.check_kind(&fields);
        let (interval, timeout) = self.check_spans(&fields);
        let mut count = |key, default| {
            let node = fields.get(key);
            let expected = "a whole number from 1 to 100 outcomes in a row";
            node.and_then(|node| self.within(node, COUNT, expected)).unwrap_or(default)
        };
        // The end of a process is no accident of asking.
        let sudden = fields.get("process").is_some();
        let (fall, rise) = (count("fall", if sudden { 1 } else { FALL }), count("rise", RISE));
        let first = fields.get("first").and_then(|node| self.first_verdict(node));
        let groups = self.check_groups(&fields, groups);
        let nodes = self.check_nodes(&fields, nodes);
        let check = Check {
            name: name?,
            kind: kind?,
            interval,
            timeout,
            fall,
            rise,
            first: first.unwrap_or(Verdict::Unknown),
            groups,
            nodes,
        };
        Some((fields.place_of("name"), check))
    }

    fn check_spans(&mut self, fields: &Fields<'_>) -> (Duration, Duration) {
        let interval = fields.get("interval").and_then(|node| self.seconds(node, INTERVAL));
        let interval = interval.unwrap_or(Duration::from_secs(1));
        let timeout = fields.get("timeout").and_then(|node| self.seconds(node, TIMEOUT));
        let timeout = timeout.unwrap_or(interval);
        if timeout > interval {
            let found = format!("timeout {}", in_seconds(timeout));
            let expected = format!(
                "at most the interval ({}): a check never runs twice at once",
                in_seconds(interval)
            );
            self.report.error(fields.place_of("timeout"), found, expected);
        }
        (interval, timeout)
    }

    fn first_verdict(&mut self, node: &Node<'_>) -> Option<Verdict> {
        let words = [("unknown", Verdict::Unknown), ("good", Verdict::Good), ("bad", Verdict::Bad)];
        let expected = "\"unknown\", \"good\" or \"bad\"";
        let text = self.text(node, expected)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, verdict)| *verdict).or_else(|| {
            let hint = nearest(text, words.iter().map(|(word, _)| *word)).map(quoted);
            self.wrong_but(node, expected, hint)
        })
    }

    /// Exactly one of the kinds.
    fn check_kind(&mut self, fields: &Fields<'_>) -> Option<Kind> {
        let mut kinds = KINDS.iter().filter(|kind| fields.get(kind).is_some());
        let Some(kind) = kinds.next() else {
            if fields.intact() {
                let expected = format!("one of {}", KINDS.join(", "));
                self.report.error(fields.place_of("name"), "a check that asks nothing", expected);
            }
            return None;
        };
        let mut alone = true;
        for other in kinds {
            let expected = "one kind of check";
            let found = format!("{other} beside {kind}");
            self.report.error(fields.place_of(other), found, expected);
            alone = false;
        }
        for (key, of) in COMPANIONS {
            if fields.get(key).is_some() && fields.get(of).is_none() {
                let expected = format!("{key} only with {of}");
                self.report.error(fields.place_of(key), format!("{key} with {kind}"), expected);
                alone = false;
            }
        }
        let kind = self.kind_of(kind, fields);
        kind.filter(|_| alone)
    }

    fn kind_of(&mut self, kind: &str, fields: &Fields<'_>) -> Option<Kind> {
        let node = fields.get(kind)?;
        match kind {
            "run" => {
                let words = self.command(node);
                let user = fields.get("user").map(|node| self.user(node));
                Some(Kind::Run { words: words?, user: if_given(user)? })
            }
            "tcp" => self.host_and_port(node).map(Kind::Tcp),
            "http" => {
                let url = self.url(node);
                let status = fields.get("status").map(|node| self.status(node));
                let (endpoint, path) = url?;
                Some(Kind::Http { endpoint, path, status: if_given(status)? })
            }
            "process" => self.process(node),
            "interface" => self.interface(node).map(Kind::Interface),
            "file" => {
                let path = self.path(node);
                let absent = fields.get("absent").map(|node| self.boolean(node));
                let absent = if_given(absent)?.unwrap_or(false);
                Some(Kind::File { path: path?, absent })
            }
            _ => self.pinged(node).map(Kind::Ping),
        }
    }

    /// A program and its arguments.
    pub(super) fn command(&mut self, node: &Node<'_>) -> Option<Vec<String>> {
        let expected = "a list of a program and its arguments, such as [\"/usr/bin/true\"]";
        if let Value::String(text) = &node.value {
            let words: Vec<String> = text.as_str().split_whitespace().map(quoted).collect();
            let hint = format!("[{}]", words.join(", "));
            return self.wrong_but(node, expected, Some(hint).filter(|_| !words.is_empty()));
        }
        let items = self.list(node, expected)?;
        if items.is_empty() && self.intact(node) {
            return self.wrong(node, expected);
        }
        if let Some(excess) = items.get(MOST_WORDS) {
            let found = format!("{} words", items.len());
            self.report.error(excess.start, found, format!("at most {MOST_WORDS}"));
        }
        let mut words = Vec::new();
        for (place, item) in items.iter().enumerate() {
            let expected = if place == 0 { "a program" } else { "an argument" };
            let word = self.text(item, expected)?;
            if (place == 0 && word.is_empty()) || word.contains('\0') {
                return self.wrong(item, expected);
            }
            words.push(word.to_owned());
        }
        Some(words)
    }

    /// Whom a command runs as.
    pub(super) fn user(&mut self, node: &Node<'_>) -> Option<String> {
        let expected = "a user's name";
        let name = self.text(node, expected)?;
        let odd = |c: char| c == ':' || c == '/' || c.is_whitespace() || c.is_control();
        if name.is_empty() || name.starts_with('-') || name.len() > 255 || name.contains(odd) {
            return self.wrong(node, expected);
        }
        Some(name.to_owned())
    }

    fn host_and_port(&mut self, node: &Node<'_>) -> Option<Endpoint> {
        let expected = "HOST:PORT, such as \"127.0.0.1:80\" or \"[::1]:80\"";
        let text = self.text(node, expected)?;
        match endpoint(text, None) {
            Some(endpoint) => Some(endpoint),
            None => {
                let hint = text.parse().map(|port: u16| format!("\"127.0.0.1:{port}\""));
                self.wrong_but(node, expected, hint.ok())
            }
        }
    }

    fn url(&mut self, node: &Node<'_>) -> Option<(Endpoint, String)> {
        let expected = "a URL, such as \"http://127.0.0.1:8080/health\"";
        let text = self.text(node, expected)?;
        let Some(rest) = text.strip_prefix("http://") else {
            if text.starts_with("https://") {
                let expected = "\"http://…\"; for HTTPS, `run` with a program such as curl";
                return self.wrong(node, expected);
            }
            let hint = endpoint(text.split('/').next().unwrap_or_default(), None);
            return self.wrong_but(node, expected, hint.map(|_| quoted(&format!("http://{text}"))));
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return self.wrong(node, "a URL without a user: `run` can keep a password elsewhere");
        }
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains('#');
        match endpoint(authority, Some(80)).filter(|_| plain) {
            Some(endpoint) if path.starts_with('/') => Some((endpoint, path.to_owned())),
            Some(endpoint) => Some((endpoint, format!("/{path}"))),
            None => self.wrong(node, expected),
        }
    }

    fn status(&mut self, node: &Node<'_>) -> Option<u16> {
        self.within(node, 100..=599, "a status of HTTP: a whole number from 100 to 599")
    }

    fn process(&mut self, node: &Node<'_>) -> Option<Kind> {
        let expected = "a process's name, or the path of a file with its number";
        let text = self.text(node, expected)?;
        if text.starts_with('/') {
            return self.path(node).map(Kind::PidFile);
        }
        if text.is_empty() || text.contains(['/', '\0', '\n']) {
            return self.wrong(node, expected);
        }
        if text.len() > LONGEST_COMM {
            let kept = (0..=LONGEST_COMM).rev().find_map(|end| text.get(..end));
            let expected = "a name of at most 15 bytes: Linux keeps no more of it";
            return self.wrong_but(node, expected, kept.map(quoted));
        }
        Some(Kind::Process(text.to_owned()))
    }

    fn pinged(&mut self, node: &Node<'_>) -> Option<IpAddr> {
        let ip = self.ip(node, "an address, such as \"10.1.2.1\"")?;
        match host_rule(ip) {
            Some(rule) => self.wrong(node, rule),
            None => Some(ip),
        }
    }

    fn check_groups(&mut self, fields: &Fields<'_>, groups: &Groups) -> Vec<GroupId> {
        let Some(node) = fields.get("groups") else { return Vec::new() };
        let expected = "the name of a group in `vips`, or one of its addresses";
        self.group_ids(node, groups, expected)
    }

    /// A list of groups, at least one, each once.
    pub(super) fn group_ids(
        &mut self,
        node: &Node<'_>,
        groups: &Groups,
        expected: &str,
    ) -> Vec<GroupId> {
        let mut seen = BTreeSet::new();
        self.names(node, "a list of groups' names", expected, |reader, item, name| {
            match groups.named(name) {
                Some(id) if seen.insert(id.clone()) => Some(id),
                Some(_) => reader.wrong(item, "every group once"),
                None if !groups.trusted => None,
                None => {
                    let known = groups.groups.iter().map(|group| group.id.as_str());
                    let hint = nearest(name, known).map(quoted);
                    reader.wrong_but(item, expected, hint)
                }
            }
        })
    }

    fn check_nodes(&mut self, fields: &Fields<'_>, nodes: &Nodes<'_>) -> Vec<NodeName> {
        let Some(node) = fields.get("nodes") else { return Vec::new() };
        self.node_names(node, nodes)
    }

    /// A list of nodes, at least one, each once.
    pub(super) fn node_names(&mut self, node: &Node<'_>, nodes: &Nodes<'_>) -> Vec<NodeName> {
        let mut seen = BTreeSet::new();
        let expected = "the name of a node in `nodes`";
        self.names(node, "a list of nodes' names", expected, |reader, item, name| {
            if nodes.lacks(name) {
                let known = nodes.trusted_names();
                let hint = nearest(name, known.iter().copied()).map(quoted);
                return reader.wrong_but(item, expected, hint);
            }
            match seen.insert(name.to_owned()) {
                true => Some(NodeName::from(name)),
                false => reader.wrong(item, "every node once"),
            }
        })
    }

    /// The texts of a list that has some.
    fn names<T>(
        &mut self,
        node: &Node<'_>,
        list: &str,
        expected: &str,
        mut take: impl FnMut(&mut Reader, &Node<'_>, &str) -> Option<T>,
    ) -> Vec<T> {
        let Some(items) = self.list(node, list) else { return Vec::new() };
        if items.is_empty() && self.intact(node) {
            self.wrong::<()>(node, "at least one, or no such key: that means all");
        }
        let mut taken = Vec::new();
        for item in items {
            let Some(name) = self.text(item, expected) else { continue };
            taken.extend(take(self, item, name));
        }
        taken
    }
}

/// `None` when there is something and it is wrong.
fn if_given<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(read) => read.map(Some),
    }
}

/// `HOST:PORT`, where `default` is there for a port that is not.
fn endpoint(text: &str, default: Option<u16>) -> Option<Endpoint> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok()?,
        Some(_) => return None,
        None if port.is_empty() => default?,
        None => return None,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    let named = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    (named && port > 0).then(|| Endpoint { host: host.to_owned(), port })
}
