//! The thread that asks and listens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::pending;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::News;
use super::questions::{Question, Questions};
use crate::chat::scan;
use crate::ethernet;
use crate::ethernet::filter::Interest;
use crate::ethernet::frames::answer;
use crate::ethernet::port::Interfaces;
use crate::ethernet::tap::{Tap, any_ready};

/// After the last question interfaces are kept open for this long.
const LINGER: Duration = Duration::from_secs(5);

/// An order.
#[derive(Debug)]
pub(super) enum Order {
    Look(Question),
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
}

impl Worker {
    pub(super) fn new(news: UnboundedSender<News>) -> Worker {
        Worker {
            news,
            questions: Questions::default(),
            taps: BTreeMap::new(),
            sources: BTreeMap::new(),
            close_at: None,
        }
    }

    /// Works until the loop is gone.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>) {
        loop {
            let alarm = sleep_until(self.questions.next().or(self.close_at));
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
                () = alarm => {}
            }
            self.put_questions();
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Look(question) => self.questions.add(Instant::now(), question),
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

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}
