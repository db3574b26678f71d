//! What must hold of plant matrices, whatever they were read from.

use std::path::Path;

use nalgebra::DMatrix;

use super::SwitchedLqrData;
use super::values::Place;
use crate::Result;

/// Relative asymmetry and negative curvature that rounding may leave in a cost matrix.
const ROUNDING: f64 = 1e-9;

/// Checks number and shape of the matrices, finiteness, `Q` symmetric positive semidefinite and
/// `R` symmetric positive definite. Errors name `prefix` + `A`, `B`, `Q` or `R` and the mode.
///
/// # Errors
/// [`crate::Error::Input`] for the first violation.
pub(super) fn matrices(data: &SwitchedLqrData, file: &Path, prefix: &str) -> Result<()> {
    let place = |key: &str| Place::new(file, format!("{prefix}{key}"));
    let modes = data.a.len();
    let (rows, columns) = data.a[0].shape();
    if rows != columns {
        let allowed = "a square matrix, n x n";
        return Err(place("A").error(format!("{rows} x {columns}"), allowed));
    }
    let (n, m) = (rows, data.b[0].ncols());
    let expected = [
        ("A", &data.a, n, n),
        ("B", &data.b, n, m),
        ("Q", &data.q, n, n),
        ("R", &data.r, m, m),
    ];
    for (key, matrices, rows, columns) in expected {
        if matrices.len() != modes {
            let allowed = format!("{modes}, as many as A");
            return Err(place(key).error(format!("{} matrices", matrices.len()), allowed));
        }
        for (mode, matrix) in matrices.iter().enumerate() {
            let place = place(key).at(mode);
            if matrix.shape() != (rows, columns) {
                let found = format!("{} x {}", matrix.nrows(), matrix.ncols());
                let allowed = format!("{rows} x {columns} (n = {n} states, m = {m} controls)");
                return Err(place.error(found, allowed));
            }
            for i in 0..rows {
                for j in 0..columns {
                    place.at(i).at(j).finite(matrix[(i, j)])?;
                }
            }
        }
    }
    for mode in 0..modes {
        cost(&data.q[mode], &place("Q").at(mode), false)?;
        cost(&data.r[mode], &place("R").at(mode), true)?;
    }
    Ok(())
}

/// Checks symmetry and definiteness of one cost matrix.
fn cost(matrix: &DMatrix<f64>, place: &Place, strictly: bool) -> Result<()> {
    let allowed = if strictly {
        "a symmetric positive definite matrix"
    } else {
        "a symmetric positive semidefinite matrix"
    };
    let n = matrix.nrows();
    let scale = matrix.amax();
    for i in 0..n {
        for j in 0..i {
            let (lower, upper) = (matrix[(i, j)], matrix[(j, i)]);
            if (lower - upper).abs() > ROUNDING * scale {
                let found = format!("{upper} at [{j}][{i}] but {lower} at [{i}][{j}]");
                return Err(place.error(found, allowed));
            }
        }
    }
    let off_diagonal = (0..n).any(|i| (0..n).any(|j| i != j && matrix[(i, j)] != 0.0));
    let least = if off_diagonal {
        let symmetric = (matrix + matrix.transpose()) * 0.5;
        symmetric.symmetric_eigenvalues().min()
    } else {
        matrix.diagonal().min()
    };
    let bad = if strictly {
        least <= ROUNDING * scale
    } else {
        least < -ROUNDING * scale
    };
    if bad {
        return Err(place.error(format!("least eigenvalue {least}"), allowed));
    }
    Ok(())
}
