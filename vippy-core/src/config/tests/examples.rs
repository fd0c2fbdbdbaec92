//! The example files, and what a configuration means.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{PLAIN, plain_with};
use crate::config::{
    ChatInterface, Failback, Group, Lifetime, LoggingDriver, NotifyTarget, Parsed, Secret,
    SecretFile, parse,
};
use crate::identity::{NodeIndex, NodeName};

const SAMPLE: &str = include_str!("../../../../config/sample.conf");

fn addresses(group: &Group) -> Vec<String> {
    let words = |(net, interface): (_, Option<&str>)| format!("{} {net}", interface.unwrap_or("-"));
    group.places().map(words).collect()
}

#[test]
fn the_originals_sample_is_read_as_printed() {
    assert!(
        SAMPLE.contains("[ 'node2', { \"interface\": \"e1000g0\", \"ip\": \"10.8.99.147/24\" } ]")
    );
    let Parsed { config, warnings } = parse(SAMPLE, "sample.conf").unwrap();
    let shared = &config.shared;
    assert_eq!(shared.version, 5);
    let names: Vec<_> = shared.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["node1", "node2"]);
    assert_eq!(shared.interval, Duration::from_millis(500));
    assert_eq!((shared.mature, shared.stale), (Duration::from_secs(5), Duration::from_secs(5)));
    assert_eq!(shared.groups.len(), 3);
    assert_eq!(addresses(&shared.groups[0]), ["e1000g0 10.8.3.195/24"]);
    assert_eq!(shared.groups[0].prefer, None);
    assert_eq!(shared.groups[1].prefer, Some(NodeIndex(1)));
    assert_eq!(addresses(&shared.groups[2]), ["e1000g0 10.8.99.149/24", "e1000g0 10.8.3.196/24"]);
    assert_eq!(shared.groups[2].id.as_str(), "10.8.3.196,10.8.99.149");
    assert!(shared.groups.iter().all(|group| group.name.is_none() && !group.exclusive));

    let local = &config.local;
    assert_eq!(local.chat, Some("224.1.1.1:5007".parse().unwrap()));
    assert_eq!(local.chat_interface, ChatInterface::Address("127.0.0.1".parse().unwrap()));
    assert_eq!(local.secrets.len(), 1);
    assert_eq!(local.secrets[0].0.as_slice(), b"knsdfkjnsdfkjnweroib0u3");
    assert_eq!(local.arp_cache, Duration::from_secs(90));
    assert_eq!(local.notify.len(), 3);
    assert_eq!(local.notify[0], NotifyTarget::ArpCache);
    let NotifyTarget::Network { interface, net } = &local.notify[2] else { panic!() };
    assert_eq!((interface.as_str(), net.to_string().as_str()), ("e1000g0", "10.8.3.1/29"));
    assert_eq!(local.management, PathBuf::from("/var/run/vippy.socket"));
    assert_eq!(local.logging.driver, LoggingDriver::Console);
    assert_eq!(local.logging.facility, "local7");
    assert_eq!(local.logging.mask, [true, true, true, true, false, true, false, false]);

    let places: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(places, ["chat_interface", "secret"], "loopback and a published secret");
}

#[test]
fn a_short_configuration_has_the_documented_defaults() {
    let Parsed { config, warnings } = parse(PLAIN, "f").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.shared.version, 0);
    assert_eq!(config.shared.interval, Duration::from_secs(1));
    assert_eq!(config.shared.mature, Duration::from_secs(5));
    assert_eq!(config.shared.stale, Duration::from_secs(3));
    assert_eq!((config.shared.quorum, config.shared.witness.len()), (None, 0));
    assert_eq!(config.shared.isolation, Duration::from_secs(30));
    assert_eq!(config.shared.hold_down, Some(Duration::from_secs(30)));
    assert_eq!(config.shared.groups[0].failback, Failback::Auto);
    assert!(config.shared.nodes.iter().all(|node| !node.standby));
    let local = config.local;
    assert_eq!(local.chat_interface, ChatInterface::All);
    assert!(local.peers.is_empty() && local.notify.is_empty() && local.plugins.is_empty());
    assert_eq!(local.cluster, "");
    assert_eq!(local.arp_cache, Duration::from_secs(15));
    assert_eq!(local.management, PathBuf::from("/var/run/vippy.socket"));
    assert_eq!(local.state, PathBuf::from("/var/lib/vippy"));
    assert_eq!(local.stop_timeout, Duration::from_secs(1));
    assert_eq!(local.lifetime, Lifetime::Auto);
    assert_eq!(local.realtime, None);
    assert_eq!(local.metrics, None);
    assert_eq!(local.logging.driver, LoggingDriver::Console);
    assert_eq!(local.logging.facility, "daemon");
    assert_eq!(local.logging.mask, [true, true, true, true, true, true, false, false]);
}

#[test]
fn every_local_key_is_read() {
    let local = plain_with(
        r#"chat_interface: "eth0.17", cluster: "blue", arp-cache: 0.5e2, state: "/s",
           peers: { node2: "10.0.0.2:5008" }, management: "/run/v", stop_timeout: 0, lifetime: 4,
           logging: { driver: "posix", mask: { info: true } }, metrics: "[::1]:9650",
           notify: [{ interface: "eth0", ip: "fd00::5" }],"#,
    )
    .config
    .local;
    assert_eq!(local.chat_interface, ChatInterface::Name("eth0.17".into()));
    assert_eq!(local.cluster, "blue");
    assert_eq!(local.metrics, Some("[::1]:9650".parse().unwrap()));
    assert_eq!(local.arp_cache, Duration::from_secs(50));
    assert_eq!(local.peers[&NodeName::from("node2")], "10.0.0.2:5008".parse().unwrap());
    assert_eq!(local.stop_timeout, Duration::ZERO);
    assert_eq!(local.lifetime, Lifetime::Fixed(Duration::from_secs(4)));
    assert_eq!(local.logging.driver, LoggingDriver::Syslog);
    assert_eq!(local.logging.mask, [true, true, true, true, true, true, true, false]);
    let NotifyTarget::Network { net, .. } = &local.notify[0] else { panic!() };
    assert_eq!(net.to_string(), "fd00::5/128");
    assert_eq!(plain_with("lifetime: 'off',").config.local.lifetime, Lifetime::Off);
}

#[test]
fn an_address_may_leave_its_interface_out() {
    let text = PLAIN.replace(
        "ip: \"192.0.2.10/24\" }",
        "ip: '192.0.2.10/24' }, { ip: '192.0.2.11/24' }, { ip: 'fd00::1' }",
    );
    let Parsed { config, warnings } = parse(&text, "f").unwrap();
    assert_eq!(warnings, []);
    let expected = ["eth0 192.0.2.10/24", "- 192.0.2.11/24", "- fd00::1/128"];
    assert_eq!(addresses(&config.shared.groups[0]), expected);
    assert!(config.shared.groups[0].addresses.iter().all(|address| address.hint.is_none()));
}

#[test]
fn secrets_and_where_they_are_may_be_lists() {
    let local = |secrets: &str| {
        let text = PLAIN.replace("secret: \"0123456789abcdef\"", secrets);
        let Parsed { config, warnings } = parse(&text, "f").unwrap();
        assert_eq!(warnings, [], "{secrets}");
        config.local
    };
    let here = local("secret: ['0123456789abcdef', \"fedcba9876543210\"]");
    assert_eq!(here.secrets, ["0123456789abcdef", "fedcba9876543210"].map(Secret::from));
    assert_eq!(here.secret_files, []);
    let path = SecretFile::Path("/etc/vippy.secret".into());
    let file = local("secret_file: '/etc/vippy.secret'");
    assert_eq!((file.secrets, &file.secret_files[..]), (vec![], &[path.clone()][..]));
    let credential = SecretFile::Credential("vippy.secret".into());
    let both = local("secret_file: ['credential:vippy.secret', '/etc/vippy.secret']");
    assert_eq!(both.secret_files, [credential, path]);
}

#[test]
fn nothing_that_is_printed_of_a_configuration_holds_its_secrets() {
    let text = PLAIN.replace("0123456789abcdef", "hunter2-hunter2-hunter2");
    let config = parse(&text, "f").unwrap().config;
    assert!(!format!("{config:?}{config:#?}").contains("hunter2"));
    let written = serde_json::to_string(&config).unwrap();
    assert!(!written.contains("hunter2") && written.contains("secret_files"), "{written}");
}

#[test]
fn every_policy_is_read() {
    let text = PLAIN.replace(
        "nodes: [\"node1\", \"node2\"]",
        "nodes: ['a', {name: 'b'}, {name: 'c', standby: true}]",
    );
    let text = text.replace(
        "[[{ interface",
        "[
            { name: 'n', failback: 'never', vips: [{ interface: 'eth0', ip: '192.0.2.11/24' }] },
            { name: 'a', failback: 'auto', vips: [{ interface: 'eth0', ip: '192.0.2.12/24' }] },
            [{ interface",
    );
    let text = text.replacen(
        "secret:",
        "failback: 90, quorum: 'majority', witness: ['192.0.2.1', 'fd00::1'], hold_down: 'off',
         realtime: 0x14, secret:",
        1,
    );
    let Parsed { config, warnings } = parse(&text, "f").unwrap();
    assert_eq!(warnings, []);
    let shared = &config.shared;
    let standby: Vec<_> = shared.nodes.iter().map(|node| node.standby).collect();
    assert_eq!(standby, [false, false, true]);
    let failback: Vec<_> = shared.groups.iter().map(|group| group.failback).collect();
    let delay = Failback::After(Duration::from_secs(90));
    assert_eq!(failback, [Failback::Never, Failback::Auto, delay]);
    assert_eq!(shared.quorum, Some(2));
    let witnesses: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "fd00::1".parse().unwrap()];
    assert_eq!(shared.witness, witnesses);
    assert_eq!(shared.hold_down, None);
    assert_eq!(config.local.realtime, Some(20));
    let single = plain_with("witness: 'fe80::1', hold_down: 5,").config.shared;
    assert_eq!(single.witness, ["fe80::1".parse::<IpAddr>().unwrap()]);
    assert_eq!(single.hold_down, Some(Duration::from_secs(5)));
    assert_eq!(plain_with("isolation: 0, quorum: 1,").config.shared.isolation, Duration::ZERO);
}

#[test]
fn a_nameless_group_is_known_by_its_sorted_addresses_a_named_one_by_its_name() {
    let text = PLAIN.replace(
        r#"[[{ interface: "eth0", ip: "192.0.2.10/24" }]]"#,
        r#"[
            [{ interface: "e", ip: "fd00::2" }, { interface: "e", ip: "10.0.0.10" },
             { interface: "e", ip: "10.0.0.9/24" }, { interface: "e", ip: "fd00::1/64" }],
            { name: "web", vips: [{ interface: "e", ip: "10.0.0.1" }] },
        ]"#,
    );
    let groups = parse(&text, "f").unwrap().config.shared.groups;
    assert_eq!(groups[0].id.as_str(), "10.0.0.9,10.0.0.10,fd00::1,fd00::2");
    assert_eq!(groups[0].addresses[0].ip(), "fd00::2".parse::<IpAddr>().unwrap(), "as in the file");
    assert_eq!(addresses(&groups[0])[1], "e 10.0.0.10/32");
    assert_eq!(groups[1].id.as_str(), "web");
}

#[test]
fn without_multicast_the_peers_of_all_nodes_suffice() {
    let text = PLAIN.replace(
        r#"chat: "239.77.0.1:5007","#,
        r#"peers: { node2: "[fd00::2]:5007", node1: "[fd00::1]:5007" },"#,
    );
    let local = parse(&text, "f").unwrap().config.local;
    assert_eq!((local.chat, local.peers.len()), (None, 2));
}

#[test]
fn json5_is_read_in_all_its_forms() {
    let text = "\u{feff}/* JSON5 */ {\n'chat' : '239.77.0.1:5007', // comment\r\n secret:\"0123456789\\\nabcdef\",\
                nodes:['node\\x31',\"node\\u0032\",],version:+0xF,interval:5e-1,stale:.3e1,mature:5.,\
                vips:[['node2',{interface:'eth0',ip:'192.0.2.10/24',},],],}//end";
    let config = parse(text, "f").unwrap().config;
    assert_eq!(config.shared.version, 15);
    assert_eq!(config.shared.interval, Duration::from_millis(500));
    assert_eq!(config.shared.groups[0].prefer, Some(NodeIndex(1)));
    assert_eq!(config.local.secrets[0].0.as_slice(), b"0123456789abcdef");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test, not the core, reads the example files")]
fn every_example_file_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../config");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.display().to_string();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let parsed = parse(&text, &name).unwrap_or_else(|problems| panic!("{problems:#?}"));
        // The placeholder for the secret is to be warned of, nothing else.
        let others = parsed.warnings.iter().filter(|warning| warning.path != "secret");
        if !name.ends_with("sample.conf") {
            assert_eq!(others.count(), 0, "{:#?}", parsed.warnings);
        }
        assert!(parsed.warnings.iter().any(|warning| warning.path == "secret"), "{name}");
        seen += 1;
    }
    assert!(seen >= 5, "only {seen} files in {folder}");
}
