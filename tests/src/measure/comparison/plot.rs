//! Distributions as an SVG picture: for each value the share of all that lie
//! below it.

use std::fmt::Write as _;

use super::super::Spread;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
/// Room for what stands on the left, below, on the right, above.
const MARGINS: [f64; 4] = [60.0, 56.0, 24.0, 24.0];
const COLOURS: [&str; 4] = ["#1f6feb", "#d1242f", "#54aeff", "#ff8182"];

/// One distribution.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it says in the legend.
    pub name: String,
    /// Its values in any order.
    pub values: Vec<f64>,
}

/// A picture of some distributions; `axis` says what the values are.
pub fn plot(axis: &str, curves: &[Curve]) -> String {
    let most = curves.iter().flat_map(|curve| &curve.values).copied().fold(1.0, f64::max);
    let frame = Frame { most: most.ceil() };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{axis}\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#ffffff\"/>\n\
         <g font-family=\"DejaVu Sans, Helvetica, sans-serif\" font-size=\"13\" fill=\"#1f2328\">\n"
    );
    frame.axes(&mut svg, axis);
    for (number, curve) in curves.iter().enumerate() {
        frame.curve(&mut svg, number, curve);
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

/// Where values come to lie.
struct Frame {
    most: f64,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        let [left, _, right, _] = MARGINS;
        left + (WIDTH - left - right) * value / self.most
    }

    fn y(&self, share: f64) -> f64 {
        let [_, below, _, above] = MARGINS;
        HEIGHT - below - (HEIGHT - below - above) * share
    }

    fn axes(&self, svg: &mut String, axis: &str) {
        let (left, right) = (self.x(0.0), self.x(self.most));
        let (bottom, top) = (self.y(0.0), self.y(1.0));
        for quarter in 0..=4 {
            let share = f64::from(quarter) / 4.0;
            let (y, percent) = (self.y(share), 25 * quarter);
            let _ = writeln!(
                svg,
                "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#d1d9e0\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>",
                left - 8.0,
                y + 4.0,
            );
        }
        let mut value = 0.0;
        while value <= self.most {
            let x = self.x(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {bottom:.1}V{top:.1}\" stroke=\"#eff2f5\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{value}</text>",
                bottom + 18.0,
            );
            value += 1.0;
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{axis}</text>",
            f64::midpoint(left, right),
            bottom + 40.0,
        );
    }

    /// A step at every value, and a line in the legend.
    fn curve(&self, svg: &mut String, number: usize, curve: &Curve) {
        let colour = COLOURS[number % COLOURS.len()];
        let values = Spread::new(curve.values.iter().copied());
        let count = values.count() as f64;
        let mut path = format!("M{:.1} {:.1}", self.x(0.0), self.y(0.0));
        for (below, value) in values.iter().enumerate() {
            let share = (below as f64 + 1.0) / count;
            let _ = write!(path, "H{:.1}V{:.1}", self.x(value), self.y(share));
        }
        let _ = write!(path, "H{:.1}", self.x(self.most));
        let (x, y) = (self.x(0.0) + 16.0, self.y(1.0) + 20.0 + 20.0 * number as f64);
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <path d=\"M{x:.1} {:.1}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 4.0,
            x + 26.0,
            curve.name,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_by_a_step_at_every_value_and_ends_at_the_top() {
        let curve = Curve { name: "one".into(), values: vec![2.0, 1.0] };
        let svg = plot("values", &[curve]);
        let frame = Frame { most: 2.0 };
        let (x, y) = (|value| frame.x(value), |share| frame.y(share));
        let path = format!(
            "M{:.1} {:.1}H{:.1}V{:.1}H{:.1}V{:.1}H{:.1}",
            x(0.0),
            y(0.0),
            x(1.0),
            y(0.5),
            x(2.0),
            y(1.0),
            x(2.0),
        );
        assert!(svg.contains(&path), "{path} in {svg}");
    }
}
