//! Clusters of the sizes that are measured.

use crate::lan::{Plan, group};

/// Three nodes and so many groups, with the documents that a daemon has.
pub(crate) fn plan(groups: u32) -> Plan {
    let host = |n: u32| u8::try_from(n % 250).unwrap_or_default();
    let groups = (0..groups).map(|n| group(&format!("g{n}"), host(n)));
    Plan { groups: groups.collect(), travels: true, ..Plan::new(3, 0) }
}
