//! Plugins with real programs: what they are told, what they say, how they fail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use vippy_core::event::Event;
use vippy_core::identity::Epoch;
use vippy_core::status::{NodeReason, NodeState};
use vippyd::extend::{Fitness, Told};

use crate::stage::{Stage, config, script};

/// What the plugin thinks, when it says so.
fn fit(told: &Told) -> Option<Fitness> {
    match told {
        Told::Opinion(opinion) => opinion.fit.clone(),
        _ => None,
    }
}

fn unfit(reason: &str) -> impl Fn(&Told) -> Option<()> {
    move |told| (fit(told) == Some(Fitness::Unfit(reason.into()))).then_some(())
}

fn ended(told: &Told) -> Option<(String, Option<u64>)> {
    match told {
        Told::Event(Event::PluginEnded { detail, again_ms, .. }) => {
            Some((detail.clone(), *again_ms))
        }
        _ => None,
    }
}

/// A node with one plugin, a shell script.
fn with(text: &str) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let text = text.replace("{dir}", dir.path().to_str().unwrap());
    script(&dir.path().join("plugin"), &format!("#!/bin/sh\n{text}"));
    Stage::in_dir(dir, "plugins: ['{dir}/plugin']")
}

/// A node with one plugin of the original's kind.
fn with_js(text: &str) -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let text = text.replace("{dir}", dir.path().to_str().unwrap());
    std::fs::write(dir.path().join("plugin.js"), text).unwrap();
    Stage::in_dir(dir, "plugins: ['{dir}/plugin.js']")
}

fn state(state: NodeState, reason: NodeReason) -> Event {
    Event::StateChanged { state, reason, detail: String::new() }
}

#[test]
fn a_plugin_is_told_how_things_are_and_what_happens() {
    let mut stage = with("cat > {dir}/heard");
    stage.await_file("heard", |text| text.contains("\"config\""));
    stage.happened(&Event::PeerUp { node: "node2".into() });
    stage.happened(&Event::GroupUp { group: "web".into(), epoch: Epoch(9) });
    let heard = stage.await_file("heard", |text| text.contains("group-up"));
    let lines: Vec<serde_json::Value> =
        heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines[0]["here"]), (&"hello".into(), &"node1".into()));
    assert_eq!((&lines[1]["event"], &lines[1]["version"]), (&"config".into(), &5.into()));
    assert_eq!(lines[1]["groups"][0]["vips"][0]["netmask"], "255.255.255.0");
    let up = lines.iter().find(|line| line["event"] == "group-up").unwrap();
    assert_eq!((&up["epoch"], &up["addresses"][0]), (&9.into(), &"10.0.0.1/24".into()));
    stage.finish();
    assert!(stage.read("heard").ends_with("{\"event\":\"stop\"}\n"));
}

#[test]
fn what_a_plugin_says_counts_by_reason_until_it_ends() {
    let mut stage = with(
        r#"echo '{"active": false, "reason": "disk"}'
           echo '{"active": false, "reason": "proxy"}'
           echo '{"active": true, "reason": "disk"}'
           echo '{"log": "hello", "priority": "notice"}'
           while ! test -e {dir}/go; do sleep 0.02; done
           echo '{"active": true, "reason": "proxy"}'"#,
    );
    stage.await_told("one reason", unfit("disk"));
    stage.await_told("two reasons", unfit("disk, proxy"));
    stage.await_told("the other", unfit("proxy"));
    stage.await_line("plugin plugin: hello");
    std::fs::write(stage.path("go"), "").unwrap();
    stage.await_told("nothing bad", |told| (fit(told) == Some(Fitness::Fit)).then_some(()));
    let (detail, again) = stage.await_told("end", ended);
    assert_eq!((detail.as_str(), again), ("exit status: 0", Some(1000)));
    let last = stage.told.iter().rev().find_map(|told| match told {
        Told::Opinion(opinion) => Some(opinion.fit.clone()),
        _ => None,
    });
    assert_eq!(last, Some(None), "what it said counts after its end");
}

#[test]
fn a_plugin_that_dies_is_started_again_after_pauses_that_grow() {
    let mut stage = with("date +%s.%N >> {dir}/starts; exit 7");
    stage.await_file("starts", |text| text.lines().count() == 3);
    let pauses: Vec<_> = stage.told.iter().filter_map(ended).map(|(_, again)| again).collect();
    assert_eq!(pauses[..2], [Some(1000), Some(2000)]);
    assert_eq!(stage.told.iter().find_map(ended).unwrap().0, "exit status: 7");
}

#[test]
fn garbage_is_told_once_in_a_while_and_changes_nothing() {
    let mut stage = with(
        r#"head -c 300000 /dev/urandom; echo
           head -c 200000 /dev/zero | tr '\0' x; echo
           for i in 1 2 3 4 5; do echo nonsense; done
           echo '{"active": false, "reason": "after all"}'; cat"#,
    );
    stage.await_told("the command after it", unfit("after all"));
    stage.finish();
    let complaints = stage.told.iter().filter(|told| match told {
        Told::Line(_, line) => line.contains("found"),
        _ => false,
    });
    assert_eq!(complaints.count(), 1, "{:#?}", stage.told);
    stage.await_line("more lines were no commands");
}

#[test]
fn a_flood_is_held_back() {
    let mut stage =
        with(r#"n=0; while :; do n=$((n+1)); echo '{"active": true}'; echo $n > {dir}/n; done"#);
    stage.await_line("it has to wait");
    std::thread::sleep(Duration::from_millis(500));
    let written = stage.await_file("n", |text| text.ends_with('\n'));
    let written: u32 = written.trim().parse().unwrap();
    // What the pipe holds, 64 KiB, and 200 lines in each second.
    assert!(written <= 5_000, "{written} lines in a second or two");
    stage.finish();
    assert_eq!(stage.told.iter().filter_map(fit).count(), 1, "told although it is the same");
}

#[test]
fn a_plugin_that_does_not_read_keeps_nobody_waiting() {
    let mut stage = with("sleep 60");
    let begun = Instant::now();
    for number in 0..50_000 {
        stage.happened(&Event::Warning { text: format!("{number} {}", "x".repeat(100)) });
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let begun = Instant::now();
    stage.finish();
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(stage.await_told("end", ended).1, None);
}

#[test]
fn a_plugin_that_does_not_stop_is_ended_with_everything_it_started() {
    let mut stage =
        with("trap '' TERM; sleep 77 & echo $! > {dir}/child; while :; do sleep 9; done");
    let child = stage.await_file("child", |text| text.ends_with('\n'));
    stage.finish();
    stage.await_line("still there 2 s after it was told to stop");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim()));
    assert!(stat.map_or(true, |stat| stat.contains(") Z ")), "the child lives on");
}

#[test]
fn a_reload_starts_what_it_changes_and_leaves_the_rest() {
    let mut stage = with("echo $$ >> {dir}/starts; cat >> {dir}/heard");
    stage.await_file("heard", |text| text.contains("\"version\":5"));
    let path = stage.path("plugin").display().to_string();
    let again = |stage: &mut Stage, extra: &str| {
        let config = Arc::new(config(extra));
        stage.extensions.reconfigure(config, || panic!("it listened before"));
    };
    let hooks = "hooks: [{on: 'peer-up', run: ['true']}]";
    again(&mut stage, &format!("plugins: ['{path}'], {hooks}"));
    again(&mut stage, &format!("plugins: [{{file: '{path}', nodes: ['node1']}}], {hooks}"));
    stage.await_file("starts", |text| text.lines().count() == 2);
    again(&mut stage, hooks);
    stage.await_file("heard", |text| text.matches("\"stop\"").count() == 2);
}

#[test]
fn the_originals_plugin_runs_as_it_is_printed() {
    let printed = include_str!("printed.js");
    // What the document leaves to the reader, at the pace of a test.
    let rest = "function doSomething() { return !require('fs').existsSync('{dir}/bad'); }
        var slow = setInterval;
        setInterval = function (job, ms) { return slow(job, ms / 50); };
        config.on('stop', function () { clearInterval(job); });\n";
    let mut stage = with_js(&format!("{rest}{printed}"));
    stage.await_told("good", |told| (fit(told) == Some(Fitness::Fit)).then_some(()));
    std::fs::write(stage.path("bad"), "").unwrap();
    stage.await_told("bad", unfit("doSomething"));
    std::fs::remove_file(stage.path("bad")).unwrap();
    let known = stage.told.len();
    stage.await_told("a look", |_| Some(()));
    stage.told.drain(..known);
    stage.await_told("good again", |told| (fit(told) == Some(Fitness::Fit)).then_some(()));
    let begun = Instant::now();
    stage.finish();
    assert!(begun.elapsed() < Duration::from_millis(1500), "it did not end by itself");
    assert_eq!(stage.await_told("end", ended), ("exit status: 0".into(), None));
}

#[test]
fn a_plugin_of_the_original_has_its_globals_and_events() {
    let mut stage = with_js(
        "var said = function (what) { config.log('notice', JSON.stringify(what)); };
         config.on('stop', function () { said(['stop']); });
         config.on('config-change', function () { said(['changed', config.version()]); });
         manager.on('up', function (iface) { said(['manager up', iface.ip]); });
         manager.on('down', function (iface) { said(['manager down', iface.ip]); });
         manager.on('state-change', function (now, before) { said(['state', now.length, before.length]); });
         network.on('up', function (ok, iface) { said(['network up', ok, iface.name, iface.netmask]); });
         network.on('down', function (ok, iface) { said(['network down', ok, iface.ip]); });
         said(['begins', config.hostname(), config.version(), config.nodes(), config.mature(),
               config.active(), config.inactive_reason(), config.vips()[1], manager.state().ownership,
               manager.arpcache(), typeof require, typeof process, typeof Buffer]);
         console.log('printed');
         setTimeout(function () {}, 0);",
    );
    let begins = stage.await_line("begins");
    let expected = r#"["begins","node1",5,["node1","node2","node3"],false,false,"booting",["node2",{"broadcast":"10.0.0.255","ip":"10.0.0.2","name":"lo","netmask":"255.255.255.0","network":"10.0.0.0"}],{"node1":[]},{},"function","object","function"]"#;
    assert!(begins.ends_with(expected), "{begins}");
    stage.await_line("printed");
    stage.happened(&state(NodeState::Active, NodeReason::None));
    stage.happened(&Event::Taking { group: "db".into(), from: None });
    stage.await_line(r#"["state",1,0]"#);
    stage.await_line(r#"["manager up","10.0.0.2"]"#);
    stage.happened(&Event::GroupUp { group: "db".into(), epoch: Epoch(1) });
    stage.await_line(r#"["network up",true,"lo","255.255.255.0"]"#);
    let to = Some("node2".into());
    stage.happened(&Event::LettingGo { group: "db".into(), to, why: "x".into() });
    stage.await_line(r#"["manager down","10.0.0.2"]"#);
    stage.happened(&Event::GroupDown { group: "db".into() });
    stage.await_line(r#"["network down",true,"10.0.0.2"]"#);
    stage.finish();
    stage.await_line(r#"["stop"]"#);
}

#[test]
fn a_plugin_of_the_original_sees_announcements_and_neighbours() {
    use vippy_core::chatter::{Chatter, Voice};
    use vippy_core::identity::Seq;
    use vippy_core::neighbours::Station;
    let mut stage = with_js(
        "var said = function (what) { config.log('notice', JSON.stringify(what)); };
         config.on('send-announce', function (msg) { said(['sent', msg.me, msg.version, msg.nodes.length]); });
         config.on('recv-announce', function (msg, from) { said(['heard', msg.me, msg.active, from.address]); });
         config.on('ignore', function (why) { said(['ignored', why]); });
         var job = setInterval(function () { said(['cache', manager.arpcache()]); }, 100);
         config.on('stop', function () { clearInterval(job); });",
    );
    let station = Station {
        ip: "10.0.0.9".parse().unwrap(),
        mac: "02:00:00:00:00:09".parse().unwrap(),
        router: false,
    };
    stage.extensions.neighbours(&"node2".into(), &Arc::from([station]));
    stage.await_line(r#"["cache",{"10.0.0.9":"02:00:00:00:00:09"}]"#);
    let chatter = |seq, unauthentic| Chatter {
        voices: vec![Voice {
            name: "node2".into(),
            seq: Seq(seq),
            state: NodeState::Active,
            version: 5,
            source: "10.0.0.2:5007".parse().ok(),
        }],
        unauthentic,
    };
    stage.extensions.announced(Seq(1), || chatter(7, 3));
    stage.extensions.announced(Seq(1), || panic!("the same frame to another peer"));
    stage.await_line(r#"["sent","node1",5,3]"#);
    stage.await_line(r#"["heard","node1",false,"127.0.0.1"]"#);
    stage.await_line(r#"["heard","node2",true,"10.0.0.2"]"#);
    stage.extensions.announced(Seq(2), || chatter(7, 4));
    stage.await_line(r#"["ignored","hash"]"#);
    let of_node2 =
        |told: &&Told| matches!(told, Told::Line(_, line) if line.contains(r#"["heard","node2""#));
    assert_eq!(stage.told.iter().filter(of_node2).count(), 1);
    stage.finish();
}

#[test]
fn an_exception_is_told_with_its_stack_and_the_plugin_starts_again() {
    let mut stage = with_js("setTimeout(function breaks() { nothing.at.all; }, 50);");
    stage.await_line("ReferenceError: nothing is not defined");
    let line = stage.await_line("at Timeout.breaks");
    assert!(line.contains("plugin.js:1"), "{line}");
    let (detail, again) = stage.await_told("end", ended);
    assert_eq!((detail.as_str(), again), ("exit status: 70", Some(1000)));
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let mut stage = Stage::new("plugins: ['/nowhere/plugin', '/nowhere/plugin.js']");
    stage.await_told("the program", |told| {
        ended(told).filter(|(detail, _)| detail.contains("cannot run /nowhere/plugin"))
    });
    stage.await_line("ENOENT");
}

/// The first block of a language in the documentation.
fn documented(language: &str) -> &'static str {
    let text = include_str!("../../../docs/PLUGINS.md");
    let (_, block) = text.split_once(&format!("```{language}\n#!")).unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block
}

#[test]
fn the_documented_plugin_in_shell_works() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("maintenance");
    let text = documented("sh").replace("/run/maintenance", file.to_str().unwrap());
    script(&dir.path().join("plugin"), &format!("#!{text}"));
    let mut stage = Stage::in_dir(dir, "plugins: ['{dir}/plugin']");
    stage.await_told("fit", |told| (fit(told) == Some(Fitness::Fit)).then_some(()));
    stage.happened(&Event::GroupUp { group: "web".into(), epoch: Epoch(9) });
    stage.await_line("something came up");
    std::fs::write(file, "").unwrap();
    stage.await_told("unfit", unfit("maintenance"));
    stage.finish();
    assert_eq!(stage.await_told("end", ended), ("exit status: 0".into(), None));
}

#[test]
fn the_documented_plugin_in_python_works() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    let text = documented("python").replace("8080", &port);
    script(&dir.path().join("plugin"), &format!("#!{text}"));
    let mut stage = Stage::in_dir(dir, "plugins: ['{dir}/plugin']");
    stage.await_told("fit", |told| (fit(told) == Some(Fitness::Fit)).then_some(()));
    stage.happened(&Event::GroupUp { group: "web".into(), epoch: Epoch(9) });
    stage.await_line("web is here, number 9");
    drop(listener);
    stage.await_told("unfit", unfit(&format!("port {port}")));
    stage.finish();
    assert_eq!(stage.await_told("end", ended), ("exit status: 0".into(), None));
}
