//! Which signals mean what. What is done about them is the loop's business.

use std::io;

use futures_util::{FutureExt, StreamExt};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Leave (TERM, INT, QUIT).
    Stop(&'static str),
    /// Read the configuration again (HUP).
    Reload,
}

/// The signals that came.
pub struct Signals(signal_hook_tokio::Signals);

impl Signals {
    /// Begins to catch them. Must be made inside the runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn catch() -> io::Result<Signals> {
        signal_hook_tokio::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map(Signals)
    }

    /// The next one. Dropping the future loses none.
    pub async fn next(&mut self) -> Signal {
        loop {
            match self.0.next().await {
                Some(SIGHUP) => return Signal::Reload,
                Some(SIGINT) => return Signal::Stop("INT"),
                Some(SIGQUIT) => return Signal::Stop("QUIT"),
                Some(SIGTERM) => return Signal::Stop("TERM"),
                Some(_) => {}
                // The stream ends only when somebody closes it; nobody does.
                None => std::future::pending().await,
            }
        }
    }

    /// One that has come already.
    pub fn at_hand(&mut self) -> Option<Signal> {
        self.next().now_or_never()
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}
