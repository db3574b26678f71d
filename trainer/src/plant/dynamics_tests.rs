//! Matrices from JSON files, archives and the generator, good and bad.

use std::io::Cursor;

use npyz::WriterBuilder;
use proptest::prelude::*;

use super::*;
use crate::plant::file::{Overrides, parse_plant};
use crate::plant::{PlantModel, load_plant};

fn parse(text: &str) -> Result<PlantModel> {
    let origin = Origin::Folder("/nowhere".into());
    parse_plant(text, Path::new("p.toml"), &origin, &Overrides::default())
}

/// A plant file with this `[dynamics]` table.
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
    let data = plant.lqr_data().unwrap();
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
            let data = plant.lqr_data().unwrap();
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
}
