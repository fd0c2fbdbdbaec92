//! The engine's view of the cluster as a [`Status`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::belief::takes::Take;
use crate::dialect::Readings;
use crate::engine::Engine;
use crate::group::Phase;
use crate::identity::{BootId, GroupIndex, NodeIndex, NodeName};
use crate::membership::process::Process;
use crate::rollout::proposal::{Outcome, Proposal};
use crate::status::{
    AnswerStatus, BeliefStatus, ClaimStatus, ConfigStatus, FetchStatus, GroupStatus, HeardBy,
    Holding, NetStats, NodeReason, NodeState, NodeStatus, OutcomeStatus, PeerStatus,
    ProposalStatus, RefusedStatus, RejectReason, RolloutStatus, StateStatus, Stats, Status,
    TrialStatus, VipEntry, original_form,
};
use crate::time::Instant;
use crate::wire::announcement::Paths;

/// How many nodes of a succession are shown.
const SUCCESSORS: usize = 4;

pub(crate) fn status(engine: &Engine, now: Instant) -> Status {
    Status {
        identity: engine.name.clone(),
        stats: stats(engine),
        invariants: engine.watch.status(now, &engine.config.shared),
        config: config(engine, now),
        state: state(engine),
        node: node(engine, now),
        groups: groups(engine, now),
        peers: peers(engine, now),
        neighbours: engine.neighbours(),
        checks: engine.health.status(now),
    }
}

fn stats(engine: &Engine) -> Stats {
    let rejects = engine.rejects.counts().clone();
    // The original counted its own echoes as received, and so do scripts.
    let echoes = rejects.get(&RejectReason::Own).copied().unwrap_or_default();
    Stats {
        net: NetStats {
            ignore: rejects.values().sum::<u64>() - echoes,
            send_announce: engine.traffic.sent,
            recv_announce: engine.traffic.received + echoes,
        },
        state_changes: engine.holdings.changes,
        rejects,
        relayed: engine.relay.total,
    }
}

fn config(engine: &Engine, now: Instant) -> ConfigStatus {
    let shared = &engine.config.shared;
    ConfigStatus {
        version: shared.version,
        vips: shared.groups.iter().map(|group| original_form(shared, group)).collect(),
        nodes: shared.nodes.iter().map(|node| node.name.clone()).collect(),
        digest: shared.digest.to_string(),
        rollout: rollout(engine, now),
    }
}

fn rollout(engine: &Engine, now: Instant) -> RolloutStatus {
    let fetching = engine.graduation.sought().map(|sought| {
        let (bytes, size) = (sought.document.size, sought.document.size);
        let progress = engine.documents.progress(sought.document.digest);
        let (bytes, size) = progress.unwrap_or((bytes, size));
        let (version, digest) = sought.rank;
        let from = sought.from.clone();
        FetchStatus { version, digest: digest.to_string(), from, bytes, size }
    });
    let refused = engine.graduation.refusals().map(|((version, digest), why)| RefusedStatus {
        version,
        digest: digest.to_string(),
        why: why.to_owned(),
    });
    RolloutStatus {
        file: None,
        fetching,
        refused: refused.collect(),
        proposal: engine.proposal.as_ref().map(proposal),
        trial: engine.trial.as_ref().map(|trial| TrialStatus {
            left_ms: millis(trial.until.since(now)),
            confirmed: trial.confirmed,
            former_version: trial.former.version,
        }),
    }
}

fn proposal(proposal: &Proposal) -> ProposalStatus {
    let answer = |answer: &Option<Option<String>>| match answer {
        None => AnswerStatus::Waiting,
        Some(None) => AnswerStatus::Accepts,
        Some(Some(why)) => AnswerStatus::Objects(why.clone()),
    };
    ProposalStatus {
        version: proposal.shared.version,
        digest: proposal.shared.digest.to_string(),
        confirm_within_ms: proposal.confirm_within.map(millis),
        answers: proposal.answers.iter().map(|(name, a)| (name.clone(), answer(a))).collect(),
        outcome: proposal.outcome.as_ref().map(|outcome| match outcome {
            Outcome::Adopted => OutcomeStatus::Adopted,
            Outcome::Refused(why) => OutcomeStatus::Refused(why.clone()),
        }),
    }
}

fn state(engine: &Engine) -> StateStatus {
    let unfit = engine.health.unfit();
    let active = engine.is_active() && unfit.is_none();
    let mature = !engine.standing.is_booting();
    StateStatus {
        mature,
        active,
        inactive_reason: (!active)
            .then(|| unfit.map_or_else(|| inactive_reason(engine), str::to_owned)),
        ownership: if mature { ownership(engine) } else { BTreeMap::new() },
    }
}

/// The original's words where it had some: `booting`, `shutdown`.
fn inactive_reason(engine: &Engine) -> String {
    let detail = engine.standing.detail();
    match engine.standing.state() {
        NodeState::Booting if detail.is_empty() => "booting".into(),
        NodeState::Leaving => "shutdown".into(),
        NodeState::Booting | NodeState::Active | NodeState::Standby | NodeState::Draining => {
            detail.to_owned()
        }
    }
}

/// Groups by owner; a node that takes no part has no key.
fn ownership(engine: &Engine) -> BTreeMap<String, Vec<Vec<VipEntry>>> {
    let shared = &engine.config.shared;
    let mut owned: BTreeMap<String, Vec<Vec<VipEntry>>> = BTreeMap::new();
    owned.insert("_".into(), Vec::new());
    for (index, node) in (0u16..).map(NodeIndex).zip(&shared.nodes) {
        if takes_part(engine, index, &node.name) {
            owned.insert(node.name.to_string(), Vec::new());
        }
    }
    for (index, group) in shared.group_indexes().zip(&shared.groups) {
        let owner = engine.holdings.owner(index);
        let key = owner.map_or("_".into(), |node| name(engine, node).to_string());
        owned.entry(key).or_default().push(original_form(shared, group));
    }
    owned
}

fn takes_part(engine: &Engine, index: NodeIndex, name: &NodeName) -> bool {
    if engine.me == Some(index) {
        return engine.is_active();
    }
    let facts = engine.members.live(name).and_then(|process| process.facts.as_ref());
    facts.is_some_and(|facts| match facts.state {
        NodeState::Active | NodeState::Standby => true,
        NodeState::Booting | NodeState::Draining | NodeState::Leaving => false,
    })
}

fn node(engine: &Engine, now: Instant) -> NodeStatus {
    let acting = engine.timing.acting();
    NodeStatus {
        state: engine.standing.state(),
        reason: engine.standing.reason(),
        detail: engine.standing.detail().to_owned(),
        drained_ms: engine.conduct.drained_until().map(|until| millis(until.since(now))),
        held_down_ms: engine.conduct.held_down_until().map(|until| millis(until.since(now))),
        uptime_ms: millis(now.since(engine.started)),
        boot: engine.members.own.boot.to_string(),
        key: engine.keys().signing().to_string(),
        keys: engine.keys().ids().iter().map(ToString::to_string).collect(),
        epoch: engine.epochs.highest(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        lifetime_s: engine.fence.lifetime().map_or(0, |lifetime| lifetime.as_secs()),
        interval_ms: acting.interval.as_secs_f64() * 1000.0,
        stale_ms: engine.members.timers().stale.as_secs_f64() * 1000.0,
        warnings: warnings(engine, now),
        quorum: engine.authority.quorum_status(),
        inquiry: engine.authority.inquiry_status(now),
    }
}

/// Files that say different things under one version.
fn rival_warnings(engine: &Engine) -> impl Iterator<Item = String> {
    let (version, own) = engine.config.shared.rank();
    engine.graduation.rivals().map(move |other| {
        format!(
            "version {version} has two contents: {own} runs here, somebody has or had {other}; \
             the higher digest wins: raise the version of the right one"
        )
    })
}

/// A configuration that goes by itself must not be forgotten.
fn trial_warning(engine: &Engine, now: Instant) -> Option<String> {
    let trial = engine.trial.as_ref().filter(|trial| !trial.confirmed)?;
    let (version, left) = (engine.config.shared.version, trial.until.since(now).as_secs());
    Some(format!("configuration {version} is on trial: it goes in {left} s unless confirmed"))
}

fn warnings(engine: &Engine, now: Instant) -> Vec<String> {
    let own = (engine.timing.announced().interval, engine.timing.announced().stale);
    let mut warnings: Vec<String> = engine
        .rejects
        .misfits(now)
        .map(|(reason, source)| {
            let what = if reason == RejectReason::Version {
                "speaks another version of the protocol"
            } else {
                "signs with another secret or cluster name"
            };
            format!("{source} {what}")
        })
        .chain(engine.fence.complaint())
        .chain(trial_warning(engine, now))
        .chain(rival_warnings(engine))
        .collect();
    for peer in engine.members.live_processes() {
        if (peer.header.interval, peer.header.stale) != own {
            let (name, header) = (&peer.name, &peer.header);
            warnings.push(format!(
                "{name} has interval {:?} and stale {:?}, this node has {:?} and {:?}",
                header.interval, header.stale, own.0, own.1
            ));
        }
        let own_rank = engine.config.shared.rank();
        if let Some((version, digest)) = peer.rank().filter(|rank| *rank != own_rank) {
            warnings.push(format!(
                "{} has configuration version {version} ({digest}), this node has version {} ({})",
                peer.name, own_rank.0, own_rank.1
            ));
        }
    }
    warnings
}

fn groups(engine: &Engine, now: Instant) -> Vec<GroupStatus> {
    let shared = &engine.config.shared;
    let readings = engine.dialect.readings(&engine.members, shared.digest);
    shared.group_indexes().map(|index| group(engine, now, &readings, index)).collect()
}

fn group(engine: &Engine, now: Instant, readings: &Readings, index: GroupIndex) -> GroupStatus {
    let shared = &engine.config.shared;
    let config = &shared.groups[index.get()];
    let slot = engine.holdings.slot(index);
    let succession = engine.placement.succession(index).into_iter().take(SUCCESSORS);
    GroupStatus {
        id: config.id.clone(),
        name: config.name.clone(),
        prefer: config.prefer.map(|node| name(engine, node)),
        exclusive: config.exclusive,
        addresses: config.addresses.iter().map(|address| address.net).collect(),
        interfaces: config.addresses.iter().map(|address| address.interface.clone()).collect(),
        owner: engine.holdings.owner(index).map(|node| name(engine, node)),
        holders: holders(engine, readings, index),
        succession: succession.map(|node| name(engine, node)).collect(),
        here: here(engine, index),
        cannot: slot.cannot().map(str::to_owned),
        rather_not: rather_not(engine, index)
            .filter(|_| engine.holdings.rather_not().contains(index.0)),
        epoch: slot.epoch(),
        belief: engine.takes.of(index).filter(|_| slot.is_up()).map(|take| belief(engine, take)),
        claimed: engine.claimants.of(index).map(|claimed| ClaimStatus {
            mac: claimed.mac,
            times: claimed.times,
            last_ms: millis(now.since(claimed.last)),
            defended: claimed.defended,
        }),
    }
}

fn belief(engine: &Engine, take: &Take) -> BeliefStatus {
    let doubted_by = take.doubt.and_then(|(by, _)| engine.config.shared.nodes.get(by.get()));
    BeliefStatus {
        believed: take.belief.believed,
        of: take.belief.of,
        after_ms: take.after.map(millis),
        doubted_by: doubted_by.map(|node| node.name.clone()),
        instead: take.doubt.and_then(|(_, mac)| mac),
        repeated: take.repeated,
    }
}

/// Why this node would rather not have a group, or waits before it takes it.
pub(crate) fn rather_not(engine: &Engine, group: GroupIndex) -> Option<String> {
    let reluctant = || engine.holdings.reluctance().reason(group).map(str::to_owned);
    engine.health.reason(group).or_else(reluctant)
}

/// What this node does with a group.
pub(crate) fn here(engine: &Engine, group: GroupIndex) -> Holding {
    match engine.holdings.slot(group).phase {
        Phase::Idle => Holding::No,
        Phase::Claiming | Phase::Taking | Phase::Telling { .. } => Holding::Taking,
        Phase::Held { .. } => Holding::Held,
        Phase::LettingGo => Holding::LettingGo,
    }
}

fn holders(engine: &Engine, readings: &Readings, index: GroupIndex) -> Vec<NodeName> {
    let shared = &engine.config.shared;
    let holds = |name: &NodeName| {
        if *name == engine.name {
            return engine.holdings.holding().contains(index.0);
        }
        let Some(process) = engine.members.live(name) else { return false };
        let facts = process.facts.as_ref().filter(|facts| facts.speaks(shared.digest));
        let holding = facts.map(|facts| &facts.holding).or_else(|| readings.get(&process.boot));
        holding.is_some_and(|holding| holding.contains(index.0))
    };
    shared.nodes.iter().map(|node| node.name.clone()).filter(holds).collect()
}

/// Configured nodes in their order, heard or not, then strangers and claimants.
fn peers(engine: &Engine, now: Instant) -> Vec<PeerStatus> {
    let nodes = engine.config.shared.nodes.iter().filter(|node| node.name != engine.name);
    let configured = nodes.map(|node| match engine.members.counted(&node.name) {
        Some(process) => peer(engine, now, process, true),
        None => match engine.members.left_at(&node.name) {
            Some(at) => PeerStatus {
                state: Some(NodeState::Leaving),
                reason: Some(NodeReason::Goodbye),
                age_ms: Some(millis(now.since(at))),
                ..unheard(&node.name)
            },
            None => unheard(&node.name),
        },
    });
    let counted = |process: &&Process| {
        let known = engine.config.shared.node_index(&process.name).is_some();
        !(known && engine.members.counts(process.boot))
    };
    let others = engine.members.processes().filter(counted);
    configured
        .chain(others.map(|process| {
            let known = engine.config.shared.node_index(&process.name).is_some();
            peer(engine, now, process, known)
        }))
        .collect()
}

fn unheard(name: &NodeName) -> PeerStatus {
    PeerStatus {
        name: name.clone(),
        configured: true,
        counts: false,
        alive: false,
        state: None,
        reason: None,
        detail: String::new(),
        age_ms: None,
        boot: None,
        address: None,
        hears_by: Vec::new(),
        hears: BTreeMap::new(),
        version: None,
        digest: None,
        key: None,
        holding: 0,
        uptime_ms: None,
    }
}

fn peer(engine: &Engine, now: Instant, process: &Process, configured: bool) -> PeerStatus {
    let facts = process.facts.as_ref();
    PeerStatus {
        configured,
        counts: engine.members.counts(process.boot),
        alive: engine.members.live(&process.name).is_some_and(|live| live.boot == process.boot),
        state: facts.map(|facts| facts.state),
        reason: facts.map(|facts| facts.reason),
        detail: facts.map(|facts| facts.detail.clone()).unwrap_or_default(),
        age_ms: process.last_fresh.map(|at| millis(now.since(at))),
        boot: Some(process.boot.to_string()),
        address: process.source.map(|address| address.to_string()),
        hears_by: heard_by(process.paths(now)),
        hears: hears(engine, process),
        version: facts.map(|facts| facts.version),
        digest: facts.map(|facts| facts.digest.to_string()),
        key: Some(process.key.to_string()),
        holding: facts.map_or(0, |facts| facts.holding.count()),
        uptime_ms: Some(millis(process.header.uptime)),
        ..unheard(&process.name)
    }
}

/// The who-hears-whom matrix, one row.
fn hears(engine: &Engine, process: &Process) -> BTreeMap<NodeName, Vec<HeardBy>> {
    let name_of = |boot: BootId| {
        let own = (boot == engine.members.own.boot).then(|| engine.name.clone());
        own.or_else(|| Some(engine.members.process(boot)?.name.clone()))
    };
    let entries = process.heard().into_iter().flatten();
    entries
        .filter(|(_, heard)| heard.counts)
        .filter_map(|(boot, heard)| Some((name_of(*boot)?, heard_by(heard.paths))))
        .collect()
}

fn heard_by(paths: Paths) -> Vec<HeardBy> {
    let all = [
        (paths.multicast, HeardBy::Multicast),
        (paths.unicast, HeardBy::Unicast),
        (paths.relayed, HeardBy::Relayed),
    ];
    all.into_iter().filter(|(on, _)| *on).map(|(_, by)| by).collect()
}

fn name(engine: &Engine, node: NodeIndex) -> NodeName {
    engine.config.shared.nodes[node.get()].name.clone()
}

pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
