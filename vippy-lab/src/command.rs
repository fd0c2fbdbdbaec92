//! The words of a lab's command line: read, checked, explained.
//!
//! Pure; [`crate::cli`] carries the commands out.

use std::net::IpAddr;
use std::time::Duration;

use crate::lan::Port;

/// How long a probe lasts when nothing is said.
const PROBE_FOR: Duration = Duration::from_secs(5);

/// What every line may say, with an explanation.
pub(crate) const HELP: &str = "\
  status                        who holds what, who is well
  kill NODE                     SIGKILL for its daemon; the machine lives on
  crash NODE                    its port is cut and everything on it killed
  stop NODE                     SIGTERM: it hands over and leaves
  pause NODE, resume NODE       SIGSTOP, SIGCONT
  start NODE                    start its daemon again
  hup NODE                      its daemon reads its file again
  partition NODE.. | NODE..     the sides do not hear each other
  cut NODE NODE                 the second no longer hears the first
  isolate NODE, rejoin NODE     all of that, for all others
  unplug NODE, plug NODE        its carrier goes, comes back
  heal                          undo every partition, cut and isolate
  probe ADDRESS [TIME]          ask it 1000 times a second, see who answers
  log NODE [LINES]              the end of its daemon's log
  shell NODE                    a shell on its machine
  help, quit
";

/// A line that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Status,
    Kill(usize),
    Crash(usize),
    Stop(usize),
    Pause(usize),
    Resume(usize),
    Start(usize),
    Hup(usize),
    Partition(Vec<Port>, Vec<Port>),
    Cut(Port, Port),
    Isolate(Port),
    Rejoin(Port),
    Unplug(Port),
    Plug(Port),
    Heal,
    Probe(IpAddr, Duration),
    Log(usize, usize),
    Shell(Port),
    Help,
    Quit,
}

/// Reads a line; an empty one is `None`.
///
/// # Errors
/// What was found and what was expected, for people.
pub(crate) fn parse(line: &str) -> Result<Option<Command>, String> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next() else { return Ok(None) };
    let rest: Vec<&str> = words.collect();
    let command = match verb {
        "status" => nothing(&rest).map(|()| Command::Status),
        "kill" => node(&rest).map(Command::Kill),
        "crash" => node(&rest).map(Command::Crash),
        "stop" => node(&rest).map(Command::Stop),
        "pause" => node(&rest).map(Command::Pause),
        "resume" => node(&rest).map(Command::Resume),
        "start" => node(&rest).map(Command::Start),
        "hup" => node(&rest).map(Command::Hup),
        "partition" => sides(&rest).map(|(one, other)| Command::Partition(one, other)),
        "cut" => pair(&rest).map(|(from, to)| Command::Cut(from, to)),
        "isolate" => machine(&rest).map(Command::Isolate),
        "rejoin" => machine(&rest).map(Command::Rejoin),
        "unplug" => machine(&rest).map(Command::Unplug),
        "plug" => machine(&rest).map(Command::Plug),
        "heal" => nothing(&rest).map(|()| Command::Heal),
        "probe" => probe(&rest),
        "log" => log(&rest),
        "shell" => machine(&rest).map(Command::Shell),
        "help" | "?" => nothing(&rest).map(|()| Command::Help),
        "quit" | "exit" => nothing(&rest).map(|()| Command::Quit),
        _ => return Err(format!("unknown command `{verb}`; `help` lists the known ones")),
    };
    command.map(Some).map_err(|problem| format!("{verb}: {problem}"))
}

fn nothing(words: &[&str]) -> Result<(), String> {
    match words {
        [] => Ok(()),
        [word, ..] => Err(format!("expected nothing behind it, found `{word}`")),
    }
}

fn node(words: &[&str]) -> Result<usize, String> {
    let expected = "expected one node such as `node2`";
    match words {
        [word] => match port(word)? {
            Port::Node(number) => Ok(number),
            Port::Client(_) => Err(format!("{expected}, found `{word}`")),
        },
        _ => Err(format!("{expected}, found {}", count(words))),
    }
}

fn machine(words: &[&str]) -> Result<Port, String> {
    match words {
        [word] => port(word),
        _ => Err(format!("expected one node or client such as `node2`, found {}", count(words))),
    }
}

fn pair(words: &[&str]) -> Result<(Port, Port), String> {
    match words {
        [from, to] => Ok((port(from)?, port(to)?)),
        _ => Err(format!(
            "expected sender and receiver such as `node1 node2`, found {}",
            count(words)
        )),
    }
}

fn sides(words: &[&str]) -> Result<(Vec<Port>, Vec<Port>), String> {
    let text = words.join(" ");
    let ports = |side: &str| side.split_whitespace().map(port).collect::<Result<Vec<Port>, _>>();
    let sides = text.split('|').map(ports).collect::<Result<Vec<_>, _>>()?;
    let [one, other] = sides.as_slice() else {
        return Err(format!("expected two sides such as `node1 | node2 node3`, found `{text}`"));
    };
    if one.is_empty() || other.is_empty() {
        return Err(format!("expected a node on either side of `|`, found `{text}`"));
    }
    if let Some(both) = one.iter().find(|port| other.contains(port)) {
        return Err(format!("expected every node on one side only, found {both} on both"));
    }
    Ok((one.clone(), other.clone()))
}

fn probe(words: &[&str]) -> Result<Command, String> {
    let (address, time) = match words {
        [address] => (address, PROBE_FOR),
        [address, time] => (address, duration(time)?),
        _ => return Err(format!("expected an address and a time, found {}", count(words))),
    };
    let parsed = address.parse();
    parsed
        .map(|ip| Command::Probe(ip, time))
        .map_err(|_| format!("expected an address such as `10.77.0.101`, found `{address}`"))
}

fn log(words: &[&str]) -> Result<Command, String> {
    let (name, lines) = match words {
        [name] => (name, 20),
        [name, lines] => {
            let wrong = |_| format!("expected a number of lines, found `{lines}`");
            (name, lines.parse().map_err(wrong)?)
        }
        _ => return Err(format!("expected one node such as `node2`, found {}", count(words))),
    };
    node(&[name]).map(|node| Command::Log(node, lines))
}

fn port(word: &str) -> Result<Port, String> {
    let wrong =
        || format!("expected a node or client such as `node2` or `client0`, found `{word}`");
    if let Some(number) = word.strip_prefix("client") {
        return number.parse().map(Port::Client).map_err(|_| wrong());
    }
    let number = word.strip_prefix("node").unwrap_or(word);
    number.parse().map(Port::Node).map_err(|_| wrong())
}

fn duration(word: &str) -> Result<Duration, String> {
    let (number, unit) = match word.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (word.strip_suffix('s').unwrap_or(word), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| !time.is_zero() && *time <= Duration::from_secs(3600))
        .ok_or_else(|| {
            format!("expected a time such as `5s` or `500ms`, up to an hour, found `{word}`")
        })
}

fn count(words: &[&str]) -> String {
    match words {
        [] => "nothing".into(),
        words => format!("`{}`", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_help_is_understood() {
        let lines = [
            "status",
            "kill node2",
            "crash 2",
            "stop node1",
            "pause node1",
            "resume node1",
            "start node1",
            "hup node1",
            "partition node1 | node2 node3",
            "cut node1 client0",
            "isolate node1",
            "rejoin node1",
            "unplug node1",
            "plug node1",
            "heal",
            "probe 10.77.0.101 5s",
            "probe fd77::101",
            "log node1 5",
            "shell node1",
            "help",
            "quit",
        ];
        for line in lines {
            assert!(matches!(parse(line), Ok(Some(_))), "{line}");
        }
        for line in HELP.lines() {
            let verb = line.split_whitespace().next().unwrap().trim_end_matches(',');
            assert!(lines.iter().any(|known| known.starts_with(verb)), "{verb}");
        }
    }

    #[test]
    fn arguments_arrive() {
        let sides = (vec![Port::Node(1)], vec![Port::Node(2), Port::Client(0)]);
        assert_eq!(
            parse(" partition  node1|node2 client0 "),
            Ok(Some(Command::Partition(sides.0, sides.1)))
        );
        let half = Duration::from_millis(500);
        let ip = "10.77.0.101".parse().unwrap();
        assert_eq!(parse("probe 10.77.0.101 500ms"), Ok(Some(Command::Probe(ip, half))));
        assert_eq!(parse("probe 10.77.0.101 0.5"), Ok(Some(Command::Probe(ip, half))));
        assert_eq!(parse("   "), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_answered_with_what_was_expected() {
        for (line, answer) in [
            ("dance", "unknown command `dance`; `help` lists the known ones"),
            ("kill", "kill: expected one node such as `node2`, found nothing"),
            ("kill client0", "kill: expected one node such as `node2`, found `client0`"),
            (
                "kill nodeX",
                "kill: expected a node or client such as `node2` or `client0`, found `nodeX`",
            ),
            ("heal now", "heal: expected nothing behind it, found `now`"),
            (
                "partition node1",
                "partition: expected two sides such as `node1 | node2 node3`, found `node1`",
            ),
            (
                "partition 1 | 1 2",
                "partition: expected every node on one side only, found node1 on both",
            ),
            ("probe eth0", "probe: expected an address such as `10.77.0.101`, found `eth0`"),
            (
                "probe 10.77.0.1 -1s",
                "probe: expected a time such as `5s` or `500ms`, up to an hour, found `-1s`",
            ),
        ] {
            assert_eq!(parse(line).unwrap_err(), answer);
        }
    }
}
