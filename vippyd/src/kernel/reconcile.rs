//! Makes the kernel agree with the books: looks, compares, acts, looks again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use vippy_core::config::{Address, Group};
use vippy_core::identity::GroupId;

use super::addresses::{Found, Ours, Spot, Table};
use super::homes::{Carriers, Homes, is_the_hosts};
use super::ledger::Ledger;
use super::links::Links;
use super::netlink::{Change, Netlink, NetlinkError, Order};
use super::plan::Plan;
use super::wanted::Wanted;
use super::worker::{RETRY, Worker, keeps_tags};
use super::{KernelError, Settings};

/// Changes after which groups that are up by then are answered for.
const PART: usize = 128;

/// Rounds of acting and looking before the worker goes back to its queue.
const ROUNDS: usize = 4;

impl Worker {
    /// Does whatever is left to do, then answers and reports.
    pub(super) async fn settle(&mut self) {
        // Lets the sockets deliver what the kernel said up to now.
        tokio::task::yield_now().await;
        self.hear_at_hand();
        for _ in 0..ROUNDS {
            if let Err(error) = self.look().await {
                self.start_over(&error);
                break;
            }
            self.find_homes();
            self.promote_secondaries().await;
            self.give_up_hopeless();
            let plan = self.view().plan(self.wanted.values(), Instant::now());
            self.note_lapsed(&plan.lapsed);
            if !self.act(plan).await {
                break;
            }
        }
        self.await_served().await;
        self.find_homes();
        self.answer();
        self.tell_settled();
        self.tell_availability();
        if self.ledger.is_lagging() || self.unsettled() {
            self.retry_at(Instant::now() + RETRY);
        }
    }

    /// Answers what waited only for the kernel to serve an address.
    pub(super) async fn settle_budding(&mut self) {
        if self.await_served().await {
            self.answer();
            self.tell_settled();
        }
    }

    /// The kernel announces an address before it serves it, under one lock:
    /// once that is free again, it is served. True if any was announced.
    async fn await_served(&mut self) -> bool {
        let announced = self.budding.take_news();
        if announced && let Err(error) = self.netlink.wait_for_lock().await {
            self.start_over(&error);
        }
        announced
    }

    /// Reads the kernel's tables where they may differ from ours.
    pub(super) async fn look(&mut self) -> Result<(), NetlinkError> {
        if self.suspect_links {
            self.links.replace(self.netlink.links().await?);
            self.suspect_links = false;
            self.recheck = true;
        }
        if self.suspect_addresses {
            // Cleared first: news that arrive meanwhile ask for another look.
            self.suspect_addresses = false;
            self.count(|counters| &counters.looks);
            match self.netlink.addresses().await {
                Ok(found) => self.table.replace(found),
                Err(error) => {
                    self.suspect_addresses = true;
                    return Err(error);
                }
            }
            self.recheck = true;
        }
        Ok(())
    }

    /// The sockets broke: opens them again and does what is left to do.
    pub(super) async fn recover(&mut self) {
        self.reopen();
        // Not at full speed, should they break again at once.
        tokio::time::sleep(RETRY).await;
        self.settle().await;
    }

    /// Opens the sockets again; everything may have changed meanwhile.
    fn reopen(&mut self) {
        match Netlink::open() {
            Ok(netlink) => self.netlink = netlink,
            Err(error) => self.notice(chain(&error)),
        }
        self.suspect_addresses = true;
        self.suspect_links = true;
        self.retry_at(Instant::now() + RETRY);
    }

    fn start_over(&mut self, error: &NetlinkError) {
        self.notice(chain(error));
        self.reopen();
    }

    /// Sets `promote_secondaries` on links that carry IPv4 addresses (F4).
    async fn promote_secondaries(&mut self) {
        let mut unset = BTreeSet::new();
        for address in self.wanted.values().flat_map(|wanted| &wanted.group.addresses) {
            if let Some(link) = self.view().home(address)
                && address.ip().is_ipv4()
                && !link.promotes
                && !self.links.is_stubborn(link)
            {
                unset.insert((link.index, link.name.clone()));
            }
        }
        for (index, name) in unset {
            match self.netlink.promote_secondaries(index).await {
                Ok(()) => self.links.set_promotes(index),
                // It went meanwhile; the news will tell.
                Err(NetlinkError::Refused { errno: Errno::ENODEV, .. }) => {}
                Err(error) => {
                    self.links.set_stubborn(index);
                    self.notice(format!(
                        "promote_secondaries of {name} cannot be set, its IPv4 addresses go on \
                         as /32: {}",
                        chain(&error)
                    ));
                }
            }
        }
    }

    /// Gives up ordered groups that cannot be on: link down, address taken,
    /// too late.
    fn give_up_hopeless(&mut self) {
        let view = self.view();
        let now = Instant::now();
        let trouble = |wanted: &Wanted| {
            let late = || {
                let sentence = "its lifetime ran out before its addresses were on";
                wanted.term.has_run_out(now).then(|| sentence.to_owned())
            };
            view.trouble(&wanted.group).or_else(late)
        };
        let pending = self.wanted.iter().filter(|(_, wanted)| wanted.pending);
        let hopeless: Vec<(GroupId, String)> =
            pending.filter_map(|(id, wanted)| Some((id.clone(), trouble(wanted)?))).collect();
        hopeless.into_iter().for_each(|(id, reason)| self.fail(&id, reason));
    }

    fn note_lapsed(&mut self, lapsed: &[GroupId]) {
        for id in lapsed {
            if let Some(wanted) = self.wanted.get_mut(id) {
                wanted.lapsed = true;
            }
            self.count(|counters| &counters.lapsed);
            self.notice(format!(
                "addresses of {id} ran out because their lifetime was not renewed"
            ));
        }
    }

    /// Carries out a plan. True if the kernel must be compared once more.
    async fn act(&mut self, mut plan: Plan) -> bool {
        self.hold_back(&mut plan);
        if plan.is_empty() {
            self.orders_are_old();
            return false;
        }
        let mut again = false;
        if let Err(error) = self.record(&plan) {
            let reason = chain(&error);
            again = self.refuse(&plan, &reason);
            (plan.add, plan.restore, plan.reshape) = Default::default();
        }
        let waiting = self.waiting();
        for part in changes(&plan).chunks(PART) {
            match self.netlink.change(part).await {
                Ok(answers) => {
                    for (change, answer) in part.iter().zip(answers) {
                        again |= self.note_answer(change, answer);
                    }
                    self.strike_removed(part);
                    self.answer_early(part, &waiting);
                }
                Err(error) => {
                    self.start_over(&error);
                    return true;
                }
            }
        }
        self.orders_are_old();
        again
    }

    /// Groups that wait for an answer, by address.
    fn waiting(&self) -> BTreeMap<IpAddr, GroupId> {
        let pending = self.wanted.iter().filter(|(_, wanted)| wanted.pending);
        let places = pending.flat_map(|(id, wanted)| {
            wanted.group.addresses.iter().map(move |address| (address.ip(), id.clone()))
        });
        places.collect()
    }

    /// Answers for the groups that a part of the changes completed: of many that
    /// move at once the neighbours are told while the others still go on.
    fn answer_early(&mut self, part: &[Change], waiting: &BTreeMap<IpAddr, GroupId>) {
        let added = part.iter().filter_map(|change| match change {
            Change::Add(order) | Change::Renew(order) => waiting.get(&order.spot.ip),
            Change::Remove(_) => None,
        });
        let groups: BTreeSet<&GroupId> = added.collect();
        groups.into_iter().for_each(|group| self.answer_if_up(group));
    }

    /// From here on, what goes on only gets what is left of its lifetime (F1),
    /// even what could not go on now because its link is away.
    fn orders_are_old(&mut self) {
        self.wanted.values_mut().for_each(|wanted| wanted.fresh = false);
    }

    /// Takes out of a plan what somebody else undoes too often (F3).
    fn hold_back(&mut self, plan: &mut Plan) {
        let now = Instant::now();
        let mut reopened = None;
        for (orders, what) in
            [(&mut plan.restore, "was missing"), (&mut plan.reshape, "was in the way of others")]
        {
            orders.retain(|order| match self.restorations.ask(order.spot, now) {
                Ok(times) => {
                    self.count(|counters| &counters.restored);
                    let Spot { ip, prefix, index } = order.spot;
                    let interface = self.links.name(index).unwrap_or("?");
                    self.notice(format!(
                        "{ip}/{prefix} {what} on {interface} and is put on again (time {times})"
                    ));
                    true
                }
                Err(when) => {
                    reopened = Some(reopened.map_or(when, |other: Instant| other.min(when)));
                    false
                }
            });
        }
        if let Some(when) = reopened {
            self.retry_at(when);
        }
    }

    /// Writes what will be added into the ledger, before it is added.
    fn record(&mut self, plan: &Plan) -> Result<(), super::LedgerError> {
        let ours = Ours { ledger: &self.ledger, links: &self.links, tags: self.tags };
        let orders = plan.add.iter().chain(&plan.restore).chain(&plan.reshape);
        let entries: Vec<_> = orders.filter_map(|order| ours.entry(&order.spot)).collect();
        self.ledger.record(entries)
    }

    /// Nothing of a plan may be added. True if a group was given up.
    fn refuse(&mut self, plan: &Plan, reason: &str) -> bool {
        self.notice(reason.to_owned());
        self.retry_at(Instant::now() + RETRY);
        plan.add.iter().filter(|order| self.blame(&order.spot, reason)).count() > 0
    }

    /// Takes the kernel's answer into the books. True if it must be compared
    /// once more.
    fn note_answer(&mut self, change: &Change, answer: Result<(), Errno>) -> bool {
        match (change, answer) {
            (Change::Remove(spot), Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENODEV)) => {
                self.table.remove(spot);
                self.budding.remove(spot);
                false
            }
            (Change::Add(order), Ok(())) => {
                self.budding.add(order.spot, Instant::now());
                self.table.put(Found::acknowledged(order, self.tags));
                false
            }
            (Change::Renew(order), Ok(())) => {
                let known = self.table.get(&order.spot).copied();
                let known = known.unwrap_or(Found::acknowledged(order, self.tags));
                self.table.put(Found { valid: order.valid, ..known });
                false
            }
            (Change::Add(_), Err(Errno::EEXIST)) => {
                self.suspect_addresses = true;
                true
            }
            (Change::Remove(spot), Err(errno)) => self.complain("taken off", spot, errno),
            (Change::Renew(order), Err(errno)) => self.complain("renewed", &order.spot, errno),
            (Change::Add(order), Err(errno)) => {
                let reason = self.sentence("put on", &order.spot, errno);
                self.blame(&order.spot, &reason) || self.complain("put on", &order.spot, errno)
            }
        }
    }

    /// Something was refused that no answer waits for: log it, try later.
    fn complain(&mut self, what: &str, spot: &Spot, errno: Errno) -> bool {
        self.notice(self.sentence(what, spot, errno));
        self.suspect_addresses = true;
        self.retry_at(Instant::now() + RETRY);
        false
    }

    fn sentence(&self, what: &str, spot: &Spot, errno: Errno) -> String {
        refusal(what, spot, self.links.name(spot.index), errno)
    }

    /// Gives up the group that waits for this address, if any does.
    fn blame(&mut self, spot: &Spot, reason: &str) -> bool {
        let pending = self.wanted.iter().filter(|(_, wanted)| wanted.pending);
        let mut blamed = pending.filter(|(_, wanted)| {
            wanted.group.addresses.iter().any(|address| address.ip() == spot.ip)
        });
        let Some(id) = blamed.next().map(|(id, _)| id.clone()) else { return false };
        self.fail(&id, reason.to_owned());
        true
    }

    /// Strikes from the ledger what was removed for good.
    fn strike_removed(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Remove(spot) = change
                && self.table.get(spot).is_none()
            {
                let ours = Ours { ledger: &self.ledger, links: &self.links, tags: self.tags };
                if let Some(entry) = ours.entry(spot) {
                    self.ledger.strike(&entry);
                }
            }
        }
    }
}

fn changes(plan: &Plan) -> Vec<Change> {
    let add = |order: &Order| Change::Add(order.clone());
    let remove = plan.remove.iter().copied();
    let reshape = plan.reshape.iter().map(|order| order.spot);
    let mut changes: Vec<Change> = remove.chain(reshape).map(Change::Remove).collect();
    changes.extend(plan.renew.iter().cloned().map(Change::Renew));
    changes.extend(plan.reshape.iter().map(add));
    changes.extend(plan.add.iter().map(add));
    changes.extend(plan.restore.iter().map(add));
    changes
}

fn refusal(what: &str, spot: &Spot, interface: Option<&str>, errno: Errno) -> String {
    let interface = interface.unwrap_or("an interface that went");
    format!("{}/{} on {interface} could not be {what}: {}", spot.ip, spot.prefix, errno.desc())
}

/// An error and all of its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// See [`super::Kernel::survey`].
pub(super) async fn survey(groups: &[Arc<Group>]) -> Result<Homes, KernelError> {
    let netlink = Netlink::open()?;
    let mut links = Links::default();
    links.replace(netlink.links().await?);
    let found = netlink.addresses().await?;
    let addresses = || groups.iter().flat_map(|group| &group.addresses);
    let managed = addresses().map(Address::ip).collect();
    let own = found.iter().filter(|found| is_the_hosts(found, &managed));
    let carriers = Carriers::new(own, &links);
    Ok(Homes::find(addresses(), |_| None, |address| carriers.home(address)))
}

/// Removes everything that is ours; see [`super::Kernel::release_all`].
pub(super) async fn release(settings: Settings) -> Result<usize, KernelError> {
    let netlink = Netlink::open()?;
    if !netlink.may_change().await? {
        return Err(KernelError::Capability);
    }
    let (mut ledger, _) = Ledger::read(settings.ledger)?;
    let mut links = Links::default();
    links.replace(netlink.links().await?);
    let mut table = Table::default();
    table.replace(netlink.addresses().await?);
    let tags = keeps_tags(&table);
    let ours = Ours { ledger: &ledger, links: &links, tags };
    let spots: Vec<Spot> =
        table.iter().filter(|found| ours.holds(found)).map(|found| found.spot).collect();
    let changes: Vec<Change> = spots.iter().copied().map(Change::Remove).collect();
    let mut refusals = Vec::new();
    let mut stuck = BTreeSet::new();
    for (spot, answer) in spots.iter().zip(netlink.change(&changes).await?) {
        match answer {
            Ok(()) | Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => {}
            Err(errno) => {
                refusals.push(refusal("taken off", spot, links.name(spot.index), errno));
                stuck.insert(spot.ip);
            }
        }
    }
    ledger.retain(|entry| stuck.contains(&entry.ip));
    ledger.write()?;
    if refusals.is_empty() { Ok(spots.len()) } else { Err(KernelError::Release { refusals }) }
}
