//! The thread on which whoever asks is served: the management socket, the history
//! of events, metrics.
//!
//! Writing the status of thousands of groups as JSON takes milliseconds; here
//! they are not the loop's. The loop gets requests over a short queue, and hands
//! events over without waiting.

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::{oneshot, watch};
use vippy_core::config::LocalPart;
use vippy_core::identity::{BootId, NodeName};

use crate::history::{History, Teller};
use crate::logging::Logger;
use crate::management::{self, Desk, ManagementError, Request};
use crate::realtime;

/// Requests that wait for the loop; more wait in their connections.
const QUEUE: usize = 8;

/// Time for those who follow the events to read the last ones.
const LAST_EVENTS: Duration = Duration::from_millis(100);

/// The running server; dropping it closes every connection and removes the
/// socket's file.
#[derive(Debug)]
pub struct Operators(Option<Running>);

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// The loop's side.
#[derive(Debug)]
pub struct Opened {
    /// What it is asked.
    pub requests: Receiver<Request>,
    /// Takes its events.
    pub teller: Teller,
    /// Where metrics are to be had over TCP.
    pub metrics: watch::Sender<Option<SocketAddr>>,
}

impl Operators {
    /// Listens where `local` says; `process` names this process in the history.
    ///
    /// # Errors
    /// When a daemon answers there already, or the socket cannot be made.
    pub fn open(
        local: &LocalPart,
        node: &NodeName,
        process: BootId,
        logger: &Logger,
    ) -> Result<(Operators, Opened), ManagementError> {
        let path = &local.management;
        let failed = |verb| move |source| ManagementError::Io { path: path.into(), verb, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed("prepare to serve it"))?;
        let listener = {
            let _inside = runtime.enter();
            management::bind(path)?
        };
        let (sender, requests) = channel(QUEUE);
        let (stop, stopped) = oneshot::channel::<()>();
        let (teller, scribe, history) = History::begin(process, node.clone());
        let (metrics, address) = watch::channel(local.metrics);
        let desk = Desk::new(sender, history, logger.clone());
        let thread = std::thread::Builder::new()
            .name("management".into())
            .spawn(move || {
                realtime::stand_behind();
                runtime.block_on(async {
                    let publisher = desk.clone();
                    let follower = desk.clone();
                    let serving = async {
                        tokio::join!(
                            management::serve(listener, desk),
                            publisher.publish(address),
                            scribe.run()
                        )
                    };
                    tokio::select! {
                        _ = serving => {}
                        // Asked to, or whoever would ask is gone.
                        () = async { let _ = stopped.await; last_events(&follower).await } => {}
                    }
                });
            })
            .map_err(|source: io::Error| failed("start a thread for it")(source))?;
        let opened = Opened { requests, teller, metrics };
        Ok((Operators(Some(Running { thread, stop })), opened))
    }
}

/// Waits until everybody has read what there was, but not for long.
async fn last_events(desk: &Desk) {
    let read = async {
        while desk.is_followed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_EVENTS, read).await;
}

impl Drop for Operators {
    fn drop(&mut self) {
        if let Some(Running { thread, stop }) = self.0.take() {
            // Failing means that the thread is gone, and the file with it.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}
