//! Writing a plant back as a self-contained plant file.

use toml::{Table, Value};

use super::values::{numbers, strings};
use super::{Family, PlantModel, SwitchedLqrData};

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
    if model.cost_from > 0 {
        put("cost_from", Value::Integer(model.cost_from as i64));
    }
    if let Some(percent) = model.accept_percent {
        put("accept_percent", Value::Float(percent));
    }
    if let Some(clamp) = model.family.state_clamp() {
        put("state_clamp", Value::Float(clamp));
    }
    if !model.family.noise_std().is_empty() {
        put("noise", numbers(model.family.noise_std()));
    }
    let mut dynamics = model.family.to_table();
    // The first kind is what a file without one means.
    if model.family.kind() != SwitchedLqrData::KIND {
        dynamics.insert("kind".into(), model.family.kind().into());
    }
    put("dynamics", Value::Table(dynamics));

    if let Some(bounds) = &model.bounds {
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
    // With jumps the modes are named by their regions.
    let own_modes = match model.jumps {
        None => names.modes.clone(),
        Some(_) => (0..model.family.dims().modes)
            .map(|d| format!("mode{d}"))
            .collect(),
    };
    put(
        "names",
        table([
            ("state", strings(&names.state)),
            ("control", strings(&names.control)),
            ("modes", strings(&own_modes)),
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
    if !model.jump_tables.is_empty() {
        let tables = model.jump_tables.iter().cloned().map(Value::Table);
        root.insert("jump".into(), Value::Array(tables.collect()));
    }
    if let Some(recast) = &model.recast_table {
        root.insert("recast".into(), Value::Table(recast.clone()));
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
