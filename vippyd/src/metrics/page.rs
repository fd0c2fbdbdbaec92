//! The page that metrics are written on, family by family.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::histogram::Histogram;

/// Labels with their values.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// Names are written in full here, as they are exposed: what follows from a name
/// (its unit, that it is a counter) is read off it.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Page<'a> {
        Page(encoder)
    }

    /// What goes up and down. A family without a sample is left out.
    pub(super) fn gauge<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let encode = |mut metric: MetricEncoder<'_>, value: V| metric.encode_gauge(&value);
        self.family(name, help, MetricType::Gauge, samples, encode)
    }

    /// What only rises; its name ends in `_total`.
    pub(super) fn counter<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        let name = name.strip_suffix("_total").unwrap_or(name);
        let encode = |mut metric: MetricEncoder<'_>, value: V| {
            metric.encode_counter::<NoLabelSet, V, f64>(&value, None)
        };
        self.family(name, help, MetricType::Counter, samples, encode)
    }

    /// What is told in labels; its name ends in `_info`.
    pub(super) fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_, N>,
    ) -> fmt::Result {
        let name = name.strip_suffix("_info").unwrap_or(name);
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    /// How often something took how long.
    pub(super) fn histogram(&mut self, name: &str, help: &str, spans: &Histogram) -> fmt::Result {
        let (stem, unit) = unit(name);
        let mut metric =
            self.0.encode_descriptor(stem, help, unit.as_ref(), MetricType::Histogram)?;
        let (sum, count) = (spans.sum(), spans.count());
        metric.encode_histogram::<NoLabelSet>(sum, count, spans.buckets(), None)
    }

    fn family<'l, const N: usize, V>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: impl IntoIterator<Item = (Labels<'l, N>, V)>,
        encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return Ok(());
        }
        let (stem, unit) = unit(name);
        let mut metric = self.0.encode_descriptor(stem, help, unit.as_ref(), kind)?;
        for (labels, value) in samples {
            if N == 0 {
                return encode(metric, value);
            }
            encode(metric.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

/// A single sample without labels.
pub(super) fn one<V>(value: V) -> [(Labels<'static, 0>, V); 1] {
    [([], value)]
}

/// A yes as 1 and a no as 0.
pub(super) fn yes(value: bool) -> u32 {
    u32::from(value)
}

/// A name without its unit, and the unit.
fn unit(name: &str) -> (&str, Option<Unit>) {
    let units = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
    let found = units.into_iter().find_map(|(suffix, unit)| {
        let stem = name.strip_suffix(suffix)?;
        Some((stem, Some(unit)))
    });
    found.unwrap_or((name, None))
}
