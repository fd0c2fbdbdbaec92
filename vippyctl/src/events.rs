//! `vippyctl events`: what happened on this node, and what happens.

use std::time::Duration;

use vippy_client::events::{Since, Told};
use vippy_client::{Arrival, Client, ClientError, EventStream, Stamp, narrate};

use crate::{Failure, print, words};

/// Time between two attempts to find the daemon again.
const RETRY: Duration = Duration::from_millis(200);

/// Print what happened on this node, one line an event (docs/EVENTS.md).
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Print each event as a JSON object instead.
    #[arg(long)]
    json: bool,
    /// From when on: a span such as 10m, a time such as 2026-11-21T08:00:00Z, or after
    /// the event with this id. Otherwise everything that the daemon remembers.
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Go on with what happens, also when the daemon is restarted.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(options: &Options, client: &Client) -> Result<(), Failure> {
    let mut place = options.since;
    let mut stream = client.events(place.as_ref(), options.follow).await?;
    loop {
        let why = match pass_on(&mut stream, options.json, &mut place).await? {
            End::Unread => return Ok(()),
            End::Complete if !options.follow => return Ok(()),
            End::Broken(error) if !options.follow => return Err(error.into()),
            End::Complete => "it ends".to_owned(),
            End::Broken(error) => error.to_string(),
        };
        eprintln!("vippyctl: waiting for the daemon: {}", words::printable(&why));
        stream = find_again(client, place.as_ref()).await?;
    }
}

/// Why there is nothing more to print.
enum End {
    /// The daemon has told everything.
    Complete,
    /// The connection broke.
    Broken(ClientError),
    /// Nobody reads standard output any more.
    Unread,
}

/// Prints what arrives, and notes where it was.
async fn pass_on(
    stream: &mut EventStream,
    json: bool,
    place: &mut Option<Since>,
) -> Result<End, Failure> {
    loop {
        let arrival = match stream.next().await {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return Ok(End::Complete),
            Err(error) => return Ok(End::Broken(error)),
        };
        let text = if json { arrival.json.clone() + "\n" } else { line(&arrival) };
        if !print::more(&text)? {
            return Ok(End::Unread);
        }
        *place = arrival.id.map(Since::After).or(*place);
    }
}

/// Waits for the daemon to come back. One that refuses is there.
async fn find_again(client: &Client, place: Option<&Since>) -> Result<EventStream, Failure> {
    loop {
        match client.events(place, true).await {
            Ok(stream) => return Ok(stream),
            Err(error @ (ClientError::Refused { .. } | ClientError::PermissionDenied { .. })) => {
                return Err(error.into());
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Time, level and the words that the log has. What a daemon of another version
/// tells, and is unknown here, is shown as it came.
fn line(arrival: &Arrival) -> String {
    let (unix_ms, (level, text)) = match arrival.told() {
        Ok(Told::Event(record)) => (record.unix_ms, narrate::line(&record.event)),
        Ok(Told::Missed(missed)) => (missed.unix_ms, narrate::missed(&missed)),
        Err(_) => return one_line(&arrival.json) + "\n",
    };
    format!("{} {level:<7} {}\n", Stamp::of_millis(unix_ms), one_line(&text))
}

fn one_line(text: &str) -> String {
    words::printable(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, json: &str) -> String {
        line(&Arrival { id: None, name: name.into(), json: json.into() })
    }

    const COMMON: &str =
        r#""id":"00000000000000a1-7","unix_ms":1795248000123,"monotonic_ms":1,"identity":"node1""#;

    #[test]
    fn an_event_is_a_line_in_the_words_of_the_log() {
        let json = format!(
            r#"{{{COMMON},"event":"peer-lost","node":"node2","silent_ms":305,"new":"field"}}"#
        );
        let expected = "2026-11-21T08:00:00.123Z warning peer lost node=node2 silent_ms=305\n";
        assert_eq!(shown("peer-lost", &json), expected);
    }

    #[test]
    fn what_was_missed_is_a_line_too() {
        let json = format!(r#"{{{COMMON},"event":"missed","number":12,"why":"overwritten"}}"#);
        let expected = "2026-11-21T08:00:00.123Z warning events missed number=12 \
                        reason=\"newer ones took their places\"\n";
        assert_eq!(shown("missed", &json), expected);
    }

    #[test]
    fn what_is_unknown_here_is_shown_as_it_came_but_cannot_steer_the_terminal() {
        assert_eq!(shown("new", "{\"a\":\"\u{9b}\"}"), "{\"a\":\"\u{fffd}\"}\n");
    }
}
