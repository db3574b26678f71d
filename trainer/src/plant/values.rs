//! Numbers, vectors and matrices out of TOML values, with errors that name the exact place.

use std::path::Path;

use nalgebra::DMatrix;
use toml::Value;

use crate::{Error, Result};

/// Largest n, m and M that a plant may have; beyond it a plant file is taken for a mistake.
pub(super) const MAX_SIZE: usize = 256;

/// A place in a file: `file: field` of the errors that are made here.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    pub(super) field: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(file: &'a Path, field: impl Into<String>) -> Self {
        Self {
            file,
            field: field.into(),
        }
    }

    /// The element `index` of this array.
    pub(super) fn at(&self, index: usize) -> Self {
        Self::new(self.file, format!("{}[{index}]", self.field))
    }

    pub(super) fn error(&self, found: impl std::fmt::Display, allowed: impl Into<String>) -> Error {
        Error::input(self.file, self.field.as_str(), found, allowed)
    }

    /// A finite number.
    pub(super) fn number(&self, value: &Value) -> Result<f64> {
        let number = match value {
            Value::Float(number) => *number,
            Value::Integer(number) => *number as f64,
            other => return Err(self.error(describe(other), "a finite number")),
        };
        self.finite(number)
    }

    /// Refuses NaN, infinities, and what would become one in binary32, in which policies are trained and act.
    pub(super) fn finite(&self, number: f64) -> Result<f64> {
        if is_number(number) {
            Ok(number)
        } else if number.is_finite() {
            Err(self.error(format!("{number:e}"), "a magnitude of at most 3.4e38"))
        } else {
            Err(self.error(number, "a finite number"))
        }
    }

    /// An array of 1 to [`MAX_SIZE`] elements.
    pub(super) fn array<'v>(&self, value: &'v Value, what: &str) -> Result<&'v [Value]> {
        let Value::Array(items) = value else {
            return Err(self.error(describe(value), what));
        };
        if items.is_empty() || items.len() > MAX_SIZE {
            let allowed = format!("{what} of 1 to {MAX_SIZE} elements");
            return Err(self.error(format!("{} elements", items.len()), allowed));
        }
        Ok(items)
    }

    /// A vector of `n` finite numbers; a single number stands for all of them.
    pub(super) fn vector(&self, value: &Value, n: usize) -> Result<Vec<f64>> {
        if !value.is_array() {
            return Ok(vec![self.number(value)?; n]);
        }
        let items = self.array(value, "a number or an array of numbers")?;
        if items.len() != n {
            let allowed = format!("a number or an array of {n} numbers");
            return Err(self.error(format!("{} numbers", items.len()), allowed));
        }
        let numbers = items.iter().enumerate();
        numbers.map(|(i, item)| self.at(i).number(item)).collect()
    }

    /// A matrix as an array of rows of equal length.
    fn matrix(&self, value: &Value) -> Result<DMatrix<f64>> {
        let rows = self.array(value, "a matrix (an array of rows)")?;
        let mut entries = Vec::new();
        let mut columns = 0;
        for (i, row) in rows.iter().enumerate() {
            let place = self.at(i);
            let row = place.array(row, "a row (an array of numbers)")?;
            if i == 0 {
                columns = row.len();
            } else if row.len() != columns {
                let allowed = format!("{columns} numbers, as in the first row");
                return Err(place.error(format!("{} numbers", row.len()), allowed));
            }
            for (j, number) in row.iter().enumerate() {
                entries.push(place.at(j).number(number)?);
            }
        }
        Ok(DMatrix::from_row_slice(rows.len(), columns, &entries))
    }

    /// One matrix shared by all modes, or an array of one per mode.
    pub(super) fn matrices(&self, value: &Value) -> Result<Vec<DMatrix<f64>>> {
        let outer = self.array(value, "a matrix, or an array of one matrix per mode")?;
        let rows = self.at(0).array(&outer[0], "an array")?;
        if rows[0].is_array() {
            let matrices = outer.iter().enumerate();
            matrices.map(|(d, item)| self.at(d).matrix(item)).collect()
        } else {
            Ok(vec![self.matrix(value)?])
        }
    }
}

/// Whether it is a number in binary32 too.
pub(super) fn is_number(value: f64) -> bool {
    (value as f32).is_finite()
}

/// What a value is, for messages.
fn describe(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("an array of {} elements", items.len()),
        Value::Table(_) => "a table".into(),
        other => format!("`{other}`"),
    }
}

/// An array of numbers.
pub(super) fn numbers(values: &[f64]) -> Value {
    Value::Array(values.iter().map(|&v| Value::Float(v)).collect())
}

/// An array of texts.
pub(super) fn strings(values: &[String]) -> Value {
    Value::Array(values.iter().map(|v| Value::from(v.as_str())).collect())
}

/// A matrix as an array of rows.
pub(super) fn rows(matrix: &DMatrix<f64>) -> Value {
    let row = |i: usize| numbers(&matrix.row(i).iter().copied().collect::<Vec<_>>());
    Value::Array((0..matrix.nrows()).map(row).collect())
}
