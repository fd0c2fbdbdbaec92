//! What criterion measured of the core, read from the files that it leaves.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Nanoseconds of one of the core's benchmarks, such as `wire`, `bare HMAC`,
/// `6 groups`: the slope, or else the mean. `None`: it has not run.
pub(super) fn nanoseconds(criterion: &Path, benchmark: &[&str]) -> Option<f64> {
    let mut path = criterion.to_path_buf();
    path.extend(benchmark);
    path.extend(["new", "estimates.json"]);
    let estimates: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    let point = |kind: &str| estimates.get(kind)?.get("point_estimate")?.as_f64();
    point("slope").or_else(|| point("mean"))
}
