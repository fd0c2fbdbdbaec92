//! Classic BPF, of which the filters on this program's sockets are made: operation
//! codes (`linux/bpf_common.h`) and what the kernel itself tells a filter
//! (`linux/filter.h`).

pub(crate) const LOAD_NUMBER: u16 = 0x00;
pub(crate) const LOAD_LENGTH: u16 = 0x80;
pub(crate) const LOAD_WORD: u16 = 0x20;
pub(crate) const LOAD_HALF: u16 = 0x28;
pub(crate) const LOAD_BYTE: u16 = 0x30;
pub(crate) const LOAD_WORD_AT_INDEX: u16 = 0x40;
pub(crate) const LOAD_BYTE_AT_INDEX: u16 = 0x50;

pub(crate) const INDEX_NUMBER: u16 = 0x01;
pub(crate) const INDEX_MEMORY: u16 = 0x61;
/// Four times the lower half of a byte: the length of an IPv4 header.
pub(crate) const INDEX_IPV4_LENGTH: u16 = 0xb1;
pub(crate) const TO_INDEX: u16 = 0x07;
pub(crate) const STORE: u16 = 0x02;
pub(crate) const MASK: u16 = 0x54;

pub(crate) const JUMP_IF_EQUAL: u16 = 0x15;
pub(crate) const JUMP_IF_EQUAL_TO_INDEX: u16 = 0x1d;
pub(crate) const JUMP_IF_ABOVE: u16 = 0x25;
pub(crate) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(crate) const JUMP_IF_ANY: u16 = 0x45;

/// With how many bytes pass; zero drops.
pub(crate) const RETURN: u16 = 0x06;

/// Begin of what the kernel tells (`SKF_AD_OFF`).
const TOLD: u32 = 0xffff_f000;
/// Where to load from whence a packet comes and where it goes (`SKF_AD_PKTTYPE`).
pub(crate) const PACKET_TYPE: u32 = TOLD + 4;
/// Loading from there finds the netlink attribute whose number is the index, from the
/// accumulator on (`SKF_AD_NLATTR`).
pub(crate) const FIND_ATTRIBUTE: u32 = TOLD + 12;
/// Where the IP header begins (`SKF_NET_OFF`).
pub(crate) const IP_HEADER: u32 = 0xfff0_0000;
