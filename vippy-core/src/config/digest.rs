//! The digest: what two nodes compare to know that they agree (O5).

use std::fmt::Write;

use sha2::{Digest as _, Sha256};

use super::checks::{Check, Kind};
use super::model::{DEFAULT_WEIGHT, Digest, Failback, Group, SharedPart};
use super::policy::{DEFAULT_HOLD_DOWN, default_isolation};
use super::written::percent;
use crate::time::micros;

/// The canonical text of the shared part, whose SHA-256 is the digest.
///
/// Text; every line ends with one line feed (byte 10), the last one too;
/// the parts of a line are separated by one space (byte 32); nothing else is
/// in it. Numbers are decimal without sign, leading zeros or separators. The
/// lines, in this order:
///
/// ```text
/// vippy-shared 1
/// version VERSION
/// interval MICROSECONDS
/// mature MICROSECONDS
/// stale MICROSECONDS
/// quorum NODES                   (*)
/// witness ADDRESS                (*) one line per witness, in configuration order
/// isolation MICROSECONDS         (*)
/// hold_down MICROSECONDS         (*) or `hold_down off`
/// node NAME                      one line per node, in configuration order,
/// standby                        (*) each followed by this when it stands by
/// weight NUMBER                  (*) and by this when it is not 1
/// group NAME PREFER MOVE         one line per group, in configuration order,
/// failback MICROSECONDS          (*) each followed by this, or `failback never`,
/// address ADDRESS/PREFIX         and by one line per address of that group, in
///                                configuration order
/// check NAME KIND                (*) one line per check, in configuration order,
/// every INTERVAL TIMEOUT FALL RISE FIRST   each followed by this, with its spans
///                                in microseconds and `unknown`, `good` or `bad`,
/// of GROUP                       (*) by one line per group that it names
/// on NODE                        (*) and one per node
/// hook OBJECT                    (*) one line per hook, in configuration order
/// plugin OBJECT                  (*) one line per plugin, in configuration order
/// ```
///
/// - A line marked (*) is there only when the value is not the default of
///   `docs/CONFIG.md`. So a new key changes the digest of no configuration that
///   does not use it, and daemons of two releases agree on such a one. All keys
///   that are added to this format follow this rule.
/// - `NODES` is a number also where the configuration says `"majority"`. A
///   group's `failback` is the one that holds for it, wherever it is written.
///
/// - `1` in the first line is the version of this text's format.
/// - Spans are whole microseconds, rounded to nearest when read.
/// - A group's `NAME` is its name, or `-` when it has none; `PREFER` is the
///   name of the node it prefers, or `-`. No name is `-`: names start with a
///   letter, a digit or `_`.
/// - An `OBJECT` is written as documents have it: JSON on one line, `", "` between
///   members and `": "` after keys, the keys in the order of `docs/CONFIG.md`, a key
///   that has its default left out. In its texts, and nowhere else, there may be
///   characters beyond ASCII.
/// - `MOVE` is `exclusive` or `overlap`.
/// - `KIND` is one of `run USER WORD…` (a `USER` of `-` is none), `tcp HOST:PORT`,
///   `http HOST:PORT PATH STATUS` (`-`: any from 200 to 399), `process NAME`,
///   `pidfile PATH`, `interface NAME`, `file present PATH`, `file absent PATH` and
///   `ping ADDRESS`. In words, users, paths, and names of processes and interfaces,
///   all bytes but letters, digits, `-`, `.`, `_`, `~` and `/` are written as `%` and
///   two digits (RFC 3986).
/// - An IPv4 `ADDRESS` is four decimal numbers with dots; an IPv6 one is
///   written as RFC 5952 says (lower case, the longest run of zeros as `::`).
///   `PREFIX` is always written, for single addresses too (32 or 128).
///
/// Interface names of addresses, all keys of the local part, comments, layout and the way
/// something is written (array or object form, `0.5` or `.5`, quotes) are not
/// in it.
///
/// For example:
///
/// ```text
/// vippy-shared 1
/// version 5
/// interval 500000
/// mature 5000000
/// stale 5000000
/// node node1
/// node node2
/// group - - overlap
/// address 10.8.3.195/24
/// group - node2 overlap
/// address 10.8.99.147/24
/// group web node1 exclusive
/// address 10.8.99.149/24
/// address fd00::1:149/64
/// ```
///
/// Its SHA-256 starts with `353a1215db9daeb4097813c62ed7b129`.
pub fn canonical_text(shared: &SharedPart) -> String {
    let mut text = String::from("vippy-shared 1\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "version {}", shared.version);
    let _ = writeln!(text, "interval {}", micros(shared.interval));
    let _ = writeln!(text, "mature {}", micros(shared.mature));
    let _ = writeln!(text, "stale {}", micros(shared.stale));
    push_policy(&mut text, shared);
    for node in &shared.nodes {
        let _ = writeln!(text, "node {}", node.name);
        if node.standby {
            text.push_str("standby\n");
        }
        if node.weight != DEFAULT_WEIGHT {
            let _ = writeln!(text, "weight {}", node.weight);
        }
    }
    for group in &shared.groups {
        push_group(&mut text, shared, group);
    }
    shared.checks.iter().for_each(|check| push_check(&mut text, check));
    for hook in &shared.hooks {
        let _ = writeln!(text, "hook {}", hook.line());
    }
    for plugin in &shared.plugins {
        let _ = writeln!(text, "plugin {}", plugin.line());
    }
    text
}

/// First 16 bytes of the SHA-256 of [`canonical_text`]. The field
/// [`SharedPart::digest`] itself has no part in it.
pub fn digest(shared: &SharedPart) -> Digest {
    let hash = Sha256::digest(canonical_text(shared).as_bytes());
    let mut digest = Digest::default();
    digest.0.copy_from_slice(&hash[..16]);
    digest
}

/// Lines that are there only for what is not the default.
fn push_policy(text: &mut String, shared: &SharedPart) {
    if let Some(quorum) = shared.quorum {
        let _ = writeln!(text, "quorum {quorum}");
    }
    for witness in &shared.witness {
        let _ = writeln!(text, "witness {witness}");
    }
    if shared.isolation != default_isolation(shared.stale) {
        let _ = writeln!(text, "isolation {}", micros(shared.isolation));
    }
    match shared.hold_down {
        Some(DEFAULT_HOLD_DOWN) => {}
        Some(first) => {
            let _ = writeln!(text, "hold_down {}", micros(first));
        }
        None => text.push_str("hold_down off\n"),
    }
}

fn push_group(text: &mut String, shared: &SharedPart, group: &Group) {
    let name = group.name.as_deref().unwrap_or("-");
    let prefer = group.prefer.map_or("-", |index| shared.nodes[index.get()].name.as_str());
    let how = if group.exclusive { "exclusive" } else { "overlap" };
    let _ = writeln!(text, "group {name} {prefer} {how}");
    match group.failback {
        Failback::Auto => {}
        Failback::Never => text.push_str("failback never\n"),
        Failback::After(delay) => {
            let _ = writeln!(text, "failback {}", micros(delay));
        }
    }
    for address in &group.addresses {
        let _ = writeln!(text, "address {}/{}", address.ip(), address.net.prefix_len());
    }
}

fn push_check(text: &mut String, check: &Check) {
    let _ = write!(text, "check {} ", check.name);
    let _ = match &check.kind {
        Kind::Run { words, user } => {
            let user = user.as_deref().map_or("-".into(), percent);
            let words: Vec<String> = words.iter().map(|word| percent(word)).collect();
            writeln!(text, "run {user} {}", words.join(" "))
        }
        Kind::Tcp(endpoint) => writeln!(text, "tcp {endpoint}"),
        Kind::Http { endpoint, path, status } => {
            let status = status.map_or("-".to_owned(), |status| status.to_string());
            writeln!(text, "http {endpoint} {} {status}", percent(path))
        }
        Kind::Process(name) => writeln!(text, "process {}", percent(name)),
        Kind::PidFile(path) => writeln!(text, "pidfile {}", percent(&path.to_string_lossy())),
        Kind::Interface(name) => writeln!(text, "interface {}", percent(name)),
        Kind::File { path, absent } => {
            let how = if *absent { "absent" } else { "present" };
            writeln!(text, "file {how} {}", percent(&path.to_string_lossy()))
        }
        Kind::Ping(ip) => writeln!(text, "ping {ip}"),
    };
    let (interval, timeout) = (micros(check.interval), micros(check.timeout));
    let (fall, rise, first) = (check.fall, check.rise, check.first);
    let _ = writeln!(text, "every {interval} {timeout} {fall} {rise} {first}");
    check.groups.iter().for_each(|group| text.push_str(&format!("of {group}\n")));
    check.nodes.iter().for_each(|node| text.push_str(&format!("on {node}\n")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    /// The configuration of the example in [`canonical_text`].
    const EXAMPLE: &str = r#"{
        chat: "239.77.0.1:5007", secret: "0123456789abcdef", version: 5,
        nodes: ["node1", "node2"],
        vips: [
            [{ interface: "eth0", ip: "10.8.3.195/24" }],
            ["node2", { interface: "eth0", ip: "10.8.99.147/24" }],
            { name: "web", prefer: "node1", exclusive: true, vips: [
                { interface: "eth0", ip: "10.8.99.149/24" },
                { interface: "eth1", ip: "fd00::1:149/64" },
            ] },
        ],
        interval: 0.5, mature: 5, stale: 5,
    }"#;

    fn shared(text: &str) -> SharedPart {
        parse(text, "f").unwrap().config.shared
    }

    /// The example with one piece replaced.
    fn changed(from: &str, to: &str) -> Digest {
        assert!(EXAMPLE.contains(from), "{from}");
        shared(&EXAMPLE.replacen(from, to, 1)).digest
    }

    #[test]
    fn the_example_has_the_documented_text_and_digest() {
        let wanted = "vippy-shared 1\nversion 5\ninterval 500000\nmature 5000000\nstale 5000000\n\
            node node1\nnode node2\n\
            group - - overlap\naddress 10.8.3.195/24\n\
            group - node2 overlap\naddress 10.8.99.147/24\n\
            group web node1 exclusive\naddress 10.8.99.149/24\naddress fd00::1:149/64\n";
        let shared = shared(EXAMPLE);
        assert_eq!(canonical_text(&shared), wanted);
        assert_eq!(shared.digest, digest(&shared));
        assert_eq!(shared.digest.to_string(), "353a1215db9daeb4097813c62ed7b129");
    }

    #[test]
    fn layout_interfaces_and_local_keys_do_not_change_the_digest() {
        let same = [
            ("{", "// a comment\n{ /* another */ "),
            ("version: 5", "'version' : 0x5"),
            ("interval: 0.5", "interval: .5"),
            ("interval: 0.5", "interval: 0.5000001"),
            ("\"eth0\"", "\"bond0.17\""),
            ("fd00::1:149/64", "FD00:0:0:0:0:0:1:149/64"),
            (
                "[{ interface: \"eth0\", ip: \"10.8.3.195/24\" }]",
                "{ exclusive: false, vips: [{ ip: \"10.8.3.195/24\" }] }",
            ),
            ("239.77.0.1:5007", "[ff02::7]:5008"),
            ("0123456789abcdef", "another secret, longer"),
            ("version: 5", "chat_interface: \"eth0\", version: 5"),
            ("version: 5", "peers: { node1: \"10.0.0.1:5007\" }, version: 5"),
            ("version: 5", "failback: 'auto', hold_down: 30, isolation: 50, version: 5"),
            ("\"node1\", \"node2\"", "\"node1\", { name: 'node2', standby: false, weight: 1 }"),
            ("version: 5", "realtime: 20, version: 5"),
            ("version: 5", "checks: [], version: 5"),
            ("version: 5", "cluster: \"c\", state: \"/s\", management: \"/m\", version: 5"),
            ("version: 5", "\"arp-cache\": 90, notify: [\"arp-cache\"], version: 5"),
            (
                "version: 5",
                "logging: { driver: \"syslog\" }, stop_timeout: 2, lifetime: 30, version: 5",
            ),
        ];
        let before = shared(EXAMPLE).digest;
        for (from, to) in same {
            assert_eq!(changed(from, to), before, "{from} -> {to}");
        }
    }

    #[test]
    fn everything_shared_changes_the_digest() {
        let different = [
            ("version: 5", "version: 6"),
            ("interval: 0.5", "interval: 0.500001"),
            ("mature: 5", "mature: 5.1"),
            ("stale: 5", "stale: 6"),
            ("[\"node1\", \"node2\"]", "[\"node2\", \"node1\"]"),
            ("[\"node1\", \"node2\"]", "[\"node1\", \"node2\", \"node3\"]"),
            ("version: 5", "failback: 'never', version: 5"),
            ("version: 5", "failback: 60, version: 5"),
            ("exclusive: true", "exclusive: true, failback: 'never'"),
            ("version: 5", "hold_down: 'off', version: 5"),
            ("version: 5", "hold_down: 60, version: 5"),
            ("version: 5", "isolation: 60, version: 5"),
            ("version: 5", "quorum: 1, version: 5"),
            ("version: 5", "quorum: 2, version: 5"),
            ("version: 5", "witness: '10.8.3.1', version: 5"),
            ("version: 5", "witness: ['10.8.3.1', '10.8.3.2'], version: 5"),
            ("[\"node1\", \"node2\"]", "[\"node1\", \"node2\", {name: 'node3', standby: true}]"),
            ("[\"node1\", \"node2\"]", "[\"node1\", {name: 'node2', weight: 2}]"),
            ("[\"node1\", \"node2\"]", "[\"node1\", {name: 'node2', weight: 0}]"),
            ("10.8.3.195/24", "10.8.3.194/24"),
            ("10.8.3.195/24", "10.8.3.195/25"),
            ("10.8.3.195/24", "10.8.3.195"),
            ("[\"node2\", ", "[\"node1\", "),
            ("[\"node2\", ", "["),
            ("name: \"web\"", "name: \"wed\""),
            ("name: \"web\", ", ""),
            ("prefer: \"node1\", ", ""),
            ("exclusive: true", "exclusive: false"),
            ("{ interface: \"eth1\", ip: \"fd00::1:149/64\" },", ""),
            ("[{ interface: \"eth0\", ip: \"10.8.3.195/24\" }],", ""),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1'}], version: 5"),
            ("version: 5", "checks: [{name: 'b', tcp: 'h:1'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:2'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', groups: ['web']}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', nodes: ['node1']}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', interval: 2}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', timeout: 0.5}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', fall: 1}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', rise: 1}], version: 5"),
            ("version: 5", "checks: [{name: 'a', tcp: 'h:1', first: 'bad'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', run: ['a', 'b c']}], version: 5"),
            ("version: 5", "checks: [{name: 'a', run: ['a', 'b', 'c']}], version: 5"),
            ("version: 5", "checks: [{name: 'a', run: ['a'], user: 'u'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', http: 'http://h/'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', http: 'http://h/', status: 204}], version: 5"),
            ("version: 5", "checks: [{name: 'a', file: '/f'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', file: '/f', absent: true}], version: 5"),
            ("version: 5", "checks: [{name: 'a', process: 'f'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', process: '/f'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', interface: 'f'}], version: 5"),
            ("version: 5", "checks: [{name: 'a', ping: '10.0.0.1'}], version: 5"),
        ];
        let mut seen = std::collections::BTreeSet::from([shared(EXAMPLE).digest]);
        for (from, to) in different {
            assert!(seen.insert(changed(from, to)), "{from} -> {to}");
        }
    }

    #[test]
    fn what_differs_from_the_default_has_a_line_of_its_own() {
        let text = EXAMPLE
            .replacen("\"node2\"]", "\"node2\", { name: 'node3', standby: true, weight: 5 }]", 1)
            .replacen("exclusive: true", "exclusive: true, failback: 'never'", 1)
            .replacen(
                "version: 5",
                "version: 5, failback: 60, quorum: 'majority', witness: ['10.8.3.1', 'fd00::1'],
                 hold_down: 5",
                1,
            );
        let wanted = "vippy-shared 1\nversion 5\ninterval 500000\nmature 5000000\nstale 5000000\n\
            quorum 2\nwitness 10.8.3.1\nwitness fd00::1\nhold_down 5000000\n\
            node node1\nnode node2\nnode node3\nstandby\nweight 5\n\
            group - - overlap\nfailback 60000000\naddress 10.8.3.195/24\n\
            group - node2 overlap\nfailback 60000000\naddress 10.8.99.147/24\n\
            group web node1 exclusive\nfailback never\n\
            address 10.8.99.149/24\naddress fd00::1:149/64\n";
        assert_eq!(canonical_text(&shared(&text)), wanted);
    }

    #[test]
    fn the_way_a_policy_is_written_does_not_change_the_digest() {
        let same = [
            ("quorum: 2, version: 5", "quorum: 'majority', version: 5"),
            ("witness: '10.8.3.1', version: 5", "witness: ['10.8.3.1'], version: 5"),
        ];
        for (one, other) in same {
            assert_eq!(changed("version: 5", one), changed("version: 5", other), "{other}");
        }
    }

    #[test]
    fn the_order_of_groups_and_of_addresses_changes_the_digest() {
        let one = "[{ interface: \"eth0\", ip: \"10.8.3.195/24\" }]";
        let two = "[\"node2\", { interface: \"eth0\", ip: \"10.8.99.147/24\" }]";
        let swapped = EXAMPLE.replacen(one, "@", 1).replacen(two, one, 1).replacen('@', two, 1);
        assert_ne!(shared(&swapped).digest, shared(EXAMPLE).digest);
        let swapped =
            EXAMPLE.replace("10.8.99.149/24", "@").replace("fd00::1:149/64", "10.8.99.149/24");
        let swapped = swapped.replace('@', "fd00::1:149/64");
        assert_ne!(shared(&swapped).digest, shared(EXAMPLE).digest);
    }
}
