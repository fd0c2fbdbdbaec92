//! The worker: takes orders, hears news, answers.
//!
//! Keeps the books; how the kernel is made to agree with them is
//! [`super::reconcile`]'s business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use vippy_core::config::{Address, Group};
use vippy_core::identity::GroupId;
use vippy_core::input::ResourceReport;

use super::addresses::{Found, Ours, Spot, Table};
use super::budding::Budding;
use super::homes::{Carriers, Homes, is_the_hosts};
use super::ledger::Ledger;
use super::links::Links;
use super::netlink::{Netlink, News};
use super::plan::View;
use super::restore::Restorations;
use super::wanted::{Term, Wanted};
use super::{Counters, KernelError, Report, Settings};

/// Everything is looked at again after this long, whatever the news say.
const SLOW_CHECK: Duration = Duration::from_secs(30);
/// What failed is tried again after this long.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// An order.
#[derive(Debug)]
pub(super) enum Command {
    Watch(Vec<Arc<Group>>),
    Plumb { group: Arc<Group>, lifetime: Option<Duration> },
    Unplumb(GroupId),
    Renew(Duration),
    Settled(oneshot::Sender<()>),
}

impl Command {
    /// The group whose answer a second order would confuse.
    fn group(&self) -> Option<&GroupId> {
        match self {
            Command::Plumb { group, .. } => Some(&group.id),
            Command::Unplumb(group) => Some(group),
            Command::Watch(_) | Command::Renew(_) | Command::Settled(_) => None,
        }
    }
}

/// The worker's connections to the rest of the daemon.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) reports: UnboundedSender<Report>,
    pub(super) notices: UnboundedSender<String>,
    pub(super) renewals: UnboundedSender<Duration>,
    pub(super) homes: watch::Sender<Homes>,
    pub(super) counters: Arc<Counters>,
}

/// A group whose availability is reported.
#[derive(Debug)]
struct Watched {
    group: Arc<Group>,
    /// What was said last: nothing yet, available, or why not.
    told: Option<Option<String>>,
}

/// An answer that waits until a group's addresses are gone.
#[derive(Debug)]
pub(super) struct Owed {
    group: Arc<Group>,
    answer: ResourceReport,
}

/// The books.
pub(super) struct Worker {
    pub(super) netlink: Netlink,
    pub(super) lines: Lines,
    pub(super) table: Table,
    pub(super) links: Links,
    pub(super) ledger: Ledger,
    /// Whether this kernel keeps `IFA_PROTO`.
    pub(super) tags: bool,
    pub(super) wanted: BTreeMap<GroupId, Wanted>,
    pub(super) restorations: Restorations,
    /// On, and not served yet.
    pub(super) budding: Budding,
    /// The address table may differ from ours.
    pub(super) suspect_addresses: bool,
    /// The links may differ from ours.
    pub(super) suspect_links: bool,
    /// Something that availability depends on changed.
    pub(super) recheck: bool,
    /// When to try again what failed or had to wait.
    pub(super) retry: Option<Instant>,
    /// Where addresses belong.
    homes: Homes,
    watched: BTreeMap<GroupId, Watched>,
    owed: Vec<Owed>,
    /// Who waits for everything ordered to be carried out.
    settling: Vec<oneshot::Sender<()>>,
    /// Addresses of all groups watched or wanted, those of them whose interface
    /// must be found, and the interfaces that are named.
    ips: BTreeSet<IpAddr>,
    nameless: BTreeSet<IpAddr>,
    interfaces: BTreeSet<String>,
    next_check: Instant,
}

impl Worker {
    /// Looks at everything, adopts what is ours and wholly there, removes the
    /// rest of ours, and reports availability.
    pub(super) async fn open(
        settings: Settings,
        groups: Vec<Arc<Group>>,
        lines: Lines,
    ) -> Result<(Worker, BTreeSet<GroupId>), KernelError> {
        let netlink = Netlink::open()?;
        if !netlink.may_change().await? {
            return Err(KernelError::Capability);
        }
        let (ledger, complaints) = Ledger::read(settings.ledger)?;
        let mut worker = Worker {
            netlink,
            lines,
            table: Table::default(),
            links: Links::default(),
            ledger,
            tags: false,
            wanted: BTreeMap::new(),
            restorations: Restorations::default(),
            budding: Budding::default(),
            suspect_addresses: true,
            suspect_links: true,
            recheck: true,
            retry: None,
            homes: Homes::default(),
            watched: BTreeMap::new(),
            owed: Vec::new(),
            settling: Vec::new(),
            ips: BTreeSet::new(),
            nameless: BTreeSet::new(),
            interfaces: BTreeSet::new(),
            next_check: Instant::now() + SLOW_CHECK,
        };
        complaints.into_iter().for_each(|complaint| worker.notice(complaint));
        // A ledger that cannot be written must show now, not at the first move.
        worker.ledger.write()?;
        worker.look().await?;
        worker.tags = keeps_tags(&worker.table);
        worker.watch(groups.clone());
        worker.find_homes();
        worker.adopt(groups);
        let present = worker.wanted.keys().cloned().collect();
        worker.settle().await;
        Ok((worker, present))
    }

    fn adopt(&mut self, groups: Vec<Arc<Group>>) {
        let now = Instant::now();
        for group in groups {
            if !self.view().is_wholly_on(&group) {
                continue;
            }
            let term = Term::found(self.view().seconds_left(&group), now);
            let id = group.id.clone();
            let wanted = Wanted { group, term, fresh: false, pending: false, lapsed: false };
            self.wanted.insert(id, wanted);
        }
    }

    /// Works until the daemon drops its end of the queue.
    pub(super) async fn run(mut self) {
        loop {
            let wake = tokio::time::Instant::from_std(self.next_wake());
            tokio::select! {
                biased;
                command = self.lines.commands.recv() => match command {
                    Some(command) => self.burst(command).await,
                    None => break,
                },
                news = self.netlink.next_news() => match news {
                    Some(news) => {
                        let before = self.unsettled();
                        self.hear(news);
                        self.hear_at_hand();
                        if self.unsettled() && !before {
                            self.settle().await;
                        } else {
                            self.settle_budding().await;
                        }
                    }
                    None => self.recover().await,
                },
                () = tokio::time::sleep_until(wake) => self.wake(Instant::now()).await,
            }
        }
        self.write_ledger();
    }

    fn next_wake(&self) -> Instant {
        [self.retry, self.budding.next()].into_iter().flatten().fold(self.next_check, Instant::min)
    }

    async fn wake(&mut self, now: Instant) {
        self.budding.expire(now);
        if self.retry.is_some_and(|retry| retry <= now) {
            self.retry = None;
        }
        if self.next_check <= now {
            self.next_check = now + SLOW_CHECK;
            self.suspect_addresses = true;
            self.suspect_links = true;
            self.restorations.forget(now);
            self.prune_ledger();
        }
        self.settle().await;
        if self.ledger.is_lagging() {
            self.write_ledger();
        }
    }

    /// Takes all orders that are waiting, then carries them out at once. A
    /// second order for one group starts another burst: each wants its answer.
    async fn burst(&mut self, first: Command) {
        let mut waiting = Some(first);
        while waiting.is_some() {
            let mut touched = BTreeSet::new();
            let begun = cpu_time();
            let mut renewals = 0;
            while let Some(command) = waiting.take() {
                if command.group().is_some_and(|group| !touched.insert(group.clone())) {
                    waiting = Some(command);
                    break;
                }
                renewals += usize::from(matches!(command, Command::Renew(_)));
                self.obey(command);
                waiting = self.lines.commands.try_recv().ok();
            }
            self.settle().await;
            if renewals > 0 {
                self.tell_cost(renewals, begun).await;
            }
            for done in self.settling.drain(..) {
                // Who asked may have given up waiting.
                let _ = done.send(());
            }
        }
    }

    /// What a burst cost, the kernel's part and the echoes that it caused
    /// included. Several renewals in one burst were one.
    async fn tell_cost(&mut self, renewals: usize, begun: Duration) {
        tokio::task::yield_now().await;
        self.hear_at_hand();
        let took = cpu_time().saturating_sub(begun);
        for _ in 0..renewals {
            // Nobody listens any more when the daemon is about to end.
            let _ = self.lines.renewals.send(took);
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Watch(groups) => self.watch(groups),
            Command::Plumb { group, lifetime } => {
                self.owed.retain(|owed| owed.group.id != group.id);
                self.mind(&group);
                let id = group.id.clone();
                let term = Term::new(lifetime, now);
                let wanted = Wanted { group, term, fresh: true, pending: true, lapsed: false };
                self.wanted.insert(id, wanted);
            }
            Command::Unplumb(group) => match self.wanted.remove(&group) {
                Some(wanted) => self.owe(wanted.group, ResourceReport::Down),
                None => match self.owed.iter_mut().find(|owed| owed.group.id == group) {
                    Some(owed) => owed.answer = ResourceReport::Down,
                    None => self.report(group, ResourceReport::Down),
                },
            },
            Command::Settled(done) => self.settling.push(done),
            Command::Renew(lifetime) => {
                for wanted in self.wanted.values_mut() {
                    if wanted.term.has_run_out(now) {
                        // It may have gone without our hearing of it yet.
                        self.suspect_addresses = true;
                    }
                    wanted.term = Term::new(Some(lifetime), now);
                    wanted.fresh = true;
                    wanted.lapsed = false;
                }
            }
        }
    }

    fn watch(&mut self, groups: Vec<Arc<Group>>) {
        self.watched = groups
            .into_iter()
            .map(|group| (group.id.clone(), Watched { group, told: None }))
            .collect();
        self.ips.clear();
        self.nameless.clear();
        self.interfaces.clear();
        let watched = self.watched.values().map(|watched| Arc::clone(&watched.group));
        let wanted = self.wanted.values().map(|wanted| Arc::clone(&wanted.group));
        watched.chain(wanted).collect::<Vec<_>>().iter().for_each(|group| self.mind(group));
        self.recheck = true;
    }

    fn mind(&mut self, group: &Group) {
        for address in &group.addresses {
            self.ips.insert(address.ip());
            match &address.interface {
                Some(name) if self.interfaces.contains(name) => {}
                Some(name) => drop(self.interfaces.insert(name.clone())),
                None => {
                    self.nameless.insert(address.ip());
                    self.recheck |= self.homes.of(address).is_none();
                }
            }
        }
    }

    /// Finds where addresses belong, if that may have changed.
    pub(super) fn find_homes(&mut self) {
        if !self.recheck || self.nameless.is_empty() && self.homes == Homes::default() {
            return;
        }
        let view = self.view();
        let own = |found: &&Found| is_the_hosts(found, &self.ips) && !view.ours.holds(found);
        let carriers = Carriers::new(self.table.iter().filter(own), &self.links);
        let wanted = self.wanted.values().flat_map(|wanted| &wanted.group.addresses);
        let ordered: BTreeSet<IpAddr> = wanted.clone().map(Address::ip).collect();
        let watched = self.watched.values().flat_map(|watched| &watched.group.addresses);
        let stays = |ip: IpAddr| {
            let before = self.homes.found(ip).filter(|_| ordered.contains(&ip));
            before.or_else(|| self.links.name(view.place(ip)?.spot.index))
        };
        let homes = Homes::find(wanted.chain(watched), stays, |address| carriers.home(address));
        if homes != self.homes {
            self.homes = homes;
            self.lines.homes.send_replace(self.homes.clone());
        }
    }

    /// Reads the news that are there already.
    pub(super) fn hear_at_hand(&mut self) {
        while let Some(news) = self.netlink.news_at_hand() {
            self.hear(news);
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Lost => {
                self.count(|counters| &counters.lost);
                self.suspect_addresses = true;
                self.suspect_links = true;
            }
            News::Link(link) => {
                let index = link.index;
                let before = self.matters(index);
                self.recheck |= self.links.put(link) && (before || self.matters(index));
            }
            News::LinkGone(index) => {
                self.recheck |= self.matters(index);
                self.table.remove_link(index);
                self.budding.remove_link(index);
                self.links.remove(index);
            }
            News::Address(found) => {
                self.budding.announced(&found.spot);
                match self.table.get(&found.spot) {
                    Some(known) if found.is_echo_of(known) => {
                        self.count(|counters| &counters.echoes);
                        self.table.put(found);
                    }
                    Some(_) | None if self.concerns(&found.spot) => self.suspect_addresses = true,
                    Some(_) | None => self.table.put(found),
                }
            }
            News::AddressGone(spot) => {
                if self.table.get(&spot).is_none() {
                    self.count(|counters| &counters.echoes);
                } else if self.concerns(&spot) {
                    // Old news may be overtaken by what we did since: look.
                    self.suspect_addresses = true;
                } else {
                    self.table.remove(&spot);
                }
            }
        }
    }

    /// Whether a change at this place can make a difference to any group: it
    /// is one of our addresses, or a neighbour of ours, or carries a network in
    /// which one of ours belongs wherever that is.
    fn concerns(&self, spot: &Spot) -> bool {
        let near =
            |net: IpNet| self.nameless.range(net.network()..=net.broadcast()).next().is_some();
        self.ips.contains(&spot.ip) || self.is_named(spot.index) || spot.net().is_some_and(near)
    }

    /// Whether a change of this link can make a difference to any group.
    fn matters(&self, index: u32) -> bool {
        !self.nameless.is_empty() || self.is_named(index)
    }

    /// Whether the file names this link for any address.
    fn is_named(&self, index: u32) -> bool {
        self.links.name(index).is_some_and(|name| self.interfaces.contains(name))
    }

    /// Whether there is anything to look at or to tell.
    pub(super) fn unsettled(&self) -> bool {
        self.suspect_addresses || self.suspect_links || self.recheck
    }

    /// What is known of the kernel.
    pub(super) fn view(&self) -> View<'_> {
        let ours = Ours { ledger: &self.ledger, links: &self.links, tags: self.tags };
        View { table: &self.table, ours, homes: &self.homes }
    }

    /// Owes an answer until the group's addresses are gone. From then on they
    /// belong where their network is by then.
    pub(super) fn owe(&mut self, group: Arc<Group>, answer: ResourceReport) {
        self.recheck |= self.homes.overstays(&group);
        self.owed.push(Owed { group, answer });
    }

    /// Gives up a group whose addresses cannot be put on.
    pub(super) fn fail(&mut self, group: &GroupId, reason: String) {
        if let Some(wanted) = self.wanted.remove(group) {
            self.owe(wanted.group, ResourceReport::Failed(reason));
        }
    }

    /// Answers every order that is carried out.
    pub(super) fn answer(&mut self) {
        let pending = self.wanted.iter().filter(|(_, wanted)| wanted.pending);
        let pending: Vec<GroupId> = pending.map(|(id, _)| id.clone()).collect();
        pending.iter().for_each(|id| self.answer_if_up(id));
        if self.owed.is_empty() {
            return;
        }
        // A group that was renamed leaves its addresses to its successor.
        let kept: BTreeSet<IpAddr> = self
            .wanted
            .values()
            .flat_map(|wanted| wanted.group.addresses.iter().map(|address| address.ip()))
            .collect();
        for owed in std::mem::take(&mut self.owed) {
            let mut ips = owed.group.addresses.iter().map(|address| address.ip());
            if ips.any(|ip| !kept.contains(&ip) && self.view().place(ip).is_some()) {
                self.owed.push(owed);
                self.retry_at(Instant::now() + RETRY);
            } else {
                self.report(owed.group.id.clone(), owed.answer);
            }
        }
    }

    /// Answers the order to put a group on, if that is carried out.
    pub(super) fn answer_if_up(&mut self, id: &GroupId) {
        let Some(wanted) = self.wanted.get(id).filter(|wanted| wanted.pending) else { return };
        if !self.view().is_wholly_on(&wanted.group) || self.is_budding(&wanted.group) {
            return;
        }
        if let Some(wanted) = self.wanted.get_mut(id) {
            wanted.pending = false;
        }
        self.report(id.clone(), ResourceReport::Up);
    }

    fn is_budding(&self, group: &Group) -> bool {
        let places = group.addresses.iter().filter_map(|address| self.view().spot(address));
        !self.budding.is_empty() && places.into_iter().any(|spot| self.budding.holds(&spot))
    }

    /// Answers who waited for everything ordered to be carried out.
    pub(super) fn tell_settled(&mut self) {
        if self.budding.is_empty() {
            for done in self.settling.drain(..) {
                // Who asked may have given up waiting.
                let _ = done.send(());
            }
        }
    }

    /// Reports whose availability changed.
    pub(super) fn tell_availability(&mut self) {
        if !std::mem::take(&mut self.recheck) {
            return;
        }
        let mut watched = std::mem::take(&mut self.watched);
        for (id, watched) in &mut watched {
            let trouble = self.view().trouble(&watched.group);
            if watched.told.as_ref() != Some(&trouble) {
                watched.told = Some(trouble.clone());
                let report = trouble.map_or(ResourceReport::Available, ResourceReport::Unavailable);
                self.report(id.clone(), report);
            }
        }
        self.watched = watched;
    }

    fn report(&self, group: GroupId, report: ResourceReport) {
        // Nobody listens any more when the daemon is about to end.
        let _ = self.lines.reports.send(Report { group, report });
    }

    /// Tells the log.
    pub(super) fn notice(&self, sentence: String) {
        let _ = self.lines.notices.send(sentence);
    }

    /// Counts one more.
    pub(super) fn count(&self, which: impl FnOnce(&Counters) -> &AtomicU64) {
        which(&self.lines.counters).fetch_add(1, Ordering::Relaxed);
    }

    /// Comes back at `when` at the latest.
    pub(super) fn retry_at(&mut self, when: Instant) {
        self.retry = Some(self.retry.map_or(when, |retry| retry.min(when)));
    }

    fn write_ledger(&mut self) {
        if let Err(error) = self.ledger.write() {
            self.notice(super::reconcile::chain(&error));
        }
    }

    /// Strikes what is neither wanted nor there: it ran out, or its interface
    /// went.
    fn prune_ledger(&mut self) {
        let (wanted, table) = (&self.wanted, &self.table);
        let kept: BTreeSet<IpAddr> = wanted
            .values()
            .flat_map(|wanted| wanted.group.addresses.iter().map(|address| address.ip()))
            .collect();
        self.ledger
            .retain(|entry| kept.contains(&entry.ip) || table.places(entry.ip).next().is_some());
    }
}

/// For how long this thread kept a processor busy so far.
fn cpu_time() -> Duration {
    // Every Linux has this clock; without it nothing would seem to cost anything.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Whether this kernel keeps `IFA_PROTO`: since 5.18, or since a distributor
/// brought it to an older one, which shows in a tag of the kernel's own.
pub(super) fn keeps_tags(table: &Table) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    since_5_18(&release) || table.iter().any(|found| found.tag.is_some())
}

fn since_5_18(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (5, 18),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use nix::sched::{CloneFlags, unshare};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Needs root and `ip`.
    #[test]
    fn lost_news_mean_a_look_at_everything() {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test makes namespaces: it needs root");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(lose_news());
        };
        std::thread::spawn(body).join().unwrap();
    }

    async fn lose_news() {
        let dir = tempfile::tempdir().unwrap();
        let (orders, commands) = unbounded_channel();
        let (reports, mut facts) = unbounded_channel();
        let (notices, _sentences) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let (renewals, _costs) = unbounded_channel();
        let (homes, _found) = watch::channel(Homes::default());
        let counted = Arc::clone(&counters);
        let lines = Lines { commands, reports, notices, renewals, homes, counters: counted };
        let address = Address::on("lo", "10.200.0.1/32".parse().unwrap());
        let group = Group {
            id: "one".into(),
            name: None,
            prefer: None,
            exclusive: false,
            failback: vippy_core::config::Failback::Auto,
            addresses: vec![address],
        };
        let settings = Settings { ledger: dir.path().join("ledger") };
        ip_batch("link set lo up\n");
        let (worker, _) = Worker::open(settings, vec![Arc::new(group)], lines).await.unwrap();
        assert_eq!(facts.recv().await.unwrap().report, ResourceReport::Available);
        // Nobody reads meanwhile. The last line is the one that matters.
        let noise = |n: u32| {
            let net = format!("10.{}.{}.1/32", n / 256, n % 256);
            format!("address add {net} dev lo\naddress del {net} dev lo\n")
        };
        let noise: String = (0..8_000).map(noise).collect();
        ip_batch(&(noise + "address add 10.200.0.1/32 dev lo\n"));
        let check = async move {
            let fact = tokio::time::timeout(Duration::from_secs(5), facts.recv()).await.unwrap();
            let reason = "10.200.0.1 is on lo already and was not put there by vippy";
            assert_eq!(fact.unwrap().report, ResourceReport::Unavailable(reason.into()));
            assert!(counters.lost.load(Ordering::Relaxed) > 0, "nothing was lost");
            drop(orders);
        };
        tokio::join!(worker.run(), check);
    }

    fn ip_batch(lines: &str) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("batch");
        std::fs::write(&file, lines).unwrap();
        let status = Process::new("ip").arg("-batch").arg(&file).status();
        assert!(status.expect("this test needs `ip` of iproute2").success());
    }

    #[test]
    fn kernels_keep_tags_since_5_18() {
        assert!(since_5_18("6.18.44-amd64\n"));
        assert!(since_5_18("5.18.0"));
        assert!(!since_5_18("5.10.0-28-amd64"));
        assert!(!since_5_18("strange"));
    }
}
