//! How often something took how long.

use std::time::Duration;

/// Counts of spans, by upper bounds in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Upper bounds, rising, and how many spans are below each and above the one
    /// before; the last has none.
    buckets: Vec<(f64, u64)>,
    sum: f64,
}

impl Histogram {
    /// An empty one with these upper bounds, in rising order.
    pub fn new(bounds: &[f64]) -> Histogram {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        Histogram { buckets: bounds.map(|bound| (bound, 0)).collect(), sum: 0.0 }
    }

    /// Counts a span.
    pub fn note(&mut self, span: Duration) {
        let seconds = span.as_secs_f64();
        self.sum += seconds;
        let bucket = self.buckets.iter_mut().find(|(bound, _)| seconds <= *bound);
        if let Some((_, count)) = bucket {
            *count += 1;
        }
    }

    /// Upper bounds, and how many spans lie between each and the one before it.
    pub fn buckets(&self) -> &[(f64, u64)] {
        &self.buckets
    }

    /// How many spans there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// All spans together, in seconds.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_counts_once_where_it_belongs() {
        let mut histogram = Histogram::new(&[0.001, 0.01]);
        for micros in [500, 1_000, 1_001, 70_000] {
            histogram.note(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets(), [(0.001, 2), (0.01, 1), (f64::INFINITY, 1)]);
        assert_eq!(histogram.count(), 4);
        assert!((histogram.sum() - 0.072_501).abs() < 1e-9);
    }
}
