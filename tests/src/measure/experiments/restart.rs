//! A daemon killed with SIGKILL and started again at once.

use std::time::{Duration, Instant};

use vippy_client::status::NodeState;
use vippy_lab::{Port, ProbeOptions};

use super::super::{Spread, ms};
use super::{Bench, Outcome, PATIENCE, addresses, groups, settled};

/// Prints a line for each setting.
///
/// # Errors
/// The cluster does not start or does not settle.
pub fn restart(bench: &Bench) -> Outcome<()> {
    println!("restart: kill -9 and start again within stale, {} runs", bench.runs);
    for (interval, stale) in [(0.5, 5.0), (0.1, 0.3)] {
        let cluster = settled(bench.options(interval, stale, groups(6), 1))?;
        let (mut lost, mut asked, mut moved, mut down) = (0, 0, 0, Vec::new());
        for _ in 0..bench.runs {
            let others: u64 = changes_of_others(&cluster)?;
            let options =
                ProbeOptions { patience: Duration::from_secs(2), ..ProbeOptions::new(addresses()) };
            let probe = cluster.lan().probe(Port::Client(0), options)?;
            std::thread::sleep(Duration::from_millis(200));
            let begin = Instant::now();
            cluster.kill(1)?;
            cluster.start_node(1)?;
            down.push(ms(begin.elapsed()));
            cluster.wait_until("node1 to take part", PATIENCE, |cluster| {
                let state = cluster.status(1).map_err(|error| error.to_string())?.node.state;
                if state == NodeState::Active {
                    cluster.settled()
                } else {
                    Err(format!("{state:?}"))
                }
            })?;
            std::thread::sleep(Duration::from_secs_f64(stale));
            let report = probe.finish();
            lost += report.lost();
            asked += report.series.values().map(|series| series.questions.len()).sum::<usize>();
            moved += changes_of_others(&cluster)? - others;
        }
        println!(
            "  {interval} / {stale}: {lost} of {asked} datagrams lost, {moved} groups moved; \
             answers again after {:.0} ms",
            Spread::new(down)
        );
    }
    Ok(())
}

fn changes_of_others(cluster: &vippy_lab::Cluster) -> Outcome<u64> {
    Ok(cluster.status(2)?.stats.state_changes + cluster.status(3)?.stats.state_changes)
}
