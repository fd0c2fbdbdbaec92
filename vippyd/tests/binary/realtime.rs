//! The real binary with `realtime`. Needs root, `setpriv` and `prlimit`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use vippy_client::Client;

use crate::support::{Bench, PATIENCE, assert_exit, config, in_namespace};

const ORDINARY: (u32, u32) = (0, 0);
const ROUND_ROBIN: u32 = 2;

/// Policy and priority of every thread, by name (fields 41 and 40 of proc(5)).
fn classes(pid: u32) -> BTreeMap<String, (u32, u32)> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let class = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        let (name, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let name = name.split_once('(').unwrap().1.to_owned();
        (name, (fields[38].parse().unwrap(), fields[37].parse().unwrap()))
    };
    threads.map(|thread| class(thread.unwrap())).collect()
}

fn status_field(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_must_be_on_time_has_the_class_and_nothing_else_has() {
    in_namespace(|| {
        let bench = Bench::new(&config("realtime: 20"));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active");
        let expected = |realtime: bool| {
            let class = |priority| if realtime { (ROUND_ROBIN, priority) } else { ORDINARY };
            [
                ("vippyd", class(20)),
                ("chat", class(19)),
                ("vippy-kernel", class(19)),
                ("vippy-announce", class(19)),
                ("vippy-witness", class(19)),
                ("log", ORDINARY),
                ("vippy-state", ORDINARY),
                ("management", ORDINARY),
            ]
        };
        let assert_classes = |realtime| {
            let found = classes(daemon.pid());
            for (name, class) in expected(realtime) {
                assert_eq!(found.get(name), Some(&class), "{name} of {found:?}");
            }
        };
        assert_classes(true);
        let locked = status_field(daemon.pid(), "VmLck:");
        println!("{locked} kB locked, {} kB resident", status_field(daemon.pid(), "VmRSS:"));
        assert!(locked > 1_000);
        // The successor does as the file says by then.
        for (text, realtime) in [("realtime: 20", true), ("", false)] {
            std::fs::write(bench.config(), config(text)).unwrap();
            let client = Client::new(bench.path("node1.socket")).with_timeout(PATIENCE);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(client.restart()).unwrap();
            daemon.hear("RELOADING=1");
            daemon.hear("READY=1");
            daemon.hear("STATUS=active");
            assert_classes(realtime);
        }
        assert_eq!(status_field(daemon.pid(), "VmLck:"), 0);
    });
}

#[test]
fn without_permission_the_daemon_runs_and_names_what_it_lacks() {
    in_namespace(|| {
        let bench = Bench::new(&config("realtime: 20, logging: {driver: 'console'}"));
        let command = bench.command("node1");
        let mut bare = Command::new("prlimit");
        bare.args(["--rtprio=0", "--memlock=1048576", "--", "setpriv"]);
        bare.args(["--bounding-set", "-sys_nice,-ipc_lock", "--inh-caps", "-sys_nice,-ipc_lock"]);
        bare.arg("--").arg(command.get_program()).args(command.get_args());
        bare.env_remove("JOURNAL_STREAM").stderr(Stdio::piped()).stdout(Stdio::piped());
        let daemon = bench.start_as(bare, "node1");
        daemon.hear("STATUS=active");
        assert!(classes(daemon.pid()).values().all(|class| *class == ORDINARY));
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "realtime: the scheduler refuses priority 20: ");
        assert_exit(&output, 0, "LimitRTPRIO=20");
    });
}
