//! Every kind of bad plant file is refused with its place, finding and allowed values; good ones
//! read back to the numbers that were written.

use nalgebra::DMatrix;
use proptest::prelude::*;

use super::*;
use crate::plant::load_plant;

/// A correct plant with two states, one control, two modes.
const GOOD: &str = r#"
name = "two-tanks"
horizon = 10
noise = [0.1, 0.0]
sample_time_s = 0.5

[dynamics]
A = [[1.0, 0.1], [0, 1.0]]
B = [[[0.0], [1.0]], [[1.0], [0.0]]]
Q = [[1.0, 0.0], [0.0, 2.0]]
R = [[0.5]]
affine = [0.0, -0.25]

[bounds]
lower = -1.0
upper = [2.0]

[initial]
half_width = [1.0, 2.0]
center = 0.5

[names]
state = ["level 1", "level 2"]

[units]
control = ["l/s"]
"#;

fn parse(text: &str) -> Result<PlantModel> {
    let origin = Origin::Folder("/nowhere".into());
    parse_plant(text, Path::new("p.toml"), &origin, &Overrides::default())
}

/// The message for [`GOOD`] with `from` replaced by `to`.
fn refusal(from: &str, to: &str) -> String {
    assert_eq!(
        GOOD.matches(from).count(),
        1,
        "`{from}` must stand once in GOOD"
    );
    match parse(&GOOD.replace(from, to)) {
        Ok(_) => panic!("accepted `{to}`"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        }
    }
}

#[test]
fn good_file_reads() {
    let plant = parse(GOOD).unwrap();
    let dims = plant.dims();
    assert_eq!(
        (dims.state, dims.control, dims.modes, dims.noise),
        (2, 1, 2, 2)
    );
    let data = plant.lqr_data().unwrap();
    assert_eq!(
        data.a[1],
        DMatrix::from_row_slice(2, 2, &[1.0, 0.1, 0.0, 1.0])
    );
    assert_eq!(data.b[0], DMatrix::from_row_slice(2, 1, &[0.0, 1.0]));
    assert_eq!(data.q[1][(1, 1)], 2.0);
    assert_eq!(data.affine[1][1], -0.25);
    assert_eq!(data.noise_std, [0.1, 0.0]);
    assert_eq!(data.state_clamp, 100.0);
    assert_eq!(plant.bounds().unwrap().lower, [-1.0]);
    assert_eq!(plant.initial().half_width, [1.0, 2.0]);
    assert_eq!(plant.names().state, ["level 1", "level 2"]);
    assert_eq!(plant.names().control, ["u0"]);
    assert_eq!(plant.names().control_units, ["l/s"]);
    assert_eq!((plant.horizon(), plant.discount()), (10, 1.0));
    assert_eq!(plant.sample_time_s(), 0.5);
    assert_eq!(plant.source_text(), GOOD);
}

#[test]
fn resolved_file_reads_back() {
    for name in ["switched-lqr-3-2", "switched-lqr-5-3"] {
        let plant = load_plant(name, &[]).unwrap();
        let again = parse(&plant.resolved_toml()).unwrap();
        assert_eq!(again.lqr_data().unwrap(), plant.lqr_data().unwrap());
        assert_eq!(again.initial(), plant.initial());
        assert_eq!(again.target_class(), plant.target_class());
    }
    let plant = parse(GOOD).unwrap();
    let again = parse(&plant.resolved_toml()).unwrap();
    assert_eq!(again.lqr_data().unwrap(), plant.lqr_data().unwrap());
    assert_eq!(again.names(), plant.names());
    assert_eq!(again.resolved_toml(), plant.resolved_toml());
}

#[test]
fn bad_values_are_named() {
    let cases = [
        (
            "horizon = 10",
            "horizont = 10",
            "p.toml: line 3: found unknown field `horizont`; allowed: one of `name`, ",
        ),
        (
            "horizon = 10",
            "horizon = 0",
            "p.toml: horizon: found 0; allowed: 1 to 1000000 steps",
        ),
        (
            "horizon = 10",
            "horizon = -3",
            "p.toml: horizon: found -3; allowed: 1 to ",
        ),
        (
            "horizon = 10",
            "",
            "p.toml: horizon: found nothing; allowed: a number of steps",
        ),
        (
            "horizon = 10",
            "horizon = \"ten\"",
            "p.toml: line 3 (horizon): found invalid type: string \"ten\"; allowed: a whole number",
        ),
        ("horizon = 10", "horizon = ", "p.toml: line 3: found "),
        (
            "horizon = 10",
            "horizon = 2.5",
            "p.toml: line 3 (horizon): found invalid type: floating point `2.5`; allowed: a whole number",
        ),
        ("name = \"two-tanks\"", "", "missing field `name`"),
        (
            "\"two-tanks\"",
            "\"\"",
            "p.toml: name: found \"\"; allowed: 1 to 64 bytes",
        ),
        (
            "sample_time_s = 0.5",
            "sample_time_s = 0.0",
            "p.toml: sample_time_s: found 0; allowed: a finite number greater than 0",
        ),
        (
            "sample_time_s = 0.5",
            "discount = 1.5",
            "p.toml: discount: found 1.5; allowed: greater than 0, at most 1",
        ),
        (
            "sample_time_s = 0.5",
            "discount = nan",
            "p.toml: discount: found NaN",
        ),
        (
            "sample_time_s = 0.5",
            "state_clamp = inf",
            "p.toml: state_clamp: found inf; allowed: a finite",
        ),
        (
            "sample_time_s = 0.5",
            "target_class = 4294967296",
            "p.toml: target_class: found 4294967296; allowed: 0 to 4294967295",
        ),
        (
            "noise = [0.1, 0.0]",
            "noise = [0.1, -0.1]",
            "p.toml: noise[1]: found -0.1; allowed: a standard deviation, 0 or more",
        ),
        (
            "noise = [0.1, 0.0]",
            "noise = [0.1]",
            "p.toml: noise: found 1 numbers; allowed: a number or an array of 2 numbers",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[[1.0, 0.1], [0, nan]]",
            "p.toml: dynamics.A[0][1][1]: found NaN; allowed: a finite number",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[[1.0, 0.1], [0, inf]]",
            "p.toml: dynamics.A[1][1]: found inf; allowed: a finite number",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[[1.0, 0.1], [0, \"1\"]]",
            "p.toml: dynamics.A[1][1]: found `\"1\"`; allowed: a finite number",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[[1.0, 0.1, 0.2], [0, 1.0, 0.0]]",
            "p.toml: dynamics.A: found 2 x 3; allowed: a square matrix, n x n",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[[1.0, 0.1], [0]]",
            "p.toml: dynamics.A[1]: found 1 numbers; allowed: 2 numbers, as in the first row",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "[]",
            "p.toml: dynamics.A: found 0 elements; allowed: a matrix",
        ),
        (
            "[[1.0, 0.1], [0, 1.0]]",
            "1.0",
            "p.toml: dynamics.A: found `1.0`; allowed: a matrix",
        ),
        (
            "[[[0.0], [1.0]], [[1.0], [0.0]]]",
            "[[[0.0], [1.0]], [[1.0]]]",
            "p.toml: dynamics.B[1]: found 1 x 1; allowed: 2 x 1 (n = 2 states, m = 1 controls)",
        ),
        (
            "[[1.0, 0.0], [0.0, 2.0]]",
            "[[[1.0, 0.0], [0.0, 2.0]], [[1, 0], [0, 1]], [[1, 0], [0, 1]]]",
            "p.toml: dynamics.B: found 2 entries; allowed: 1 (shared by all modes) or 3",
        ),
        (
            "[[1.0, 0.0], [0.0, 2.0]]",
            "[[1.0, 0.0], [0.0, -2.0]]",
            "p.toml: dynamics.Q[0]: found least eigenvalue -2; allowed: a symmetric positive semidefinite matrix",
        ),
        (
            "[[1.0, 0.0], [0.0, 2.0]]",
            "[[1.0, 3.0], [3.0, 1.0]]",
            "p.toml: dynamics.Q[0]: found least eigenvalue -",
        ),
        (
            "[[1.0, 0.0], [0.0, 2.0]]",
            "[[1.0, 0.5], [0.0, 1.0]]",
            "p.toml: dynamics.Q[0]: found 0.5 at [0][1] but 0 at [1][0]; allowed: a symmetric",
        ),
        (
            "R = [[0.5]]",
            "R = [[0.0]]",
            "p.toml: dynamics.R[0]: found least eigenvalue 0; allowed: a symmetric positive definite matrix",
        ),
        (
            "R = [[0.5]]",
            "",
            "p.toml: dynamics.R: found nothing; allowed: a matrix, or one matrix per mode",
        ),
        (
            "R = [[0.5]]",
            "R = [[0.5]]\nfile = \"x.npz\"",
            "p.toml: dynamics: found 2 sources of matrices; allowed: exactly one of",
        ),
        (
            "affine = [0.0, -0.25]",
            "affine = [0.0]",
            "p.toml: dynamics.affine: found 1 numbers; allowed: a number or an array of 2 numbers",
        ),
        (
            "affine = [0.0, -0.25]",
            "affine = [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]",
            "allowed: 1 (shared by all modes) or 3",
        ),
        (
            "lower = -1.0",
            "lower = 2.5",
            "p.toml: bounds.lower[0]: found 2.5; allowed: at most bounds.upper[0] = 2",
        ),
        (
            "upper = [2.0]",
            "upper = [2.0, 3.0]",
            "p.toml: bounds.upper: found 2 numbers; allowed: a number or an array of 1 numbers",
        ),
        (
            "center = 0.5",
            "centre = 0.5",
            "found unknown field `centre`; allowed: one of `center`",
        ),
        (
            "half_width = [1.0, 2.0]",
            "half_width = [1.0, -2.0]",
            "p.toml: initial.half_width[1]: found -2; allowed: 0 or more",
        ),
        (
            "center = 0.5",
            "test_states = \"none.csv\"",
            "/nowhere/none.csv: cannot read: ",
        ),
        (
            "[\"level 1\", \"level 2\"]",
            "[\"level 1\"]",
            "p.toml: names.state: found 1 texts; allowed: 2 texts",
        ),
        (
            "\"level 1\"",
            "\"\"",
            "p.toml: names.state[0]: found \"\"; allowed: 1 to 64 bytes",
        ),
    ];
    for (from, to, expected) in cases {
        // One case needs a matrix per mode to be read as such.
        let message = if expected.contains("A[0][1][1]") {
            refusal(from, "[[[1.0, 0.1], [0, nan]], [[1, 0], [0, 1]]]")
        } else {
            refusal(from, to)
        };
        assert!(
            message.contains(expected),
            "{to}\n  gave     {message}\n  expected {expected}"
        );
    }
}

proptest! {
    #[test]
    fn truncated_plant_files_never_panic(cut in 0_usize..400) {
        let mut cut = cut % GOOD.len();
        while !GOOD.is_char_boundary(cut) {
            cut -= 1;
        }
        let _ = parse(&GOOD[..cut]);
    }
}
