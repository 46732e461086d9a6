//! Latencies by percentile, drawn: one line for each job and operation. Both axes are logarithmic: to the right each step cuts the
//! rest to a tenth, upwards latencies grow tenfold.

use std::{fmt::Write, path::Path};

use hdrhistogram::Histogram;

use super::outcome::Outcome;
use crate::failure::{Doing, Result};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 930.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 400.0;
/// Colours that those who cannot tell red from green can tell apart (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999933"];
/// Dashes for more lines than colours.
const DASHES: [&str; 3] = ["", "6 3", "2 2"];
/// Most lines; more could not be told apart.
const LINES_MAX: usize = 24;
/// Points of a line for each tenth of the rest.
const POINTS: u32 = 40;

/// A line: its name and its latencies.
struct Line<'a> {
    name: String,
    latency: &'a Histogram<u64>,
}

/// Draws all jobs into a file.
pub fn write<'a>(file: &Path, outcomes: &'a [Outcome]) -> Result {
    let lines: Vec<Line<'_>> = outcomes
        .iter()
        .flat_map(|outcome| {
            let line = |(op, side): (super::job::Op, &'a super::tally::Side)| Line {
                name: format!("{} {}", outcome.label(), op.name()),
                latency: &side.latency,
            };
            outcome.total.sides().map(line)
        })
        .take(LINES_MAX)
        .collect();
    std::fs::write(file, draw(&lines)).doing(format_args!("writing {}", file.display()))
}

fn draw(lines: &[Line<'_>]) -> String {
    // As far to the right as the measurement goes: a millionth cannot be seen among a thousand.
    let most = lines.iter().map(|line| line.latency.len()).max().unwrap_or(0).max(10);
    let decades = (most as f64).log10().floor().clamp(1.0, 7.0);
    let low = lines.iter().map(|line| line.latency.value_at_quantile(0.0)).min().unwrap_or(1_000);
    let high = lines.iter().map(|line| line.latency.max()).max().unwrap_or(1_000_000);
    let axes = Axes {
        decades,
        low: (low.max(1) as f64).log10().floor(),
        high: (high.max(10) as f64).log10().ceil(),
    };
    let mut svg = String::new();
    // Writing to a string does not fail.
    let height = HEIGHT.max(BOTTOM + 90.0 + lines.len().div_ceil(2) as f64 * 20.0);
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">"
    );
    let _ = writeln!(svg, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>");
    text(&mut svg, WIDTH / 2.0, 30.0, "middle", 17, "Latency by percentile");
    axes.draw(&mut svg);
    for (number, line) in lines.iter().enumerate() {
        axes.line(&mut svg, number, line);
    }
    svg.push_str("</svg>\n");
    svg
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, size: u32, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{text}</text>"
    );
}

/// What a place on the paper means. Powers of ten.
struct Axes {
    /// Where the right end is: 10^-decades of all operations are slower.
    decades: f64,
    /// The lowest latency, in nanoseconds.
    low: f64,
    /// The highest.
    high: f64,
}

impl Axes {
    fn x(&self, quantile: f64) -> f64 {
        let nines = -(1.0 - quantile).max(1e-12).log10();
        LEFT + (RIGHT - LEFT) * (nines / self.decades).clamp(0.0, 1.0)
    }

    fn y(&self, ns: f64) -> f64 {
        let place = (ns.max(1.0).log10() - self.low) / (self.high - self.low).max(1.0);
        BOTTOM - (BOTTOM - TOP) * place.clamp(0.0, 1.0)
    }

    fn draw(&self, svg: &mut String) {
        let mut rule = |x1: f64, y1: f64, x2: f64, y2: f64, colour: &str| {
            let _ = writeln!(
                svg,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
            );
        };
        for power in self.low as i32..=self.high as i32 {
            let y = self.y(10f64.powi(power));
            rule(LEFT, y, RIGHT, y, "#bbb");
            for fine in 2..10 {
                let y = self.y(10f64.powi(power) * f64::from(fine));
                if f64::from(power) < self.high {
                    rule(LEFT, y, RIGHT, y, "#eee");
                }
            }
        }
        let quantiles = self.quantiles();
        for (quantile, _) in &quantiles {
            rule(self.x(*quantile), TOP, self.x(*quantile), BOTTOM, "#bbb");
        }
        rule(LEFT, TOP, LEFT, BOTTOM, "#000");
        rule(LEFT, BOTTOM, RIGHT, BOTTOM, "#000");
        for power in self.low as i32..=self.high as i32 {
            let y = self.y(10f64.powi(power));
            text(svg, LEFT - 8.0, y + 4.0, "end", 13, &time(power));
        }
        for (quantile, name) in &quantiles {
            text(svg, self.x(*quantile), BOTTOM + 20.0, "middle", 13, name);
        }
        text(
            svg,
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 44.0,
            "middle",
            14,
            "percentile of operations (%)",
        );
        let y = f64::midpoint(TOP, BOTTOM);
        let _ = writeln!(
            svg,
            "<text x=\"22\" y=\"{y:.1}\" text-anchor=\"middle\" font-size=\"14\" transform=\"rotate(-90 22 {y:.1})\">latency</text>"
        );
    }

    /// Percentiles with a rule of their own, and how they are written.
    fn quantiles(&self) -> Vec<(f64, String)> {
        let mut all = vec![(0.0, "0".to_owned()), (0.5, "50".to_owned())];
        for nines in 1..=self.decades as usize {
            let name = match nines {
                1 => "90".to_owned(),
                2 => "99".to_owned(),
                more => format!("99.{}", "9".repeat(more - 2)),
            };
            all.push((1.0 - 10f64.powi(-(nines as i32)), name));
        }
        all
    }

    fn line(&self, svg: &mut String, number: usize, line: &Line<'_>) {
        let colour = COLOURS[number % COLOURS.len()];
        let dash = DASHES[number / COLOURS.len() % DASHES.len()];
        let mut points = String::new();
        let last = (line.latency.len().max(1) as f64).log10().min(self.decades);
        let steps = (self.decades * f64::from(POINTS)) as u32;
        for step in 0..=steps {
            let nines = f64::from(step) / f64::from(POINTS);
            if nines > last {
                break;
            }
            let quantile = 1.0 - 10f64.powf(-nines);
            let ns = line.latency.value_at_quantile(quantile) as f64;
            let _ = write!(points, "{:.1},{:.1} ", self.x(quantile), self.y(ns));
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            points.trim_end()
        );
        let (x, y) =
            (LEFT + (number % 2) as f64 * 430.0, BOTTOM + 76.0 + (number / 2) as f64 * 20.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\" stroke-dasharray=\"{dash}\"/>",
            y - 4.0,
            x + 28.0,
            y - 4.0
        );
        text(
            svg,
            x + 36.0,
            y,
            "start",
            13,
            &format!("{} (max {})", line.name, exact(line.latency.max())),
        );
    }
}

/// A power of ten of nanoseconds.
fn time(power: i32) -> String {
    let (unit, rest) = match power {
        ..3 => ("ns", power),
        3..6 => ("us", power - 3),
        6..9 => ("ms", power - 6),
        _ => ("s", power - 9),
    };
    format!("{} {unit}", 10u64.pow(rest.max(0).cast_unsigned()))
}

fn exact(ns: u64) -> String {
    match ns {
        ..1_000_000 => format!("{:.0} us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tally::histogram;

    /// Every line is drawn inside the paper, grows to the right, and names what it shows; names cannot break the file.
    #[test]
    fn lines_are_drawn_within_the_axes() {
        let mut latency = histogram();
        (1..=100_000u64).for_each(|ns| latency.record(ns * 10).unwrap());
        let svg = draw(&[Line { name: "a<b & c".into(), latency: &latency }]);
        assert!(svg.contains("a&lt;b &amp; c") && svg.contains("99.99") && svg.contains("1 ms"));
        let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(points.len() > 100);
        assert!(points.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 >= pair[1].1));
        assert!(
            points.iter().all(|(x, y)| (LEFT..=RIGHT).contains(x) && (TOP..=BOTTOM).contains(y))
        );
    }

    /// Nothing measured is an empty drawing, not a crash.
    #[test]
    fn nothing_can_be_drawn() {
        assert!(draw(&[]).ends_with("</svg>\n"));
        assert!(draw(&[Line { name: String::new(), latency: &histogram() }]).contains("polyline"));
    }
}
