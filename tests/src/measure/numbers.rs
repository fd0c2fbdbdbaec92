//! Least, middle and most of some times, as figures for people.

use std::fmt;
use std::time::Duration;

/// Milliseconds with a fraction.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A set of values in order.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    /// Sorts the values.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Spread(values)
    }

    /// A value of each of several things.
    pub fn of<T>(things: &[T], value: impl FnMut(&T) -> f64) -> Spread {
        Spread::new(things.iter().map(value))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All values, the least first.
    pub fn iter(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().copied()
    }

    /// The value below which `share` of all lie, 0 to 1; NaN if there are none.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index among the values"
    )]
    pub fn at(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    /// The largest.
    pub fn most(&self) -> f64 {
        self.at(1.0)
    }
}

impl fmt::Display for Spread {
    /// `least / middle / most`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let [least, middle, most] = [0.0, 0.5, 1.0].map(|share| self.at(share));
        write!(f, "{least:.digits$} / {middle:.digits$} / {most:.digits$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_middle_and_most_are_found_in_any_order() {
        let spread = Spread::new([3.0, 1.0, 2.0]);
        assert_eq!(spread.to_string(), "1.0 / 2.0 / 3.0");
        assert_eq!((spread.count(), spread.at(0.99)), (3, 3.0));
        assert!(Spread::default().most().is_nan());
    }
}
