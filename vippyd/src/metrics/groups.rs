//! Who should hold each group, who does, and what stands against it.

use std::fmt;

use vippy_client::Status;
use vippy_client::status::GroupStatus;
use vippy_core::identity::NodeName;

use super::page::{Labels, Page, one};

pub(super) fn write(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    shares(page, status)?;
    holders(page, &status.groups)?;
    obstacles(page, &status.groups)?;
    belief(page, &status.groups)
}

/// Sums for each node, which stay small with thousands of groups.
fn shares(page: &mut Page<'_>, status: &Status) -> fmt::Result {
    let groups = &status.groups;
    page.gauge("vippy_groups", "Groups of the configuration.", one(groups.len() as u64))?;
    let count = |fits: &dyn Fn(&GroupStatus) -> bool| {
        groups.iter().filter(|group| fits(group)).count() as u64
    };
    let owned = |node: &NodeName| count(&|group| group.owner.as_ref() == Some(node));
    let held = |node: &NodeName| count(&|group| group.holders.contains(node));
    page.gauge(
        "vippy_groups_owned",
        "Groups that a node should hold.",
        status.config.nodes.iter().map(|node| ([("node", node.as_str())], owned(node))),
    )?;
    page.gauge(
        "vippy_groups_held",
        "Groups that a node announces as held.",
        status.config.nodes.iter().map(|node| ([("node", node.as_str())], held(node))),
    )?;
    let unowned = count(&|group| group.owner.is_none());
    page.gauge("vippy_groups_unowned", "Groups that no node can hold.", one(unowned))
}

fn holders(page: &mut Page<'_>, groups: &[GroupStatus]) -> fmt::Result {
    page.gauge(
        "vippy_group_holders",
        "Nodes that announce a group as held.",
        groups.iter().map(|group| (of(group), group.holders.len() as u64)),
    )?;
    page.gauge(
        "vippy_group_owned",
        "1 for the node that should hold a group.",
        groups.iter().filter_map(|group| Some((at(group, group.owner.as_ref()?), 1u32))),
    )?;
    page.gauge(
        "vippy_group_held",
        "1 for each node that announces a group as held.",
        groups.iter().flat_map(|group| group.holders.iter().map(|node| (at(group, node), 1u32))),
    )
}

fn obstacles(page: &mut Page<'_>, groups: &[GroupStatus]) -> fmt::Result {
    let cannot = groups.iter().filter(|group| group.cannot.is_some());
    page.gauge(
        "vippy_group_cannot",
        "1 for a group that cannot be held here.",
        cannot.map(|group| (of(group), 1u32)),
    )?;
    let rather_not = groups.iter().filter(|group| group.rather_not.is_some());
    page.gauge(
        "vippy_group_rather_not",
        "1 for a group that this node would rather leave to others.",
        rather_not.map(|group| (of(group), 1u32)),
    )?;
    page.counter(
        "vippy_group_claims_total",
        "Frames in which stations outside the cluster claimed a group that was here.",
        groups.iter().filter_map(|group| Some((of(group), group.claimed.as_ref()?.times))),
    )
}

fn belief(page: &mut Page<'_>, groups: &[GroupStatus]) -> fmt::Result {
    let taken = || groups.iter().filter_map(|group| Some((group, group.belief.as_ref()?)));
    page.gauge(
        "vippy_group_verifiers",
        "Nodes that were asked to look where a group is that this node took.",
        taken().map(|(group, belief)| (of(group), u32::from(belief.of))),
    )?;
    page.gauge(
        "vippy_group_believers",
        "Nodes that found it here.",
        taken().map(|(group, belief)| (of(group), u32::from(belief.believed))),
    )
}

fn of(group: &GroupStatus) -> Labels<'_, 1> {
    [("group", group.id.as_str())]
}

fn at<'a>(group: &'a GroupStatus, node: &'a NodeName) -> Labels<'a, 2> {
    [("group", group.id.as_str()), ("node", node.as_str())]
}
