//! SVG as text: colours, texts and lines, whole documents, panels side by side.
//!
//! Written out by hand because the page wants what chart crates' SVG back ends do not give: fractional
//! coordinates (smooth curves at any zoom), no font lookup, and hover text.

use std::fmt::Write as _;

pub use super::axis::{Axis, Scale, short};
pub use super::chart::{Chart, Mark, Series, charts};

/// Colours that people with any colour vision tell apart (Okabe and Ito, 2008), without its yellow, which
/// disappears on white.
pub const PALETTE: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c6d1f",
];

/// Fonts of the reader's system; nothing is loaded.
const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif";

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

pub(super) fn line(out: &mut String, x0: f64, y0: f64, x1: f64, y1: f64, color: &str, width: f64) {
    let _ = write!(
        out,
        "<path d=\"M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}\" stroke=\"{color}\" stroke-width=\"{width}\" fill=\"none\"/>"
    );
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
