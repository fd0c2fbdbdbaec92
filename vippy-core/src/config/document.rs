//! The shared part as a text of its own: what travels between nodes, is kept for
//! the next start, and what `vippyctl config export` prints.
//!
//! It is a configuration file with the shared keys alone, written in one way:
//! the same reader checks it, every byte of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{Check, Kind};
use super::hooks::Hook;
use super::model::{
    Address, Config, DEFAULT_WEIGHT, Digest, Failback, Group, Lifetime, Node, SharedPart,
};
use super::plugins::Plugin;
use super::policy::{DEFAULT_HOLD_DOWN, default_isolation};
use super::problem::Problem;
use super::written::json;
use super::{LOCAL_KEYS, SHARED_KEYS, digest, localize};
use crate::health::Verdict;
use crate::identity::{GroupId, NodeName};

/// Largest configuration that is read, as a file or as a document, in bytes: room
/// for 10,000 groups, and for a mistyped path to be told instead of filling the memory.
pub const MOST_BYTES: usize = 16 << 20;

/// The shared part as a document: JSON, the default of a key left out.
pub fn document(shared: &SharedPart) -> Arc<str> {
    let mut text = String::from("{\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  \"version\": {},", shared.version);
    let _ = writeln!(text, "  \"interval\": {},", seconds(shared.interval));
    let _ = writeln!(text, "  \"mature\": {},", seconds(shared.mature));
    let _ = writeln!(text, "  \"stale\": {},", seconds(shared.stale));
    push_policy(&mut text, shared);
    push_list(&mut text, "nodes", shared.nodes.iter().map(node));
    text.push_str(",\n");
    push_list(&mut text, "vips", shared.groups.iter().map(|each| group(shared, each)));
    push_lines(&mut text, "checks", shared.checks.iter().map(|each| check(each)));
    push_lines(&mut text, "hooks", shared.hooks.iter().map(Hook::line));
    push_lines(&mut text, "plugins", shared.plugins.iter().map(Plugin::line));
    text.push_str("\n}\n");
    text.into()
}

/// Reads the shared part of a configuration file; what is local in it is not
/// looked at.
///
/// # Errors
/// Every problem of the shared part, as [`parse`](super::parse) tells them.
pub fn parse_shared(text: &str, name: &str) -> Result<SharedPart, Vec<Problem>> {
    read_shared(text, name, &[&LOCAL_KEYS[..], &SHARED_KEYS].concat())
}

/// Reads a document. `name` is what problems call it.
///
/// # Errors
/// Every problem of the text, as [`parse`](super::parse) tells them.
pub fn parse_document(text: &str, name: &str) -> Result<SharedPart, Vec<Problem>> {
    read_shared(text, name, &SHARED_KEYS)
}

fn read_shared(text: &str, name: &str, keys: &[&'static str]) -> Result<SharedPart, Vec<Problem>> {
    super::read(text, name, |reader, root| {
        let top = reader.object(root, "an object: `{ … }`", keys)?;
        let shared = reader.shared(&top);
        (!reader.report.has_errors()).then(|| shared.into_model())
    })
    .map(|(shared, _)| shared)
}

impl SharedPart {
    /// What decides between two configurations: the higher one judges (O5).
    pub fn rank(&self) -> (u64, Digest) {
        (self.version, self.digest)
    }

    /// The same content as what is to follow the running configuration, under
    /// `next` if its own version is below that; `None` if it is what runs.
    #[must_use]
    pub fn following(self, running: (u64, Digest), next: u64) -> Option<SharedPart> {
        let changes = self.with_version(running.0).rank() != running;
        changes.then(|| if self.version < next { self.with_version(next) } else { self })
    }

    /// The same content under another version.
    #[must_use]
    pub fn with_version(&self, version: u64) -> SharedPart {
        let mut shared = SharedPart { version, ..self.clone() };
        shared.digest = digest::digest(&shared);
        shared
    }
}

impl Config {
    /// This node's configuration with another shared part, which came from
    /// somewhere else: everything local stays, and so do the names of interfaces
    /// that `self` gives to addresses of both.
    #[must_use]
    pub fn with_shared(&self, shared: SharedPart, document: Arc<str>) -> Config {
        let shared = localize(shared, &self.shared);
        Config { shared, local: self.local.clone(), document }
    }

    /// The higher one of this configuration, as a file says it, and another shared
    /// part (O5). The second value tells whether it is the other one.
    #[must_use]
    pub fn or_higher(self, other: SharedPart, document: &Arc<str>) -> (Config, bool) {
        if other.rank() > self.shared.rank() {
            (self.with_shared(other, Arc::clone(document)), true)
        } else {
            (self, false)
        }
    }

    /// As [`Config::or_higher`], with the document that this node kept when it
    /// last ran.
    pub fn or_kept(self, document: &Arc<str>) -> (Config, Kept) {
        match parse_document(document, "the configuration kept") {
            Ok(kept) => match self.or_higher(kept, document) {
                (config, true) => (config, Kept::Taken),
                (config, false) => (config, Kept::Lower),
            },
            Err(problems) => (self, Kept::Unreadable(problems)),
        }
    }

    /// Why this shared part does not go with this local part, if so: an address
    /// of a node cannot move, and cannot be a witness; addresses must outlive `stale`.
    pub fn conflict(&self) -> Option<String> {
        let Config { shared, local, .. } = self;
        let least = shared.stale + Duration::from_secs(1);
        if let Lifetime::Fixed(lifetime) = local.lifetime
            && lifetime < least
        {
            let (found, stale) = (lifetime.as_secs(), shared.stale);
            return Some(format!(
                "lifetime: found {found} s in this node's file with stale {stale:?}, expected at \
                 least stale + 1 s"
            ));
        }
        let fixed: BTreeSet<IpAddr> = self.local.fixed_addresses().collect();
        let moving = self.shared.groups.iter().flat_map(|group| &group.addresses);
        let moving = moving.map(Address::ip).find(|ip| fixed.contains(ip));
        let asked = self.shared.witness.iter().find(|ip| fixed.contains(ip));
        let told = |ip: IpAddr, what| {
            format!("{what}: found {ip}, expected an address that no node has for itself")
        };
        moving.map(|ip| told(ip, "vips")).or(asked.map(|ip| told(*ip, "witness")))
    }
}

/// What came of a document that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is higher than the file and counts.
    Taken,
    /// The file is at least as high and counts.
    Lower,
    /// It has these problems; the file counts.
    Unreadable(Vec<Problem>),
}

fn push_policy(text: &mut String, shared: &SharedPart) {
    if let Some(quorum) = shared.quorum {
        let _ = writeln!(text, "  \"quorum\": {quorum},");
    }
    if !shared.witness.is_empty() {
        let list: Vec<String> = shared.witness.iter().map(|ip| format!("\"{ip}\"")).collect();
        let _ = writeln!(text, "  \"witness\": [{}],", list.join(", "));
    }
    if shared.isolation != default_isolation(shared.stale) {
        let _ = writeln!(text, "  \"isolation\": {},", seconds(shared.isolation));
    }
    match shared.hold_down {
        Some(DEFAULT_HOLD_DOWN) => {}
        Some(first) => {
            let _ = writeln!(text, "  \"hold_down\": {},", seconds(first));
        }
        None => text.push_str("  \"hold_down\": \"off\",\n"),
    }
}

fn push_list(text: &mut String, key: &str, items: impl Iterator<Item = String>) {
    let _ = write!(text, "  \"{key}\": [");
    for (place, item) in items.enumerate() {
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}\n    {item}");
    }
    text.push_str("\n  ]");
}

/// A list after others, if there is anything in it.
fn push_lines(text: &mut String, key: &str, lines: impl ExactSizeIterator<Item = String>) {
    if lines.len() > 0 {
        text.push_str(",\n");
        push_list(text, key, lines);
    }
}

fn node(node: &Node) -> String {
    let standby = if node.standby { ", \"standby\": true" } else { "" };
    let weight = match node.weight {
        DEFAULT_WEIGHT => String::new(),
        weight => format!(", \"weight\": {weight}"),
    };
    if standby.is_empty() && weight.is_empty() {
        return format!("\"{}\"", node.name);
    }
    format!("{{\"name\": \"{}\"{standby}{weight}}}", node.name)
}

fn group(shared: &SharedPart, group: &Group) -> String {
    let mut text = String::from("{");
    if let Some(name) = &group.name {
        let _ = write!(text, "\"name\": \"{name}\", ");
    }
    if let Some(prefer) = group.prefer {
        let _ = write!(text, "\"prefer\": \"{}\", ", shared.nodes[prefer.get()].name);
    }
    if group.exclusive {
        text.push_str("\"exclusive\": true, ");
    }
    match group.failback {
        Failback::Auto => {}
        Failback::Never => text.push_str("\"failback\": \"never\", "),
        Failback::After(delay) => {
            let _ = write!(text, "\"failback\": {}, ", seconds(delay));
        }
    }
    let addresses: Vec<String> = group.addresses.iter().map(address).collect();
    let _ = write!(text, "\"vips\": [{}]}}", addresses.join(", "));
    text
}

/// An address with the interface that whoever wrote the configuration named.
fn address(address: &Address) -> String {
    let net = address.net;
    let Some(interface) = address.hint.as_ref().or(address.interface.as_ref()) else {
        return format!("{{\"ip\": \"{net}\"}}");
    };
    format!("{{\"interface\": {}, \"ip\": \"{net}\"}}", json(interface))
}

/// A check with all its numbers: what they are by default depends on its kind.
fn check(check: &Check) -> String {
    let list =
        |texts: &mut dyn Iterator<Item = &str>| texts.map(json).collect::<Vec<_>>().join(", ");
    let mut text = format!("{{\"name\": \"{}\", ", check.name);
    let _ = match &check.kind {
        Kind::Run { words, user } => {
            let user = user.as_ref().map(|user| format!(", \"user\": {}", json(user)));
            let words = list(&mut words.iter().map(String::as_str));
            write!(text, "\"run\": [{words}]{}", user.unwrap_or_default())
        }
        Kind::Tcp(endpoint) => write!(text, "\"tcp\": \"{endpoint}\""),
        Kind::Http { endpoint, path, status } => {
            let status = status.map(|status| format!(", \"status\": {status}"));
            let url = json(&format!("http://{endpoint}{path}"));
            write!(text, "\"http\": {url}{}", status.unwrap_or_default())
        }
        Kind::Process(name) => write!(text, "\"process\": {}", json(name)),
        Kind::PidFile(path) => write!(text, "\"process\": {}", json(&path.to_string_lossy())),
        Kind::Interface(name) => write!(text, "\"interface\": {}", json(name)),
        Kind::File { path, absent } => {
            let absent = if *absent { ", \"absent\": true" } else { "" };
            write!(text, "\"file\": {}{absent}", json(&path.to_string_lossy()))
        }
        Kind::Ping(ip) => write!(text, "\"ping\": \"{ip}\""),
    };
    let (interval, timeout) = (seconds(check.interval), seconds(check.timeout));
    let _ = write!(
        text,
        ", \"interval\": {interval}, \"timeout\": {timeout}, \"fall\": {}, \"rise\": {}",
        check.fall, check.rise
    );
    if check.first != Verdict::Unknown {
        let _ = write!(text, ", \"first\": \"{}\"", check.first);
    }
    if !check.groups.is_empty() {
        let groups = list(&mut check.groups.iter().map(GroupId::as_str));
        let _ = write!(text, ", \"groups\": [{groups}]");
    }
    if !check.nodes.is_empty() {
        let nodes = list(&mut check.nodes.iter().map(NodeName::as_str));
        let _ = write!(text, ", \"nodes\": [{nodes}]");
    }
    text.push('}');
    text
}

/// Seconds, to the microsecond, without needless digits.
pub(super) fn seconds(span: Duration) -> String {
    let text = format!("{}.{:06}", span.as_secs(), span.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    const FILE: &str = r#"{
        chat: "239.77.0.1:5007", secret: "0123456789abcdef", version: 5, failback: 60,
        nodes: ["node1", { name: "node2", standby: true }, { name: "node3", weight: 0 }],
        vips: [
            [{ interface: "eth0", ip: "10.8.3.195/24" }],
            { name: "web", prefer: "node1", exclusive: true, failback: "never", vips: [
                { interface: "e\"h\\1", ip: "fd00::1:149/64" },
            ] },
        ],
        interval: 0.25, mature: 5, stale: 1.000001, quorum: 1, witness: "10.8.3.1",
        isolation: 7, hold_down: "off",
        checks: [
            { name: "a", run: ["sh", "-c", "echo \"é\\n\""], user: "nobody", first: "bad" },
            { name: "b", tcp: "[::1]:80", groups: ["web", "10.8.3.195"], nodes: ["node2"] },
            { name: "c", http: "http://10.8.3.7:8080/health?x=1", status: 204, interval: 5 },
            { name: "d", http: "http://localhost", timeout: 0.25 },
            { name: "e", process: "haproxy", first: "good" },
            { name: "f", process: "/run/haproxy.pid", fall: 2, rise: 4 },
            { name: "g", interface: "eth1" },
            { name: "h", file: "/run/maintenance", absent: true },
            { name: "i", file: "/run/ready" },
            { name: "j", ping: "10.8.3.1" },
        ],
    }"#;

    fn config(text: &str) -> Config {
        parse(text, "f").unwrap().config
    }

    #[test]
    fn a_document_says_what_the_file_said_and_nothing_local() {
        let config = config(FILE);
        let back = parse_document(&config.document, "d").unwrap();
        assert_eq!(back.rank(), config.shared.rank());
        assert_eq!(back.groups, config.shared.groups);
        assert_eq!(back.checks, config.shared.checks);
        assert_eq!(document(&back), config.document);
        for local in ["secret", "0123456789abcdef", "chat", "239.77"] {
            assert!(!config.document.contains(local), "{}", config.document);
        }
    }

    #[test]
    fn a_document_with_a_local_key_or_a_wrong_value_is_refused_with_the_place() {
        let document = config(FILE).document;
        for (from, to, wanted) in [
            ("\"version\": 5,", "\"version\": 5, \"state\": \"/x\",", "the unknown key \"state\""),
            ("10.8.3.195/24", "10.8.3.0/24", "vips[0].vips[0].ip"),
            ("\"stale\": 1.000001", "\"stale\": 0.3", "stale"),
        ] {
            let text = document.replacen(from, to, 1);
            let problems = parse_document(&text, "d").unwrap_err();
            let told = problems.iter().map(Problem::to_string).collect::<String>();
            assert!(told.contains(wanted) && told.starts_with("d:"), "{told}");
        }
    }

    #[test]
    fn what_does_not_go_with_the_local_part_is_told() {
        let file = config(&FILE.replacen("version: 5", "version: 5, lifetime: 3", 1));
        assert_eq!(file.conflict(), None);
        let mut shared = file.shared.clone();
        shared.stale = Duration::from_secs(4);
        let told = file.with_shared(shared, "".into()).conflict().unwrap();
        assert!(told.contains("lifetime: found 3 s"), "{told}");
    }

    #[test]
    fn the_higher_one_of_file_and_kept_document_counts() {
        let file = config(FILE);
        let newer = file.shared.with_version(6);
        assert_ne!(newer.digest, file.shared.digest);
        let (taken, kept) = file.clone().or_kept(&document(&newer));
        assert_eq!((taken.shared.rank(), kept), (newer.rank(), Kept::Taken));
        let older = document(&file.shared.with_version(4));
        let (taken, kept) = file.clone().or_kept(&older);
        assert_eq!((taken.shared.rank(), kept), (file.shared.rank(), Kept::Lower));
        assert!(matches!(file.or_kept(&"{".into()).1, Kept::Unreadable(_)));
    }

    #[test]
    fn ten_thousand_groups_fit_a_document() {
        let groups: Vec<String> = (0..10_000)
            .map(|n| {
                format!(
                    "[{{interface: 'eth0', ip: '10.{}.{}.{}/8'}}]",
                    n / 40_000,
                    n / 200,
                    n % 200 + 1
                )
            })
            .collect();
        let text = FILE.replacen(", \"10.8.3.195\"", "", 1);
        let text =
            text.replacen("[{ interface: \"eth0\", ip: \"10.8.3.195/24\" }]", &groups.join(","), 1);
        let config = config(&text);
        assert!(config.document.len() < MOST_BYTES / 8, "{}", config.document.len());
        assert_eq!(parse_document(&config.document, "d").unwrap().rank(), config.shared.rank());
    }
}
