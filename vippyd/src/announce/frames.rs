//! Builds the frames that tell neighbours about an address: pure bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet_datalink::MacAddr;
use pnet_packet::arp::{ArpHardwareTypes, ArpOperation, ArpOperations, MutableArpPacket};
use pnet_packet::ethernet::{EtherType, EtherTypes, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{MutableNeighborAdvertPacket, NeighborAdvertFlags};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::MutableIpv6Packet;

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
/// A neighbour advertisement with its one option, the target's MAC.
const ADVERT: u16 = 24 + OPTION;
const OPTION: u16 = 8;

/// Everybody on the link (RFC 4291 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Its Ethernet address (RFC 2464 7).
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

/// The two forms of a gratuitous ARP; some neighbours heed only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An announcement as in RFC 5227 3.
    Request,
    /// RFC 5944 4.6.
    Reply,
}

/// "`ip` is at `mac`", to everybody on the link (RFC 826, 5227, 5944).
pub(super) fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr, form: Form) -> Vec<u8> {
    let (operation, target) = match form {
        // The target's hardware address means nothing in a request.
        Form::Request => (ArpOperations::Request, MacAddr::zero()),
        Form::Reply => (ArpOperations::Reply, mac),
    };
    let mut frame = vec![0; ETHERNET + ARP];
    write_ethernet(&mut frame, mac, MacAddr::broadcast(), EtherTypes::Arp);
    write_arp(&mut frame[ETHERNET..], mac, target, ip, operation);
    frame
}

/// "`ip` is at `mac`, whatever you knew", to everybody on the link (RFC 4861
/// 7.2.6). `router` must tell the truth: hosts drop a router that denies being
/// one (RFC 4861 7.2.5).
pub(super) fn unsolicited_advertisement(mac: MacAddr, ip: Ipv6Addr, router: bool) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV6 + usize::from(ADVERT)];
    write_ethernet(&mut frame, mac, ALL_NODES_MAC, EtherTypes::Ipv6);
    write_ipv6(&mut frame[ETHERNET..], ip);
    write_advertisement(&mut frame[ETHERNET + IPV6..], mac, ip, router);
    frame
}

// The packet types below refuse buffers that are too short; these are not.

fn write_ethernet(frame: &mut [u8], from: MacAddr, to: MacAddr, kind: EtherType) {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(to);
        ethernet.set_source(from);
        ethernet.set_ethertype(kind);
    }
}

fn write_arp(
    packet: &mut [u8],
    mac: MacAddr,
    target: MacAddr,
    ip: Ipv4Addr,
    operation: ArpOperation,
) {
    if let Some(mut arp) = MutableArpPacket::new(packet) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(mac);
        arp.set_sender_proto_addr(ip);
        arp.set_target_hw_addr(target);
        arp.set_target_proto_addr(ip);
    }
}

fn write_ipv6(packet: &mut [u8], source: Ipv6Addr) {
    if let Some(mut ipv6) = MutableIpv6Packet::new(packet) {
        ipv6.set_version(6);
        ipv6.set_payload_length(ADVERT);
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        // Receivers drop anything that may have crossed a router.
        ipv6.set_hop_limit(255);
        ipv6.set_source(source);
        ipv6.set_destination(ALL_NODES);
    }
}

fn write_advertisement(packet: &mut [u8], mac: MacAddr, ip: Ipv6Addr, router: bool) {
    let mut flags = NeighborAdvertFlags::Override;
    if router {
        flags |= NeighborAdvertFlags::Router;
    }
    if let Some(mut advert) = MutableNeighborAdvertPacket::new(packet) {
        advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
        advert.set_flags(flags);
        advert.set_target_addr(ip);
    }
    // Target link-layer address: kind 2, length 1 (in units of 8 bytes).
    let option = packet.len() - usize::from(OPTION);
    packet[option..].copy_from_slice(&[2, 1, mac.0, mac.1, mac.2, mac.3, mac.4, mac.5]);
    let sum = Icmpv6Packet::new(packet).map(|whole| checksum(&whole, &ip, &ALL_NODES));
    if let (Some(sum), Some(mut advert)) = (sum, MutableNeighborAdvertPacket::new(packet)) {
        advert.set_checksum(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr(0x02, 0x11, 0x22, 0x33, 0x44, 0x55);

    #[test]
    fn request_form_names_the_address_twice_and_no_target_hardware() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 1, 2, 3), Form::Request);
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 1, 2, 3,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 1, 2, 3,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn reply_form_carries_the_new_hardware_address_in_both_fields() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 1, 2, 3), Form::Reply);
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 1, 2, 3,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 1, 2, 3,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn advertisement_overrides_and_its_checksum_is_right() {
        let ip = "fd00::1:2".parse().unwrap();
        let frame = unsolicited_advertisement(MAC, ip, false);
        #[rustfmt::skip]
        let expected = [
            0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x86, 0xdd,
            0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
            0xfd, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x01, 0x00, 0x02,
            0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x00, 0x00, 0x01,
            0x88, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00,
            0xfd, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0x01, 0x00, 0x02,
            0x02, 0x01, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55,
        ];
        let sum = ones_complement_sum(&expected[22..54], 32, 58, &expected[54..]);
        assert_eq!(frame[56..58], (!sum).to_be_bytes());
        assert_eq!(
            [&frame[..56], &frame[58..]].concat(),
            [&expected[..56], &expected[58..]].concat()
        );
    }

    #[test]
    fn a_router_says_that_it_is_one() {
        let frame = unsolicited_advertisement(MAC, "fd00::1".parse().unwrap(), true);
        assert_eq!(frame[58], 0xa0);
    }

    /// RFC 1071 over the pseudo-header of RFC 8200 8.1 and the message.
    fn ones_complement_sum(addresses: &[u8], length: u8, next: u8, message: &[u8]) -> u16 {
        let pseudo = [addresses, &[0, 0, 0, length, 0, 0, 0, next], message].concat();
        let mut sum: u32 =
            pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }
}
