//! The kinds of jumps: what each makes of its table, region by region.

use toml::Value;

use super::super::{Jump, JumpRegion};
use super::{JumpTable, Surroundings, field};
use crate::Result;
use crate::plant::values::{Place, is_number};

/// Rounding of a region's ends relative to the typical control, where the file states none.
const CORNER: f64 = 0.1;

/// Boxes, one interval per coordinate.
type Boxes = Vec<Vec<(f64, f64)>>;

/// Regions of one control, and the open intervals it may not lie in.
type OneAxis = (Vec<JumpRegion>, Vec<(f64, f64)>);

/// The jumps of one table: one for all its controls, or one for each.
pub(super) fn read_jump(
    table: &JumpTable,
    place: &Place<'_>,
    at: &Surroundings<'_>,
) -> Result<Vec<Jump>> {
    let m = at.dims.control;
    let controls: Vec<usize> = match &table.controls {
        None => (0..m).collect(),
        Some(list) => {
            let place = field(place, "controls");
            let mut controls = Vec::new();
            for (i, &control) in list.iter().enumerate() {
                let allowed = format!("ascending numbers from 0 to {}", m - 1);
                let number = usize::try_from(control).ok().filter(|&c| c < m);
                match number.filter(|c| controls.last().is_none_or(|last| last < c)) {
                    Some(number) => controls.push(number),
                    None => return Err(place.at(i).error(control, allowed)),
                }
            }
            if controls.is_empty() {
                return Err(place.error("no control", "at least one"));
            }
            controls
        }
    };
    if let Some(unit) = &table.unit
        && let Some(&control) = controls.iter().find(|&&c| at.control_units[c] != *unit)
    {
        let allowed = format!(
            "the unit of control {control}, \"{}\"",
            at.control_units[control]
        );
        return Err(field(place, "unit").error(format!("\"{unit}\""), allowed));
    }
    let corner = |controls: &[usize]| -> Result<Vec<f64>> {
        match table.corner {
            Some(corner) if corner >= 0.0 && corner.is_finite() => Ok(vec![corner; controls.len()]),
            Some(corner) => Err(field(place, "corner").error(corner, "0 or more")),
            None => Ok(controls
                .iter()
                .map(|&control| CORNER * at.control_scale[control])
                .collect()),
        }
    };
    let cost = not_negative(table.cost, &field(place, "cost"))?;
    let known = [
        (
            "cost",
            table.cost.is_some(),
            &["fixed-cost", "minimum", "minimum-impulse"][..],
        ),
        (
            "minimum",
            table.minimum.is_some(),
            &["minimum", "minimum-impulse"][..],
        ),
        ("threshold", table.threshold.is_some(), &["dead-zone"][..]),
        ("breaks", table.breaks.is_some(), &["quantity-discount"][..]),
        ("prices", table.prices.is_some(), &["quantity-discount"][..]),
        ("regions", table.regions.is_some(), &["regions"][..]),
    ];
    for (key, present, kinds) in known {
        if present && !kinds.contains(&table.kind.as_str()) {
            let allowed = format!("only with kind {}", kinds.join(" or "));
            return Err(
                field(place, key).error(format!("it with kind \"{}\"", table.kind), allowed)
            );
        }
    }
    let jointly = |regions: Vec<JumpRegion>, forbidden| -> Result<Vec<Jump>> {
        Ok(vec![Jump {
            corner: corner(&controls)?,
            controls: controls.clone(),
            regions,
            forbidden,
        }])
    };
    let each = |make: &dyn Fn((f64, f64)) -> Result<OneAxis>| {
        controls
            .iter()
            .map(|&control| {
                let (regions, forbidden) = make(at.range(control))?;
                Ok(Jump {
                    controls: vec![control],
                    regions,
                    forbidden: forbidden.into_iter().map(|open| vec![open]).collect(),
                    corner: corner(&[control])?,
                })
            })
            .collect::<Result<Vec<_>>>()
    };
    match table.kind.as_str() {
        "fixed-cost" => {
            if table.cost.is_none() {
                return Err(field(place, "cost").error("nothing", "a cost, 0 or more"));
            }
            let whole: Vec<(f64, f64)> = controls.iter().map(|&c| at.range(c)).collect();
            let none = region("none", vec![(0.0, 0.0); controls.len()]);
            let mut some = region("some", whole);
            some.cost = cost;
            jointly(vec![none, some], Vec::new())
        }
        "minimum" => {
            let minimum = positive(table.minimum, &field(place, "minimum"))?;
            each(&|(lower, upper)| {
                at_rest(lower, place)?;
                within(minimum, upper, &field(place, "minimum"))?;
                let mut some = region("some", vec![(minimum, upper)]);
                some.cost = cost;
                let mut forbidden = vec![(0.0, minimum)];
                if lower < 0.0 {
                    return Err(field(place, "kind").error(
                        format!("a control that may be {lower}"),
                        "\"minimum-impulse\" for controls of both signs",
                    ));
                }
                forbidden.retain(|(a, b)| a < b);
                Ok((vec![region("none", vec![(0.0, 0.0)]), some], forbidden))
            })
        }
        "minimum-impulse" => {
            let minimum = positive(table.minimum, &field(place, "minimum"))?;
            each(&|(lower, upper)| {
                within(minimum, upper, &field(place, "minimum"))?;
                within(minimum, -lower, &field(place, "minimum"))?;
                let mut down = region("negative", vec![(lower, -minimum)]);
                let mut up = region("positive", vec![(minimum, upper)]);
                (down.cost, up.cost) = (cost, cost);
                let rest = region("none", vec![(0.0, 0.0)]);
                Ok((vec![down, rest, up], vec![(-minimum, 0.0), (0.0, minimum)]))
            })
        }
        "dead-zone" => {
            let threshold = positive(table.threshold, &field(place, "threshold"))?;
            each(&|(lower, upper)| {
                within(threshold, upper, &field(place, "threshold"))?;
                within(threshold, -lower, &field(place, "threshold"))?;
                let mut off = region("off", vec![(-threshold, threshold)]);
                off.gain = 0.0;
                off.target = vec![(0.0, 0.0)];
                // At the threshold the actuator acts: its regions come first.
                Ok((
                    vec![
                        region("negative", vec![(lower, -threshold)]),
                        region("positive", vec![(threshold, upper)]),
                        off,
                    ],
                    Vec::new(),
                ))
            })
        }
        "quantity-discount" => {
            let (breaks, prices) = discount(table, place)?;
            each(&|(lower, upper)| {
                at_rest(lower, place)?;
                if lower < 0.0 {
                    return Err(field(place, "kind").error(
                        format!("a control that may be {lower}"),
                        "quantities, 0 or more",
                    ));
                }
                within(
                    *breaks.last().unwrap_or(&0.0),
                    upper,
                    &field(place, "breaks"),
                )?;
                let edges: Vec<f64> = [lower]
                    .iter()
                    .chain(breaks)
                    .copied()
                    .chain([upper])
                    .collect();
                // At a break the greater quantity's price holds: its region comes first.
                let regions = (0..prices.len()).rev().map(|k| {
                    let mut step = region(&format!("price {k}"), vec![(edges[k], edges[k + 1])]);
                    step.price = prices[k];
                    step
                });
                Ok((regions.collect(), Vec::new()))
            })
        }
        "regions" => {
            let (regions, forbidden) = given(table, place, &controls, at)?;
            jointly(regions, forbidden)
        }
        other => Err(field(place, "kind").error(
            format!("\"{other}\""),
            "fixed-cost, minimum, minimum-impulse, dead-zone, quantity-discount or regions",
        )),
    }
}

/// A region whose controls act as they are and cost nothing.
fn region(name: &str, cover: Vec<(f64, f64)>) -> JumpRegion {
    JumpRegion {
        name: name.to_owned(),
        target: cover.clone(),
        cover,
        gain: 1.0,
        cost: 0.0,
        price: 0.0,
        mode: None,
    }
}

fn not_negative(value: Option<f64>, place: &Place<'_>) -> Result<f64> {
    let value = value.unwrap_or(0.0);
    if value >= 0.0 && is_number(value) {
        Ok(value)
    } else {
        Err(place.error(value, "a cost from 0 to 3.4e38"))
    }
}

fn positive(value: Option<f64>, place: &Place<'_>) -> Result<f64> {
    match value {
        Some(value) if value > 0.0 && is_number(value) => Ok(value),
        Some(value) => Err(place.error(value, "a number greater than 0, at most 3.4e38")),
        None => Err(place.error("nothing", "a number greater than 0")),
    }
}

/// A jump needs the control to be able to go beyond it.
fn within(value: f64, upper: f64, place: &Place<'_>) -> Result<()> {
    if value < upper {
        Ok(())
    } else {
        Err(place.error(
            value,
            format!("less than {upper}, which the bounds of the control allow"),
        ))
    }
}

/// Quantities begin at nothing.
fn at_rest(lower: f64, place: &Place<'_>) -> Result<()> {
    if lower <= 0.0 && lower.is_finite() {
        Ok(())
    } else {
        let allowed = "[bounds] with the lower bound 0";
        Err(field(place, "kind").error(format!("a control with the lower bound {lower}"), allowed))
    }
}

fn discount<'t>(table: &'t JumpTable, place: &Place<'_>) -> Result<(&'t [f64], &'t [f64])> {
    let breaks = table.breaks.as_deref().unwrap_or_default();
    let prices = table.prices.as_deref().unwrap_or_default();
    let at = field(place, "breaks");
    let mut last = 0.0;
    for (i, &value) in breaks.iter().enumerate() {
        if !(value > last && is_number(value)) {
            return Err(at
                .at(i)
                .error(value, format!("a finite number greater than {last}")));
        }
        last = value;
    }
    if breaks.is_empty() {
        return Err(at.error("nothing", "the quantities at which the price changes"));
    }
    if prices.len() != breaks.len() + 1 {
        let allowed = format!("{}, one more than breaks", breaks.len() + 1);
        return Err(field(place, "prices").error(format!("{} prices", prices.len()), allowed));
    }
    for (i, &price) in prices.iter().enumerate() {
        not_negative(Some(price), &field(place, "prices").at(i))?;
    }
    Ok((breaks, prices))
}

/// Regions that the file states one by one.
fn given(
    table: &JumpTable,
    place: &Place<'_>,
    controls: &[usize],
    at: &Surroundings<'_>,
) -> Result<(Vec<JumpRegion>, Boxes)> {
    let place = field(place, "regions");
    let tables = table.regions.as_deref().unwrap_or_default();
    let (mut regions, mut forbidden) = (Vec::new(), Vec::new());
    for (index, table) in tables.iter().enumerate() {
        let place = place.at(index);
        let edge = |key: &str, value: &Option<Value>, side: usize| match value {
            Some(value) => field(&place, key).vector(value, controls.len()),
            None => Ok(controls
                .iter()
                .map(|&c| [at.range(c).0, at.range(c).1][side])
                .collect()),
        };
        let (lower, upper) = (
            edge("lower", &table.lower, 0)?,
            edge("upper", &table.upper, 1)?,
        );
        for (i, (&low, &high)) in lower.iter().zip(&upper).enumerate() {
            if low > high {
                let allowed = format!("at most upper[{i}] = {high}");
                return Err(field(&place, "lower").at(i).error(low, allowed));
            }
        }
        let cover: Vec<(f64, f64)> = lower.into_iter().zip(upper).collect();
        if table.forbidden {
            let others = [
                ("cost", table.cost.is_some()),
                ("gain", table.gain.is_some()),
                ("price", table.price.is_some()),
                ("mode", table.mode.is_some()),
            ];
            if let Some((key, _)) = others.iter().find(|(_, present)| *present) {
                let allowed = "name, lower and upper beside forbidden = true";
                return Err(field(&place, key).error("it where no control may lie", allowed));
            }
            forbidden.push(cover);
            continue;
        }
        let name = table.name.clone().unwrap_or(format!("region {index}"));
        if regions.iter().any(|other: &JumpRegion| other.name == name) {
            let found = format!("\"{name}\", as an earlier region");
            return Err(field(&place, "name").error(found, "a name of its own"));
        }
        let mut made = region(&name, cover);
        made.cost = not_negative(table.cost, &field(&place, "cost"))?;
        made.gain = table.gain.unwrap_or(1.0);
        made.price = table.price.unwrap_or(0.0);
        for (key, value) in [("gain", made.gain), ("price", made.price)] {
            field(&place, key).finite(value)?;
        }
        let (least, rounding) = made.least_cost();
        if least.is_nan() || least < -rounding {
            let allowed = "a cost and a price that together are nowhere below 0 in the region";
            return Err(field(&place, "price").error(
                format!(
                    "{}, with which the region's cost falls to {least}",
                    made.price
                ),
                allowed,
            ));
        }
        if let Some(mode) = table.mode {
            let number = usize::try_from(mode).ok().filter(|&d| d < at.dims.modes);
            let allowed = format!("0 to {}, the plant's modes", at.dims.modes - 1);
            made.mode = Some(number.ok_or_else(|| field(&place, "mode").error(mode, allowed))?);
        }
        regions.push(made);
    }
    if regions.is_empty() {
        return Err(place.error("no region", "at least one that is not forbidden"));
    }
    let with_mode = regions
        .iter()
        .filter(|region| region.mode.is_some())
        .count();
    if with_mode != 0 && with_mode != regions.len() {
        let allowed = "a mode in every region, or in none";
        return Err(place.error(
            format!("a mode in {with_mode} of {}", regions.len()),
            allowed,
        ));
    }
    Ok((regions, forbidden))
}
