//! Builds the frames that tell neighbours about an address or ask for one, and
//! reads the answers: pure bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pnet_datalink::MacAddr;
use pnet_packet::arp::{
    ArpHardwareTypes, ArpOperation, ArpOperations, ArpPacket, MutableArpPacket,
};
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket, MutableEthernetPacket};
use pnet_packet::icmpv6::ndp::{
    MutableNeighborAdvertPacket, MutableNeighborSolicitPacket, NeighborAdvertFlags,
    NeighborAdvertPacket,
};
use pnet_packet::icmpv6::{Icmpv6Packet, Icmpv6Types, MutableIcmpv6Packet, checksum};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv6::{Ipv6Packet, MutableIpv6Packet};

const ETHERNET: usize = 14;
const ARP: usize = 28;
const IPV6: usize = 40;
/// A neighbour advertisement or solicitation without options.
const NDP: u16 = 24;
/// The option that carries a MAC.
const OPTION: u16 = 8;

/// Everybody on the link (RFC 4291 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Its Ethernet address (RFC 2464 7).
const ALL_NODES_MAC: MacAddr = MacAddr(0x33, 0x33, 0, 0, 0, 1);

/// The two forms of a gratuitous ARP; some neighbours heed only one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An announcement as in RFC 5227 3.
    Request,
    /// RFC 5944 4.6.
    Reply,
}

/// "`ip` is at `mac`", to everybody on the link (RFC 826, 5227, 5944).
pub(crate) fn gratuitous_arp(mac: MacAddr, ip: Ipv4Addr, form: Form) -> Vec<u8> {
    let (operation, target_mac) = match form {
        // The target's hardware address means nothing in a request.
        Form::Request => (ArpOperations::Request, MacAddr::zero()),
        Form::Reply => (ArpOperations::Reply, mac),
    };
    let to = MacAddr::broadcast();
    arp(operation, Station { mac, ip }, Station { mac: target_mac, ip }, to)
}

/// "`ip` is at `mac`", to one station: as the answer to a question it may have
/// put, or as a question for itself, of which it takes note as well (RFC 826).
pub(crate) fn directed_arp(mac: MacAddr, ip: Ipv4Addr, to: Station, form: Form) -> Vec<u8> {
    let (operation, target_mac) = match form {
        Form::Request => (ArpOperations::Request, MacAddr::zero()),
        Form::Reply => (ArpOperations::Reply, to.mac),
    };
    arp(operation, Station { mac, ip }, Station { mac: target_mac, ..to }, to.mac)
}

/// "`ip` is at `mac`, whatever you knew", to everybody on the link (RFC 4861
/// 7.2.6). `router` must tell the truth: hosts drop a router that denies being
/// one (RFC 4861 7.2.5).
pub(crate) fn unsolicited_advertisement(mac: MacAddr, ip: Ipv6Addr, router: bool) -> Vec<u8> {
    directed_advertisement(mac, ip, router, (ALL_NODES_MAC, ALL_NODES))
}

/// The same to one station.
pub(crate) fn directed_advertisement(
    mac: MacAddr,
    ip: Ipv6Addr,
    router: bool,
    to: (MacAddr, Ipv6Addr),
) -> Vec<u8> {
    let mut flags = NeighborAdvertFlags::Override;
    if router {
        flags |= NeighborAdvertFlags::Router;
    }
    let write = |packet: &mut [u8]| {
        if let Some(mut advert) = MutableNeighborAdvertPacket::new(packet) {
            advert.set_icmpv6_type(Icmpv6Types::NeighborAdvert);
            advert.set_flags(flags);
            advert.set_target_addr(ip);
        }
        // Target link-layer address.
        write_option(packet, 2, mac);
    };
    ndp((mac, ip), to, NDP + OPTION, write)
}

/// "Who has `target`?", from `source`, or as a probe from nobody (RFC 826, RFC
/// 5227 2.1.1).
pub(crate) fn arp_request(mac: MacAddr, source: Option<Ipv4Addr>, target: Ipv4Addr) -> Vec<u8> {
    let asking = Station { mac, ip: source.unwrap_or(Ipv4Addr::UNSPECIFIED) };
    let asked = Station { mac: MacAddr::zero(), ip: target };
    arp(ArpOperations::Request, asking, asked, MacAddr::broadcast())
}

/// The same for IPv6 (RFC 4861 7.2.2); from nobody it is answered to all nodes
/// (7.2.4).
pub(crate) fn solicitation(mac: MacAddr, source: Option<Ipv6Addr>, target: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = target.octets();
    let to =
        Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(x), u16::from_be_bytes([y, z]));
    let to_mac = MacAddr(0x33, 0x33, 0xff, x, y, z);
    let length = if source.is_some() { NDP + OPTION } else { NDP };
    let write = |packet: &mut [u8]| {
        if let Some(mut solicit) = MutableNeighborSolicitPacket::new(packet) {
            solicit.set_icmpv6_type(Icmpv6Types::NeighborSolicit);
            solicit.set_target_addr(target);
        }
        if source.is_some() {
            // Source link-layer address.
            write_option(packet, 1, mac);
        }
    };
    ndp((mac, source.unwrap_or(Ipv6Addr::UNSPECIFIED)), (to_mac, to), length, write)
}

/// What a station says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// The address.
    pub(crate) ip: IpAddr,
    /// Where it is.
    pub(crate) mac: MacAddr,
}

/// What a frame says, if it is the answer to the question where an address is.
pub(crate) fn answer(frame: &[u8]) -> Option<Whereabouts> {
    whereabouts(frame, |operation| operation == ArpOperations::Reply)
}

/// What a frame says of an address: by ARP whoever names himself says where he is
/// (RFC 826).
pub(crate) fn claim(frame: &[u8]) -> Option<Whereabouts> {
    whereabouts(frame, |_| true).filter(|told| !told.ip.is_unspecified())
}

fn whereabouts(frame: &[u8], arp_counts: impl Fn(ArpOperation) -> bool) -> Option<Whereabouts> {
    let ethernet = EthernetPacket::new(frame)?;
    let kind = ethernet.get_ethertype();
    let packet = frame.get(ETHERNET..)?;
    if kind == EtherTypes::Arp {
        let arp = ArpPacket::new(packet)?;
        let counts = arp_counts(arp.get_operation());
        let (ip, mac) = (arp.get_sender_proto_addr().into(), arp.get_sender_hw_addr());
        return counts.then_some(Whereabouts { ip, mac });
    }
    if kind != EtherTypes::Ipv6 {
        return None;
    }
    let ipv6 = Ipv6Packet::new(packet)?;
    let next = ipv6.get_next_header() == IpNextHeaderProtocols::Icmpv6;
    // What crossed a router has a lower one (RFC 4861 7.1.2).
    if !next || ipv6.get_hop_limit() != 255 {
        return None;
    }
    let advert = NeighborAdvertPacket::new(packet.get(IPV6..)?)?;
    let is_one = advert.get_icmpv6_type() == Icmpv6Types::NeighborAdvert;
    // An answer to one who names himself may leave the option out (RFC 4861 4.4).
    let told = target_mac(packet.get(IPV6 + usize::from(NDP)..)?);
    let mac = told.unwrap_or_else(|| ethernet.get_source());
    is_one.then(|| Whereabouts { ip: advert.get_target_addr().into(), mac })
}

/// The target link-layer address, where it is the first option.
fn target_mac(options: &[u8]) -> Option<MacAddr> {
    let [2, 1, mac @ ..] = options.first_chunk::<8>()? else { return None };
    Some((*mac).into())
}

/// One side of an ARP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Station {
    pub(crate) mac: MacAddr,
    pub(crate) ip: Ipv4Addr,
}

// The packet types below refuse buffers that are too short; these are not.

fn arp(operation: ArpOperation, sender: Station, target: Station, to: MacAddr) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + ARP];
    write_ethernet(&mut frame, sender.mac, to, EtherTypes::Arp);
    if let Some(mut arp) = MutableArpPacket::new(&mut frame[ETHERNET..]) {
        arp.set_hardware_type(ArpHardwareTypes::Ethernet);
        arp.set_protocol_type(EtherTypes::Ipv4);
        arp.set_hw_addr_len(6);
        arp.set_proto_addr_len(4);
        arp.set_operation(operation);
        arp.set_sender_hw_addr(sender.mac);
        arp.set_sender_proto_addr(sender.ip);
        arp.set_target_hw_addr(target.mac);
        arp.set_target_proto_addr(target.ip);
    }
    frame
}

fn ndp(
    from: (MacAddr, Ipv6Addr),
    to: (MacAddr, Ipv6Addr),
    length: u16,
    write: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET + IPV6 + usize::from(length)];
    write_ethernet(&mut frame, from.0, to.0, EtherTypes::Ipv6);
    if let Some(mut ipv6) = MutableIpv6Packet::new(&mut frame[ETHERNET..]) {
        ipv6.set_version(6);
        ipv6.set_payload_length(length);
        ipv6.set_next_header(IpNextHeaderProtocols::Icmpv6);
        // Receivers drop anything that may have crossed a router.
        ipv6.set_hop_limit(255);
        ipv6.set_source(from.1);
        ipv6.set_destination(to.1);
    }
    let packet = &mut frame[ETHERNET + IPV6..];
    write(packet);
    let sum = Icmpv6Packet::new(packet).map(|whole| checksum(&whole, &from.1, &to.1));
    if let (Some(sum), Some(mut whole)) = (sum, MutableIcmpv6Packet::new(packet)) {
        whole.set_checksum(sum);
    }
    frame
}

fn write_ethernet(frame: &mut [u8], from: MacAddr, to: MacAddr, kind: EtherType) {
    if let Some(mut ethernet) = MutableEthernetPacket::new(frame) {
        ethernet.set_destination(to);
        ethernet.set_source(from);
        ethernet.set_ethertype(kind);
    }
}

/// At the end of a packet: its kind, its length (1, in units of 8 bytes), a MAC.
fn write_option(packet: &mut [u8], kind: u8, mac: MacAddr) {
    let option = packet.len() - usize::from(OPTION);
    packet[option..].copy_from_slice(&[kind, 1, mac.0, mac.1, mac.2, mac.3, mac.4, mac.5]);
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

    #[test]
    fn one_station_is_told_by_an_answer_and_by_a_question() {
        let to = Station { mac: MacAddr(0x02, 9, 9, 9, 9, 9), ip: Ipv4Addr::new(10, 1, 2, 9) };
        let reply = directed_arp(MAC, Ipv4Addr::new(10, 1, 2, 3), to, Form::Reply);
        #[rustfmt::skip]
        let expected = [
            0x02, 9, 9, 9, 9, 9, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x02,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 1, 2, 3,
            0x02, 9, 9, 9, 9, 9, 10, 1, 2, 9,
        ];
        assert_eq!(reply, expected);
        let request = directed_arp(MAC, Ipv4Addr::new(10, 1, 2, 3), to, Form::Request);
        assert_eq!((request[21], &request[32..38]), (1, &[0; 6][..]));
        assert_eq!([&request[..21], &request[22..32]], [&expected[..21], &expected[22..32]]);
        assert_eq!(request[38..], expected[38..]);
        let six = (to.mac, "fe80::9".parse().unwrap());
        let advert = directed_advertisement(MAC, "fd00::1:2".parse().unwrap(), false, six);
        assert_eq!(advert[..6], [0x02, 9, 9, 9, 9, 9]);
        assert_eq!((advert[38..54].to_vec(), advert[58]), (six.1.octets().to_vec(), 0x20));
        assert_eq!(advert[56..58], right_checksum(&advert));
    }

    #[test]
    fn question_for_an_ipv4_address_names_who_asks_or_nobody() {
        let target = Ipv4Addr::new(10, 1, 2, 9);
        let frame = arp_request(MAC, Some(Ipv4Addr::new(10, 1, 2, 3)), target);
        #[rustfmt::skip]
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 0x08, 0x06,
            0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
            0x02, 0x11, 0x22, 0x33, 0x44, 0x55, 10, 1, 2, 3,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 1, 2, 9,
        ];
        assert_eq!(frame, expected);
        assert_eq!(arp_request(MAC, None, target)[28..32], [0; 4]);
    }

    #[test]
    fn question_for_an_ipv6_address_goes_to_its_solicited_nodes() {
        let target = "fd00::1:2".parse().unwrap();
        let frame = solicitation(MAC, Some("fe80::5".parse().unwrap()), target);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x01, 0x00, 0x02]);
        assert_eq!(frame[38..54], "ff02::1:ff01:2".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!((frame[21], frame[54]), (255, 135));
        assert_eq!(frame[62..78], target.octets());
        assert_eq!(frame[78..], [1, 1, 0x02, 0x11, 0x22, 0x33, 0x44, 0x55]);
        assert_eq!(frame[56..58], right_checksum(&frame));
        let probe = solicitation(MAC, None, target);
        assert_eq!((probe.len(), &probe[22..38]), (78, &[0; 16][..]));
    }

    #[test]
    fn answers_are_read_and_everything_else_is_none() {
        let v4 = Ipv4Addr::new(10, 1, 2, 3);
        let v6: Ipv6Addr = "fd00::1:2".parse().unwrap();
        let here = |ip| Some(Whereabouts { ip, mac: MAC });
        assert_eq!(answer(&gratuitous_arp(MAC, v4, Form::Reply)), here(v4.into()));
        assert_eq!(answer(&gratuitous_arp(MAC, v4, Form::Request)), None);
        assert_eq!(claim(&gratuitous_arp(MAC, v4, Form::Request)), here(v4.into()));
        let question = arp_request(MAC, Some(v4), Ipv4Addr::new(10, 1, 2, 9));
        assert_eq!(claim(&question), here(v4.into()));
        assert_eq!(claim(&arp_request(MAC, None, v4)), None, "a probe claims nothing");
        assert_eq!(claim(&solicitation(MAC, Some(v6), v6)), None);
        let advert = unsolicited_advertisement(MAC, v6, false);
        assert_eq!(answer(&advert), here(v6.into()));
        let bare = &advert[..advert.len() - usize::from(OPTION)];
        assert_eq!(answer(bare), here(v6.into()), "by the frame's source");
        let mut elsewhere = advert.clone();
        elsewhere[85] = 0x99;
        let mac = MacAddr(0x02, 0x11, 0x22, 0x33, 0x44, 0x99);
        assert_eq!(answer(&elsewhere), Some(Whereabouts { ip: v6.into(), mac }));
        assert_eq!(answer(&solicitation(MAC, None, v6)), None);
        let mut far = advert.clone();
        far[21] = 254;
        assert_eq!(answer(&far), None);
        for length in 0..advert.len() {
            let _ = answer(&advert[..length]);
        }
    }

    /// What a message of neighbour discovery has as its checksum, if it is right.
    fn right_checksum(frame: &[u8]) -> [u8; 2] {
        let mut message = frame[54..].to_vec();
        message[2..4].fill(0);
        (!ones_complement_sum(&frame[22..54], 32, 58, &message)).to_be_bytes()
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
