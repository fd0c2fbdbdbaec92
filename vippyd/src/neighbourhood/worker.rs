//! The thread that asks and listens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::pending;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use vippy_core::identity::GroupId;

use super::News;
use super::claims::{Claims, Ear, Place};
use super::questions::{Question, Questions};
use crate::chat::scan;
use crate::ethernet;
use crate::ethernet::filter::Interest;
use crate::ethernet::frames::{answer, claim};
use crate::ethernet::port::Interfaces;
use crate::ethernet::tap::{Tap, any_ready};

/// After the last question interfaces are kept open for this long.
const LINGER: Duration = Duration::from_secs(5);

/// After as many frames as are read in a row nothing is listened to for this long: a
/// flood costs little, and keeps nobody from asking.
const REST: Duration = Duration::from_millis(10);

/// What is listened for follows what is held after this long: thousands of groups
/// that come up make one change, and the kernel has better things to do meanwhile.
const SETTLE: Duration = Duration::from_millis(200);

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Look(Question),
    Hold(GroupId, Vec<Place>),
    Release(GroupId),
}

/// An interface on which questions are put.
type Name = String;

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Worker {
    news: UnboundedSender<News>,
    questions: Questions,
    taps: BTreeMap<Name, Tap>,
    /// The address from which IPv6 is asked for, by interface.
    sources: BTreeMap<Name, IpAddr>,
    close_at: Option<Instant>,
    claims: Claims,
    ears: BTreeMap<Ear, Tap>,
    /// When to listen for something else.
    listen_at: Option<Instant>,
    /// Until when nothing is listened to.
    rest_until: Option<Instant>,
}

impl Worker {
    pub(super) fn new(news: UnboundedSender<News>) -> Worker {
        Worker {
            news,
            questions: Questions::default(),
            taps: BTreeMap::new(),
            sources: BTreeMap::new(),
            close_at: None,
            claims: Claims::default(),
            ears: BTreeMap::new(),
            listen_at: None,
            rest_until: None,
        }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            let due = [
                self.questions.next().or(self.close_at),
                self.claims.next(Instant::now()),
                self.listen_at,
            ];
            tokio::select! {
                biased;
                order = orders.recv() => {
                    let Some(order) = order else { return };
                    self.take(order);
                    while let Ok(order) = orders.try_recv() {
                        self.take(order);
                    }
                }
                name = any_ready(&self.taps) => self.read(&name),
                () = sleep_until(due.into_iter().flatten().min()) => {}
                ear = rested(self.rest_until, &self.ears) => self.hear(&ear),
            }
            self.put_questions();
            if self.listen_at.is_some_and(|at| at <= Instant::now()) {
                self.listen();
            }
            for (group, mac, times) in self.claims.take_due(Instant::now()) {
                self.tell(News::Claimed { group, mac, times });
            }
        }
    }

    fn take(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Look(question) => return self.questions.add(now, question),
            Order::Hold(group, places) => self.claims.hold(group, places),
            Order::Release(group) => self.claims.release(&group),
        }
        self.listen_at.get_or_insert(now + SETTLE);
    }

    /// Listens for what is held, and for nothing else.
    fn listen(&mut self) {
        self.listen_at = None;
        let mut interests = self.claims.interests();
        self.ears.retain(|ear, tap| {
            let interest = interests.remove(ear);
            interest.map(|interest| tap.listen_for(interest)).is_some()
        });
        if interests.is_empty() {
            return;
        }
        let interfaces = Interfaces::now().unwrap_or_default();
        for (ear, interest) in interests {
            // Where there is no such interface there is nothing to hear.
            if let Ok(Some(tap)) = Tap::open(&ear.0, &interfaces, interest) {
                self.ears.insert(ear, tap);
            }
        }
    }

    fn hear(&mut self, ear: &Ear) {
        let Some(tap) = self.ears.get(ear) else { return };
        let claims = &mut self.claims;
        let own = tap.mac();
        let read = tap.read(|frame| {
            if let Some(told) = claim(frame).filter(|told| told.mac != own) {
                claims.claimed(&ear.0, told.ip, ethernet::mac(told.mac));
            }
        });
        match read {
            Ok(true) => {}
            Ok(false) => self.rest_until = Some(Instant::now() + REST),
            // It went down, or is gone.
            Err(_) => {
                let interfaces = Interfaces::now().unwrap_or_default();
                self.ears.retain(|_, tap| tap.is_current(&interfaces));
            }
        }
    }

    fn put_questions(&mut self) {
        let now = Instant::now();
        let (row, outcomes) = self.questions.turn(now);
        for (group, mac) in outcomes {
            self.tell(News::Sighted { group, mac });
        }
        if !row.is_empty() {
            self.open(&row);
            self.close_at = Some(now + LINGER);
        }
        for question in row {
            if !self.put(&question) {
                self.questions.drop(question.ip);
            }
        }
        if self.questions.is_empty() && self.close_at.is_some_and(|at| at <= now) {
            self.taps.clear();
            self.close_at = None;
        }
    }

    /// Opens the interfaces of some questions, unless they are.
    fn open(&mut self, row: &[Question]) {
        if row.iter().all(|question| self.taps.contains_key(&question.interface)) {
            return;
        }
        let interfaces = Interfaces::now().unwrap_or_default();
        self.taps.retain(|_, tap| tap.is_current(&interfaces));
        self.sources = sources();
        for name in row.iter().map(|question| &question.interface) {
            if self.taps.contains_key(name) {
                continue;
            }
            // One that is gone, or not Ethernet, cannot be asked on.
            if let Ok(Some(tap)) = Tap::open(name, &interfaces, Interest::Answers) {
                self.taps.insert(name.clone(), tap);
            }
        }
    }

    /// Puts a question to the LAN: about IPv4 from nobody (RFC 5227 2.1.1), so that
    /// no cache is changed by it. True if it left.
    fn put(&self, question: &Question) -> bool {
        let source = self.sources.get(&question.interface).filter(|_| question.ip.is_ipv6());
        let tap = self.taps.get(&question.interface);
        tap.is_some_and(|tap| tap.ask(source.copied(), question.ip).is_ok())
    }

    fn read(&mut self, name: &Name) {
        let Some(tap) = self.taps.get(name) else { return };
        let questions = &mut self.questions;
        let read = tap.read(|frame| {
            if let Some(told) = answer(frame) {
                questions.answered(told.ip, ethernet::mac(told.mac));
            }
        });
        if read.is_err() {
            self.taps.remove(name);
        }
    }

    fn tell(&self, news: News) {
        // The loop is gone when the process is about to end.
        let _ = self.news.send(news);
    }
}

/// Each interface's own address on its link.
fn sources() -> BTreeMap<Name, IpAddr> {
    let is_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let interfaces = scan().unwrap_or_default().into_iter();
    let local = interfaces.filter_map(|interface| {
        let ip = interface.addresses.iter().map(|net| net.addr()).find(is_local)?;
        Some((interface.name, ip))
    });
    local.collect()
}

/// The next socket on which somebody was heard, once listening goes on.
async fn rested(rest_until: Option<Instant>, ears: &BTreeMap<Ear, Tap>) -> Ear {
    if let Some(until) = rest_until {
        tokio::time::sleep_until(until.into()).await;
    }
    any_ready(ears).await
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
