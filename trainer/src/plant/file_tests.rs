//! Every kind of bad plant file is refused with its place, finding and allowed values; good ones
//! read back to the numbers that were written.

use std::io::Cursor;

use nalgebra::DMatrix;
use npyz::WriterBuilder;
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
    let data = plant.lqr_data();
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
        assert_eq!(again.lqr_data(), plant.lqr_data());
        assert_eq!(again.initial(), plant.initial());
        assert_eq!(again.target_class(), plant.target_class());
    }
    let plant = parse(GOOD).unwrap();
    let again = parse(&plant.resolved_toml()).unwrap();
    assert_eq!(again.lqr_data(), plant.lqr_data());
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
            "p.toml: line 3: found invalid type: string \"ten\"; allowed: i64",
        ),
        ("horizon = 10", "horizon = ", "p.toml: line 3: found "),
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

/// [`GOOD`] with other sources of matrices.
fn with_dynamics(dynamics: &str) -> String {
    format!("name = \"p\"\nhorizon = 5\n[dynamics]\n{dynamics}\n")
}

#[test]
fn bad_generators_are_named() {
    for (table, expected) in [
        (
            "n = 0, modes = 1",
            "p.toml: dynamics.generator.n: found 0; allowed: 1 to 256",
        ),
        (
            "n = 257, modes = 1",
            "p.toml: dynamics.generator.n: found 257; allowed: 1 to 256",
        ),
        (
            "n = 4, modes = 0",
            "p.toml: dynamics.generator.modes: found 0; allowed: 1 to n = 4",
        ),
        (
            "n = 4, modes = 5",
            "p.toml: dynamics.generator.modes: found 5; allowed: 1 to n = 4",
        ),
        (
            "n = 4, modes = 2, sed = 1",
            "found unknown field `sed`; allowed: one of `n`, `modes`, `seed`",
        ),
    ] {
        let text = with_dynamics(&format!("generator = {{ {table} }}"));
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains(expected), "{table}\n  gave {message}");
    }
}

#[test]
fn oversized_inline_matrix_is_refused() {
    let row = vec!["0.0"; 257].join(",");
    let text = with_dynamics(&format!(
        "A = [[{row}]]\nB = [[1.0]]\nQ = [[1.0]]\nR = [[1.0]]"
    ));
    let message = parse(&text).unwrap_err().to_string();
    let expected =
        "p.toml: dynamics.A[0]: found 257 elements; allowed: an array of 1 to 256 elements";
    assert!(message.contains(expected), "{message}");
}

/// Reads a plant whose matrices are in a file of this content.
fn parse_with_file(name: &str, content: &[u8]) -> Result<PlantModel> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    let plant = folder.path().join("plant.toml");
    std::fs::write(&plant, with_dynamics(&format!("file = \"{name}\""))).unwrap();
    load_plant(plant.to_str().unwrap(), &[])
}

const JSON: &str = r#"{"n": 2, "modes": 1, "horizon": 7, "lambda_u": 0.1, "clamp": 50.0, "seed": 0,
  "A": [[1.0, 0.0], [0.5, 1.0]], "b_diag": [[1.0, 0.15]]}"#;

#[test]
fn json_reads_and_bad_json_is_named() {
    let plant = parse_with_file("m.json", JSON.as_bytes()).unwrap();
    let data = plant.lqr_data();
    assert_eq!(data.a[0][(1, 0)], 0.5);
    assert_eq!(data.b[0][(1, 1)], 0.15);
    assert_eq!(data.state_clamp, 50.0);
    assert_eq!(
        plant.horizon(),
        5,
        "the plant file goes before the matrix file"
    );
    for (from, to, expected) in [
        (
            "\"n\": 2",
            "\"n\": 0",
            "m.json: n: found 0; allowed: 1 to 256",
        ),
        (
            "\"n\": 2",
            "\"n\": 3",
            "m.json: A: found 2 rows; allowed: 3 rows of n = 3 numbers",
        ),
        ("\"modes\": 1", "\"modes\": 0", "m.json: modes: found 0"),
        (
            "[0.5, 1.0]",
            "[0.5]",
            "m.json: A[1]: found 1 numbers; allowed: 2 rows of n = 2 numbers",
        ),
        ("[0.5, 1.0]", "[0.5, NaN]", "m.json: line 2"),
        ("0.1", "0.0", "m.json: R[0]: found least eigenvalue 0"),
        (
            "50.0",
            "-1",
            "m.json: clamp: found -1; allowed: greater than 0",
        ),
        ("\"seed\"", "\"sed\"", "unknown field `sed`"),
    ] {
        let message = parse_with_file("m.json", JSON.replacen(from, to, 1).as_bytes())
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{to}\n  gave {message}");
    }
}

#[test]
fn missing_or_foreign_matrix_file_is_named() {
    let message = parse(&with_dynamics("file = \"none.npz\""))
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("/nowhere/none.npz: cannot read: "),
        "{message}"
    );
    let message = parse_with_file("m.csv", b"1").unwrap_err().to_string();
    assert!(
        message.contains("dynamics.file: found `m.csv`; allowed: a file named *.npz"),
        "{message}"
    );
    let message = parse_with_file("m.npz", b"not a zip")
        .unwrap_err()
        .to_string();
    assert!(message.contains("m.npz: archive: found "), "{message}");
    let message = load_plant("/nowhere/plant.toml", &[]).unwrap_err();
    assert_eq!(message.exit_code(), 2);
    assert!(
        message
            .to_string()
            .starts_with("/nowhere/plant.toml: cannot read: ")
    );
}

/// One array of an archive.
struct Array {
    name: &'static str,
    shape: Vec<u64>,
    values: Vec<f64>,
}

/// An archive of the arrays, entries in `f32` or `f64`, C or Fortran order.
fn archive(arrays: &[Array], single: bool, order: npyz::Order) -> Vec<u8> {
    fn write<T: npyz::AutoSerialize + Copy>(
        writer: &mut npyz::npz::NpzWriter<&mut Cursor<Vec<u8>>>,
        array: &Array,
        order: npyz::Order,
        convert: impl Fn(f64) -> T,
    ) {
        let mut values: Vec<T> = array.values.iter().map(|&v| convert(v)).collect();
        if order == npyz::Order::Fortran {
            let [d, r, c] = [array.shape[0], array.shape[1], array.shape[2]].map(|s| s as usize);
            let source = values.clone();
            for (k, value) in values.iter_mut().enumerate() {
                let (mode, i, j) = (k % d, (k / d) % r, k / (d * r));
                *value = source[(mode * r + i) * c + j];
            }
        }
        let mut array = writer
            .array(array.name, Default::default())
            .unwrap()
            .default_dtype()
            .order(order)
            .shape(&array.shape)
            .begin_nd()
            .unwrap();
        array.extend(values).unwrap();
        array.finish().unwrap();
    }
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = npyz::npz::NpzWriter::new(&mut bytes);
    for array in arrays {
        if single {
            write(&mut writer, array, order, |v| v as f32);
        } else {
            write(&mut writer, array, order, |v| v);
        }
    }
    drop(writer);
    bytes.into_inner()
}

/// Two modes, three states, two controls; every entry of A and B differs.
fn arrays() -> Vec<Array> {
    let count = |n: u64| (0..n).map(|k| k as f64 * 0.5).collect();
    let array = |name, shape: [u64; 3], values| Array {
        name,
        shape: shape.to_vec(),
        values,
    };
    let identities = |n: usize| {
        (0..2 * n * n)
            .map(|k| f64::from(u8::from((k / n) % n == k % n)))
            .collect::<Vec<f64>>()
    };
    vec![
        array("A", [2, 3, 3], count(18)),
        array("B", [2, 3, 2], count(12)),
        array("Q", [2, 3, 3], identities(3)),
        array("R", [2, 2, 2], identities(2)),
    ]
}

#[test]
fn npz_of_either_type_and_order_reads_the_same() {
    for single in [false, true] {
        for order in [npyz::Order::C, npyz::Order::Fortran] {
            let plant = parse_with_file("m.npz", &archive(&arrays(), single, order)).unwrap();
            let data = plant.lqr_data();
            assert_eq!(data.dims().control, 2);
            for d in 0..2 {
                for i in 0..3 {
                    for j in 0..3 {
                        assert_eq!(data.a[d][(i, j)], ((d * 3 + i) * 3 + j) as f64 * 0.5);
                    }
                    for j in 0..2 {
                        assert_eq!(data.b[d][(i, j)], ((d * 3 + i) * 2 + j) as f64 * 0.5);
                    }
                }
            }
        }
    }
}

#[test]
fn bad_npz_is_named() {
    let refuse = |arrays: &[Array]| {
        let bytes = archive(arrays, false, npyz::Order::C);
        parse_with_file("m.npz", &bytes).unwrap_err().to_string()
    };
    let mut missing = arrays();
    missing.pop();
    assert!(
        refuse(&missing)
            .contains("m.npz: archive: found arrays A, B, Q; allowed: the arrays A, B, Q, R")
    );
    let mut flat = arrays();
    flat[0].shape = vec![6, 3];
    assert!(
        refuse(&flat)
            .contains("m.npz: A: found shape [6, 3]; allowed: shape [modes, rows, columns]")
    );
    let mut modes = arrays();
    modes[1].shape = vec![4, 3, 1];
    assert!(refuse(&modes).contains("m.npz: B: found 4 matrices; allowed: 2, as many as A"));
    let mut nan = arrays();
    nan[0].values[10] = f64::NAN;
    assert!(refuse(&nan).contains("m.npz: A[1][0][1]: found NaN; allowed: a finite number"));
    let mut square = arrays();
    square[0].shape = vec![2, 1, 9];
    assert!(refuse(&square).contains("m.npz: A: found 1 x 9; allowed: a square matrix"));
    let mut negative = arrays();
    negative[3].values[7] = -1.0;
    assert!(refuse(&negative).contains("m.npz: R[1]: found least eigenvalue -1"));
}

proptest! {
    #[test]
    fn broken_archives_never_panic(position in 0_usize..2000, bit in 0_u8..8, cut in 0_usize..2000) {
        let good = archive(&arrays(), false, npyz::Order::C);
        let mut flipped = good.clone();
        let at = position % flipped.len();
        flipped[at] ^= 1 << bit;
        // A flip may leave an acceptable archive (a time stamp); it must not end in a panic.
        let _ = parse_with_file("m.npz", &flipped);
        let truncated = &good[..cut % good.len()];
        prop_assert!(parse_with_file("m.npz", truncated).is_err());
    }

    #[test]
    fn truncated_plant_files_never_panic(cut in 0_usize..400) {
        let mut cut = cut % GOOD.len();
        while !GOOD.is_char_boundary(cut) {
            cut -= 1;
        }
        let _ = parse(&GOOD[..cut]);
    }
}
