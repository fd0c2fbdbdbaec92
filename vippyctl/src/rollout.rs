//! Watching a configuration get to all live nodes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use vippy_client::status::PeerStatus;
use vippy_client::{Client, Status};

use crate::{Failure, print, words};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// How long nodes may take to follow; one that cannot says so sooner.
const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until all live nodes run this configuration, or say why they do not.
pub(crate) async fn follow(client: &Client, version: u64, digest: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let status = client.status().await?;
        let (there, missing) = split(&status, digest);
        if missing.is_empty() {
            let configuration = words::configuration(version, digest);
            let nodes =
                if there == 1 { "1 live node".into() } else { format!("{there} live nodes") };
            return print::out(&format!("configuration {configuration} runs on {nodes}\n"));
        }
        if status.config.digest != digest && status.config.version >= version {
            let now = words::configuration(status.config.version, &status.config.digest);
            return Err(format!("configuration {now} took its place").into());
        }
        let given_up = missing.iter().all(|peer| peer.detail.contains("cannot be taken"));
        if given_up || begun.elapsed() >= PATIENCE {
            let lines: Vec<String> = missing.iter().map(|peer| line(peer)).collect();
            return Err(format!("not everybody follows:\n  {}", lines.join("\n  ")).into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How many nodes run it, this one included, and the live peers that do not.
fn split<'a>(status: &'a Status, digest: &str) -> (usize, Vec<&'a PeerStatus>) {
    let mut names = BTreeSet::new();
    let live = status.peers.iter().filter(|peer| peer.alive && peer.counts);
    let live = live.filter(|peer| names.insert(&peer.name));
    let (there, missing): (Vec<_>, Vec<_>) =
        live.partition(|peer| peer.digest.as_deref() == Some(digest));
    (there.len() + usize::from(status.config.digest == digest), missing)
}

fn line(peer: &PeerStatus) -> String {
    let name = words::printable(peer.name.as_str());
    let running = match (peer.version, &peer.digest) {
        (Some(version), Some(digest)) => words::configuration(version, digest),
        (Some(_) | None, _) => "an unknown one".to_owned(),
    };
    let why = words::printable(&peer.detail);
    if why.is_empty() {
        format!("{name} runs {running}")
    } else {
        format!("{name} runs {running}: {why}")
    }
}
