//! One of each event, with every field set; for the tests of several crates.

use vippy_client::Event;
use vippy_client::event::HookOutcome;
use vippy_client::health::Verdict;
use vippy_client::identity::{Epoch, Mac};
use vippy_client::status::{NodeReason, NodeState, OutcomeKind, RejectReason};

/// Events as they are written here. The match keeps the list whole: a new variant
/// does not compile until it is here, and then in docs/EVENTS.md.
macro_rules! samples {
    ($($variant:ident $fields:tt),+ $(,)?) => {{
        let whole = |event: &Event| match event { $(Event::$variant { .. } => ()),+ };
        let samples = vec![$(Event::$variant $fields),+];
        samples.iter().for_each(whole);
        samples
    }};
}

/// All of them.
pub(crate) fn samples() -> Vec<Event> {
    let (node, group) = (|| "node2".into(), || "web".into());
    let text = || "x".to_owned();
    samples![
        StateChanged { state: NodeState::Active, reason: NodeReason::None, detail: text() },
        PeerUp { node: node() },
        PeerLost { node: node(), silent_ms: 305 },
        PeerLeft { node: node() },
        PeerRestarted { node: node() },
        Taking { group: group(), from: Some(node()) },
        GroupUp { group: group(), epoch: Epoch(1 << 60) },
        Announced { group: group() },
        Adopted { group: group(), epoch: Epoch(1 << 60) },
        Kept { group: group(), epoch: Epoch(1 << 60) },
        LettingGo { group: group(), to: Some(node()), why: text() },
        GroupDown { group: group() },
        PlumbFailed { group: group(), error: text() },
        Unavailable { group: group(), reason: text() },
        Available { group: group() },
        ConfigDiffers { node: node(), theirs: text(), ours: text() },
        ConfigAdopted { configuration: text(), from: Some(node()) },
        ConfigRefused { configuration: text(), why: text() },
        ProposalJudged { objection: Some(text()) },
        ProposalEnded { configuration: text(), refused: Some(text()) },
        TrialConfirmed { configuration: text() },
        RolledBack { configuration: text(), why: text() },
        Rejected { reason: RejectReason::Forged, source: text() },
        QuorumLost { present: 1, needed: 2 },
        QuorumBack { present: 2, needed: 2 },
        Isolated { asked: 2, lets_go: true },
        IsolationOver { heard: true },
        Claimed { group: group(), mac: Mac([2, 0, 0, 0, 0, 1]) },
        NodeDown { node: node(), life: text() },
        CleaningUp { node: node(), life: text(), epoch: Epoch(1 << 60) },
        CleanedUp { node: node(), life: text(), by: node(), epoch: Epoch(1 << 60) },
        HookEnded {
            run: text(),
            on: text(),
            group: Some(group()),
            outcome: HookOutcome::Failed,
            detail: text(),
            ms: 12,
        },
        PluginStarted { plugin: text() },
        PluginEnded { plugin: text(), detail: text(), again_ms: Some(1_000) },
        OpinionChanged { plugin: text(), unfit: Some(text()) },
        CheckChanged {
            check: "proxy".into(),
            verdict: Verdict::Bad,
            groups: vec![group()],
            outcome: OutcomeKind::TimedOut,
            why: Some(text()),
        },
        Warning { text: text() },
    ]
}
