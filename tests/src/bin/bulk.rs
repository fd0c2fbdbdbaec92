//! The least that one process needs to take over many addresses: it adds them by
//! bulk netlink, then sends a gratuitous ARP for each as a raw frame, and prints
//! when it began, in nanoseconds since 1970. `make bench` compares with it.

use std::error::Error;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, socket,
};
use vippy_tests::measure::experiments::{MANY_PREFIX, many};

/// Addresses in one `sendmsg`.
const BATCH: usize = 1_000;

/// `AF_INET`.
const IPV4: u8 = 2;
const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_EXCL | NLM_F_CREATE`.
const NEW: u16 = 0x601;
/// `NLM_F_ACK`.
const ACKNOWLEDGE: u16 = 4;
/// `NLMSG_ERROR`, which also acknowledges.
const ANSWER: u16 = 2;

/// Takes addresses over as fast as one process can.
#[derive(Debug, Parser)]
struct Cli {
    /// How many
    count: usize,

    /// Where they go
    #[arg(long, default_value = "eth0")]
    interface: String,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match take_over(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn take_over(cli: &Cli) -> Outcome<()> {
    let named = |entry: nix::ifaddrs::InterfaceAddress| {
        let address = entry.address?.as_link_addr().copied()?;
        (entry.interface_name == cli.interface).then_some(address)
    };
    let link = getifaddrs()?.find_map(named).ok_or("no such interface")?;
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let addresses: Vec<Ipv4Addr> = (0..cli.count).map(many).collect();
    add(&link, &addresses)?;
    tell(&link, &addresses)?;
    println!("{}", begun.as_nanos());
    Ok(())
}

/// The kernel works while a batch is being sent; its answer to the last request
/// of a batch comes behind those to refused ones.
fn add(link: &LinkAddr, addresses: &[Ipv4Addr]) -> Outcome<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    for batch in addresses.chunks(BATCH) {
        let mut requests = Vec::new();
        for (number, address) in batch.iter().enumerate() {
            let last = number + 1 == batch.len();
            let flags = if last { NEW | ACKNOWLEDGE } else { NEW };
            request(&mut requests, flags, u32::try_from(link.ifindex())?, *address);
        }
        send(netlink.as_raw_fd(), &requests, MsgFlags::empty())?;
        let mut answer = [0; 256];
        let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if length < 20 || kind != ANSWER || answer[16..20] != [0; 4] {
            return Err("the kernel refused an address".into());
        }
    }
    Ok(())
}

fn request(out: &mut Vec<u8>, flags: u16, index: u32, address: Ipv4Addr) {
    const LENGTH: u32 = 16 + 8 + 2 * 8;
    out.extend(LENGTH.to_ne_bytes());
    out.extend(RTM_NEWADDR.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    // Number and sender are the kernel's to ignore.
    out.extend([0; 8]);
    out.extend([IPV4, MANY_PREFIX, 0, 0]);
    out.extend(index.to_ne_bytes());
    for attribute in [IFA_LOCAL, IFA_ADDRESS] {
        out.extend(8_u16.to_ne_bytes());
        out.extend(attribute.to_ne_bytes());
        out.extend(address.octets());
    }
}

/// A gratuitous ARP request for each (RFC 5227, section 1.1).
fn tell(link: &LinkAddr, addresses: &[Ipv4Addr]) -> Outcome<()> {
    let mac = link.addr().ok_or("the interface has no MAC")?;
    let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    bind(raw.as_raw_fd(), link)?;
    let mut frame = [0; 42];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&mac);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac);
    for address in addresses {
        frame[28..32].copy_from_slice(&address.octets());
        frame[38..42].copy_from_slice(&address.octets());
        send(raw.as_raw_fd(), &frame, MsgFlags::empty())?;
    }
    Ok(())
}
