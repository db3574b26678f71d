//! Units of states and controls: texts for people, checked for typing errors.
//!
//! ```text
//! unit    = "" | factor { (" " | "/") factor }       a "/" holds for the factor behind it
//! factor  = [prefix] symbol [["^"] ["-"] digits] | "1" | "%"
//! ```

/// Prefixes of the SI.
const PREFIXES: [&str; 13] = [
    "p", "n", "u", "\u{b5}", "m", "c", "d", "da", "h", "k", "M", "G", "T",
];
/// The SI's symbols, and others that engineers write.
const SYMBOLS: &[&str] = &[
    "m", "g", "s", "A", "K", "mol", "cd", "rad", "sr", "Hz", "N", "Pa", "J", "W", "C", "V", "F",
    "ohm", "\u{3a9}", "S", "Wb", "T", "H", "lm", "lx", "bar", "l", "L", "eV", "Wh", "VA", "t",
    "degC", "\u{b0}C", "deg", "\u{b0}", "min", "h", "d", "rpm", "rev", "pu", "unit", "units",
    "item", "items", "piece", "pieces", "period", "step", "sample", "cost",
];
/// What [`is_known`] takes, for messages.
pub(super) const ALLOWED: &str =
    "an empty text, or a product of units such as \"m/s\", \"kg m^2\", \"N m\", \"degC\", \"1\"";

/// Whether a text is a unit.
pub(super) fn is_known(unit: &str) -> bool {
    unit.is_empty() || unit.split([' ', '/']).all(is_factor)
}

fn is_factor(factor: &str) -> bool {
    if matches!(factor, "1" | "%") {
        return true;
    }
    let base = factor.trim_end_matches(|c: char| c.is_ascii_digit());
    let base = if base.len() < factor.len() {
        let base = base.strip_suffix('-').unwrap_or(base);
        base.strip_suffix('^').unwrap_or(base)
    } else {
        base
    };
    SYMBOLS.contains(&base)
        || PREFIXES.iter().any(|prefix| {
            let symbol = base.strip_prefix(prefix);
            symbol.is_some_and(|symbol| SYMBOLS.contains(&symbol))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_known_and_typing_errors_are_not() {
        for unit in [
            "",
            "1",
            "%",
            "m",
            "rad/s",
            "N m s",
            "kg m^2",
            "m s^-2",
            "m2",
            "dm",
            "l/s",
            "degC",
            "mA",
            "\u{b5}F",
            "kWh",
            "1/s",
            "units/period",
            "\u{3a9}",
            "rpm",
        ] {
            assert!(is_known(unit), "{unit}");
        }
        for unit in [
            "meter", "m//s", "m/", " m", "radians", "x", "m^", "2m", "m-1^2", "Nm",
        ] {
            assert!(!is_known(unit), "{unit}");
        }
    }
}
