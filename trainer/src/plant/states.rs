//! Files of initial states: one state a line, its coordinates separated by commas or blanks.

use std::path::Path;

use crate::{Error, Result};

/// Reads initial states of length `n` from the file at `path`; see [`parse_states`].
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, else those of [`parse_states`].
pub fn read_states(path: &Path, n: usize) -> Result<Vec<Vec<f64>>> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::io(path, "cannot read", source))?;
    parse_states(&text, path, n)
}

/// Reads initial states of length `n` from text; `file` is named in errors.
///
/// Blank lines are skipped; there is no header line.
///
/// # Errors
/// [`Error::Input`] naming the line: a word that is not a finite number, a line without exactly
/// `n` numbers, or no state at all.
pub fn parse_states(text: &str, file: &Path, n: usize) -> Result<Vec<Vec<f64>>> {
    let mut states = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let line_error = |column: usize, found: String, allowed: &str| {
            let field = format!("line {}, number {column}", index + 1);
            Error::input(file, field, found, allowed)
        };
        let mut state = Vec::with_capacity(n);
        for word in words(line) {
            let column = state.len() + 1;
            let value: f64 = word
                .parse()
                .map_err(|_| line_error(column, format!("`{word}`"), "a finite number"))?;
            if !value.is_finite() {
                return Err(line_error(column, format!("`{word}`"), "a finite number"));
            }
            state.push(value);
        }
        if state.len() != n {
            let field = format!("line {}", index + 1);
            let found = format!("{} numbers", state.len());
            return Err(Error::input(
                file,
                field,
                found,
                format!("{n} numbers, one per state"),
            ));
        }
        states.push(state);
    }
    if states.is_empty() {
        return Err(Error::input(
            file,
            "states",
            "no line",
            "at least one initial state",
        ));
    }
    Ok(states)
}

/// The numbers of a line: between commas, or between blanks where there is no comma.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let commas = line.contains(',');
    line.split(move |c: char| if commas { c == ',' } else { c.is_whitespace() })
        .map(str::trim)
        .filter(move |word| commas || !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Vec<f64>>> {
        parse_states(text, Path::new("X0.csv"), 2)
    }

    #[test]
    fn commas_and_blanks() {
        let expected = vec![vec![1.0, -2.5], vec![3e-2, 4.0]];
        assert_eq!(parse("1,-2.5\n3e-2, 4\n\n").unwrap(), expected);
        assert_eq!(parse("1  -2.5\r\n3e-2\t4").unwrap(), expected);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, message) in [
            (
                "1,2\n1,x\n",
                "X0.csv: line 2, number 2: found `x`; allowed: a finite number",
            ),
            (
                "1,2\n\n1,nan\n",
                "X0.csv: line 3, number 2: found `nan`; allowed: a finite number",
            ),
            (
                "1,inf\n",
                "X0.csv: line 1, number 2: found `inf`; allowed: a finite number",
            ),
            (
                "1,2\n1,2,3",
                "X0.csv: line 2: found 3 numbers; allowed: 2 numbers, one per state",
            ),
            (
                "1\n",
                "X0.csv: line 1: found 1 numbers; allowed: 2 numbers, one per state",
            ),
            (
                "1,,2\n",
                "X0.csv: line 1, number 2: found ``; allowed: a finite number",
            ),
            (
                "\n\n",
                "X0.csv: states: found no line; allowed: at least one initial state",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
