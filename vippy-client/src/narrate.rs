//! How an event reads, in the log and in `vippyctl events`: one line, `group`,
//! `node` and `reason` as `key=value`, and the level it deserves. How often events
//! come is the engine's business.

use std::fmt::{self, Display, Write};

use serde::Serialize;
use vippy_core::event::{Event, HookOutcome};
use vippy_core::health::Verdict;
use vippy_core::identity::GroupId;
use vippy_core::input::Command;
use vippy_core::status::{NodeReason, NodeState};

use crate::events::{Missed, WhyMissed};
use crate::level::Level;

/// What an operator asks for.
pub fn order(command: Command) -> &'static str {
    match command {
        Command::Drain { .. } => "drain",
        Command::Resume => "resume",
        Command::Stop => "stop",
        Command::Confirm => "confirm",
        Command::Forget => "forget",
        Command::Restart => "restart",
    }
}

/// The level and the line.
pub fn line(event: &Event) -> (Level, String) {
    match event {
        Event::StateChanged { state, reason, detail } => {
            let line = Line::new("state changed").field("state", state_name(*state));
            (Level::Notice, line.reason(*reason).unless_empty("detail", detail).done())
        }
        Event::PeerUp { node } => (Level::Notice, Line::new("peer up").field("node", node).done()),
        Event::PeerLost { node, silent_ms } => {
            let line = Line::new("peer lost").field("node", node).field("silent_ms", silent_ms);
            (Level::Warning, line.done())
        }
        Event::PeerLeft { node } => {
            (Level::Notice, Line::new("peer left").field("node", node).done())
        }
        Event::PeerRestarted { node } => {
            (Level::Notice, Line::new("peer restarted").field("node", node).done())
        }
        Event::Taking { group, from } => {
            let line = Line::new("taking").field("group", group).maybe("from", from.as_ref());
            (Level::Notice, line.done())
        }
        Event::GroupUp { group, epoch } => {
            let line = Line::new("up").field("group", group).field("epoch", epoch);
            (Level::Notice, line.done())
        }
        Event::Announced { group } => {
            (Level::Debug, Line::new("neighbours told").field("group", group).done())
        }
        Event::Adopted { group, epoch } => {
            let line = Line::new("found here and kept").field("group", group);
            (Level::Notice, line.field("epoch", epoch).done())
        }
        Event::Kept { group, epoch } => {
            let line = Line::new("kept against a rival").field("group", group);
            (Level::Notice, line.field("epoch", epoch).done())
        }
        Event::LettingGo { group, to, why } => {
            let line = Line::new("letting go").field("group", group).maybe("to", to.as_ref());
            (Level::Notice, line.field("reason", why).done())
        }
        Event::GroupDown { group } => {
            (Level::Notice, Line::new("down").field("group", group).done())
        }
        Event::PlumbFailed { group, error } => {
            let line = Line::new("cannot put up").field("group", group).field("reason", error);
            (Level::Err, line.done())
        }
        Event::Unavailable { group, reason } => {
            let line = Line::new("cannot be held here").field("group", group);
            (Level::Warning, line.field("reason", reason).done())
        }
        Event::Available { group } => {
            (Level::Notice, Line::new("can be held here").field("group", group).done())
        }
        Event::ConfigDiffers { node, theirs, ours } => {
            let line = Line::new("another configuration").field("node", node);
            (Level::Warning, line.field("theirs", theirs).field("ours", ours).done())
        }
        Event::Rejected { reason, source } => {
            let line = Line::new("datagram refused").field("source", source);
            (Level::Warning, line.field("reason", kebab(reason)).done())
        }
        Event::QuorumLost { present, needed } => {
            let line = Line::new("quorum lost").field("nodes", present).field("needed", needed);
            (Level::Err, line.done())
        }
        Event::QuorumBack { present, needed } => {
            let line = Line::new("quorum is back").field("nodes", present);
            (Level::Notice, line.field("needed", needed).done())
        }
        Event::Isolated { asked, lets_go } => {
            let course = if *lets_go { "letting everything go" } else { "taking nothing" };
            let line = Line::new("isolated: no peer is heard and nobody asked answers");
            (Level::Err, line.field("asked", asked).field("course", course).done())
        }
        Event::IsolationOver { heard } => {
            let why = if *heard { "somebody is heard again" } else { "it lasted for long enough" };
            (Level::Notice, Line::new("no longer isolated").field("reason", why).done())
        }
        Event::ConfigAdopted { configuration, from } => {
            let line = Line::new("configuration adopted").field("configuration", configuration);
            (Level::Notice, line.maybe("from", from.as_ref()).done())
        }
        Event::ConfigRefused { configuration, why } => {
            let line = Line::new("configuration of others cannot be taken here");
            (Level::Err, line.field("configuration", configuration).field("reason", why).done())
        }
        Event::ProposalJudged { objection } => {
            let line = Line::new("configuration proposed");
            let line =
                line.field("answer", if objection.is_some() { "refused" } else { "accepted" });
            (Level::Notice, line.maybe("reason", objection.as_ref()).done())
        }
        Event::ProposalEnded { configuration, refused } => {
            let line = Line::new("proposal ended").field("configuration", configuration);
            let line = line.field("outcome", if refused.is_some() { "refused" } else { "adopted" });
            (Level::Notice, line.maybe("reason", refused.as_ref()).done())
        }
        Event::TrialConfirmed { configuration } => {
            let line = Line::new("configuration confirmed").field("configuration", configuration);
            (Level::Notice, line.done())
        }
        Event::RolledBack { configuration, why } => {
            let line = Line::new("configuration taken back").field("configuration", configuration);
            (Level::Warning, line.field("reason", why).done())
        }
        Event::Claimed { group, mac } => {
            let line = Line::new("another station claims an address that is here");
            (Level::Warning, line.field("group", group).field("mac", mac).done())
        }
        Event::CheckChanged { check, verdict, groups, outcome, why } => {
            let level = match verdict {
                Verdict::Good => Level::Notice,
                Verdict::Unknown | Verdict::Bad => Level::Warning,
            };
            let groups: Vec<&str> = groups.iter().map(GroupId::as_str).collect();
            let line = Line::new("check changed").field("check", check).field("verdict", verdict);
            let line = line.unless_empty("groups", &groups.join(" "));
            (level, line.field("outcome", kebab(outcome)).maybe("reason", why.as_ref()).done())
        }
        Event::NodeDown { node, life } => {
            let line = Line::new("node down").field("node", node).field("life", life);
            (Level::Info, line.done())
        }
        Event::CleaningUp { node, life, epoch } => {
            let line = Line::new("cleaning up").field("node", node).field("life", life);
            (Level::Notice, line.field("epoch", epoch).done())
        }
        Event::CleanedUp { node, life, by, epoch } => {
            let line = Line::new("cleaned up").field("node", node).field("life", life);
            (Level::Notice, line.field("by", by).field("epoch", epoch).done())
        }
        Event::HookEnded { run, on, group, outcome, detail, ms } => {
            let line = Line::new("hook").field("run", run).field("on", on);
            let line = line.maybe("group", group.as_ref()).field("outcome", kebab(outcome));
            let line = line.unless_empty("reason", detail).field("ms", ms);
            (hook_level(*outcome), line.done())
        }
        Event::OpinionChanged { plugin, unfit } => {
            let what = match unfit {
                Some(_) => "a plugin holds this node unfit",
                None => "a plugin holds this node unfit no more",
            };
            let line = Line::new(what).field("plugin", plugin);
            (Level::Warning, line.maybe("reason", unfit.as_ref()).done())
        }
        Event::PluginStarted { plugin } => {
            (Level::Notice, Line::new("plugin runs").field("plugin", plugin).done())
        }
        Event::PluginEnded { plugin, detail, again_ms } => {
            let line = Line::new("plugin ended").field("plugin", plugin).field("reason", detail);
            let level = if again_ms.is_some() { Level::Err } else { Level::Notice };
            (level, line.maybe("again_ms", *again_ms).done())
        }
        Event::Warning { text } => (Level::Warning, text.clone()),
    }
}

/// How a reader is told of what it did not get.
pub fn missed(missed: &Missed) -> (Level, String) {
    let line = Line::new("events missed").maybe("number", missed.number);
    let why = match missed.why {
        WhyMissed::Overwritten => "newer ones took their places",
        WhyMissed::Restarted => "the daemon was restarted",
    };
    (Level::Warning, line.field("reason", why).done())
}

/// An event's name, as it is serialized.
pub fn name(event: &Event) -> String {
    // The tag comes first: `{"event":"taking",...`.
    let json = serde_json::to_string(event).unwrap_or_default();
    json.split('"').nth(3).unwrap_or_default().to_owned()
}

fn hook_level(outcome: HookOutcome) -> Level {
    match outcome {
        HookOutcome::Succeeded | HookOutcome::Cancelled => Level::Info,
        HookOutcome::Failed | HookOutcome::TimedOut | HookOutcome::NotStarted => Level::Err,
    }
}

/// The state as configurations, `/status` and logs spell it.
pub fn state_name(state: NodeState) -> String {
    kebab(&state)
}

/// The reason, spelled the same way; `None` when there is none.
pub fn reason_name(reason: NodeReason) -> Option<String> {
    (reason != NodeReason::None).then(|| kebab(&reason))
}

/// A fieldless variant's name as it is serialized.
fn kebab(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}

struct Line(String);

impl Line {
    fn new(what: &str) -> Line {
        Line(what.to_owned())
    }

    fn field(mut self, key: &str, value: impl Display) -> Line {
        // Writing to a string cannot fail.
        let _ = write!(self.0, " {key}={}", Value(&value.to_string()));
        self
    }

    fn maybe(self, key: &str, value: Option<impl Display>) -> Line {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    fn unless_empty(self, key: &str, value: &str) -> Line {
        if value.is_empty() { self } else { self.field(key, value) }
    }

    fn reason(self, reason: NodeReason) -> Line {
        self.maybe("reason", reason_name(reason))
    }

    fn done(self) -> String {
        self.0
    }
}

/// Quoted when it would not read as one word.
struct Value<'a>(&'a str);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=';
        if !self.0.is_empty() && self.0.chars().all(plain) {
            f.write_str(self.0)
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use vippy_core::status::RejectReason;

    use super::*;

    #[test]
    fn fields_read_as_key_and_value_and_text_is_quoted() {
        let (level, text) = line(&Event::LettingGo {
            group: "10.0.0.1,10.0.0.2".into(),
            to: Some("node2".into()),
            why: "it prefers another node".into(),
        });
        assert_eq!(level, Level::Notice);
        assert_eq!(
            text,
            "letting go group=10.0.0.1,10.0.0.2 to=node2 reason=\"it prefers another node\""
        );
    }

    #[test]
    fn what_is_absent_is_not_written() {
        let (_, text) = line(&Event::StateChanged {
            state: NodeState::Active,
            reason: NodeReason::None,
            detail: String::new(),
        });
        assert_eq!(text, "state changed state=active");
        let (_, text) = line(&Event::Taking { group: "web".into(), from: None });
        assert_eq!(text, "taking group=web");
    }

    #[test]
    fn what_a_stranger_causes_is_a_warning_with_its_source() {
        let event =
            Event::Rejected { reason: RejectReason::UnknownKey, source: "10.0.0.7:5007".into() };
        let expected = "datagram refused source=10.0.0.7:5007 reason=unknown-key";
        assert_eq!(line(&event), (Level::Warning, expected.into()));
    }
}
