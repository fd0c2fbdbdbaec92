//! Tests of [`super`]: one situation each, no kernel.

use std::sync::Arc;
use std::time::Duration;

use super::super::ledger::Ledger;
use super::super::netlink::TAG;
use super::super::wanted::Term;
use super::*;

const SECONDARY: u32 = 0x01;
const NO_PREFIX_ROUTE: u32 = 0x200;

/// A machine with `eth0` (2) and `eth1` (3), both up.
struct Machine {
    table: Table,
    links: Links,
    ledger: Ledger,
    homes: Homes,
    now: Instant,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = Ledger::read(dir.path().join("ledger")).unwrap();
        let mut links = Links::default();
        for (index, name) in [(2, "eth0"), (3, "eth1")] {
            let name = name.to_owned();
            links.put(Link { index, name, up: true, running: true, promotes: true });
        }
        let now = Instant::now();
        let (table, homes) = Default::default();
        Machine { table, links, ledger, homes, now, _dir: dir }
    }

    fn put(&mut self, net: &str, index: u32, flags: u32, tag: Option<u8>) {
        let net: IpNet = net.parse().unwrap();
        let spot = Spot { ip: net.addr(), prefix: net.prefix_len(), index };
        let valid = tag.map(|_| 10);
        self.table.put(Found { spot, tag, flags, valid, confirmed: true });
    }

    fn host(&mut self, net: &str, index: u32) {
        self.put(net, index, 0, None);
    }

    fn ours(&mut self, net: &str, index: u32, flags: u32) {
        self.put(net, index, flags, Some(TAG));
        let interface = self.links.name(index).unwrap();
        self.ledger.record([format!("{net} {interface}").parse().unwrap()]).unwrap();
    }

    fn plan(&self, wanted: &[Wanted]) -> Plan {
        self.view().plan(wanted.iter(), self.now)
    }

    fn trouble(&self, group: &Group) -> Option<String> {
        self.view().trouble(group)
    }

    fn view(&self) -> View<'_> {
        let ours = Ours { ledger: &self.ledger, links: &self.links, tags: true };
        View { table: &self.table, ours, homes: &self.homes }
    }

    /// A group ordered `ago` with ten seconds to live.
    fn wanted(&self, nets: &[&str], ago: u64) -> Wanted {
        let since = self.now.checked_sub(Duration::from_secs(ago)).unwrap();
        let term = Term::new(Some(Duration::from_secs(10)), since);
        Wanted { group: group(nets), term, fresh: ago == 0, pending: ago == 0, lapsed: false }
    }
}

fn group(nets: &[&str]) -> Arc<Group> {
    let address = |net: &&str| Address::on("eth0", net.parse().unwrap());
    Arc::new(Group {
        id: nets.join(",").as_str().into(),
        name: None,
        prefer: None,
        exclusive: false,
        failback: vippy_core::config::Failback::Auto,
        addresses: nets.iter().map(address).collect(),
    })
}

#[test]
fn a_fresh_order_adds_with_the_whole_lifetime() {
    let machine = Machine::new();
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24"], 0)]);
    let spot = Spot { ip: "10.0.0.9".parse().unwrap(), prefix: 24, index: 2 };
    let broadcast = Some("10.0.0.255".parse().unwrap());
    let order = Order { spot, broadcast, prefix_route: true, valid: Some(10) };
    assert_eq!(plan, Plan { add: vec![order], ..Plan::default() });
}

#[test]
fn what_is_there_as_it_should_be_needs_nothing_unless_ordered_again() {
    let mut machine = Machine::new();
    machine.ours("10.0.0.9/24", 2, 0);
    assert!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 3)]).is_empty());
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24"], 0)]);
    assert_eq!(plan.renew.len(), 1);
    assert_eq!(plan.renew[0].valid, Some(10));
}

#[test]
fn what_was_taken_off_comes_back_for_what_is_left_of_its_time() {
    let machine = Machine::new();
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24"], 3)]);
    assert_eq!(plan.restore.len(), 1);
    assert_eq!(plan.restore[0].valid, Some(7));
}

#[test]
fn what_ran_out_stays_off_until_the_loop_orders_again() {
    let machine = Machine::new();
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24"], 10)]);
    assert_eq!(plan, Plan { lapsed: vec!["10.0.0.9/24".into()], ..Plan::default() });
}

#[test]
fn ours_and_unwanted_goes_and_everything_else_stays() {
    let mut machine = Machine::new();
    machine.ours("10.0.0.9/24", 3, 0);
    machine.host("10.0.0.1/24", 2);
    machine.put("10.0.0.7/24", 2, 0, Some(TAG));
    let plan = machine.plan(&[]);
    let spot = Spot { ip: "10.0.0.9".parse().unwrap(), prefix: 24, index: 3 };
    assert_eq!(plan, Plan { remove: vec![spot], ..Plan::default() });
}

#[test]
fn somebody_elses_address_is_neither_added_nor_touched() {
    let mut machine = Machine::new();
    machine.host("10.0.0.9/32", 3);
    assert!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 0)]).is_empty());
    assert_eq!(
        machine.trouble(&group(&["10.0.0.9/24"])).unwrap(),
        "10.0.0.9 is on eth1 already and was not put there by vippy"
    );
}

#[test]
fn next_to_the_hosts_address_there_is_no_second_route() {
    let mut machine = Machine::new();
    machine.host("10.0.0.1/24", 2);
    machine.host("fd00::1/64", 2);
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24", "fd00::9/64", "10.1.0.9/24"], 0)]);
    let routes: Vec<bool> = plan.add.iter().map(|order| order.prefix_route).collect();
    assert_eq!(routes, [false, false, true]);
}

#[test]
fn a_network_inside_the_hosts_gets_no_route_and_one_around_it_does() {
    let mut machine = Machine::new();
    machine.host("10.0.0.1/16", 2);
    let plan = machine.plan(&[machine.wanted(&["10.0.3.9/24", "10.0.0.9/8", "10.0.0.8/32"], 0)]);
    let routes: Vec<bool> = plan.add.iter().map(|order| order.prefix_route).collect();
    assert_eq!(routes, [false, true, false]);
}

#[test]
fn our_other_addresses_do_not_cost_an_address_its_route() {
    let mut machine = Machine::new();
    machine.ours("10.0.0.8/24", 2, 0);
    let wanted = [machine.wanted(&["10.0.0.8/24"], 1), machine.wanted(&["10.0.0.9/24"], 0)];
    assert!(machine.plan(&wanted).add[0].prefix_route);
}

#[test]
fn an_address_that_came_before_the_hosts_steps_back() {
    let mut machine = Machine::new();
    machine.host("10.0.0.1/24", 2);
    machine.ours("10.0.0.9/24", 2, NO_PREFIX_ROUTE);
    assert_eq!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 1)]).reshape.len(), 1);
    machine.ours("10.0.0.9/24", 2, SECONDARY);
    assert_eq!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 1)]).reshape.len(), 1);
    machine.ours("10.0.0.9/24", 2, SECONDARY | NO_PREFIX_ROUTE);
    assert!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 1)]).is_empty());
}

#[test]
fn without_promotion_ipv4_goes_on_without_its_network() {
    let mut machine = Machine::new();
    machine.links.put(Link { promotes: false, ..machine.links.named("eth0").unwrap().clone() });
    machine.links.set_stubborn(2);
    let plan = machine.plan(&[machine.wanted(&["10.0.0.9/24", "fd00::9/64"], 0)]);
    let prefixes: Vec<u8> = plan.add.iter().map(|order| order.spot.prefix).collect();
    assert_eq!(prefixes, [32, 64]);
    assert_eq!(plan.add[0].broadcast, None);
}

#[test]
fn an_address_goes_where_it_belongs_and_nowhere_without_a_home() {
    let mut machine = Machine::new();
    let mut nameless = machine.wanted(&["10.0.0.9/24"], 0);
    let group = Arc::make_mut(&mut nameless.group);
    group.addresses[0].interface = None;
    let address = group.addresses[0].clone();
    assert!(machine.plan(&[nameless.clone()]).is_empty());
    let why = "no interface carries 10.0.0.0/24 and the configuration names none";
    assert_eq!(machine.trouble(&nameless.group).unwrap(), why);
    machine.homes = Homes::find([&address].into_iter(), |_| None, |_| Some("eth1"));
    assert_eq!(machine.plan(&[nameless.clone()]).add[0].spot.index, 3);
    assert_eq!(machine.trouble(&nameless.group), None);
}

#[test]
fn nothing_goes_on_while_the_link_is_down() {
    let mut machine = Machine::new();
    machine.links.put(Link { running: false, ..machine.links.named("eth0").unwrap().clone() });
    assert!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 1)]).is_empty());
    machine.ours("10.0.0.9/24", 2, 0);
    assert!(machine.plan(&[machine.wanted(&["10.0.0.9/24"], 1)]).is_empty(), "nor comes off");
}
