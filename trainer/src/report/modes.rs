//! Plots of modes: shares over time, ribbons of episodes, maps of slices of the state space.

use std::fmt::Write as _;

use super::svg::{color, escape, short, text};

/// Fill of a mode's area.
#[must_use]
pub fn mode_color(mode: usize) -> &'static str {
    color(mode)
}

/// Share of the episodes in each mode at each step (`[t][mode]`) as stacked columns, in a box of `size`.
#[must_use]
pub fn stacked_shares(title: &str, shares: &[Vec<f64>], size: (f64, f64)) -> String {
    let mut out = String::new();
    text(&mut out, 4.0, 16.0, title, "start", 12.5, "#111827", true);
    let (left, top) = (40.0, 46.0);
    let (width, height) = (size.0 - left - 12.0, size.1 - top - 40.0);
    let step = width / shares.len().max(1) as f64;
    for (t, row) in shares.iter().enumerate() {
        let mut from = 0.0;
        for (mode, &share) in row.iter().enumerate() {
            if share > 0.0 {
                let y = top + height * (1.0 - from - share);
                rect(
                    &mut out,
                    (left + t as f64 * step, y, step - 0.6, height * share),
                    mode_color(mode),
                    &format!("t = {t}, mode {mode}: {:.1} %", 100.0 * share),
                );
            }
            from += share;
        }
    }
    for percent in [0, 50, 100] {
        let y = top + height * (1.0 - f64::from(percent) / 100.0);
        text(
            &mut out,
            left - 5.0,
            y + 3.5,
            &format!("{percent} %"),
            "end",
            10.5,
            "#4b5563",
            false,
        );
    }
    let every = shares.len().div_ceil(5).max(1);
    for t in (0..shares.len()).step_by(every) {
        let x = left + (t as f64 + 0.5) * step;
        text(
            &mut out,
            x,
            top + height + 14.0,
            &t.to_string(),
            "middle",
            10.5,
            "#4b5563",
            false,
        );
    }
    let below = top + height + 30.0;
    text(
        &mut out,
        left + width / 2.0,
        below,
        "step",
        "middle",
        11.0,
        "#374151",
        false,
    );
    out += &legend(shares.first().map_or(0, Vec::len), left, 36.0);
    out
}

/// Names of the modes' colours in a row.
#[must_use]
pub fn legend(modes: usize, left: f64, y: f64) -> String {
    let mut out = String::new();
    for mode in 0..modes.min(12) {
        let x = left + 34.0 * mode as f64;
        rect(&mut out, (x, y - 9.0, 11.0, 11.0), mode_color(mode), "");
        text(
            &mut out,
            x + 15.0,
            y,
            &mode.to_string(),
            "start",
            11.0,
            "#374151",
            false,
        );
    }
    out
}

/// The modes of one episode as a ribbon of `width` by `height` at (`x`, `y`).
#[must_use]
pub fn ribbon(modes: &[usize], x: f64, y: f64, width: f64, height: f64) -> String {
    let mut out = String::new();
    let step = width / modes.len().max(1) as f64;
    for (t, &mode) in modes.iter().enumerate() {
        rect(
            &mut out,
            (x + t as f64 * step, y, step - 0.5, height),
            mode_color(mode),
            &format!("t = {t}: mode {mode}"),
        );
    }
    out
}

/// A map of modes over a rectangle of the state space.
#[derive(Clone, Debug, PartialEq)]
pub struct ModeMap {
    /// Headline.
    pub title: String,
    /// Label of the horizontal axis, and its ends.
    pub x: (String, f64, f64),
    /// Label of the vertical axis, and its ends.
    pub y: (String, f64, f64),
    /// Modes: `[row][column]`, the first row at the lower end.
    pub modes: Vec<Vec<usize>>,
}

impl ModeMap {
    /// Share of the cells, in percent, in which two maps of the same size have the same mode.
    #[must_use]
    pub fn agreement_percent(&self, other: &Self) -> f64 {
        let pairs = self
            .modes
            .iter()
            .flatten()
            .zip(other.modes.iter().flatten());
        let (same, all) = pairs.fold((0_usize, 0_usize), |(same, all), (a, b)| {
            (same + usize::from(a == b), all + 1)
        });
        100.0 * same as f64 / all.max(1) as f64
    }

    /// The map as SVG elements in a box of `size` by `size` plus 40 above and 40 below.
    #[must_use]
    pub fn elements(&self, size: f64) -> String {
        let mut out = String::new();
        text(
            &mut out,
            44.0,
            18.0,
            &self.title,
            "start",
            12.5,
            "#111827",
            true,
        );
        let (left, top, side) = (44.0, 28.0, size - 56.0);
        let rows = self.modes.len().max(1);
        let height = side / rows as f64;
        // Cells meet without seams.
        out.push_str("<g shape-rendering=\"crispEdges\">");
        for (index, row) in self.modes.iter().enumerate() {
            let y = top + side - (index + 1) as f64 * height;
            let width = side / row.len().max(1) as f64;
            let mut from = 0;
            // One rectangle per run of equal cells keeps the page small.
            for column in 1..=row.len() {
                if column == row.len() || row[column] != row[from] {
                    // A hair more than the cell hides the seams between rows.
                    let run = (column - from) as f64 * width + 0.25;
                    let x = left + from as f64 * width;
                    rect(
                        &mut out,
                        (x, y, run, height + 0.25),
                        mode_color(row[from]),
                        "",
                    );
                    from = column;
                }
            }
        }
        let _ = write!(
            out,
            "</g><rect x=\"{left}\" y=\"{top}\" width=\"{side:.1}\" height=\"{side:.1}\" fill=\"none\" stroke=\"#9ca3af\"/>"
        );
        let bottom = top + side;
        for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
            let x = self.x.1 + share * (self.x.2 - self.x.1);
            let y = self.y.1 + share * (self.y.2 - self.y.1);
            text(
                &mut out,
                left + share * side,
                bottom + 14.0,
                &short(round(x)),
                anchor,
                10.5,
                "#4b5563",
                false,
            );
            let at = bottom - share * side + 7.0 * share;
            text(
                &mut out,
                left - 4.0,
                at,
                &short(round(y)),
                "end",
                10.5,
                "#4b5563",
                false,
            );
        }
        text(
            &mut out,
            left + side / 2.0,
            bottom + 29.0,
            &self.x.0,
            "middle",
            11.5,
            "#374151",
            false,
        );
        let _ = write!(
            out,
            "<text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\" font-size=\"11.5\" \
             fill=\"#374151\">{}</text>",
            top + side / 2.0,
            escape(&self.y.0)
        );
        out
    }
}

/// To three significant digits.
fn round(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

fn rect(out: &mut String, (x, y, width, height): (f64, f64, f64, f64), fill: &str, hover: &str) {
    let _ = write!(
        out,
        "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{:.2}\" height=\"{:.2}\" fill=\"{fill}\"",
        width.max(0.1),
        height.max(0.0)
    );
    if hover.is_empty() {
        out.push_str("/>");
    } else {
        let _ = write!(out, "><title>{}</title></rect>", escape(hover));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_draw_every_cell_once_and_count_agreement() {
        let map = |modes: &[&[usize]]| ModeMap {
            title: "t".into(),
            x: ("x".into(), -1.0, 1.0),
            y: ("y".into(), -1.0, 1.0),
            modes: modes.iter().map(|row| row.to_vec()).collect(),
        };
        let a = map(&[&[0, 0, 1], &[2, 2, 2]]);
        let b = map(&[&[0, 1, 1], &[2, 2, 0]]);
        assert!((a.agreement_percent(&b) - 100.0 * 4.0 / 6.0).abs() < 1e-9);
        assert_eq!(a.agreement_percent(&a), 100.0);
        let svg = a.elements(156.0);
        // Side 100: runs of two thirds, one third, and a whole row.
        let widths: Vec<&str> = svg
            .split("width=\"")
            .skip(1)
            .map(|part| part.split('"').next().unwrap())
            .collect();
        assert_eq!(widths, ["66.92", "33.58", "100.25", "100.0"]);
        assert!(svg.contains(mode_color(2)));
    }

    #[test]
    fn shares_fill_the_column() {
        let svg = stacked_shares("t", &[vec![0.25, 0.75], vec![1.0, 0.0]], (300.0, 200.0));
        let bars = svg.matches("<title>").count();
        assert_eq!(bars, 3, "an empty share is not drawn");
        assert!(svg.contains("t = 0, mode 1: 75.0 %"));
        assert_eq!(
            ribbon(&[0, 1, 1], 0.0, 0.0, 30.0, 5.0)
                .matches("<title>")
                .count(),
            3
        );
    }
}
