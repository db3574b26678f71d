//! Small charts as SVG text: line charts with bands, bars, stacked shares, mode ribbons and maps.
//!
//! Written out by hand because the page wants what chart crates' SVG back ends do not give: fractional
//! coordinates (smooth curves at any zoom), no font lookup, and hover text.

use std::fmt::Write as _;

use super::axis::ticks;
pub use super::axis::{Axis, Scale, short};

/// Colours that people with any colour vision tell apart (Okabe and Ito, 2008), without its yellow, which
/// disappears on white.
pub const PALETTE: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c6d1f",
];

/// Fonts of the reader's system; nothing is loaded.
const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

/// Estimated width of a character at a font size of 1.
const CHARACTER: f64 = 0.56;

/// Colour number `index`, round and round.
#[must_use]
pub fn color(index: usize) -> &'static str {
    PALETTE[index % PALETTE.len()]
}

/// `text` for use in SVG and HTML, in content and in attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

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
    /// Number of its colour and of the shape of its marks.
    pub color: usize,
    /// Whether the line is dashed, as references are.
    pub dashed: bool,
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
}

impl Frame {
    fn px(&self, x: f64) -> f64 {
        self.left + (x - self.x.0) / (self.x.1 - self.x.0) * self.width
    }

    fn py(&self, y: f64) -> f64 {
        self.top + (1.0 - (y - self.y.0) / (self.y.1 - self.y.0)) * self.height
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
        let widest = y_ticks.1.iter().map(|(_, label)| label.chars().count());
        let left = 34.0 + widest.max().unwrap_or(1) as f64 * 11.0 * CHARACTER;
        let top = 28.0 + legend.1;
        let frame = Frame {
            left,
            top,
            width: width - left - 14.0,
            height: height - top - 44.0,
            x: x_ticks.0,
            y: y_ticks.0,
        };
        for (at, label) in &y_ticks.1 {
            let y = frame.py(*at);
            line(
                &mut out,
                frame.left,
                y,
                frame.left + frame.width,
                y,
                "#e5e7eb",
                1.0,
            );
            text(
                &mut out,
                frame.left - 6.0,
                y + 3.8,
                label,
                "end",
                11.0,
                "#4b5563",
                false,
            );
        }
        for (at, label) in &x_ticks.1 {
            let x = frame.px(*at);
            let bottom = frame.top + frame.height;
            line(&mut out, x, bottom, x, bottom + 4.0, "#9ca3af", 1.0);
            text(
                &mut out,
                x,
                bottom + 17.0,
                label,
                "middle",
                11.0,
                "#4b5563",
                false,
            );
        }
        let bottom = frame.top + frame.height;
        line(
            &mut out,
            frame.left,
            bottom,
            frame.left + frame.width,
            bottom,
            "#9ca3af",
            1.0,
        );
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
        let _ = write!(
            out,
            "<text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\" font-size=\"{:.1}\" \
             fill=\"#374151\">{}</text>",
            frame.top + frame.height / 2.0,
            // Smaller where it would run into the legend.
            (frame.height / (self.y.label.chars().count().max(1) as f64 * CHARACTER)).min(11.5),
            escape(&self.y.label)
        );
        for series in &self.series {
            self.draw(&mut out, &frame, series);
        }
        out
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

    /// Elements and height of the legend above the plot.
    fn legend(&self, width: f64) -> (String, f64) {
        let named: Vec<&Series> = self.series.iter().filter(|s| !s.name.is_empty()).collect();
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
                // On a logarithmic axis a bar that reaches below 0 ends at the axis.
                let low = if self.y.shows(low) {
                    low
                } else {
                    10.0_f64.powf(frame.y.0)
                };
                Some([place(x, low)?, place(x, high)?])
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

fn line(out: &mut String, x0: f64, y0: f64, x1: f64, y1: f64, color: &str, width: f64) {
    let _ = write!(
        out,
        "<path d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\" stroke=\"{color}\" stroke-width=\"{width}\" fill=\"none\"/>"
    );
}

fn path(out: &mut String, d: &str, series: &Series) {
    let dash = if series.dashed {
        " stroke-dasharray=\"6 4\""
    } else {
        ""
    };
    let _ = write!(
        out,
        "<path d=\"{d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-linejoin=\"round\" \
         stroke-linecap=\"round\"{dash}/>",
        color(series.color)
    );
}

/// A mark whose shape goes with the colour, so that neither is needed alone.
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
    let shape = match series.color % 4 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.3\" {style}>"),
        1 => format!(
            "<path d=\"M{:.1} {:.1}h8v8h-8z\" {style}>",
            x - 4.0,
            y - 4.0
        ),
        2 => format!("<path d=\"M{x:.1} {:.1}l5 8.6h-10z\" {style}>", y - 5.2),
        _ => format!(
            "<path d=\"M{x:.1} {:.1}l5.2 5.2l-5.2 5.2l-5.2 -5.2z\" {style}>",
            y - 5.2
        ),
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

#[expect(
    clippy::too_many_arguments,
    reason = "the attributes of a text element"
)]
pub(super) fn text(
    out: &mut String,
    x: f64,
    y: f64,
    content: &str,
    anchor: &str,
    size: f64,
    color: &str,
    bold: bool,
) {
    let weight = if bold { " font-weight=\"600\"" } else { "" };
    let _ = write!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{color}\"{weight}>{}</text>",
        escape(content)
    );
}

/// A whole SVG document of the given size around `elements`, on white, so that it reads on any page.
#[must_use]
pub fn document(width: f64, height: f64, label: &str, elements: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" role=\"img\" aria-label=\"{}\" font-family=\"{FONT}\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{elements}</svg>\n",
        escape(label)
    )
}

/// Panels of equal size side by side, `columns` in a row, as one SVG document.
#[must_use]
pub fn panels(label: &str, panels: &[String], columns: usize, size: (f64, f64)) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns).max(1);
    let mut elements = String::new();
    for (index, panel) in panels.iter().enumerate() {
        let x = 8.0 + (index % columns) as f64 * (size.0 + 16.0);
        let y = 8.0 + (index / columns) as f64 * (size.1 + 16.0);
        let _ = write!(
            elements,
            "<g transform=\"translate({x:.0} {y:.0})\">{panel}</g>"
        );
    }
    let width = columns as f64 * (size.0 + 16.0);
    let height = rows as f64 * (size.1 + 16.0);
    document(width, height, label, &elements)
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;
