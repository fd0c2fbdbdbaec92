//! The history of events as readers see it: real sockets, a loop that tells.

#[path = "../../../vippy-client/tests/event_samples/mod.rs"]
mod event_samples;

use std::time::Duration;

use event_samples::samples;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use vippy_client::events::{EventId, Since, Told, WhyMissed};
use vippy_client::{Client, ClientError, Event, EventStream};
use vippy_core::config::{Logging, LoggingDriver};
use vippy_core::identity::BootId;
use vippyd::clock;
use vippyd::history::{History, REMEMBERED, Teller};
use vippyd::logging::Logger;
use vippyd::management::{Desk, MAX_READERS, REQUEST_TIME, bind, serve};

use crate::server::Server;

const PROCESS: BootId = BootId(0xa1);

fn start() -> (Server, Teller) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vippy.socket");
    let (teller, scribe, history) = History::begin(PROCESS, "node1".into());
    let logging =
        Logging { driver: LoggingDriver::Console, facility: "daemon".into(), mask: [false; 8] };
    let logger = Logger::start(&logging, &"node1".into()).unwrap();
    let (requests, _) = mpsc::channel(1);
    let serving = serve(bind(&path).unwrap(), Desk::new(requests, history, logger));
    let tasks = vec![tokio::spawn(serving), tokio::spawn(scribe.run())];
    (Server::new(dir, path, tasks), teller)
}

fn peer_up(number: usize) -> Event {
    Event::PeerUp { node: format!("node{number}").as_str().into() }
}

/// Tells more than fits under way at once.
async fn tell_many(teller: &mut Teller, count: usize) {
    for number in 0..count {
        teller.tell(clock::now(), peer_up(number));
        if number % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn next(stream: &mut EventStream) -> Told {
    stream.next().await.unwrap().expect("the stream goes on").told().unwrap()
}

async fn rest(mut stream: EventStream) -> Vec<Told> {
    let mut told = Vec::new();
    while let Some(arrival) = stream.next().await.unwrap() {
        let one = arrival.told().unwrap();
        assert_eq!(arrival.id, Some(one.id()));
        told.push(one);
    }
    told
}

fn after(number: u64) -> Since {
    Since::After(EventId { process: PROCESS, number })
}

#[tokio::test]
async fn every_event_arrives_as_it_was_told_and_in_order() {
    let (server, mut teller) = start();
    let mut following = Client::new(&server.path).events(None, true).await.unwrap();
    for (number, event) in (1..).zip(samples()) {
        teller.tell(clock::now(), event.clone());
        let Told::Event(record) = next(&mut following).await else { panic!("{event:?}") };
        assert_eq!(record.id, EventId { process: PROCESS, number });
        assert_eq!(record.event, event);
        assert_eq!(record.identity.as_str(), "node1");
        assert!(clock::wall_millis().abs_diff(record.unix_ms) < 60_000);
    }
    let told = rest(Client::new(&server.path).events(None, false).await.unwrap()).await;
    assert_eq!(told.len(), samples().len());
}

#[tokio::test]
async fn a_reader_resumes_where_it_was() {
    let (server, mut teller) = start();
    let client = Client::new(&server.path);
    tell_many(&mut teller, 3).await;
    let numbers = |told: Vec<Told>| told.iter().map(|told| told.id().number).collect::<Vec<_>>();
    let told = rest(client.events(Some(&after(1)), false).await.unwrap()).await;
    assert_eq!(numbers(told), [2, 3]);
    // As a browser does it.
    let mut stream = UnixStream::connect(&server.path).await.unwrap();
    let request =
        "GET /events?follow=false&since=1h HTTP/1.0\r\nlast-event-id: 00000000000000a1-2\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("content-type: text/event-stream\r\n"), "{answer}");
    let ids: Vec<&str> = answer.lines().filter(|line| line.starts_with("id: ")).collect();
    assert_eq!(ids, ["id: 00000000000000a1-3"]);
}

#[tokio::test]
async fn a_reader_of_a_former_process_is_told_that_it_missed_something() {
    let (server, mut teller) = start();
    tell_many(&mut teller, 1).await;
    let former = Since::After(EventId { process: BootId(1), number: 99 });
    let told = rest(Client::new(&server.path).events(Some(&former), false).await.unwrap()).await;
    let Told::Missed(missed) = &told[0] else { panic!("{told:?}") };
    assert_eq!((missed.number, missed.why), (None, WhyMissed::Restarted));
    assert_eq!(told.len(), 2);
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_told_what_it_missed_and_keeps_nobody_waiting() {
    let (server, mut teller) = start();
    let client = Client::new(&server.path);
    let mut quick = client.events(None, true).await.unwrap();
    let mut slow = client.events(None, true).await.unwrap();
    // Far beyond what sockets hold.
    let count = 6 * REMEMBERED;
    let mut last = 0;
    for number in 0..count {
        teller.tell(clock::now(), peer_up(number));
        let Told::Event(record) = next(&mut quick).await else { panic!("the quick one missed") };
        last = record.id.number;
    }
    assert_eq!(last, count as u64);
    let (mut read, mut missed) = (0, 0);
    while read + missed < last {
        match next(&mut slow).await {
            Told::Event(record) => {
                read += 1;
                assert_eq!(record.id.number, read + missed);
            }
            Told::Missed(gap) => {
                assert_eq!(gap.why, WhyMissed::Overwritten);
                missed += gap.number.unwrap();
                assert_eq!(gap.id.number, read + missed);
            }
        }
    }
    println!("{read} read, {missed} missed");
    assert!(missed > 0 && read >= REMEMBERED as u64);
}

#[tokio::test]
async fn readers_that_follow_are_few_and_the_next_one_is_told() {
    let (server, _teller) = start();
    let client = Client::new(&server.path);
    let mut following = Vec::new();
    for _ in 0..MAX_READERS {
        following.push(client.events(None, true).await.unwrap());
    }
    let error = client.events(None, true).await.unwrap_err();
    let ClientError::Refused { status, error } = error else { panic!("{error}") };
    assert_eq!(status, 503);
    assert_eq!(error.to_string(), "16 readers follow the events, try again later");
    // Looking and leaving is not following.
    client.events(None, false).await.unwrap();
    following.pop();
    // It is noticed with the next sign of life at the latest.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    while client.events(None, true).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "its place was never given on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_follows_stays_for_as_long_as_it_likes() {
    let (server, mut teller) = start();
    let mut stream = Client::new(&server.path).events(None, true).await.unwrap();
    let reading = tokio::spawn(async move { next(&mut stream).await });
    tokio::time::sleep(REQUEST_TIME * 100).await;
    teller.tell(clock::now(), peer_up(2));
    assert_eq!(reading.await.unwrap().id().number, 1);
}

#[tokio::test]
async fn the_last_events_are_told_before_the_end() {
    let (server, mut teller) = start();
    let stream = Client::new(&server.path).events(None, true).await.unwrap();
    teller.tell(clock::now(), peer_up(2));
    drop(teller);
    assert_eq!(rest(stream).await.len(), 1);
}

#[tokio::test]
async fn wrong_parameters_are_answered_by_what_is_expected() {
    let (server, _teller) = start();
    let cases = [
        ("?since=yesterday", "", "found \"yesterday\", expected an event's id, a span"),
        ("?follow=maybe", "", "follow: found \"maybe\", expected true or false"),
        ("?form=x", "", "found the parameter \"form\", expected since or follow"),
        ("", "last-event-id: 17\r\n", "Last-Event-ID: found \"17\", expected an event's id"),
    ];
    for (query, header, expected) in cases {
        let mut stream = UnixStream::connect(&server.path).await.unwrap();
        let request = format!("GET /events{query} HTTP/1.0\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let error: vippy_client::ApiError =
            serde_json::from_str(answer.lines().last().unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
