//! The real binary and those who watch it: metrics over TCP, many readers of the
//! events. Needs root for a network namespace.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use vippy_client::Client;

use crate::support::{Bench, Daemon, PATIENCE, config, in_namespace, text};

const AT: &str = "127.0.0.1:9650";

/// The whole answer, or why there is none.
fn ask(request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(AT)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

#[test]
fn metrics_over_tcp_follow_the_configuration_and_wait_for_their_port() {
    in_namespace(|| {
        let taken = TcpListener::bind(AT).unwrap();
        let bench = Bench::new(&config(&format!("metrics: '{AT}'")));
        let daemon = bench.start("node1");
        drop(taken);
        wait_for("an answer", || ask("GET /metrics").is_ok());
        let answer = ask("GET /metrics").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("# EOF\n"), "{answer}");
        assert!(answer.contains("\r\ncontent-type: application/openmetrics-text;"), "{answer}");
        assert!(answer.contains("\nvippy_groups 2\n"), "{answer}");
        for (request, status) in
            [("GET /status", 404), ("POST /metrics", 405), ("POST /drain", 404), ("nonsense", 400)]
        {
            let answer = ask(request).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        }
        // Connections that say nothing keep nobody else away for ever.
        let silent: Vec<_> = (0..16).map(|_| TcpStream::connect(AT).unwrap()).collect();
        wait_for("all places being taken", || !ask("GET /metrics").is_ok_and(|a| !a.is_empty()));
        drop(silent);
        wait_for("an answer again", || ask("GET /metrics").is_ok_and(|a| !a.is_empty()));

        std::fs::write(bench.config(), config("")).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_for("the end of it", || ask("GET /metrics").is_err());
        daemon.signal(Signal::SIGTERM);
        let log = text(&daemon.finish().stderr);
        assert!(log.contains(&format!("metrics: cannot listen on {AT}: Address")), "{log}");
        assert!(log.contains(&format!("metrics are served at http://{AT}/metrics")), "{log}");
    });
}

/// Proportional set size, in kB: what the kernel holds for this process alone,
/// and its part of the rest.
fn memory(pid: u32) -> i64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// How many announcements left so far, and how late all of them together, in
/// seconds.
fn lateness(socket: &Path) -> (f64, f64) {
    // A page may be a second old.
    std::thread::sleep(Duration::from_millis(1_100));
    let page = run(Client::new(socket).metrics()).unwrap();
    let value = |end: &str| {
        let name = format!("vippy_announcement_lateness_seconds_{end} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&name)).unwrap();
        line.parse::<f64>().unwrap()
    };
    (value("count"), value("sum"))
}

/// Leads the daemon through this many events.
fn churn(socket: &Path, events: usize) {
    /// Requests on one connection.
    const TOGETHER: usize = 200;
    let requests: String = (0..TOGETHER)
        .map(|number| {
            let command = if number % 2 == 0 { "drain" } else { "resume" };
            let last = if number == TOGETHER - 1 { "connection: close\r\n" } else { "" };
            format!("POST /{command} HTTP/1.1\r\nhost: x\r\n{last}\r\n")
        })
        .collect();
    for _ in 0..events / TOGETHER {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(requests.as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200").count(), TOGETHER, "{answers}");
    }
}

/// The mean lateness of announcements, in µs, while this many events happen.
fn lateness_during(socket: &Path, events: usize) -> f64 {
    let before = lateness(socket);
    churn(socket, events);
    let after = lateness(socket);
    (after.1 - before.1) / (after.0 - before.0) * 1e6
}

/// A connection that follows the events.
fn follow(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream
}

/// Reads until the end; how many bytes there were.
fn read_all(mut stream: UnixStream) -> usize {
    let mut buffer = [0; 4096];
    let mut seen = 0;
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        seen += length;
    }
    seen
}

/// Beside a daemon that nobody watches, which goes through the same: what a daemon
/// remembers anyway grows for a while.
#[test]
fn ten_readers_of_which_one_never_reads_cost_no_memory() {
    /// Fills the history.
    const BEFORE: usize = 5_000;
    /// Far more than is remembered, and than sockets hold.
    const WATCHED: usize = 25_000;
    /// In kB. Ten connections have their buffers, and thousands of events may be under
    /// way to the history; a queue for the one that does not read would have six
    /// megabytes.
    const ALLOWED: i64 = 2_560;
    in_namespace(|| {
        let quiet = config("logging: {mask: {notice: false}}");
        let other = quiet.replace(":5007", ":5008").replace("10.99.0.", "10.99.1.");
        let (watched, alone) = (Bench::new(&quiet), Bench::new(&other));
        let daemons: [Daemon; 2] = [watched.start("node1"), alone.start("node1")];
        daemons.iter().for_each(|daemon| daemon.hear("STATUS=active"));
        let sockets = [watched.path("node1.socket"), alone.path("node1.socket")];
        let difference = || memory(daemons[0].pid()) - memory(daemons[1].pid());
        sockets.iter().for_each(|socket| churn(socket, BEFORE));
        let before = difference();
        let stopped = follow(&sockets[0]);
        let readers: Vec<_> = (0..9)
            .map(|_| {
                let stream = follow(&sockets[0]);
                std::thread::spawn(move || read_all(stream))
            })
            .collect();
        let [with_readers, without] = [0, 1].map(|at| lateness_during(&sockets[at], WATCHED));
        let more = difference() - before;
        println!("ten readers: {more} kB more");
        println!("announcements {with_readers:.0} µs late, without readers {without:.0} µs");
        assert!(more < ALLOWED, "{more} kB more");
        daemons[0].signal(Signal::SIGTERM);
        for reader in readers {
            let seen = reader.join().unwrap();
            assert!(seen > WATCHED * 100, "a reader saw only {seen} bytes");
        }
        assert!(read_all(stopped) < WATCHED * 100, "the one that did not read missed nothing");
    });
}
