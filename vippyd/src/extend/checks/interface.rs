//! `interface`: whether it is there, up, and has a carrier.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "netlink is open-ended: errors not meant here are passed on"
)]

use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkFlags;
use tokio::task::AbortHandle;
use vippy_core::health::Outcome;

/// An interface that should carry packets.
#[derive(Debug)]
pub(super) struct Interface {
    name: String,
    kernel: Option<Kernel>,
}

/// A connection to the kernel. Dropping it closes it.
#[derive(Debug)]
struct Kernel {
    handle: Handle,
    task: AbortHandle,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Interface {
    pub(super) fn new(name: &str) -> Interface {
        Interface { name: name.to_owned(), kernel: None }
    }

    pub(super) async fn run(&mut self) -> Outcome {
        let kernel = match self.kernel.take().map_or_else(open, Ok) {
            Ok(kernel) => self.kernel.insert(kernel),
            Err(e) => return Outcome::NotStarted(format!("cannot ask the kernel: {e}")),
        };
        let mut links = kernel.handle.link().get().match_name(self.name.clone()).execute();
        let flags = match links.try_next().await {
            Ok(Some(link)) => link.header.flags,
            Ok(None) => return self.bad("does not exist"),
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code().abs() == nix::libc::ENODEV => {
                return self.bad("does not exist");
            }
            Err(e) => return Outcome::NotStarted(format!("cannot ask the kernel: {e}")),
        };
        if !flags.contains(LinkFlags::Up) {
            self.bad("is down")
        } else if !flags.contains(LinkFlags::LowerUp) || !flags.contains(LinkFlags::Running) {
            self.bad("has no carrier")
        } else {
            Outcome::Good
        }
    }

    fn bad(&self, how: &str) -> Outcome {
        Outcome::Bad(format!("{} {how}", self.name))
    }
}

fn open() -> std::io::Result<Kernel> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    Ok(Kernel { handle, task: tokio::spawn(connection).abort_handle() })
}
