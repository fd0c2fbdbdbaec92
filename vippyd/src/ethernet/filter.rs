//! The kernel's own look at what arrives, so that a busy LAN does not wake the
//! daemon for every frame: a classic BPF program, put together from steps that
//! jump by name.

use std::net::Ipv4Addr;

use ipnet::Ipv6Net;
use pnet_datalink::MacAddr;
use socket2::SockFilter;
use vippy_core::wire::MAGIC;

use crate::bpf::{
    INDEX_IPV4_LENGTH, JUMP_IF_ABOVE, JUMP_IF_ANY, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD_BYTE,
    LOAD_HALF, LOAD_WORD, LOAD_WORD_AT_INDEX, MASK, PACKET_TYPE, RETURN,
};

/// The lowest three bits tell the class of an operation.
const CLASS: u16 = 0x07;
const JUMPS: u16 = 0x05;

/// `PACKET_OUTGOING`: it leaves.
const OUTGOING: u32 = 4;

/// Bytes of a frame that are let through: more than any answer has.
const ENOUGH: u32 = 128;

// Offsets in an Ethernet frame.
const SOURCE_START: u32 = 6;
const SOURCE_REST: u32 = 8;
const KIND: u32 = 12;
const ARP_OPERATION: u32 = 20;
const IPV4: u32 = 14;
const IPV4_FRAGMENT: u32 = 20;
const IPV4_PROTOCOL: u32 = 23;
const IPV6_NEXT: u32 = 20;
const IPV6_PAYLOAD: u32 = 54;
const UDP_HEADER: u32 = 8;

const ARP_SENDER: u32 = 28;
const NDP_TARGET: u32 = 62;

/// `ETH_P_ALL`.
const EVERY_KIND: u16 = 3;
const KIND_ARP: u16 = 0x0806;
const KIND_IPV6: u16 = 0x86dd;
const ARP: u32 = KIND_ARP as u32;
const V4: u32 = 0x0800;
const V6: u32 = KIND_IPV6 as u32;
const ARP_REPLY: u32 = 2;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;
const ADVERTISEMENT: u32 = 136;
/// First word of the addresses that no bridge passes on (IEEE 802.1Q 8.6.3): a
/// frame to them says only that the nearest switch is there.
const LINK_ONLY: u32 = 0x0180_c200;

/// What is to be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Answers to questions about addresses.
    Answers,
    /// These, and everything of other stations that is not of the chat.
    Everything,
    /// ARP of other stations that name themselves with an address from the first to
    /// the last of these.
    ArpClaims {
        /// The first.
        first: Ipv4Addr,
        /// The last.
        last: Ipv4Addr,
    },
    /// Advertisements of other stations for an address in this network.
    Advertisements(Ipv6Net),
}

impl Interest {
    /// The Ethernet type of a socket that hears it. One that hears a single type is
    /// asked about nothing else, nor about what leaves.
    pub(crate) fn kind(self) -> u16 {
        match self {
            Interest::Answers | Interest::Everything => EVERY_KIND,
            Interest::ArpClaims { .. } => KIND_ARP,
            Interest::Advertisements(_) => KIND_IPV6,
        }
    }
}

/// A place in the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Next,
    OtherSource,
    Arp,
    Ipv4,
    Ipv6,
    Icmpv6,
    Udp6,
    Udp4,
    Accept,
    Drop,
}

/// One instruction; `yes` and `no` matter for jumps.
struct Step {
    at: Option<To>,
    code: u16,
    k: u32,
    yes: To,
    no: To,
}

fn plain(code: u16, k: u32) -> Step {
    Step { at: None, code, k, yes: To::Next, no: To::Next }
}

fn equal(k: u32, yes: To, no: To) -> Step {
    Step { at: None, code: JUMP_IF_EQUAL, k, yes, no }
}

fn at(place: To, step: Step) -> Step {
    Step { at: Some(place), ..step }
}

/// The program for an interface with this MAC.
pub(crate) fn program(own: MacAddr, interest: Interest) -> Vec<SockFilter> {
    let mut steps = of_others(own);
    steps.extend(match interest {
        Interest::Answers => heard(To::Drop),
        Interest::Everything => heard(To::Accept),
        Interest::ArpClaims { first, last } => arp_claims(first, last),
        Interest::Advertisements(net) => advertisements(net),
    });
    steps.push(at(To::Accept, plain(RETURN, ENOUGH)));
    steps.push(at(To::Drop, plain(RETURN, 0)));
    link(&steps)
}

/// Drops what this station sent itself. Goes on with the frame's Ethernet type.
fn of_others(own: MacAddr) -> Vec<Step> {
    let start = u32::from_be_bytes([0, 0, own.0, own.1]);
    let rest = u32::from_be_bytes([own.2, own.3, own.4, own.5]);
    vec![
        plain(LOAD_WORD, PACKET_TYPE),
        equal(OUTGOING, To::Drop, To::Next),
        // What this station sent comes back where a switch mirrors it.
        plain(LOAD_WORD, SOURCE_REST),
        equal(rest, To::Next, To::OtherSource),
        plain(LOAD_HALF, SOURCE_START),
        equal(start, To::Drop, To::Next),
        at(To::OtherSource, plain(LOAD_HALF, KIND)),
    ]
}

fn arp_claims(first: Ipv4Addr, last: Ipv4Addr) -> Vec<Step> {
    let jump = |code, k: Ipv4Addr, yes, no| Step { code, ..equal(k.to_bits(), yes, no) };
    vec![
        equal(ARP, To::Next, To::Drop),
        plain(LOAD_WORD, ARP_SENDER),
        jump(JUMP_IF_AT_LEAST, first, To::Next, To::Drop),
        jump(JUMP_IF_ABOVE, last, To::Drop, To::Accept),
    ]
}

fn advertisements(net: Ipv6Net) -> Vec<Step> {
    let mut steps = vec![
        equal(V6, To::Next, To::Drop),
        plain(LOAD_BYTE, IPV6_NEXT),
        equal(ICMPV6, To::Next, To::Drop),
        plain(LOAD_BYTE, IPV6_PAYLOAD),
        equal(ADVERTISEMENT, To::Next, To::Drop),
    ];
    let words = |bits: u128| bits.to_be_bytes();
    let (network, mask) = (words(net.network().to_bits()), words(net.netmask().to_bits()));
    let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    let offsets = (NDP_TARGET..).step_by(4);
    for ((offset, network), mask) in offsets.zip(network.chunks(4)).zip(mask.chunks(4)) {
        if word(mask) != 0 {
            steps.push(plain(LOAD_WORD, offset));
            steps.push(plain(MASK, word(mask)));
            steps.push(equal(word(network), To::Next, To::Drop));
        }
    }
    steps
}

/// Answers are let through; `other` tells what becomes of all else.
fn heard(other: To) -> Vec<Step> {
    let magic = u32::from_be_bytes(MAGIC);
    vec![
        equal(ARP, To::Arp, To::Next),
        equal(V6, To::Ipv6, To::Next),
        equal(V4, To::Ipv4, To::Next),
        plain(LOAD_WORD, 0),
        equal(LINK_ONLY, To::Drop, other),
        at(To::Arp, plain(LOAD_HALF, ARP_OPERATION)),
        equal(ARP_REPLY, To::Accept, other),
        at(To::Ipv6, plain(LOAD_BYTE, IPV6_NEXT)),
        equal(ICMPV6, To::Icmpv6, To::Next),
        equal(UDP, To::Udp6, other),
        at(To::Icmpv6, plain(LOAD_BYTE, IPV6_PAYLOAD)),
        equal(ADVERTISEMENT, To::Accept, other),
        at(To::Udp6, plain(LOAD_WORD, IPV6_PAYLOAD + UDP_HEADER)),
        equal(magic, To::Drop, other),
        at(To::Ipv4, plain(LOAD_BYTE, IPV4_PROTOCOL)),
        equal(UDP, To::Udp4, other),
        at(To::Udp4, plain(LOAD_HALF, IPV4_FRAGMENT)),
        // Of a later fragment nobody can say what it is.
        Step { code: JUMP_IF_ANY, ..equal(0x1fff, other, To::Next) },
        plain(INDEX_IPV4_LENGTH, IPV4),
        plain(LOAD_WORD_AT_INDEX, IPV4 + UDP_HEADER),
        equal(magic, To::Drop, other),
    ]
}

/// Turns places into distances; all jumps lead forward.
fn link(steps: &[Step]) -> Vec<SockFilter> {
    let distance = |from: usize, to: To| -> u8 {
        let found = if to == To::Next {
            Some(from + 1)
        } else {
            steps.iter().position(|step| step.at == Some(to))
        };
        // Every place is in the program, behind the jumps to it.
        found.and_then(|found| u8::try_from(found - from - 1).ok()).unwrap_or(0)
    };
    let instruction = |(number, step): (usize, &Step)| {
        let jumps = step.code & CLASS == JUMPS;
        let [yes, no] =
            if jumps { [step.yes, step.no].map(|to| distance(number, to)) } else { [0, 0] };
        SockFilter::new(step.code, yes, no, step.k)
    };
    steps.iter().enumerate().map(instruction).collect()
}
