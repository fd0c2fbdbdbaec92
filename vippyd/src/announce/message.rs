//! What is said about an address, and to whom.

use std::net::{IpAddr, Ipv4Addr};

use pnet_datalink::MacAddr;
use vippy_core::neighbours::Station;

use crate::ethernet::frames::{
    self, Form, arp_request, directed_advertisement, directed_arp, gratuitous_arp,
    unsolicited_advertisement,
};
use crate::ethernet::port::Identity;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recipient {
    /// Everybody on the link.
    Everybody,
    /// A known station alone.
    Station(Station),
    /// Whoever has this address, by a question to everybody.
    Unknown(Ipv4Addr),
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The address.
    pub(super) ip: IpAddr,
    /// Who is told.
    pub(super) to: Recipient,
    /// IPv6 knows one form only, and so does a question; it goes with the request.
    pub(super) form: Form,
}

impl Message {
    /// Every form in which somebody is told of an address.
    pub(super) fn all(ip: IpAddr, to: Recipient) -> impl Iterator<Item = Message> {
        let forms = [Form::Request, Form::Reply].into_iter();
        forms.map(move |form| Message { ip, to, form }).filter(Message::is_sensible)
    }

    /// Whether there is such a frame: both are of one family, in a form it has, and
    /// nobody is asked for the address itself.
    pub(super) fn is_sensible(&self) -> bool {
        let first = self.form == Form::Request;
        match (self.ip, self.to) {
            (IpAddr::V4(_), Recipient::Everybody) => true,
            (IpAddr::V6(_), Recipient::Everybody) => first,
            (IpAddr::V4(ip), Recipient::Station(station)) => {
                station.ip.is_ipv4() && station.ip != ip
            }
            (IpAddr::V6(ip), Recipient::Station(station)) => {
                first && station.ip.is_ipv6() && station.ip != ip
            }
            (ip, Recipient::Unknown(other)) => first && ip.is_ipv4() && ip != other,
        }
    }

    /// The frame, from an interface; `None`: there is none, or it is for the
    /// interface itself.
    pub(super) fn frame(&self, from: Identity) -> Option<Vec<u8>> {
        let Identity { mac, router } = from;
        match (self.ip, self.to) {
            (IpAddr::V4(ip), Recipient::Everybody) => Some(gratuitous_arp(mac, ip, self.form)),
            (IpAddr::V6(ip), Recipient::Everybody) => {
                Some(unsolicited_advertisement(mac, ip, router))
            }
            (IpAddr::V4(ip), Recipient::Unknown(other)) => Some(arp_request(mac, Some(ip), other)),
            (IpAddr::V6(_), Recipient::Unknown(_)) => None,
            (ip, Recipient::Station(station)) => {
                let to = MacAddr::from(station.mac.0);
                match (ip, station.ip) {
                    _ if to == mac => None,
                    (IpAddr::V4(ip), IpAddr::V4(theirs)) => {
                        let station = frames::Station { mac: to, ip: theirs };
                        Some(directed_arp(mac, ip, station, self.form))
                    }
                    (IpAddr::V6(ip), IpAddr::V6(theirs)) => {
                        Some(directed_advertisement(mac, ip, router, (to, theirs)))
                    }
                    (IpAddr::V4(_) | IpAddr::V6(_), _) => None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vippy_core::identity::Mac;

    use super::*;

    #[test]
    fn what_is_sensible_has_a_frame_for_whom_it_is_meant() {
        let from = Identity { mac: MacAddr(2, 0, 0, 0, 0, 1), router: false };
        let station = |ip: &str, last| Station {
            ip: ip.parse().unwrap(),
            mac: Mac([2, 0, 0, 0, 0, last]),
            router: false,
        };
        let recipients = [
            Recipient::Everybody,
            Recipient::Station(station("10.0.0.7", 7)),
            Recipient::Station(station("fe80::7", 7)),
            Recipient::Unknown(Ipv4Addr::new(10, 0, 0, 9)),
        ];
        let mut frames = 0;
        for ip in ["10.0.0.100", "fd00::100"] {
            for to in recipients {
                for form in [Form::Request, Form::Reply] {
                    let message = Message { ip: ip.parse().unwrap(), to, form };
                    if message.is_sensible() {
                        let frame = message.frame(from).unwrap();
                        let alone = matches!(to, Recipient::Station(_));
                        assert_eq!(frame[0] & 1 == 0, alone, "{message:?}");
                        frames += 1;
                    }
                }
            }
        }
        assert_eq!(frames, 2 + 2 + 1 + 1 + 1);
        let ip = "10.0.0.100".parse().unwrap();
        let itself = Recipient::Station(station("10.0.0.7", 1));
        assert_eq!(Message { ip, to: itself, form: Form::Reply }.frame(from), None);
        let own = Recipient::Unknown(Ipv4Addr::new(10, 0, 0, 100));
        assert!(!Message { ip, to: own, form: Form::Request }.is_sensible());
    }
}
