//! What of the kernel's news about addresses the worker is not woken for.
//!
//! Every renewal of a lifetime is told to everybody who listens, for each address
//! (F1): a classic BPF program on the listening socket drops what tells nothing.
//! Where the kernel keeps no `IFA_PROTO` nothing is dropped.

use socket2::SockFilter;

use super::netlink::TAG;
use crate::bpf::{
    FIND_ATTRIBUTE, INDEX_MEMORY, INDEX_NUMBER, JUMP_IF_ANY, JUMP_IF_EQUAL, JUMP_IF_EQUAL_TO_INDEX,
    LOAD_BYTE, LOAD_BYTE_AT_INDEX, LOAD_HALF, LOAD_NUMBER, LOAD_WORD, LOAD_WORD_AT_INDEX, RETURN,
    STORE, TO_INDEX,
};

// `linux/rtnetlink.h`, `linux/if_addr.h`.
const NEW_ADDRESS: u16 = 20;
const CACHE_INFO: u32 = 6;
const PROTOCOL: u32 = 11;
/// `IFA_F_SECONDARY`.
const SECONDARY: u32 = 1;
const AF_INET6: u32 = 10;

// Where things are: `struct nlmsghdr`, `struct ifaddrmsg`, `struct ifa_cacheinfo`.
const KIND: u32 = 4;
const FAMILY: u32 = 16;
const FLAGS: u32 = 18;
const ATTRIBUTES: u32 = 24;
/// Behind an attribute's own header: when the address was made, when changed.
const MADE: u32 = 4 + 8;
const CHANGED: u32 = 4 + 12;
const VALUE: u32 = 4;

const PASS: SockFilter = SockFilter::new(RETURN, 0, 0, u32::MAX);
const DROP: SockFilter = SockFilter::new(RETURN, 0, 0, 0);

/// Programs load numbers as they are on the wire; the kernel writes its own order.
fn kind(number: u16) -> u32 {
    u16::from_be_bytes(number.to_ne_bytes()).into()
}

/// Drops the news that an address that bears our tag was renewed.
///
/// What was made and changed at once is new, and awaited. An IPv4 address that
/// does not follow another may just have come to be the first of its network.
/// Whoever else changes an address takes our tag off.
pub(super) fn without_renewals() -> Vec<SockFilter> {
    let op = SockFilter::new;
    vec![
        op(LOAD_HALF, 0, 0, KIND),
        op(JUMP_IF_EQUAL, 0, 21, kind(NEW_ADDRESS)),
        op(INDEX_NUMBER, 0, 0, PROTOCOL),
        op(LOAD_NUMBER, 0, 0, ATTRIBUTES),
        op(LOAD_WORD, 0, 0, FIND_ATTRIBUTE),
        op(JUMP_IF_EQUAL, 17, 0, 0),
        op(TO_INDEX, 0, 0, 0),
        op(LOAD_BYTE_AT_INDEX, 0, 0, VALUE),
        op(JUMP_IF_EQUAL, 0, 14, TAG.into()),
        op(INDEX_NUMBER, 0, 0, CACHE_INFO),
        op(LOAD_NUMBER, 0, 0, ATTRIBUTES),
        op(LOAD_WORD, 0, 0, FIND_ATTRIBUTE),
        op(JUMP_IF_EQUAL, 10, 0, 0),
        op(TO_INDEX, 0, 0, 0),
        op(LOAD_WORD_AT_INDEX, 0, 0, MADE),
        op(STORE, 0, 0, 0),
        op(LOAD_WORD_AT_INDEX, 0, 0, CHANGED),
        op(INDEX_MEMORY, 0, 0, 0),
        op(JUMP_IF_EQUAL_TO_INDEX, 4, 0, 0),
        op(LOAD_BYTE, 0, 0, FAMILY),
        op(JUMP_IF_EQUAL, 3, 0, AF_INET6),
        op(LOAD_BYTE, 0, 0, FLAGS),
        op(JUMP_IF_ANY, 1, 0, SECONDARY),
        PASS,
        DROP,
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sched::{CloneFlags, unshare};

    use super::super::addresses::Spot;
    use super::super::netlink::{Change, Netlink, News, Order};

    /// Needs root, and a kernel that keeps `IFA_PROTO` (5.18).
    #[test]
    fn a_renewal_is_not_heard_unless_the_address_may_have_become_the_first_of_its_network() {
        let body = || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test makes namespaces: it needs root");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(renew());
        };
        std::thread::spawn(body).join().unwrap();
    }

    async fn renew() {
        let mut netlink = Netlink::open().unwrap();
        let spot = |host: u8| Spot { ip: [10, 200, 0, host].into(), prefix: 24, index: 1 };
        let order = |host, seconds| Order {
            spot: spot(host),
            broadcast: None,
            prefix_route: true,
            valid: Some(seconds),
        };
        let [first, second] = [order(1, 100), order(2, 100)];
        netlink.change(&[Change::Add(first), Change::Add(second)]).await.unwrap();
        assert_eq!([heard(&mut netlink).await, heard(&mut netlink).await], [spot(1), spot(2)]);
        // The kernel's stamps are hundredths of a second.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let [first, second] = [order(1, 200), order(2, 200)];
        let changes = [Change::Renew(second), Change::Renew(first), Change::Remove(spot(2))];
        netlink.change(&changes).await.unwrap();
        assert_eq!([heard(&mut netlink).await, heard(&mut netlink).await], [spot(1), spot(2)]);
    }

    /// The address of which the kernel tells next.
    async fn heard(netlink: &mut Netlink) -> Spot {
        loop {
            let news = tokio::time::timeout(Duration::from_secs(5), netlink.next_news()).await;
            match news.expect("the kernel tells").expect("the socket is open") {
                News::Address(found) => return found.spot,
                News::AddressGone(spot) => return spot,
                News::Link(_) | News::LinkGone(_) | News::Lost => {}
            }
        }
    }
}
