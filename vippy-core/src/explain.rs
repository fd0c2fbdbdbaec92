//! Which group somebody means, and the engine's reasons for where it is.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::{Failback, SharedPart, nearest};
use crate::engine::Engine;
use crate::explanation::{CandidateStatus, Explanation, FailbackRule, UnknownGroup};
use crate::field::Field;
use crate::identity::{GroupIndex, NodeIndex};
use crate::ownership::Ownership;
use crate::report;
use crate::time::Instant;

/// How many groups an error names.
const NAMED: usize = 5;

/// The group of this name or identity, with this address, or at this place.
pub(crate) fn find(shared: &SharedPart, of: &str) -> Result<GroupIndex, UnknownGroup> {
    let net: Option<IpNet> = of.parse().ok();
    let ip: Option<IpAddr> = net.map(|net| net.addr()).or_else(|| of.parse().ok());
    let place: Option<u32> = of.strip_prefix('#').and_then(|place| place.parse().ok());
    let groups = || shared.group_indexes().zip(&shared.groups);
    let named = groups().find(|(_, group)| group.id.as_str() == of);
    let addressed = || {
        groups().find(|(_, group)| group.addresses.iter().any(|address| Some(address.ip()) == ip))
    };
    let numbered = || groups().find(|(index, _)| Some(index.0 + 1) == place);
    let found = named.or_else(addressed).or_else(numbered);
    found.map(|(index, _)| index).ok_or_else(|| unknown(shared, of))
}

fn unknown(shared: &SharedPart, of: &str) -> UnknownGroup {
    let names = || shared.groups.iter().map(|group| group.id.as_str());
    let known = match (nearest(of, names()), shared.groups.len()) {
        (Some(near), _) => format!(" (did you mean {near:?}?)"),
        (None, 0) => "; there are none".to_owned(),
        (None, all) => {
            let mut some: Vec<String> =
                names().take(NAMED).map(|name| format!("{name:?}")).collect();
            some.extend(
                all.checked_sub(NAMED).filter(|rest| *rest > 0).map(|n| format!("{n} more")),
            );
            format!("; there are {}", some.join(", "))
        }
    };
    UnknownGroup { of: of.to_owned(), known }
}

/// Why a group is where it is; decides nothing and changes nothing.
pub(crate) fn explain(engine: &Engine, now: Instant, group: GroupIndex) -> Explanation {
    let shared = &engine.config.shared;
    let readings = engine.dialect.readings(&engine.members, shared.digest);
    let field = engine.field(&readings);
    let candidates = field.candidates(engine.holdings.candidate(engine.standing.state().into()));
    let ownership = field.ownership(candidates);
    let decided = ownership.decide(group);
    let config = &shared.groups[group.get()];
    let (failback, failback_ms) = match config.failback {
        Failback::Auto => (FailbackRule::Auto, None),
        Failback::Never => (FailbackRule::Never, None),
        Failback::After(delay) => (FailbackRule::After, Some(report::millis(delay))),
    };
    let succession = engine.placement.succession(group).into_iter();
    let candidate = |node| candidate(engine, now, (&field, &ownership), node, group);
    let name = |node| field.name(node).clone();
    let candidates: Vec<CandidateStatus> = succession.map(candidate).collect();
    let holders = shared.nodes.iter().filter(|node| {
        candidates.iter().any(|candidate| candidate.holds && candidate.node == node.name)
    });
    Explanation {
        identity: engine.name.clone(),
        group: config.id.clone(),
        name: config.name.clone(),
        addresses: config.addresses.iter().map(|address| address.net).collect(),
        prefer: config.prefer.map(name),
        exclusive: config.exclusive,
        failback,
        failback_ms,
        owner: decided.map(|(node, _)| name(node)),
        rule: decided.map(|(_, rule)| rule),
        holders: holders.map(|node| node.name.clone()).collect(),
        here: report::here(engine, group),
        outranked: engine.ranking.higher().map(str::to_owned),
        candidates,
    }
}

fn candidate(
    engine: &Engine,
    now: Instant,
    (field, ownership): (&Field<'_>, &Ownership<'_>),
    node: NodeIndex,
    group: GroupIndex,
) -> CandidateStatus {
    let config = &field.shared.nodes[node.get()];
    let refusal = ownership.refusal(node, group);
    let unheard = CandidateStatus {
        node: config.name.clone(),
        tier: ownership.tier(node, group),
        holds: ownership.holds(node, group),
        alive: false,
        left: false,
        age_ms: None,
        state: None,
        reason: None,
        detail: String::new(),
        readable: true,
        standby: config.standby,
        weight: config.weight,
        cannot: refusal.cannot,
        rather_not: refusal.rather_not,
        why: None,
        left_ms: None,
    };
    if engine.me == Some(node) {
        return own(engine, now, group, unheard);
    }
    let Some(peer) = engine.members.counted(&config.name) else {
        let left_at = engine.members.left_at(&config.name);
        let age_ms = left_at.map(|at| report::millis(now.since(at)));
        return CandidateStatus { left: left_at.is_some(), age_ms, ..unheard };
    };
    let facts = peer.facts.as_ref();
    CandidateStatus {
        alive: engine.members.live(&config.name).is_some(),
        age_ms: peer.last_fresh.map(|at| report::millis(now.since(at))),
        state: facts.map(|facts| facts.state),
        reason: facts.map(|facts| facts.reason),
        detail: facts.map(|facts| facts.detail.clone()).unwrap_or_default(),
        readable: facts.is_none_or(|facts| facts.speaks(field.shared.digest)),
        ..unheard
    }
}

/// This node knows more of itself than it announces.
fn own(engine: &Engine, now: Instant, group: GroupIndex, of: CandidateStatus) -> CandidateStatus {
    let reluctance = engine.holdings.reluctance();
    let cannot = engine.holdings.slot(group).cannot();
    let why = cannot.map(str::to_owned).or_else(|| report::rather_not(engine, group));
    let until = reluctance.until(group).filter(|_| cannot.is_none());
    CandidateStatus {
        alive: true,
        state: Some(engine.standing.state()),
        reason: Some(engine.standing.reason()),
        detail: engine.standing.detail().to_owned(),
        why,
        left_ms: until.filter(|until| *until > now).map(|until| report::millis(until.since(now))),
        ..of
    }
}
