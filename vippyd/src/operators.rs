//! The thread on which the management socket is served.
//!
//! Writing the status of thousands of groups as JSON takes milliseconds; here
//! they are not the loop's. The loop gets requests over a short queue.

use std::io;
use std::path::Path;
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::oneshot;

use crate::management::{self, ManagementError, Request};

/// Requests that wait for the loop; more wait in their connections.
const QUEUE: usize = 8;

/// The running server; dropping it closes every connection and removes the
/// socket's file.
#[derive(Debug)]
pub struct Operators(Option<Running>);

#[derive(Debug)]
struct Running {
    thread: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Operators {
    /// Listens on `path`.
    ///
    /// # Errors
    /// When a daemon answers there already, or the socket cannot be made.
    pub fn open(path: &Path) -> Result<(Operators, Receiver<Request>), ManagementError> {
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
        let thread = std::thread::Builder::new()
            .name("management".into())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = management::serve(listener, sender) => {}
                        // Asked to, or whoever would ask is gone.
                        _ = stopped => {}
                    }
                });
            })
            .map_err(|source: io::Error| failed("start a thread for it")(source))?;
        Ok((Operators(Some(Running { thread, stop })), requests))
    }
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
