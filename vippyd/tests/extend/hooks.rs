//! Hooks with real programs: order, bounds, and how they end.

use std::time::{Duration, Instant};

use vippy_core::event::{Event, HookOutcome};
use vippy_core::identity::{BootId, Epoch};
use vippy_core::input::Input;
use vippyd::extend::{Passed, Told};

use crate::stage::Stage;

fn up(group: &str, epoch: u64) -> Event {
    Event::GroupUp { group: group.into(), epoch: Epoch(epoch) }
}

fn down(group: &str) -> Event {
    Event::GroupDown { group: group.into() }
}

fn ended(told: &Told) -> Option<(HookOutcome, String)> {
    match told {
        Told::Event(Event::HookEnded { outcome, detail, .. }) => Some((*outcome, detail.clone())),
        _ => None,
    }
}

fn passed(told: &Told) -> Option<Passed> {
    match told {
        Told::Passed(passed) => Some(passed.clone()),
        _ => None,
    }
}

#[test]
fn a_hook_knows_what_happened_from_variables_and_from_its_input() {
    let mut stage = Stage::new(
        "hooks: [{on: 'group-up', run: ['sh', '-c', 'env | grep ^VIPPY_ | sort; cat'], nodes: ['node1']},
                 {on: 'group-up', run: ['false'], nodes: ['node2']}]",
    );
    stage.happened(&up("web", 77));
    let line = stage.await_line("{\"");
    let json = &line[line.find('{').unwrap()..];
    for part in [
        r#""event":"group-up""#,
        r#""group":"web""#,
        r#""epoch":77"#,
        r#""here":"node1""#,
        r#""addresses":["10.0.0.1/24","fd00::1/64"]"#,
    ] {
        assert!(json.contains(part), "{part} in {json}");
    }
    for part in [
        "VIPPY_EVENT=group-up",
        "VIPPY_NODE=node1",
        "VIPPY_CLUSTER=blue",
        "VIPPY_GROUP=web",
        "VIPPY_ADDRESSES=10.0.0.1/24 fd00::1/64",
        "VIPPY_EPOCH=77",
    ] {
        stage.await_line(part);
    }
    assert_eq!(stage.await_told("end", ended).0, HookOutcome::Succeeded);
    stage.finish();
    assert_eq!(stage.told.iter().filter_map(ended).count(), 1, "node2's ran as well");
}

#[test]
fn what_happens_to_a_group_runs_in_order_and_no_group_waits_for_another() {
    let mut stage = Stage::new(
        "hooks: [{on: ['group-up', 'group-down'], run: ['sh', '-c',
            'test $VIPPY_GROUP$VIPPY_EVENT = webgroup-up && sleep 0.5; echo $VIPPY_GROUP $VIPPY_EVENT $VIPPY_EPOCH >> {dir}/log']}]",
    );
    for epoch in [1, 2] {
        stage.happened(&up("web", epoch));
        stage.happened(&down("web"));
    }
    stage.happened(&up("db", 9));
    let log = stage.await_file("log", |log| log.lines().count() == 5);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "db group-up 9");
    let web = ["web group-up 1", "web group-down 1", "web group-up 2", "web group-down 2"];
    assert_eq!(lines[1..], web);
}

#[test]
fn a_failure_a_signal_a_timeout_and_what_cannot_be_started_are_told_apart() {
    for (run, wanted, detail) in [
        ("['sh', '-c', 'exit 3']", HookOutcome::Failed, "exit status: 3"),
        ("['sh', '-c', 'kill -9 $$']", HookOutcome::Failed, "signal: 9"),
        ("['/nowhere/hook']", HookOutcome::NotStarted, "/nowhere/hook"),
        ("['sh', '-c', 'trap : TERM; while :; do sleep 9; done']", HookOutcome::TimedOut, "0.3 s"),
    ] {
        let mut stage =
            Stage::new(&format!("hooks: [{{on: 'peer-up', run: {run}, timeout: 0.3}}]"));
        stage.happened(&Event::PeerUp { node: "node2".into() });
        let (outcome, told) = stage.await_told("end", ended);
        assert_eq!(outcome, wanted, "{run}");
        assert!(told.contains(detail), "{run}: {told}");
    }
}

#[test]
fn a_hook_that_hangs_ends_with_everything_it_started() {
    let mut stage = Stage::new(
        "hooks: [{on: 'group-up', timeout: 0.5, run: ['sh', '-c',
            'sleep 77 & echo $! > {dir}/child; sleep 78']}]",
    );
    stage.happened(&up("web", 1));
    assert_eq!(stage.await_told("end", ended).0, HookOutcome::TimedOut);
    let child: u32 = stage.read("child").trim().parse().unwrap();
    let gone = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |s| s.contains(") Z "))
    };
    let begun = Instant::now();
    while !gone(child) {
        assert!(begun.elapsed() < Duration::from_secs(5), "the child lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_full_queue_leaves_out_is_told_and_counted() {
    let mut stage = Stage::new(
        "hooks: [{on: 'group-up', run: ['sh', '-c', 'while ! test -e {dir}/go; do sleep 0.02; done']}]",
    );
    for epoch in 0..100 {
        stage.happened(&up("web", epoch));
    }
    stage.await_line("left out, as 64 wait before it");
    std::fs::write(stage.path("go"), "").unwrap();
    stage.await_told("end", ended);
    std::thread::sleep(Duration::from_millis(100));
    stage.happened(&up("web", 100));
    let line = stage.await_line("hooks were left out before this one");
    let count: u32 = line.split(' ').next().unwrap().parse().unwrap();
    assert!((34..=36).contains(&count), "{line}");
}

#[test]
fn addresses_wait_for_before_up_and_go_on_when_it_fails() {
    let mut stage = Stage::new(
        "hooks: [{on: 'before-up', run: ['sh', '-c', 'echo $VIPPY_EVENT $VIPPY_GROUP >> {dir}/log'], groups: ['web']},
                 {on: 'before-up', run: ['sh', '-c', 'exit 4'], groups: ['web']}]",
    );
    assert!(stage.extensions.is_gated(&"web".into()));
    assert!(!stage.extensions.is_gated(&"db".into()));
    stage.extensions.open_gate(7, "web".into());
    let passed = stage.await_told("answer", passed);
    assert_eq!(passed, Passed { ticket: 7, refusal: None });
    assert_eq!(stage.read("log"), "before-up web\n");
    stage.await_line("failed: exit status: 4; going on without it");
}

#[test]
fn what_is_required_before_up_refuses_when_it_fails_or_takes_too_long() {
    for (script, why) in [("exit 4", "exit status: 4"), ("sleep 9", "within 0.3 s")] {
        let mut stage = Stage::new(&format!(
            "hooks: [{{on: 'before-up', run: ['sh', '-c', '{script}'], required: true, timeout: 0.3}}]"
        ));
        stage.extensions.open_gate(1, "web".into());
        let refusal = stage.await_told("answer", passed).refusal.unwrap();
        assert!(refusal.contains(why), "{refusal}");
    }
}

#[test]
fn addresses_wait_no_longer_than_the_deadline_behind_other_hooks() {
    let mut stage = Stage::new(
        "hooks: [{on: 'group-down', run: ['sleep', '9']},
                 {on: 'before-up', run: ['sh', '-c', 'echo ran > {dir}/log'], timeout: 0.3}]",
    );
    stage.happened(&down("web"));
    let begun = Instant::now();
    stage.extensions.open_gate(1, "web".into());
    assert_eq!(stage.await_told("answer", passed).refusal, None);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    stage.await_line("it did not end within 0.3 s; going on without it");
    assert_eq!(stage.read("log"), "");
}

#[test]
fn a_wish_that_is_taken_back_ends_its_hook_and_is_not_answered() {
    let mut stage = Stage::new(
        "hooks: [{on: 'before-up', run: ['sh', '-c', 'echo $$ > {dir}/pid; sleep 60'], timeout: 60}]",
    );
    stage.extensions.open_gate(1, "web".into());
    stage.await_file("pid", |text| text.ends_with('\n'));
    stage.extensions.close_gate(1);
    assert_eq!(stage.await_told("end", ended).0, HookOutcome::Cancelled);
    stage.extensions.open_gate(2, "db".into());
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(stage.told.iter().find_map(passed), None);
}

#[test]
fn cleaning_up_runs_the_hooks_of_it_and_says_when_they_have_run() {
    let mut stage = Stage::new(
        "hooks: [{on: 'node-down', once: true, run: ['sh', '-c', 'echo $VIPPY_PEER $VIPPY_EPOCH $VIPPY_LIFE >> {dir}/log']},
                 {on: 'node-down', once: true, run: ['false']},
                 {on: 'node-down', run: ['sh', '-c', 'echo everybody >> {dir}/all']}]",
    );
    stage.extensions.clean_up("node3".into(), BootId(7), Epoch(99));
    stage.await_told("answer", |told| match told {
        Told::Input(Input::CleanedUp(BootId(7))) => Some(()),
        _ => None,
    });
    assert_eq!(stage.read("log"), "node3 99 0000000000000007\n");
    assert_eq!(stage.told.iter().filter_map(ended).count(), 2);
    let life = "0000000000000007".to_owned();
    stage.happened(&Event::NodeDown { node: "node3".into(), life });
    stage.await_file("all", |text| text == "everybody\n");
    assert_eq!(stage.read("log").lines().count(), 1);
}

#[test]
fn hooks_that_wait_are_run_before_the_end() {
    let mut stage = Stage::new(
        "hooks: [{on: 'group-down', run: ['sh', '-c', 'sleep 0.2; echo x >> {dir}/log']}]",
    );
    stage.happened(&down("web"));
    stage.happened(&down("web"));
    stage.finish();
    assert_eq!(stage.read("log").lines().count(), 2);
}
