//! Addresses without a named interface, against a real kernel, in namespaces.
//! Needs root and `ip`.

use std::sync::Arc;

use vippy_core::input::ResourceReport::{Available, Unavailable};
use vippyd::kernel::Kernel;

use crate::support::{Running, eventually, group, in_namespace, ip, seen};

/// Adds an interface that is up, wired to another one.
fn add_link(name: &str) {
    ip(&format!("link add {name} type veth peer name far-{name}"));
    ip(&format!("link set far-{name} up"));
    ip(&format!("link set {name} up"));
    eventually("it has a carrier", || ip(&format!("link show {name}")).contains("LOWER_UP"));
}

fn on(address: &str) -> Option<String> {
    seen(address).map(|found| found["on"].as_str().unwrap().to_owned())
}

fn home(running: &Running, address: &str) -> Option<String> {
    running.homes.borrow().found(address.parse().unwrap()).map(str::to_owned)
}

fn nothing_carries(net: &str) -> vippy_core::input::ResourceReport {
    Unavailable(format!("no interface carries {net} and the configuration names none"))
}

#[test]
fn an_address_goes_where_its_network_is_and_stays_there_while_it_is_on() {
    in_namespace(|lan| {
        add_link("eth1");
        ip("address add 10.9.0.1/24 dev eth0");
        ip("address add fd00:9::1/64 dev eth1 nodad");
        let both = group(&["10.9.0.50/24", "fd00:9::50/64"]);
        let mut running = lan.start(&[Arc::clone(&both)]);
        assert_eq!(running.next(&both), Available);
        running.plumb(&both, Some(60));
        assert_eq!(on("10.9.0.50").unwrap(), "eth0");
        assert_eq!(on("fd00:9::50").unwrap(), "eth1");
        assert_eq!(home(&running, "10.9.0.50").unwrap(), "eth0");
        assert_eq!(home(&running, "fd00:9::50").unwrap(), "eth1");

        // A narrower network elsewhere, and its own one gone.
        ip("address add 10.9.0.2/25 dev eth1");
        ip("address del 10.9.0.1/24 dev eth0");
        running.kernel.settled().blocking_recv().unwrap();
        assert_eq!(on("10.9.0.50").unwrap(), "eth0");
        assert!(running.is_quiet());
        // So it does when another process comes, and when somebody takes it off.
        drop(running);
        let mut running = lan.start(&[Arc::clone(&both)]);
        assert_eq!(running.present, [both.id.to_string()]);
        assert_eq!(home(&running, "10.9.0.50").unwrap(), "eth0");
        ip("address del 10.9.0.50/24 dev eth0");
        eventually("it is put on again", || on("10.9.0.50").is_some());
        assert_eq!(on("10.9.0.50").unwrap(), "eth0");

        running.unplumb(&both);
        assert_eq!(home(&running, "10.9.0.50").unwrap(), "eth1");
        running.plumb(&both, Some(60));
        assert_eq!(on("10.9.0.50").unwrap(), "eth1");
    });
}

#[test]
fn a_network_that_comes_later_is_found_and_one_that_goes_is_missed() {
    in_namespace(|lan| {
        let one = group(&["10.9.0.50/32"]);
        let other = group(&["10.8.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one), Arc::clone(&other)]);
        assert_eq!(running.next(&one), nothing_carries("10.9.0.50/32"));
        running.drain();
        ip("address add 10.9.0.1/24 dev eth0");
        assert_eq!(running.next(&one), Available);
        running.plumb(&one, Some(60));
        assert_eq!(on("10.9.0.50").unwrap(), "eth0");
        running.unplumb(&one);
        ip("address del 10.9.0.1/24 dev eth0");
        assert_eq!(running.next(&one), nothing_carries("10.9.0.50/32"));

        add_link("eth7");
        ip("address add 10.8.0.1/24 dev eth7");
        assert_eq!(running.next(&other), Available);
        ip("link set eth7 down");
        assert_eq!(running.next(&other), Unavailable("link of eth7 is down".into()));
        ip("address add 10.8.0.2/24 dev eth0");
        assert_eq!(running.next(&other), Available, "another one can be used");
        ip("address del 10.8.0.2/24 dev eth0");
        ip("link del eth7");
        while running.next(&other) != nothing_carries("10.8.0.0/24") {}
    });
}

#[test]
fn what_the_cluster_moves_carries_no_network() {
    in_namespace(|lan| {
        let named = group(&["eth0 10.9.0.60/24"]);
        let nameless = group(&["10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&named), Arc::clone(&nameless)]);
        running.plumb(&named, Some(60));
        // Of a daemon that knows nothing of the other group.
        drop(running);
        let mut running = lan.start(std::slice::from_ref(&nameless));
        assert_eq!(running.next(&nameless), nothing_carries("10.9.0.0/24"));
        assert_eq!(on("10.9.0.60"), None);
        ip("address add 10.9.0.50/24 dev far0");
        running.kernel.settled().blocking_recv().unwrap();
        assert_eq!(home(&running, "10.9.0.50"), None, "not even itself, put there by hand");
    });
}

/// The neighbours would not be told.
#[test]
fn an_interface_that_vanishes_takes_its_addresses_along_until_they_are_ordered_anew() {
    in_namespace(|lan| {
        add_link("eth7");
        ip("address add 10.9.0.1/16 dev eth0");
        ip("address add 10.9.0.2/24 dev eth7");
        let one = group(&["10.9.0.50/24"]);
        let mut running = lan.start(&[Arc::clone(&one)]);
        running.plumb(&one, Some(60));
        assert_eq!(on("10.9.0.50").unwrap(), "eth7");
        ip("link del eth7");
        while running.next(&one) != Unavailable("interface eth7 does not exist".into()) {}
        assert_eq!(on("10.9.0.50"), None);
        running.kernel.unplumb(one.id.clone());
        while running.next(&one) != Available {}
        assert_eq!(home(&running, "10.9.0.50").unwrap(), "eth0");
        running.plumb(&one, Some(60));
        assert_eq!(on("10.9.0.50").unwrap(), "eth0");
    });
}

#[test]
fn a_name_that_came_with_the_configuration_counts_where_nothing_carries_the_network() {
    in_namespace(|lan| {
        let hinted = |name: &str| {
            let mut group = group(&["10.9.0.50/24"]);
            Arc::make_mut(&mut group).addresses[0].hint = Some(name.into());
            group
        };
        let mut running = lan.start(&[hinted("eth7")]);
        let absent = "no interface carries 10.9.0.0/24, and eth7, which the configuration names, \
                      is not here";
        assert_eq!(running.next(&hinted("eth7")), Unavailable(absent.into()));
        add_link("eth7");
        while running.next(&hinted("eth7")) != Available {}
        assert_eq!(home(&running, "10.9.0.50").unwrap(), "eth7");
        ip("address add 10.9.0.1/24 dev eth0");
        eventually("its network is found", || {
            home(&running, "10.9.0.50").is_some_and(|name| name == "eth0")
        });
    });
}

#[test]
fn a_survey_tells_where_addresses_would_go() {
    in_namespace(|_| {
        ip("address add 10.9.0.1/24 dev eth0");
        let homes = Kernel::survey(&[group(&["10.9.0.50/24", "10.8.0.50/24"])]).unwrap();
        assert_eq!(homes.found("10.9.0.50".parse().unwrap()), Some("eth0"));
        assert_eq!(homes.found("10.8.0.50".parse().unwrap()), None);
    });
}
