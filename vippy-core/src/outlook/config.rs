//! Two configurations side by side.

use std::collections::BTreeMap;

use crate::config::{Group, SharedPart};
use crate::identity::{GroupId, GroupIndex, NodeName};
use crate::plan::{ConfigChange, GroupChange};

/// Groups by identity.
pub(super) fn indexes(shared: &SharedPart) -> BTreeMap<GroupId, GroupIndex> {
    let ids = shared.groups.iter().map(|group| group.id.clone());
    ids.zip(shared.group_indexes()).collect()
}

/// Where groups of one configuration are in another.
pub(super) fn positions(old: &SharedPart, new: &SharedPart) -> BTreeMap<u32, u32> {
    let new = indexes(new);
    let old = old.group_indexes().zip(&old.groups);
    old.filter_map(|(index, group)| Some((index.0, new.get(&group.id)?.0))).collect()
}

/// What is different.
pub(super) fn compare(old: &SharedPart, new: &SharedPart) -> ConfigChange {
    let lacks = |shared: &SharedPart, name: &NodeName| shared.node_index(name).is_none();
    let names = |shared: &SharedPart, other: &SharedPart| -> Vec<NodeName> {
        let names = shared.nodes.iter().map(|node| node.name.clone());
        names.filter(|name| lacks(other, name)).collect()
    };
    let (before, after) = (indexes(old), indexes(new));
    let only = |shared: &SharedPart, other: &BTreeMap<GroupId, GroupIndex>| -> Vec<GroupId> {
        let ids = shared.groups.iter().map(|group| group.id.clone());
        ids.filter(|id| !other.contains_key(id)).collect()
    };
    let changed = new.groups.iter().filter_map(|group| {
        let former = &old.groups[before.get(&group.id)?.get()];
        let keys = group_keys((old, former), (new, group));
        (!keys.is_empty()).then(|| GroupChange { group: group.id.clone(), keys })
    });
    ConfigChange {
        from_version: old.version,
        version: new.version,
        digest: new.digest.to_string(),
        keys: keys(old, new),
        nodes_added: names(new, old),
        nodes_removed: names(old, new),
        added: only(new, &before),
        removed: only(old, &after),
        changed: changed.collect(),
    }
}

/// What to say of a configuration that is to follow another.
pub(super) fn warnings(old: &SharedPart, new: &SharedPart) -> Option<String> {
    let (running, version) = (old.version, new.version);
    if old.digest == new.digest {
        Some("its shared part is the one that is in force".to_owned())
    } else if version < running {
        Some(format!("its version {version} is below the running {running}: nobody follows it"))
    } else if version == running {
        Some(format!("its version is {version} as the running one's: raise it"))
    } else {
        None
    }
}

/// Shared keys but `version` and `vips` that differ.
fn keys(old: &SharedPart, new: &SharedPart) -> Vec<String> {
    let differ = [
        ("nodes", old.nodes != new.nodes),
        ("interval", old.interval != new.interval),
        ("stale", old.stale != new.stale),
        ("mature", old.mature != new.mature),
        ("hold_down", old.hold_down != new.hold_down),
        ("quorum", old.quorum != new.quorum),
        ("witness", old.witness != new.witness),
        ("isolation", old.isolation != new.isolation),
        ("checks", old.checks != new.checks),
    ];
    named(&differ)
}

fn group_keys(
    (old, before): (&SharedPart, &Group),
    (new, after): (&SharedPart, &Group),
) -> Vec<String> {
    let preferred = |shared: &SharedPart, group: &Group| {
        group.prefer.map(|node| shared.nodes[node.get()].name.clone())
    };
    let differ = [
        ("prefer", preferred(old, before) != preferred(new, after)),
        ("exclusive", before.exclusive != after.exclusive),
        ("failback", before.failback != after.failback),
        ("vips", before.addresses != after.addresses),
    ];
    named(&differ)
}

fn named(differ: &[(&str, bool)]) -> Vec<String> {
    let differ = differ.iter().filter(|(_, differs)| *differs);
    differ.map(|(key, _)| (*key).to_owned()).collect()
}
