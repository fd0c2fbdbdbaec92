//! Neighbours that do not believe the broadcast.

use std::fs;
use std::time::Duration;

use serde_json::json;
use vippy_lab::options::{vip, vip4};
use vippy_lab::{Cluster, Options, Port, Series};

use crate::support::{PATIENCE, ask, await_status, calm, holder, settled};

/// The client's kernel heeds no gratuitous ARP from now on.
fn make_deaf(cluster: &Cluster) {
    let client = cluster.lan().machine(Port::Client(0)).unwrap();
    let path = "/proc/sys/net/ipv4/conf/eth0/drop_gratuitous_arp";
    client.run(move || fs::write(path, "1")).unwrap().unwrap();
}

/// What a client that heeds no gratuitous ARP sees of the death of an address's
/// holder.
fn death(notify: Option<serde_json::Value>) -> Series {
    let mut options = Options { groups: json!([[vip(vip4(1))]]), ..calm() };
    options.more.insert("arp-cache".into(), json!(1));
    options.more.extend(notify.clone().map(|notify| ("notify".into(), notify)));
    let cluster = settled(options);
    make_deaf(&cluster);
    let ip = vip4(1);
    let probe = ask(&cluster, &[ip]);
    let victim = holder(&cluster, ip);
    let survivor = if victim == 1 { 2 } else { 1 };
    if notify.is_some() {
        await_status(&cluster, survivor, "the holder's neighbours are known", |status| {
            status
                .neighbours
                .iter()
                .any(|(node, stations)| node.as_str() == format!("node{victim}") && *stations > 0)
        });
    }
    cluster.crash_node(victim).unwrap();
    cluster.wait_settled(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    probe.finish().series.remove(&ip).unwrap()
}

#[test]
fn those_whom_only_the_dead_node_knew_are_told_one_by_one() {
    let told = death(Some(json!(["arp-cache"])));
    // Linux heeds no change within a second of the last one; then comes the second
    // round.
    assert!(told.outage() < Duration::from_millis(3_500), "{told}");
    let untold = death(None);
    assert!(untold.outage() > told.outage() + Duration::from_millis(500), "{untold} beside {told}");
}
