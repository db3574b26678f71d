//! What must hold of the jumps of a plant file.

use super::cover::{Cell, inside_of, is_flat, meet, takes_of, uncovered};
use super::read::{Surroundings, field};
use super::simulate::MAX_EFFECTIVE;
use super::{Jump, Jumps, MAX_CHOICES, MAX_FACTORS, Treatment};
use crate::Result;
use crate::plant::values::Place;

/// Every allowed control belongs to a region or is forbidden, and what a region offers belongs to it: regions share edges only, and one
/// of no width, a point say, stands before those that hold it. Exact: the numbers are compared, never added; once as they stand in the
/// file, and once rounded to binary32, where two edges may have become one.
///
/// Otherwise a policy could act in a region at a cost that the plant never has there (docs/recast.md, equivalence).
pub(super) fn check_cover(jump: &Jump, place: &Place<'_>, at: &Surroundings<'_>) -> Result<()> {
    let mut whole: Vec<(f64, f64)> = jump.controls.iter().map(|&c| at.range(c)).collect();
    check_boxes(jump, &whole, place, "")?;
    let mut single = jump.clone();
    let covers = single.regions.iter_mut().map(|region| &mut region.cover);
    let cells = covers.chain(&mut single.forbidden).chain([&mut whole]);
    for (low, high) in cells.flatten() {
        (*low, *high) = (f64::from(*low as f32), f64::from(*high as f32));
    }
    let word = " in binary32, in which policies are trained and act";
    check_boxes(&single, &whole, place, word)
}

/// The check of [`check_cover`] for given numbers; `arithmetic` ends what is said about them.
fn check_boxes(jump: &Jump, whole: &Cell, place: &Place<'_>, arithmetic: &str) -> Result<()> {
    let place = field(place, "regions");
    let regions = jump.regions.iter();
    let regions: Vec<(String, &Cell)> = regions
        .map(|region| (format!("region \"{}\"", region.name), &region.cover[..]))
        .collect();
    let forbidden: Vec<&Cell> = jump.forbidden.iter().map(Vec::as_slice).collect();
    let fails =
        |found: String, allowed: &str| Err(place.error(format!("{found}{arithmetic}"), allowed));

    let named = regions.iter().map(|(name, cell)| (name.as_str(), *cell));
    for (name, cell) in named.chain(forbidden.iter().map(|&cell| (FORBIDDEN, cell))) {
        for (axis, (&(low, high), &(least, most))) in cell.iter().zip(whole).enumerate() {
            if low < least || high > most {
                let control = jump.controls[axis];
                let found = format!("{name} from {low} to {high} in control {control}");
                let allowed = format!("inside the control bounds, {least} to {most}");
                return fails(found, &allowed);
            }
        }
    }
    for (index, (name, cell)) in regions.iter().enumerate() {
        for (other, earlier) in &regions[..index] {
            if takes_of(earlier, cell) {
                let common = words(&meet(earlier, cell), jump);
                return if is_flat(cell, whole) {
                    fails(
                        format!("{name} behind {other}, to which its controls belong ({common})"),
                        "a region of no width listed before the regions that hold it",
                    )
                } else {
                    fails(
                        format!("{other} and {name}, which overlap ({common})"),
                        "regions that share edges only",
                    )
                };
            }
        }
        if let Some(closed) = forbidden
            .iter()
            .find(|closed| inside_of(closed, cell, whole))
        {
            let common = words(&meet(closed, cell), jump);
            return fails(
                format!("{FORBIDDEN} and {name}, which overlap ({common})"),
                "regions outside of what is forbidden, or on its edge",
            );
        }
    }
    for (index, cell) in forbidden.iter().enumerate() {
        if is_flat(cell, whole) {
            let found = format!("{FORBIDDEN} of no width ({})", words(cell, jump));
            return fails(found, "one with an interior");
        }
        if let Some(other) = forbidden[..index]
            .iter()
            .find(|other| takes_of(other, cell))
        {
            let common = words(&meet(other, cell), jump);
            let found = format!("two forbidden regions, which overlap ({common})");
            return fails(found, "regions that share edges only");
        }
    }
    let boxes: Vec<&Cell> = regions
        .iter()
        .map(|(_, cell)| *cell)
        .chain(forbidden)
        .collect();
    match uncovered(whole, &boxes) {
        Ok(None) => Ok(()),
        Ok(Some(part)) => fails(
            format!("a gap: no region has {}", words(&part, jump)),
            "regions that cover every allowed control; what may not be done is a region with forbidden = true",
        ),
        Err(parts) => fails(
            format!(
                "regions so many and so interleaved that {parts} parts of the allowed controls did not settle whether there is a gap"
            ),
            "fewer or simpler regions",
        ),
    }
}

/// What a box of `jump.forbidden` is called.
const FORBIDDEN: &str = "a forbidden region";

/// Where a box lies, for a person.
fn words(cell: &Cell, jump: &Jump) -> String {
    let axis = |(&(low, high), control): (&(f64, f64), &usize)| {
        if low == high {
            format!("control {control} at {low}")
        } else {
            format!("control {control} from {low} to {high}")
        }
    };
    let axes: Vec<String> = cell.iter().zip(&jump.controls).map(axis).collect();
    axes.join(", ")
}

/// The jump has this treatment.
pub(super) fn check_treatment(jump: &Jump, treatment: Treatment, place: &Place<'_>) -> Result<()> {
    let allowed = match treatment {
        Treatment::Regions => return Ok(()),
        Treatment::Raw if !jump.forbidden.is_empty() => {
            "treatment \"regions\": there is no plant for what may not be done"
        }
        Treatment::Raw | Treatment::Smoothed(_) if jump.regions[0].mode.is_some() => {
            "treatment \"regions\" where regions have modes"
        }
        Treatment::Raw => return Ok(()),
        Treatment::Smoothed(_) => {
            let lengths = jump.regions.iter().all(|r| r.cover[0].0 < r.cover[0].1);
            if jump.controls.len() == 1 && jump.forbidden.is_empty() && lengths {
                return Ok(());
            }
            "treatment \"smoothed\" for jumps of one control whose regions have a length"
        }
    };
    Err(field(place, "kind").error("a jump that has no such treatment", allowed))
}

/// The jumps go together, and with the rest of the plant.
pub(super) fn check_whole(jumps: &Jumps, place: &Place<'_>, at: &Surroundings<'_>) -> Result<()> {
    let factors = jumps.factors(at.dims.modes);
    let choices = factors.iter().fold(1, |n: usize, &f| n.saturating_mul(f));
    if choices > MAX_CHOICES || factors.len() > MAX_FACTORS {
        let found = format!("{} factors with {choices} combinations", factors.len());
        let allowed = format!("at most {MAX_FACTORS} factors with {MAX_CHOICES} combinations");
        return Err(place.error(found, allowed));
    }
    let deciding = |jump: &&Jump| jump.regions[0].mode.is_some();
    if jumps.list.iter().filter(deciding).count() > 1 {
        return Err(place.error("two jumps that decide the mode", "one"));
    }
    let mut regions = jumps.list.iter().flat_map(|jump| &jump.regions);
    if regions.any(|region| region.gain != 1.0) && at.dims.control > MAX_EFFECTIVE {
        let found = format!("a gain on a plant with {} controls", at.dims.control);
        return Err(place.error(found, format!("at most {MAX_EFFECTIVE} controls")));
    }
    if jumps.treatment == Treatment::Regions && at.rate_limits {
        let allowed = "no limits.rate beside [[jump]]: a limited control could leave its region";
        return Err(place.error("rate limits", allowed));
    }
    if jumps.treatment == Treatment::Regions && at.mode_rules && factors.len() > 1 {
        let found = format!("dwell times or masks beside {} factors", factors.len());
        return Err(place.error(found, "one factor: mode rules tie factors together"));
    }
    Ok(())
}
