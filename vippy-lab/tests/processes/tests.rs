//! The tests.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};
use vippy_lab::cluster::Life;
use vippy_lab::{Cluster, LabError, Lan, LanOptions, Options, Port, ProbeOptions, cli};

use crate::support::{User, network_of_machine, users};

/// A name and what to do.
type Test = (&'static str, fn());

pub(crate) const ALL: &[Test] = &[
    ("a_cluster_starts_and_its_daemons_answer", a_cluster_starts_and_its_daemons_answer),
    (
        "daemons_are_killed_stopped_paused_and_started",
        daemons_are_killed_stopped_paused_and_started,
    ),
    (
        "a_crashed_node_loses_port_and_processes_at_once",
        a_crashed_node_loses_port_and_processes_at_once,
    ),
    ("a_daemon_that_does_not_start_is_quoted", a_daemon_that_does_not_start_is_quoted),
    ("files_are_rewritten_and_read_again", files_are_rewritten_and_read_again),
    ("waiting_ends_with_what_is_still_missing", waiting_ends_with_what_is_still_missing),
    ("the_command_line_does_what_it_is_told", the_command_line_does_what_it_is_told),
    (
        "a_dropped_lan_leaves_no_process_and_no_namespace",
        a_dropped_lan_leaves_no_process_and_no_namespace,
    ),
    ("a_panic_takes_the_lan_down_with_it", a_panic_takes_the_lan_down_with_it),
    ("a_lab_that_ends_leaves_nothing", a_lab_that_ends_leaves_nothing),
    ("a_lab_that_panics_leaves_nothing", a_lab_that_panics_leaves_nothing),
    ("a_killed_lab_leaves_nothing", a_killed_lab_leaves_nothing),
    ("an_interrupted_lab_leaves_nothing", an_interrupted_lab_leaves_nothing),
    (
        "ctrl_c_ends_a_probe_and_then_the_command_line",
        ctrl_c_ends_a_probe_and_then_the_command_line,
    ),
    ("an_ordinary_user_has_the_same_lab", an_ordinary_user_has_the_same_lab),
    (
        "a_user_namespace_is_refused_to_several_threads",
        a_user_namespace_is_refused_to_several_threads,
    ),
];

fn options() -> Options {
    Options::new(std::env::current_exe().unwrap())
}

fn a_cluster_starts_and_its_daemons_answer() {
    let cluster = Cluster::start(options()).unwrap();
    for node in 1..=3 {
        assert_eq!(cluster.status(node).unwrap().identity.as_str(), format!("node{node}"));
        let state = cluster.state_directory(node).display().to_string();
        assert_eq!(cluster.log(node).unwrap(), format!("node{node} listens, state in {state}\n"));
    }
    cluster.wait_settled(Duration::from_secs(5)).unwrap();
    assert_eq!(cluster.running().unwrap(), [1, 2, 3]);
}

fn daemons_are_killed_stopped_paused_and_started() {
    let cluster = Cluster::start(options()).unwrap();
    cluster.kill(1).unwrap();
    assert_eq!(cluster.life(1).unwrap(), Life::Killed);
    // The others still say that it holds everything.
    let why = cluster.settled().unwrap_err();
    assert_eq!(why, "node2 says that group0 belongs to node1, which does not run");
    let error = cluster.kill(1).unwrap_err();
    assert_eq!(error.to_string(), "node1: its daemon is not running");

    let stopped = cluster.stop(2).unwrap();
    assert!(stopped.status.success() && stopped.took < Duration::from_secs(5));
    assert!(cluster.log(2).unwrap().ends_with("node2 leaves\n"));

    cluster.pause(3).unwrap();
    assert!(cluster.running().unwrap().is_empty());
    assert!(matches!(cluster.status(3), Err(LabError::Status { .. })));
    cluster.resume(3).unwrap();
    cluster.wait_ready(3).unwrap();

    let error = cluster.start_node(3).unwrap_err();
    assert_eq!(error.to_string(), "node3: its daemon is running already");
    cluster.start_node(1).unwrap();
    cluster.start_node(2).unwrap();
    assert_eq!(cluster.running().unwrap(), [1, 2, 3]);
}

fn a_crashed_node_loses_port_and_processes_at_once() {
    let cluster = Cluster::start(options()).unwrap();
    let begin = Instant::now();
    cluster.crash_node(2).unwrap();
    println!("crash took {:?}", begin.elapsed());
    assert_eq!(cluster.running().unwrap(), [1, 3]);
    // From and to two nodes and a client.
    assert_eq!(cluster.lan().cuts().len(), 6);
    let inside = cluster.lan().machine(2).unwrap();
    // The lab's own thread and its handles remain, no other process.
    let mut others = users(network_of_machine(inside));
    others.retain(|user| !user.is_own());
    assert!(others.is_empty(), "{others:?}");
    cluster.start_node(2).unwrap();
    assert!(cluster.lan().cuts().is_empty());
    assert_eq!(cluster.running().unwrap(), [1, 2, 3]);
}

fn a_daemon_that_does_not_start_is_quoted() {
    let mut options = options();
    options.more.insert("fail".into(), json!("node2"));
    let error = Cluster::start(options).unwrap_err().to_string();
    assert_eq!(error, "node2: its daemon ended (exit status: 2); its last words:\ntold to fail");
    let error = Cluster::start(Options::new("/no/such/program")).unwrap_err().to_string();
    assert_eq!(error, "cannot start /no/such/program on node1");
}

fn files_are_rewritten_and_read_again() {
    let cluster = Cluster::start(options()).unwrap();
    cluster.rewrite_node_config(1, "{}").unwrap();
    assert_eq!(std::fs::read_to_string(cluster.config_path(1)).unwrap(), "{}");
    assert_ne!(std::fs::read_to_string(cluster.config_path(2)).unwrap(), "{}");
    cluster.hup(1).unwrap();
    let reread = |cluster: &Cluster| match cluster.log(1) {
        Ok(log) if log.ends_with("node1 reads its file\n") => Ok(()),
        other => Err(format!("{other:?}")),
    };
    cluster.wait_until("a reload", Duration::from_secs(5), reread).unwrap();
    assert_eq!(cluster.life(1).unwrap(), Life::Running);
}

fn waiting_ends_with_what_is_still_missing() {
    let cluster = Cluster::start(options()).unwrap();
    let never = |_: &Cluster| Err("no miracle so far".to_string());
    let error = cluster.wait_until("a miracle", Duration::from_millis(20), never).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a miracle did not happen within 20ms; last seen: no miracle so far"
    );
}

fn the_command_line_does_what_it_is_told() {
    let input = "\
        dance\n\nstatus\nkill node2\nkill node2\ncut node1 node3\nheal\nstart 2\n\
        partition node1 | node2 node3\nkill node9\nlog node1 1\nprobe 10.77.0.3 200ms\n\
        unplug node3\nplug node3\npause 3\nstop 1\nstatus\nquit\nhelp\n";
    let mut output = Vec::new();
    cli::run_with(options(), Cursor::new(input), &mut output).unwrap();
    let output = String::from_utf8(output).unwrap();
    println!("{output}");
    let parts: Vec<&str> = output.split("lab> ").collect();
    let answers = [
        "unknown command `dance`; `help` lists the known ones\n",
        "",
        "  node1    active, hears nobody\n",
        "node2's daemon is dead\n",
        "node2: its daemon is not running\n",
        "  node3    does not hear node1\n",
        "everybody hears everybody\n",
        "node2 runs\n",
        "  node1    does not hear node2, node3\n  node2    does not hear node1\n",
        "no such machine: node9; expected node1, node2, node3, client0\n",
        "node1 listens, state in ",
        "asking 10.77.0.3 for 200ms; Ctrl-C ends it early\n10.77.0.3: answered by node3; 0 of ",
        "node3 has no carrier\n",
        "node3 has a carrier\n",
        "node3 is frozen\n",
        "node1 left after ",
        "  node1    stopped\n  node2    active, hears nobody\n  node3    frozen\n",
        "",
    ];
    assert_eq!(parts.len(), answers.len() + 1);
    for (part, answer) in parts[1..].iter().zip(answers) {
        assert!(part.starts_with(answer), "found {part:?}, expected {answer:?}");
    }
    assert!(parts[0].contains("10.77.0.102/24 10.77.0.112/24      node1\n"), "{}", parts[0]);
}

/// A LAN with two processes on each machine, and everything that keeps it.
fn busy_lan() -> (Lan, Vec<User>) {
    let lan = Lan::new(LanOptions::default()).unwrap();
    let target = Port::Node(1).ipv4().into();
    let options = ProbeOptions::new([target]).lasting(Duration::from_millis(50));
    lan.probe(Port::Client(0), options).unwrap().wait();
    let mut keepers = Vec::new();
    for port in lan.ports() {
        let machine = lan.machine(port).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & sleep 1000"]);
        machine.spawn(command).unwrap();
        keepers.extend(users(network_of_machine(machine)));
    }
    assert!(keepers.iter().any(|user| !user.is_own()) && keepers.iter().any(User::is_own));
    (lan, keepers)
}

fn a_dropped_lan_leaves_no_process_and_no_namespace() {
    let (lan, keepers) = busy_lan();
    assert!(keepers.iter().all(User::remains));
    drop(lan);
    let left: Vec<&User> = keepers.iter().filter(|user| user.remains()).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn a_panic_takes_the_lan_down_with_it() {
    let panicking = std::thread::spawn(|| {
        let (_lan, keepers) = busy_lan();
        std::panic::panic_any(keepers);
    });
    let keepers = panicking.join().unwrap_err().downcast::<Vec<User>>().unwrap();
    let left: Vec<&User> = keepers.iter().filter(|user| user.remains()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A lab in another process and what it told about itself.
struct Other {
    child: Child,
    told: Value,
    users: Vec<User>,
}

impl Other {
    fn start(program: &Path, role: &str, user: Option<u32>) -> Other {
        let mut command = Command::new(program);
        command.args(["--lab", role]).stdout(Stdio::piped()).process_group(0);
        if let Some(user) = user {
            command.uid(user).gid(user).current_dir("/").env("TMPDIR", "/tmp");
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no lab: {line:?}"));
        let mut other = Other { child, told, users: Vec::new() };
        let networks = other.told["networks"].as_array().unwrap().clone();
        other.users =
            networks.iter().flat_map(|network| users(network.as_u64().unwrap())).collect();
        other
    }

    fn root(&self) -> PathBuf {
        self.told["root"].as_str().unwrap().into()
    }

    /// Everything that is still there: processes, namespaces, files.
    fn remains(&self) -> Vec<String> {
        let users = self.users.iter().filter(|user| user.remains());
        let root = Some(self.root()).filter(|root| root.exists());
        users
            .map(|user| format!("{user:?}"))
            .chain(root.map(|root| root.display().to_string()))
            .collect()
    }

    /// Waits until nothing remains.
    fn expect_nothing(&mut self) {
        self.child.wait().unwrap();
        let begin = Instant::now();
        while !self.remains().is_empty() {
            assert!(begin.elapsed() < Duration::from_secs(5), "left: {:?}", self.remains());
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("nothing left after {:?}", begin.elapsed());
    }
}

fn own_program() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn a_lab_that_ends_leaves_nothing() {
    let mut other = Other::start(&own_program(), "end", None);
    assert_eq!((&other.told["lost"], &other.told["silent"]), (&json!(0), &json!(true)));
    other.expect_nothing();
}

fn a_lab_that_panics_leaves_nothing() {
    Other::start(&own_program(), "panic", None).expect_nothing();
}

fn a_killed_lab_leaves_nothing() {
    let mut other = Other::start(&own_program(), "wait", None);
    // Three daemons with a child each, at the least, are seen before.
    assert!(other.remains().len() > 6, "{:?}", other.remains());
    other.child.kill().unwrap();
    other.expect_nothing();
}

fn an_interrupted_lab_leaves_nothing() {
    let mut other = Other::start(&own_program(), "wait", None);
    let pid = Pid::from_raw(other.child.id().cast_signed());
    kill(pid, Signal::SIGINT).unwrap();
    other.expect_nothing();
}

/// The first Ctrl-C ends a probe, the second the lab; both are no failure.
fn ctrl_c_ends_a_probe_and_then_the_command_line() {
    let mut talk = Command::new(own_program())
        .args(["--lab", "talk"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut input = talk.stdin.take().unwrap();
    let mut output = talk.stdout.take().unwrap();
    let mut read_until = |wanted: &str| {
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with(wanted) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "it ended after {text:?}");
            text.push(byte[0].into());
        }
        text
    };
    let interrupt = || kill(Pid::from_raw(talk.id().cast_signed()), Signal::SIGINT).unwrap();
    read_until("lab> ");
    input.write_all(b"probe 10.77.0.2 600s\n").unwrap();
    read_until("Ctrl-C ends it early\n");
    interrupt();
    let answer = read_until("lab> ");
    assert!(answer.starts_with("10.77.0.2: answered by "), "{answer}");
    // Only a terminal hands out line by line; a pipe is read ahead.
    input.write_all(b"shell node3\n").unwrap();
    read_until("`exit` comes back\n");
    input.write_all(b"hostname; exit\n").unwrap();
    let answer = read_until("lab> ");
    interrupt();
    assert!(talk.wait().unwrap().success());
    assert_eq!(answer, "node3\nback from node3\nlab> ");
}

/// As root the test becomes `nobody`; else it is an ordinary user already.
fn an_ordinary_user_has_the_same_lab() {
    let user = geteuid().is_root().then_some(65534);
    // The build directory may be closed to others.
    let place = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp")
        .unwrap();
    let program = place.path().join("lab");
    std::fs::copy(own_program(), &program).unwrap();
    let mut other = Other::start(&program, "wait", user);
    assert_eq!(other.told["entered"], json!(user.is_some()));
    assert_eq!((&other.told["lost"], &other.told["silent"]), (&json!(0), &json!(true)));
    other.child.kill().unwrap();
    other.expect_nothing();
}

fn a_user_namespace_is_refused_to_several_threads() {
    // Whoever has the privileges needs no namespace, threads or not.
    let entered = std::thread::spawn(vippy_lab::enter_user_namespace_if_needed).join().unwrap();
    assert!(matches!(entered, Ok(false)));
}
