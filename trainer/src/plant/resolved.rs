//! Writing a plant back as a self-contained plant file.

use nalgebra::DMatrix;
use toml::{Table, Value};

use super::PlantModel;

/// See [`PlantModel::resolved_toml`].
pub(super) fn to_toml(model: &PlantModel) -> String {
    let mut root = Table::new();
    let mut put = |key: &str, value: Value| {
        root.insert(key.to_owned(), value);
    };
    put("name", Value::from(model.name.as_str()));
    put("description", Value::from(model.description.as_str()));
    put("source", Value::from(model.source.as_str()));
    // Both fit: horizons and classes are checked to be below 2^32.
    put("horizon", Value::Integer(model.horizon as i64));
    put("discount", Value::Float(model.discount));
    put("sample_time_s", Value::Float(model.sample_time_s));
    put(
        "target_class",
        Value::Integer(i64::from(model.target_class)),
    );
    put("state_clamp", Value::Float(model.data.state_clamp));
    if !model.data.noise_std.is_empty() {
        put("noise", numbers(&model.data.noise_std));
    }

    let data = &model.data;
    let mut dynamics = Table::new();
    for (key, matrices) in [
        ("A", &data.a),
        ("B", &data.b),
        ("Q", &data.q),
        ("R", &data.r),
    ] {
        dynamics.insert(
            key.into(),
            Value::Array(matrices.iter().map(matrix).collect()),
        );
    }
    if !data.affine.is_empty() {
        let rows = data.affine.iter().map(|c| numbers(c.as_slice())).collect();
        dynamics.insert("affine".into(), Value::Array(rows));
    }
    put("dynamics", Value::Table(dynamics));

    if let Some(bounds) = &data.bounds {
        put(
            "bounds",
            table([
                ("lower", numbers(&bounds.lower)),
                ("upper", numbers(&bounds.upper)),
            ]),
        );
    }
    put(
        "initial",
        table([
            ("center", numbers(&model.initial.center)),
            ("half_width", numbers(&model.initial.half_width)),
        ]),
    );
    let names = &model.names;
    put(
        "names",
        table([
            ("state", strings(&names.state)),
            ("control", strings(&names.control)),
            ("modes", strings(&names.modes)),
        ]),
    );
    put(
        "units",
        table([
            ("state", strings(&names.state_units)),
            ("control", strings(&names.control_units)),
        ]),
    );
    for (key, table) in
        super::constraints::to_tables(&model.constraints, &model.watch, model.sample_time_s)
    {
        root.insert(key.to_owned(), Value::Table(table));
    }
    root.to_string()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(
        entries
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect(),
    )
}

fn numbers(values: &[f64]) -> Value {
    Value::Array(values.iter().map(|&v| Value::Float(v)).collect())
}

fn strings(values: &[String]) -> Value {
    Value::Array(values.iter().map(|v| Value::from(v.as_str())).collect())
}

fn matrix(matrix: &DMatrix<f64>) -> Value {
    let row = |i: usize| {
        (0..matrix.ncols())
            .map(|j| Value::Float(matrix[(i, j)]))
            .collect()
    };
    Value::Array((0..matrix.nrows()).map(|i| Value::Array(row(i))).collect())
}
