//! Links, addresses and neighbours of one network namespace, as typed verbs.
//!
//! Owns the layout of every rtnetlink message the lab sends. Knows nothing of
//! machines or faults; each verb works in the namespace its handle was opened
//! in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoVeth,
    LinkAttribute, LinkFlags, LinkMessage, State,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::{Error, Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

/// An Ethernet address.
pub type HardwareAddress = [u8; 6];

/// What the lab asks of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkState {
    /// The kernel's number for it.
    pub(crate) index: u32,
    /// The other end is up, too.
    pub(crate) carrier: bool,
    /// It passes frames: the kernel gets around to that some time after the
    /// carrier came, and drops what is sent in between.
    pub(crate) works: bool,
}

/// A bridge that is a plain switch: no spanning tree, no multicast snooping.
pub(crate) async fn create_bridge(handle: &Handle, name: &str) -> Result<u32, Error> {
    let message = LinkBridge::new(name)
        .append_info_data(InfoBridge::StpState(BridgeStpState::Disabled))
        .append_info_data(InfoBridge::MulticastSnooping(false))
        .down()
        .build();
    handle.link().add(message).execute().await?;
    let index = link(handle, name).await?.index;
    without_link_local(handle, index).await?;
    set_up(handle, index, true).await?;
    Ok(index)
}

/// A cable from here (`name`, a port of `bridge`) to another namespace, where
/// its end is called `far_name`. Both ends are still down.
pub(crate) async fn create_cable(
    handle: &Handle,
    name: &str,
    bridge: u32,
    far: BorrowedFd<'_>,
    far_name: &str,
    far_address: HardwareAddress,
) -> Result<u32, Error> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(far_name)
        .address(far_address.to_vec())
        .setns_by_fd(far.as_raw_fd())
        .build();
    let message = LinkMessageBuilder::<LinkVeth>::new(name, far_name)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .controller(bridge)
        .build();
    handle.link().add(message).execute().await?;
    let index = link(handle, name).await?.index;
    without_link_local(handle, index).await?;
    Ok(index)
}

/// Index and carrier of a link.
pub(crate) async fn link(handle: &Handle, name: &str) -> Result<LinkState, Error> {
    let mut answers = handle.link().get().match_name(name).execute();
    let message = answers.try_next().await?.ok_or(Error::RequestFailed)?;
    Ok(LinkState {
        index: message.header.index,
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        works: message.attributes.contains(&LinkAttribute::OperState(State::Up)),
    })
}

/// Turns a link on or off by its administrator's switch.
pub(crate) async fn set_up(handle: &Handle, index: u32, up: bool) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(index);
    let message = if up { message.up() } else { message.down() };
    handle.link().set(message.build()).execute().await
}

/// Keeps the kernel from inventing link-local addresses: they would be
/// unusable for a second or two (duplicate address detection), and the hub is
/// no station of the LAN.
pub(crate) async fn without_link_local(handle: &Handle, index: u32) -> Result<(), Error> {
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    let mut message: LinkMessage = LinkUnspec::new_with_index(index).build();
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    handle.link().set(message).execute().await
}

/// Puts an address on a link, usable at once (no duplicate address detection).
pub(crate) async fn add_address(
    handle: &Handle,
    index: u32,
    ip: IpAddr,
    prefix: u8,
) -> Result<(), Error> {
    let mut request = handle.address().add(index, ip, prefix);
    if ip.is_ipv6() {
        let attributes = &mut request.message_mut().attributes;
        attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request.execute().await
}

/// Takes an address off a link.
pub(crate) async fn remove_address(
    handle: &Handle,
    index: u32,
    ip: IpAddr,
    prefix: u8,
) -> Result<(), Error> {
    let message = handle.address().add(index, ip, prefix).message_mut().clone();
    handle.address().del(message).execute().await
}

/// The addresses of a link with their prefix lengths.
pub(crate) async fn addresses(handle: &Handle, index: u32) -> Result<Vec<(IpAddr, u8)>, Error> {
    let messages = handle.address().get().set_link_index_filter(index).execute();
    let messages: Vec<AddressMessage> = messages.try_collect().await?;
    Ok(messages.iter().filter_map(own_address).collect())
}

/// The address that a message is about, with the length of its prefix.
pub(crate) fn own_address(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let mut local = None;
    let mut address = None;
    for attribute in &message.attributes {
        if let AddressAttribute::Local(ip) = attribute {
            local = Some(*ip);
        } else if let AddressAttribute::Address(ip) = attribute {
            address = Some(*ip);
        }
    }
    // IPv6 has no Local; on a point-to-point link Address is the other end.
    local.or(address).map(|ip| (ip, message.header.prefix_len))
}

/// What the kernel knows of its neighbours on a link.
pub(crate) async fn neighbours(
    handle: &Handle,
    index: u32,
) -> Result<Vec<(IpAddr, Option<HardwareAddress>)>, Error> {
    let messages = neighbour_messages(handle, index).await?;
    Ok(messages.iter().filter_map(neighbour).collect())
}

/// Forgets every neighbour on a link.
pub(crate) async fn flush_neighbours(handle: &Handle, index: u32) -> Result<(), Error> {
    for message in neighbour_messages(handle, index).await? {
        handle.neighbours().del(message).execute().await?;
    }
    Ok(())
}

async fn neighbour_messages(handle: &Handle, index: u32) -> Result<Vec<NeighbourMessage>, Error> {
    let all: Vec<_> = handle.neighbours().get().execute().try_collect().await?;
    let unicast = |message: &NeighbourMessage| neighbour(message).is_some();
    Ok(all.into_iter().filter(|m| m.header.ifindex == index && unicast(m)).collect())
}

fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Option<HardwareAddress>)> {
    if ![AddressFamily::Inet, AddressFamily::Inet6].contains(&message.header.family) {
        return None;
    }
    let mut ip = None;
    let mut hardware = None;
    for attribute in &message.attributes {
        if let NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) = attribute {
            ip = Some(IpAddr::V4(*found));
        } else if let NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) = attribute {
            ip = Some(IpAddr::V6(*found));
        } else if let NeighbourAttribute::LinkLayerAddress(found) = attribute {
            hardware = HardwareAddress::try_from(found.as_slice()).ok();
        }
    }
    ip.filter(|ip| !is_group(*ip)).map(|ip| (ip, hardware))
}

/// Multicast and broadcast entries are the kernel's own and cannot be flushed.
fn is_group(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == Ipv4Addr::BROADCAST || ip == Ipv6Addr::UNSPECIFIED
}
