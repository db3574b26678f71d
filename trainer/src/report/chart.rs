//! Charts with two axes: lines with bands, marks with error bars, a legend.

use std::fmt::Write as _;

use super::axis::{Axis, Scale, short, ticks};
use super::svg::{color, escape, line, panels, text};

/// Estimated width of a character at a font size of 1.
const CHARACTER: f64 = 0.56;
/// Height of a legend of one row.
const LEGEND_ROW: f64 = 18.0;
/// Least distance between a mark's centre and the end of an axis: nearer, half of it would lie outside.
const MARGIN: f64 = 8.0;
/// Dash patterns by number; the first is a solid line.
const DASHES: [&str; 6] = ["", "7 5", "1 5", "9 5 1 5", "16 5", "4 4"];

/// How the points of a series are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// A line alone.
    #[default]
    Line,
    /// A line with a mark at each point.
    LineAndMarks,
    /// Filled marks alone.
    Filled,
    /// Hollow marks alone.
    Hollow,
}

/// A line or a set of marks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Name in the legend; an empty one is not listed.
    pub name: String,
    /// Number of its colour.
    pub color: usize,
    /// Number of its dash pattern; 0 is solid, 1 is what references have.
    pub dash: usize,
    /// Number of the shape of its marks.
    pub shape: usize,
    /// How points are drawn.
    pub mark: Mark,
    /// Points (x, y), in order.
    pub points: Vec<(f64, f64)>,
    /// Band or error bars around the points: (x, low, high).
    pub spread: Vec<(f64, f64, f64)>,
}

/// A chart with two axes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Headline.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// What it shows; later series lie above earlier ones.
    pub series: Vec<Series>,
}

/// The frame of a panel: where data coordinates lie.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: (f64, f64),
    y: (f64, f64),
    /// What stays free at both ends of the axes.
    inset: (f64, f64),
}

impl Frame {
    fn px(&self, x: f64) -> f64 {
        let across = self.width - 2.0 * self.inset.0;
        self.left + self.inset.0 + (x - self.x.0) / (self.x.1 - self.x.0) * across
    }

    fn py(&self, y: f64) -> f64 {
        let up = self.height - 2.0 * self.inset.1;
        self.bottom() - self.inset.1 - (y - self.y.0) / (self.y.1 - self.y.0) * up
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

impl Chart {
    /// The chart as SVG elements in a box of `width` by `height` at the origin.
    #[must_use]
    pub fn elements(&self, width: f64, height: f64) -> String {
        let mut out = String::new();
        text(
            &mut out,
            4.0,
            16.0,
            &self.title,
            "start",
            13.5,
            "#111827",
            true,
        );
        let legend = self.legend(width - 8.0);
        out += &legend.0;
        let y_ticks = ticks(&self.y, self.range(false));
        let x_ticks = ticks(&self.x, self.range(true));
        let top = 28.0 + legend.1;
        let tall = height - top - 44.0;
        // A label longer than its axis goes on in a second line.
        let label = wrapped(&self.y.label, (tall / (11.5 * CHARACTER)).max(8.0) as usize);
        let beside = 14.0 * label.len().saturating_sub(1) as f64;
        let widest = y_ticks.1.iter().map(|(_, label)| label.chars().count());
        let left = 34.0 + beside + widest.max().unwrap_or(1) as f64 * 11.0 * CHARACTER;
        let wide = width - left - 14.0;
        let frame = Frame {
            left,
            top,
            width: wide,
            height: tall,
            x: x_ticks.0,
            y: y_ticks.0,
            inset: (
                self.inset(true, x_ticks.0, wide),
                self.inset(false, y_ticks.0, tall),
            ),
        };
        self.axes(&mut out, &frame, &x_ticks.1, &y_ticks.1);
        let middle = frame.left + frame.width / 2.0;
        text(
            &mut out,
            middle,
            height - 8.0,
            &self.x.label,
            "middle",
            11.5,
            "#374151",
            false,
        );
        for (row, words) in label.iter().enumerate() {
            let _ = write!(
                out,
                "<text transform=\"translate({:.1} {:.1}) rotate(-90)\" text-anchor=\"middle\" font-size=\"11.5\" \
                 fill=\"#374151\">{}</text>",
                13.0 + 14.0 * row as f64,
                frame.top + frame.height / 2.0,
                escape(words)
            );
        }
        for series in &self.series {
            self.draw(&mut out, &frame, series);
        }
        out
    }

    /// Lines and labels of both axes; a label that would run into the one before is left out.
    fn axes(&self, out: &mut String, frame: &Frame, x: &[(f64, String)], y: &[(f64, String)]) {
        let (right, bottom) = (frame.left + frame.width, frame.bottom());
        let mut free = f64::INFINITY;
        for (at, label) in y {
            let y = frame.py(*at);
            line(out, frame.left, y, right, y, "#e5e7eb", 1.0);
            if y < free {
                let left = frame.left - 6.0;
                text(out, left, y + 3.8, label, "end", 11.0, "#4b5563", false);
                free = y - 11.0;
            }
        }
        let mut free = f64::NEG_INFINITY;
        for (at, label) in x {
            let x = frame.px(*at);
            line(out, x, bottom, x, bottom + 4.0, "#9ca3af", 1.0);
            let half = 0.5 * 11.0 * 1.1 * CHARACTER * label.chars().count() as f64;
            if x - half > free {
                let below = bottom + 17.0;
                text(out, x, below, label, "middle", 11.0, "#4b5563", false);
                free = x + half + 3.0;
            }
        }
        line(out, frame.left, bottom, right, bottom, "#9ca3af", 1.0);
    }

    /// What stays free at both ends of an axis of `length` pixels: nothing, or as much as a mark needs that would lie on an end.
    fn inset(&self, horizontal: bool, range: (f64, f64), length: f64) -> f64 {
        let axis = if horizontal { &self.x } else { &self.y };
        let near = MARGIN / length.max(1.0) * (range.1 - range.0);
        let marked = self.series.iter().filter(|s| s.mark != Mark::Line);
        let cut = marked
            .flat_map(|s| &s.points)
            .map(|p| if horizontal { p.0 } else { p.1 })
            .filter(|&v| axis.shows(v))
            .map(|v| axis.at(v))
            .any(|v| v < range.0 + near || v > range.1 - near);
        if cut { MARGIN } else { 0.0 }
    }

    /// Least and greatest value on an axis, in its own scale.
    fn range(&self, horizontal: bool) -> Option<(f64, f64)> {
        let axis = if horizontal { &self.x } else { &self.y };
        let points = self.series.iter().flat_map(|series| {
            let points = series.points.iter();
            let points = points.map(move |p| if horizontal { p.0 } else { p.1 });
            let spread = series
                .spread
                .iter()
                .flat_map(move |s| if horizontal { [s.0, s.0] } else { [s.1, s.2] });
            points.chain(spread)
        });
        let given = axis.ticks.iter().flatten().map(|tick| tick.0);
        points
            .chain(axis.include.iter().copied())
            .chain(given)
            .filter(|&v| axis.shows(v))
            .map(|v| axis.at(v))
            .fold(None, |range, v| match range {
                None => Some((v, v)),
                Some((low, high)) => Some((v.min(low), v.max(high))),
            })
    }

    /// By how much the legend in a box of `width` is higher than one row.
    #[must_use]
    pub fn legend_beyond_a_row(&self, width: f64) -> f64 {
        (self.legend(width - 8.0).1 - LEGEND_ROW).max(0.0)
    }

    /// Elements and height of the legend above the plot; a series without a point is not listed.
    fn legend(&self, width: f64) -> (String, f64) {
        let shown = |s: &&Series| {
            let mut points = s.points.iter();
            !s.name.is_empty() && points.any(|p| self.x.shows(p.0) && self.y.shows(p.1))
        };
        let named: Vec<&Series> = self.series.iter().filter(shown).collect();
        let (mut out, mut x, mut y) = (String::new(), 6.0, 34.0);
        if named.is_empty() {
            return (out, 0.0);
        }
        for series in named {
            let length = 30.0 + series.name.chars().count() as f64 * 11.5 * CHARACTER + 12.0;
            if x > 6.0 && x + length > width {
                (x, y) = (6.0, y + 17.0);
            }
            if matches!(series.mark, Mark::Line | Mark::LineAndMarks) {
                path(&mut out, &format!("M{x:.1} {:.1}h20", y - 4.0), series);
            }
            mark(&mut out, x + 10.0, y - 4.0, series, "");
            text(
                &mut out,
                x + 26.0,
                y,
                &series.name,
                "start",
                11.5,
                "#374151",
                false,
            );
            x += length;
        }
        (out, y - 16.0)
    }

    fn draw(&self, out: &mut String, frame: &Frame, series: &Series) {
        let place = |x: f64, y: f64| {
            let shown = self.x.shows(x) && self.y.shows(y);
            shown.then(|| (frame.px(self.x.at(x)), frame.py(self.y.at(y))))
        };
        let color = color(series.color);
        let spread: Vec<[(f64, f64); 2]> = series
            .spread
            .iter()
            .filter_map(|&(x, low, high)| {
                let high = place(x, high)?;
                // On a logarithmic axis a bar that reaches below 0 ends at the axis.
                let low = match place(x, low) {
                    None if self.y.scale == Scale::Log => (high.0, frame.bottom()),
                    low => low?,
                };
                Some([low, high])
            })
            .collect();
        let lines = matches!(series.mark, Mark::Line);
        if lines && spread.len() > 1 {
            let mut d = String::from("M");
            for [low, _] in &spread {
                let _ = write!(d, "{:.1} {:.1} ", low.0, low.1);
            }
            for [_, high] in spread.iter().rev() {
                let _ = write!(d, "{:.1} {:.1} ", high.0, high.1);
            }
            let _ = write!(
                out,
                "<path d=\"{}z\" fill=\"{color}\" fill-opacity=\"0.16\"/>",
                d.trim_end()
            );
        } else {
            for [low, high] in &spread {
                line(out, low.0, low.1, high.0, high.1, color, 1.4);
                for end in [low, high] {
                    line(out, end.0 - 3.0, end.1, end.0 + 3.0, end.1, color, 1.4);
                }
            }
        }
        if matches!(series.mark, Mark::Line | Mark::LineAndMarks) {
            let mut d = String::new();
            let mut pen = 'M';
            for &(x, y) in &series.points {
                match place(x, y) {
                    Some((px, py)) => {
                        let _ = write!(d, "{pen}{px:.1} {py:.1}");
                        pen = 'L';
                    }
                    None => pen = 'M',
                }
            }
            path(out, &d, series);
            // A line through one point would draw nothing.
            if let ([(x, y)], Mark::Line) = (series.points.as_slice(), series.mark)
                && let Some((px, py)) = place(*x, *y)
            {
                let hover = format!("{}: {} / {}", series.name, short(*x), short(*y));
                let dot = Series {
                    mark: Mark::Filled,
                    color: series.color,
                    shape: series.shape,
                    ..Series::default()
                };
                mark(out, px, py, &dot, &hover);
            }
        }
        for &(x, y) in &series.points {
            if let Some((px, py)) = place(x, y) {
                let hover = format!("{}: {} / {}", series.name, short(x), short(y));
                mark(out, px, py, series, &hover);
            }
        }
    }
}

fn path(out: &mut String, d: &str, series: &Series) {
    let dash = match DASHES[series.dash % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    };
    let _ = write!(
        out,
        "<path d=\"{d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\" \
         stroke-linecap=\"round\"{dash}/>",
        color(series.color)
    );
}

/// A mark of the series' shape and colour.
fn mark(out: &mut String, x: f64, y: f64, series: &Series, hover: &str) {
    if series.mark == Mark::Line {
        return;
    }
    let color = color(series.color);
    let style = if series.mark == Mark::Hollow {
        format!("fill=\"#fff\" stroke=\"{color}\" stroke-width=\"1.8\"")
    } else {
        format!("fill=\"{color}\" stroke=\"#fff\" stroke-width=\"1\"")
    };
    let shape = match series.shape % 5 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.3\" {style}>"),
        1 => format!(
            "<path d=\"M{:.1} {:.1}h8v8h-8z\" {style}>",
            x - 4.0,
            y - 4.0
        ),
        2 => format!("<path d=\"M{x:.1} {:.1}l5 8.6h-10z\" {style}>", y - 5.2),
        3 => format!(
            "<path d=\"M{x:.1} {:.1}l5.2 5.2l-5.2 5.2l-5.2 -5.2z\" {style}>",
            y - 5.2
        ),
        _ => format!("<path d=\"M{x:.1} {:.1}l5 -8.6h-10z\" {style}>", y + 5.2),
    };
    let end = if shape.starts_with("<circle") {
        "</circle>"
    } else {
        "</path>"
    };
    if hover.is_empty() {
        let _ = write!(out, "{shape}{end}");
    } else {
        let _ = write!(out, "{shape}<title>{}</title>{end}", escape(hover));
    }
}

/// A label in lines of at most `characters` each, but for longer words.
fn wrapped(label: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in label.split(' ') {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= characters => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Charts side by side, `columns` in a row, as one SVG document; all are higher than `size` by what the longest legend takes
/// beyond one row, so that no legend eats into its plot.
#[must_use]
pub fn charts(label: &str, charts: &[Chart], columns: usize, size: (f64, f64)) -> String {
    let legends = charts.iter().map(|chart| chart.legend_beyond_a_row(size.0));
    let size = (size.0, size.1 + legends.fold(0.0, f64::max));
    let list: Vec<String> = charts
        .iter()
        .map(|chart| chart.elements(size.0, size.1))
        .collect();
    panels(label, &list, columns, size)
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
