//! What is exposed: well-formed, as documented, and all that dashboard and alerts
//! speak of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use vippy_client::Status;
use vippyd::histogram::Histogram;
use vippyd::history::Tally;
use vippyd::metrics::{Facts, Surroundings, render};

const DOCUMENT: &str = include_str!("../../../docs/METRICS.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../../docs/alerts.yml");

/// A status in which nothing that metrics are made of is missing.
const STATUS: &str = r#"{"identity":"node1",
 "stats":{"net":{"ignore":3,"send-announce":16,"recv-announce":48},"state-changes":3,
  "rejects":{"forged":2,"not-fresh":1},"relayed":5},
 "invariants":{"counting":true,
  "two_holders":{"ms":250.0,"group_ms":500.0,"worst_group":null,"worst_ms":0.0},
  "unheld":{"ms":1500.5,"group_ms":3000.0,"worst_group":null,"worst_ms":0.0}},
 "config":{"version":5,"vips":[],"nodes":["node1","node2","node3"],
  "digest":"00112233445566778899aabbccddeeff",
  "rollout":{"file":null,"fetching":null,"refused":[],"proposal":null,
   "trial":{"left_ms":1,"confirmed":false,"former_version":4}}},
 "state":{"mature":true,"active":true,"inactive_reason":null,"ownership":{}},
 "node":{"state":"draining","reason":"operator","detail":"","uptime_ms":61500,"boot":"00",
  "key":"01","epoch":7,"program":"0.1.0","lifetime_s":10,"interval_ms":500.0,
  "stale_ms":5000.0,"warnings":["x"],"quorum":{"present":2,"needed":2}},
 "groups":[{"id":"we\"b","name":"we\"b","prefer":null,"exclusive":false,"addresses":[],
   "owner":"node1","holders":["node1","node2"],"succession":[],"here":"held","cannot":null,
   "rather_not":"x","epoch":7,
   "belief":{"believed":1,"of":2,"after_ms":1,"doubted_by":null,"instead":null,"repeated":0},
   "claimed":{"mac":"02:00:00:00:00:01","times":4,"last_ms":1,"defended":1}},
  {"id":"db","name":"db","prefer":null,"exclusive":false,"addresses":[],"owner":null,
   "holders":[],"succession":[],"here":"no","cannot":"x","epoch":null}],
 "peers":[{"name":"node2","configured":true,"counts":true,"alive":true,"state":"active",
   "reason":"none","detail":"","age_ms":250,"boot":"02","address":null,
   "hears_by":["multicast"],"hears":{},"version":5,"digest":"00","key":null,"holding":1,
   "uptime_ms":1000},
  {"name":"node3","configured":true,"counts":false,"alive":false,"state":null,"reason":null,
   "detail":"","age_ms":null,"boot":null,"address":null,"hears_by":[],"hears":{},
   "version":null,"digest":null,"key":null,"holding":0,"uptime_ms":null},
  {"name":"node2","configured":true,"counts":false,"alive":false,"state":null,"reason":null,
   "detail":"","age_ms":1,"boot":"03","address":null,"hears_by":[],"hears":{},
   "version":null,"digest":null,"key":null,"holding":0,"uptime_ms":null}],
 "checks":[{"name":"proxy","verdict":"bad","groups":[],"since_ms":1,"outcome":"timed-out",
   "why":"x","in_a_row":3,"age_ms":250,"took_ms":12.5}],
 "neighbours":{"node1":12}}"#;

fn page() -> String {
    let status: Status = serde_json::from_str(STATUS).unwrap();
    let mut announcing = Histogram::new(&[0.001, 0.01]);
    announcing.note(Duration::from_millis(5));
    let mut tally = Tally::default();
    tally.events.insert("peer-lost".into(), 2);
    tally.takeovers.note(Duration::from_millis(7));
    let started = UNIX_EPOCH + Duration::from_millis(1_795_248_000_500);
    let surroundings = Surroundings { tally, readers: 3, lost_lines: 4, started };
    render(Facts { status, announcing }, surroundings).unwrap()
}

/// Names and values of labels.
type Labels = Vec<(String, String)>;

/// A family as it was declared, and its samples: name, labels, value.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: String,
    samples: Vec<(String, Labels, f64)>,
}

/// Reads OpenMetrics text as strictly as a scraper may, and more so.
fn parse(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    let body = page.strip_suffix("# EOF\n").expect("it ends with # EOF");
    for line in body.lines() {
        if let Some(declaration) = line.strip_prefix("# ") {
            let mut words = declaration.splitn(3, ' ');
            let (word, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if word == "HELP" {
                assert!(!families.contains_key(name), "{name} is declared twice");
                name.clone_into(&mut current);
            }
            assert_eq!(name, current, "{line}: among the lines of {current}");
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "{line}: after its samples");
            match word {
                "HELP" => rest.clone_into(&mut family.help),
                "TYPE" => rest.clone_into(&mut family.kind),
                "UNIT" => rest.clone_into(&mut family.unit),
                other => panic!("a declaration {other}"),
            }
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
            let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| {
                (name, labels.strip_suffix('}').expect("labels are closed"))
            });
            assert!(name.starts_with(&current), "{line}: among the lines of {current}");
            let family = families.get_mut(&current).unwrap();
            family.samples.push((name.to_owned(), read_labels(labels), value));
        }
    }
    families
}

fn read_labels(text: &str) -> Labels {
    let mut labels = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, quoted) = rest.split_once("=\"").expect("a label has a quoted value");
        let mut escaped = false;
        let end = quoted.find(|c: char| {
            let end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            end
        });
        let (value, after) = quoted.split_at(end.expect("a value is closed"));
        labels.push((name.to_owned(), value.to_owned()));
        rest = after[1..].strip_prefix(',').unwrap_or(&after[1..]);
    }
    labels
}

/// Names as queries use them, with their families.
fn exposed() -> BTreeMap<String, String> {
    let names = parse(&page()).into_iter().flat_map(|(name, family)| {
        let exposed: Vec<String> = match family.kind.as_str() {
            "counter" => vec![format!("{name}_total")],
            "info" => vec![format!("{name}_info")],
            "histogram" => ["bucket", "sum", "count"].map(|end| format!("{name}_{end}")).to_vec(),
            _ => vec![name.clone()],
        };
        exposed.into_iter().map(move |full| (full, name.clone()))
    });
    names.collect()
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

#[test]
fn the_page_is_well_formed() {
    let mut series = BTreeSet::new();
    for (name, family) in parse(&page()) {
        assert!(is_name(&name) && !name.contains("__"), "{name}");
        assert!(name.starts_with("vippy_") || name.starts_with("process_"), "{name}");
        let help = &family.help;
        assert!(
            help.ends_with('.') && help.starts_with(char::is_uppercase) || help.starts_with('1'),
            "{name}: {help}"
        );
        assert!(!family.samples.is_empty(), "{name} has no sample");
        for unit in ["seconds", "bytes"] {
            assert_eq!(name.ends_with(unit), family.unit == unit, "{name}: {}", family.unit);
        }
        for suffix in ["_total", "_info", "_bucket", "_count", "_sum", "_created"] {
            assert!(!name.ends_with(suffix), "{name}");
        }
        for (sample, labels, value) in &family.samples {
            let suffix = sample.strip_prefix(&name).unwrap();
            let expected: &[&str] = match family.kind.as_str() {
                "gauge" => &[""],
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{name} is a {other}"),
            };
            assert!(expected.contains(&suffix), "{sample}");
            assert!(value.is_finite(), "{sample}: {value}");
            assert!(family.kind == "gauge" || *value >= 0.0, "{sample}: {value}");
            let names: BTreeSet<&String> = labels.iter().map(|(label, _)| label).collect();
            assert_eq!(names.len(), labels.len(), "{sample}: a label twice");
            assert!(names.iter().all(|label| is_name(label)), "{sample}: {names:?}");
            assert!(series.insert((sample.clone(), labels.clone())), "{sample}{labels:?} twice");
        }
        if family.kind == "histogram" {
            well_formed_histogram(&name, &family);
        }
    }
}

fn well_formed_histogram(name: &str, family: &Family) {
    let buckets: Vec<(f64, f64)> = family
        .samples
        .iter()
        .filter(|(sample, ..)| sample.ends_with("_bucket"))
        .map(|(_, labels, count)| (labels[0].1.replace("+Inf", "inf").parse().unwrap(), *count))
        .collect();
    assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{name}");
    let last = buckets.last().unwrap();
    assert!(last.0.is_infinite(), "{name} has no bucket +Inf");
    let value = |end: &str| {
        let found = family.samples.iter().find(|(sample, ..)| *sample == format!("{name}_{end}"));
        found.unwrap().2
    };
    assert!((value("count") - last.1).abs() < f64::EPSILON, "{name}");
    assert!(value("sum") > 0.0, "{name}");
}

#[test]
fn values_are_those_of_the_status() {
    let page = page();
    let expected = [
        "vippy_build_info{version=\"0.1.0\"} 1",
        "vippy_uptime_seconds 61.5",
        "vippy_node_state{state=\"draining\"} 1",
        "vippy_node_state{state=\"active\"} 0",
        "vippy_node_reason{reason=\"operator\"} 1",
        "vippy_frames_rejected_total{reason=\"forged\"} 2",
        "vippy_frames_rejected_total{reason=\"malformed\"} 0",
        "vippy_group_holders{group=\"we\\\"b\"} 2",
        "vippy_group_holders{group=\"db\"} 0",
        "vippy_group_held{group=\"we\\\"b\",node=\"node2\"} 1",
        "vippy_groups_owned{node=\"node1\"} 1",
        "vippy_groups_held{node=\"node3\"} 0",
        "vippy_groups_unowned 1",
        "vippy_group_cannot{group=\"db\"} 1",
        "vippy_group_believers{group=\"we\\\"b\"} 1",
        "vippy_peer_alive{peer=\"node2\"} 1",
        "vippy_peer_alive{peer=\"node3\"} 0",
        "vippy_peer_age_seconds{peer=\"node2\"} 0.25",
        "vippy_peer_heard_by{peer=\"node2\",path=\"multicast\"} 1",
        "vippy_strangers 1",
        "vippy_unheld_seconds_total 1.5005",
        "vippy_announcement_lateness_seconds_bucket{le=\"0.01\"} 1",
        "vippy_takeover_duration_seconds_count 1",
        "vippy_events_total{event=\"peer-lost\"} 2",
        "vippy_config_on_trial 1",
        "process_start_time_seconds 1795248000.5",
    ];
    for line in expected {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
}

#[test]
fn every_metric_is_documented_and_every_documented_metric_is_exposed() {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    let documented: BTreeMap<String, (String, Vec<String>)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
            assert!(!cells[4].is_empty(), "{row}");
            (cells[1].trim_matches('`').to_owned(), (cells[2].to_owned(), labels))
        })
        .collect();
    let exposed: BTreeMap<String, (String, Vec<String>)> = parse(&page())
        .into_iter()
        .map(|(name, family)| {
            let (sample, labels, _) = &family.samples[0];
            let name = if family.kind == "histogram" { name } else { sample.clone() };
            let labels = labels.iter().map(|(label, _)| label.clone());
            (name, (family.kind.clone(), labels.filter(|label| label != "le").collect()))
        })
        .collect();
    assert_eq!(documented, exposed);
}

/// Words that look like metrics of ours.
fn mentioned(text: &str) -> BTreeSet<&str> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = text.split(word);
    words.filter(|word| word.starts_with("vippy_") || word.starts_with("process_")).collect()
}

#[test]
fn dashboard_and_alerts_speak_of_nothing_that_is_not_exposed() {
    let exposed = exposed();
    for (file, text) in [("dashboard", DASHBOARD), ("alerts", ALERTS)] {
        let mentioned = mentioned(text);
        assert!(mentioned.len() > 5, "{file}: {mentioned:?}");
        for name in mentioned {
            assert!(exposed.contains_key(name), "{file}: {name} is not exposed");
        }
    }
}

#[test]
fn the_dashboard_is_json_with_a_query_in_every_panel() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 8);
    let mut titles = BTreeSet::new();
    for panel in panels {
        assert!(titles.insert(panel["title"].as_str().unwrap()), "{panel}");
        let queries = panel["targets"].as_array().unwrap();
        assert!(queries.iter().all(|query| !mentioned(query["expr"].as_str().unwrap()).is_empty()));
        assert!(!queries.is_empty() && panel["gridPos"]["w"].is_u64(), "{panel}");
    }
}
