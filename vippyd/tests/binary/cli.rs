//! The real binary: what it says, how it exits, and that it runs.
//!
//! The tests that run the daemon need root: they make a network namespace, and
//! fail where they may not.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Bench, PATIENCE, assert_exit, config, in_namespace, lo_has, text};

#[test]
fn check_of_a_good_file_says_what_it_read() {
    let output = Bench::new(&config("")).check();
    let stdout = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(stdout.contains("v.conf: fine (version 5, 2 nodes, 2 groups, digest "), "{stdout}");
}

#[test]
fn check_for_a_node_that_the_configuration_lacks_is_refused_as_a_start_is() {
    let bench = Bench::new(&config(""));
    let check = |node: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vippyd"));
        command.arg("--check").arg("-c").arg(bench.config()).args(["-n", node]).output().unwrap()
    };
    assert_exit(&check("node9"), 3, "node node9 is not in ");
    assert_exit(&check("node9"), 3, "expected one of: node1, node2");
    assert_eq!(check("node2").status.code(), Some(0));
}

#[test]
fn check_tells_what_does_not_suit_this_host_and_refuses_nothing() {
    let text = config("").replacen("interface: 'lo'", "interface: 'no-such-if'", 1);
    let output = Bench::new(&text).check();
    let stdout = self::text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", self::text(&output.stderr));
    assert!(stdout.contains("warning: this host has no interface no-such-if\n"), "{stdout}");
    assert!(stdout.contains(", which is not in `nodes` (node1, node2); "), "{stdout}");
    assert!(!stdout.contains("interface lo"), "{stdout}");
}

#[test]
fn check_tells_where_addresses_without_an_interface_would_go() {
    in_namespace(|| {
        let add = ["address", "add", "10.99.0.9/24", "dev", "lo"];
        assert!(Command::new("ip").args(add).status().unwrap().success());
        let vips: Vec<_> = (1..=10).map(|n| format!("{{ip: '10.99.0.{n}0/24'}}")).collect();
        let text = config("").replace(
            "[{interface: 'lo', ip: '10.99.0.2/32'}]",
            &format!("[{}], [{{ip: '10.98.0.1/16'}}, {{ip: 'fd00::1'}}]", vips.join(", ")),
        );
        let output = Bench::new(&text).check();
        let stdout = self::text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{}", self::text(&output.stderr));
        let note = "note: lo carries 10.99.0.0/24 and would get 10.99.0.10, 10.99.0.20, \
                    10.99.0.30, 10.99.0.40, 10.99.0.50, 10.99.0.60, 10.99.0.70, 10.99.0.80 and \
                    2 more\n";
        assert!(stdout.contains(note), "{stdout}");
        for (net, ip) in [("10.98.0.0/16", "10.98.0.1"), ("fd00::1/128", "fd00::1")] {
            let warning = format!(
                "warning: no interface of this host carries {net} now, and none is named for {ip}\n"
            );
            assert!(stdout.contains(&warning), "{stdout}");
        }
    });
}

#[test]
fn check_of_a_bad_file_tells_every_problem_on_a_line_of_its_own() {
    let bench = Bench::new("{\n  chat: 7,\n  nodez: []\n}");
    let output = bench.check();
    assert_exit(&output, 3, "v.conf:2:");
    let stderr = text(&output.stderr);
    assert!(stderr.contains("v.conf:3:3: "), "{stderr}");
    assert!(stderr.lines().all(|line| line.starts_with("vippyd: ")), "{stderr}");
}

#[test]
fn unreadable_file_is_named() {
    let bench = Bench::new("");
    std::fs::remove_file(bench.config()).unwrap();
    assert_exit(&bench.check(), 3, "v.conf: No such file");
    std::fs::create_dir(bench.config()).unwrap();
    assert_exit(&bench.check(), 3, "v.conf: Is a directory");
}

#[test]
fn node_that_the_configuration_lacks_is_told_the_names() {
    let output = Bench::new(&config("")).run("node9");
    assert_exit(&output, 3, "node node9 is not in ");
    assert_exit(&output, 3, "expected one of: node1, node2");
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_vippyd")).arg("--nonsense").output().unwrap();
    assert_exit(&output, 2, "--nonsense");
}

#[test]
fn help_tells_the_exit_codes() {
    let output = Command::new(env!("CARGO_BIN_EXE_vippyd")).arg("--help").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("4  cannot run"));
}

#[test]
fn state_directory_that_cannot_be_made_is_named() {
    let bench = Bench::new(&config(""));
    std::fs::write(bench.path("state"), "a file").unwrap();
    assert_exit(&bench.run("node1"), 4, "state directory: cannot make ");
}

#[test]
fn without_capabilities_the_missing_one_is_named() {
    let bench = Bench::new(&config(""));
    let command = bench.command("node1");
    let mut bare = Command::new("setpriv");
    bare.args(["--bounding-set", "-net_raw", "--inh-caps", "-net_raw", "--"]);
    bare.arg(command.get_program()).args(command.get_args());
    let output = bare.output().expect("setpriv (util-linux) is needed");
    assert_exit(&output, 4, "capability CAP_NET_RAW is missing");
}

#[test]
fn port_of_another_program_is_named() {
    in_namespace(|| {
        let taken = UdpSocket::bind("0.0.0.0:5007").unwrap();
        let output = Bench::new(&config("")).run("node1");
        assert_exit(&output, 4, "5007 is in use by another program");
        drop(taken);
    });
}

#[test]
fn own_address_that_another_program_has_is_named() {
    in_namespace(|| {
        let taken = UdpSocket::bind("127.0.0.1:6007").unwrap();
        let peers = "peers: {node1: '127.0.0.1:6007', node2: '127.0.0.1:6008'}";
        let output = Bench::new(&config(peers)).run("node1");
        assert_exit(&output, 4, "chat: 127.0.0.1:6007 is in use by another program");
        drop(taken);
    });
}

#[test]
fn second_daemon_of_a_node_is_told_the_first_one_s_process() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let first = bench.start("node1");
        let output = bench.run("node1");
        assert_exit(&output, 4, &format!("another vippyd (process {})", first.pid()));
    });
}

#[test]
fn management_socket_that_answers_is_not_taken() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let _first = bench.start("node1");
        let mut command = Command::new(env!("CARGO_BIN_EXE_vippyd"));
        command.arg("-c").arg(bench.config()).args(["-n", "node2"]);
        command.arg("--state").arg(bench.path("state2"));
        command.arg("--management").arg(bench.path("node1.socket"));
        assert_exit(&command.output().unwrap(), 4, "already listening");
    });
}

#[test]
fn absent_interface_is_a_state_and_not_an_exit() {
    in_namespace(|| {
        let text = config("").replace("chat_interface: '127.0.0.1'", "chat_interface: 'eth7'");
        let daemon = Bench::new(&text).start("node1");
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "there is no interface eth7");
    });
}

#[test]
fn termination_lets_go_says_so_and_removes_the_socket() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        assert!(bench.path("node1.socket").exists());
        let begun = Instant::now();
        daemon.signal(Signal::SIGTERM);
        daemon.hear("STOPPING=1");
        let output = daemon.finish();
        assert_exit(&output, 0, "stopped");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(!bench.path("node1.socket").exists());
        assert!(!lo_has("10.99.0.1"));
    });
}

#[test]
fn second_signal_leaves_at_once_and_still_releases_the_addresses() {
    in_namespace(|| {
        let bench = Bench::new(&config("").replace("stale: 0.3", "stale: 4"));
        let (one, two) = (bench.start("node1"), bench.start("node2"));
        one.hear("STATUS=active, holds 1 group");
        two.hear("STATUS=active, holds 1 group");
        // It looks alive and will not take over what the first wants to hand over.
        two.signal(Signal::SIGSTOP);
        one.signal(Signal::SIGTERM);
        one.hear("STOPPING=1");
        one.signal(Signal::SIGINT);
        let begun = Instant::now();
        let output = one.finish();
        assert_exit(&output, 0, "stopped at once; all addresses are released");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        let left = ["10.99.0.1", "10.99.0.2"].map(lo_has);
        assert_eq!(left.into_iter().filter(|there| *there).count(), 1, "the other's alone");
    });
}

#[test]
fn flood_of_garbage_delays_no_announcement_and_fills_no_log() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        let listener = listener();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let junk = vec![0x5a; 200];
        let mut forged = junk.clone();
        forged[..5].copy_from_slice(b"VPPY\x01");
        let flooding = std::thread::spawn(move || {
            let begun = Instant::now();
            let mut sent = 0_u32;
            while begun.elapsed() < Duration::from_secs(2) {
                for frame in [&junk, &forged] {
                    sent += u32::from(stranger.send_to(frame, "224.1.1.1:5007").is_ok());
                }
                // Leaves the other threads of a small machine some time.
                std::thread::sleep(Duration::from_micros(1));
            }
            sent
        });
        let mut worst = Duration::ZERO;
        let mut last = None;
        while !flooding.is_finished() {
            let at = next_announcement(&listener);
            worst = worst.max(last.map_or(Duration::ZERO, |last| at - last));
            last = Some(at);
        }
        let sent = flooding.join().unwrap();
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "stopped");
        let log = text(&output.stderr);
        println!("{sent} datagrams, widest gap {worst:?}");
        assert!(worst < Duration::from_millis(150), "gap of {worst:?} among {sent} datagrams");
        assert!(log.lines().count() < 40, "{log}");
        assert!(!log.contains("state changed state=booting"), "{log}");
    });
}

/// Hears what is sent to the chat's group.
fn listener() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    let group = std::net::SocketAddr::from(([224, 1, 1, 1], 5007));
    socket.bind(&group.into()).unwrap();
    socket.join_multicast_v4(&[224, 1, 1, 1].into(), &[127, 0, 0, 1].into()).unwrap();
    socket.set_recv_buffer_size(8 << 20).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// When the next frame arrived that comes from the chat's port.
fn next_announcement(listener: &UdpSocket) -> Instant {
    let mut buffer = [0; 2048];
    loop {
        let (_, source) = listener.recv_from(&mut buffer).expect("an announcement");
        if source.port() == 5007 {
            return Instant::now();
        }
    }
}

#[test]
fn killed_daemon_s_addresses_are_released_by_hand() {
    in_namespace(|| {
        let bench = Bench::new(&config("lifetime: 'off'"));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        assert!(lo_has("10.99.0.1") && lo_has("10.99.0.2"));
        daemon.signal(Signal::SIGKILL);
        daemon.finish();
        assert!(lo_has("10.99.0.1"));
        let output = bench.command("node1").arg("--release").output().unwrap();
        assert_exit(&output, 0, "");
        assert!(text(&output.stdout).contains("node1: removed 2 addresses"));
        assert!(!lo_has("10.99.0.1") && !lo_has("10.99.0.2"));
    });
}

#[test]
fn hangup_with_a_bad_file_changes_nothing_and_tells_why() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        std::fs::write(bench.config(), "{ nodes: 7 }").unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.hear("RELOADING=1");
        daemon.hear("READY=1");
        assert!(lo_has("10.99.0.1") && lo_has("10.99.0.2"));
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "v.conf:1:10: ");
        assert_exit(&output, 0, "the running configuration stays");
    });
}

#[test]
fn hangup_with_a_good_file_takes_it_and_names_what_needs_a_restart() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        let text = config("cluster: 'other'")
            .replace("version: 5", "version: 6")
            .replace(", [{interface: 'lo', ip: '10.99.0.2/32'}]", "");
        std::fs::write(bench.config(), text).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.hear("RELOADING=1");
        daemon.hear("holds 1 group");
        eventually("the group is off", || !lo_has("10.99.0.2"));
        assert!(lo_has("10.99.0.1"));
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "changed but read only at a start: cluster; restart vippyd");
    });
}

#[test]
fn hangup_with_other_contents_and_the_same_version_is_warned_of() {
    in_namespace(|| {
        let bench = Bench::new(&config(""));
        let daemon = bench.start("node1");
        daemon.hear("STATUS=active, holds 2 groups");
        let text = config("").replace(", [{interface: 'lo', ip: '10.99.0.2/32'}]", "");
        std::fs::write(bench.config(), text).unwrap();
        daemon.signal(Signal::SIGHUP);
        daemon.hear("holds 1 group");
        daemon.signal(Signal::SIGTERM);
        let output = daemon.finish();
        assert_exit(&output, 0, "the contents changed but version is still 5; raise it");
    });
}

/// Waits for what the daemon has ordered and somebody else carries out.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
