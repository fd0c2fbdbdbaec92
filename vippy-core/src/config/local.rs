//! The keys that only this node reads, except how it reaches the others:
//! cluster, paths, stopping, kernel lifetime, priority.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::chat::Chat;
use super::groups::Groups;
use super::model::{Lifetime, LocalPart};
use super::reader::{Fields, Reader, in_seconds, quoted, span};
use super::shared::Timers;
use super::suggest::nearest;
use super::text::{Node, Value};
use super::values::LONGEST_SOCKET_PATH;

const LIFETIME: (f64, f64) = (2.0, 86_400.0);

impl Reader {
    pub(super) fn local(&mut self, top: &Fields<'_>, timers: &Timers, chat: Chat) -> LocalPart {
        let management = self.management(top);
        let state = self.path_or(top, "state", "/var/lib/vippy");
        if state == management {
            let at = top.place_of(if top.get("state").is_some() { "state" } else { "management" });
            let found = state.display().to_string();
            self.report.error(at, found, "different paths for `state` and `management`");
        }
        let secrets = self.secrets(top);
        LocalPart {
            chat: chat.chat,
            chat_interface: chat.interface,
            peers: chat.peers,
            secrets: secrets.here,
            secret_files: secrets.files,
            cluster: self.cluster(top),
            arp_cache: self.arp_cache(top),
            notify: self.notify(top),
            notify_rate: self.notify_rate(top),
            management,
            state,
            logging: self.logging(top),
            plugins: Vec::new(),
            stop_timeout: top
                .get("stop_timeout")
                .and_then(|node| self.seconds(node, (0.0, 60.0)))
                .unwrap_or(Duration::from_secs(1)),
            lifetime: self.lifetime(top, timers),
            realtime: top.get("realtime").and_then(|node| self.realtime(node)),
            metrics: top.get("metrics").and_then(|node| self.metrics(node)),
        }
    }

    fn cluster(&mut self, top: &Fields<'_>) -> String {
        let Some(node) = top.get("cluster") else { return String::new() };
        let empty = matches!(&node.value, Value::String(text) if text.as_str().is_empty());
        if empty {
            return String::new();
        }
        self.name(node, "the cluster's name").unwrap_or_default().to_owned()
    }

    fn management(&mut self, top: &Fields<'_>) -> PathBuf {
        let path = self.path_or(top, "management", "/var/run/vippy.socket");
        let Some(node) = top.get("management") else { return path };
        let length = path.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            let found = format!("a path of {length} bytes");
            let expected = format!("at most {LONGEST_SOCKET_PATH}: a socket's path is no longer");
            self.report.error(node.start, found, expected);
        } else if path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            self.wrong::<()>(node, "the path of a socket, not of a directory");
        }
        path
    }

    fn path_or(&mut self, top: &Fields<'_>, key: &str, default: &str) -> PathBuf {
        top.get(key).and_then(|node| self.path(node)).unwrap_or_else(|| default.into())
    }

    /// A priority of the real-time scheduler, as `chrt` counts them.
    fn realtime(&mut self, node: &Node<'_>) -> Option<u8> {
        let expected = "a priority from 1 to 99";
        if matches!(node.value, Value::Bool(true)) {
            return self.wrong_but(node, expected, Some("10"));
        }
        self.within(node, 1..=99, expected)
    }

    /// Where metrics are served: one host's address, or all of them.
    fn metrics(&mut self, node: &Node<'_>) -> Option<SocketAddr> {
        let endpoint = self.endpoint(node, "127.0.0.1:9650")?;
        let one = !endpoint.ip().is_multicast() && endpoint.ip() != Ipv4Addr::BROADCAST;
        if one { Some(endpoint) } else { self.wrong(node, "an address of this host, and a port") }
    }

    /// An exclusive group waits until a silent holder's addresses have run out
    /// (O8); with `off` they never do.
    pub(super) fn check_exclusive(&mut self, top: &Fields<'_>, local: &LocalPart, groups: &Groups) {
        if local.lifetime == Lifetime::Off && groups.groups.iter().any(|group| group.exclusive) {
            let at = top.place_of("lifetime");
            let expected = "a lifetime: else exclusive groups are never taken from a dead node";
            self.report.warn(at, "lifetime \"off\" with exclusive groups", expected);
        }
    }

    fn lifetime(&mut self, top: &Fields<'_>, timers: &Timers) -> Lifetime {
        let expected = "\"auto\", \"off\" or whole seconds from 2 to 86400";
        let Some(node) = top.get("lifetime") else { return Lifetime::Auto };
        let read = match &node.value {
            Value::String(text) => match text.as_str() {
                "auto" => Some(Lifetime::Auto),
                "off" => Some(Lifetime::Off),
                other => {
                    let number = span(other, LIFETIME).map(|_| other.to_owned());
                    let hint = number.or_else(|| nearest(other, ["auto", "off"]).map(quoted));
                    self.wrong_but(node, expected, hint)
                }
            },
            Value::Number(literal) => match span(literal, LIFETIME) {
                Some(span) if span.subsec_nanos() == 0 => Some(Lifetime::Fixed(span)),
                Some(_) | None => self.wrong(node, expected),
            },
            Value::Bool(false) => self.wrong_but(node, expected, Some("\"off\"")),
            Value::Bool(true) => self.wrong_but(node, expected, Some("\"auto\"")),
            Value::Null | Value::Array(_) | Value::Object(_) | Value::Broken => {
                self.wrong(node, expected)
            }
        };
        if let Some(Lifetime::Fixed(lifetime)) = read
            && lifetime < timers.stale + Duration::from_secs(1)
        {
            let found = format!(
                "lifetime {} with stale {}",
                in_seconds(lifetime),
                in_seconds(timers.stale)
            );
            let expected = "at least stale + 1 s: it is renewed once less than that is left";
            self.report.error(node.start, found, expected);
        }
        read.unwrap_or(Lifetime::Auto)
    }
}
