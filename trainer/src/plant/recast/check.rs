//! What must hold of the jumps of a plant file.

use super::read::{Surroundings, field};
use super::simulate::MAX_EFFECTIVE;
use super::{Jump, Jumps, MAX_CHOICES, MAX_FACTORS, Treatment};
use crate::Result;
use crate::plant::values::Place;

/// How far volumes of regions may be off before they count as a gap or an overlap.
const VOLUME: f64 = 1e-9;

/// Regions and forbidden boxes cover the allowed values, and their interiors do not meet.
pub(super) fn check_cover(jump: &Jump, place: &Place<'_>, at: &Surroundings<'_>) -> Result<()> {
    let place = field(place, "regions");
    let range: Vec<(f64, f64)> = jump.controls.iter().map(|&c| at.range(c)).collect();
    let named: Vec<(String, &Vec<(f64, f64)>)> = jump
        .regions
        .iter()
        .map(|region| (format!("region \"{}\"", region.name), &region.cover))
        .chain(
            jump.forbidden
                .iter()
                .map(|cover| ("a forbidden region".to_owned(), cover)),
        )
        .collect();
    for (name, cover) in &named {
        for (i, (&(low, high), &(least, most))) in cover.iter().zip(&range).enumerate() {
            if low < least || high > most {
                let found = format!(
                    "{name} from {low} to {high} in control {}",
                    jump.controls[i]
                );
                let allowed = format!("inside the control bounds, {least} to {most}");
                return Err(place.error(found, allowed));
            }
        }
    }
    let meet = |a: &[(f64, f64)], b: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let both = a.iter().zip(b);
        both.map(|(a, b)| (a.0.max(b.0), a.1.min(b.1))).collect()
    };
    for (index, (name, cover)) in named.iter().enumerate() {
        for (other, box_) in &named[..index] {
            if volume(&meet(cover, box_), &range) > VOLUME {
                let found = format!("{other} and {name}, which overlap");
                return Err(place.error(found, "regions that share edges only"));
            }
        }
    }
    let total: f64 = named.iter().map(|(_, cover)| volume(cover, &range)).sum();
    if total < 1.0 - VOLUME {
        let found = format!(
            "a gap: the regions cover {:.4} of the allowed controls (an infinite range scaled to 1)",
            total
        );
        let allowed = "regions that cover every allowed control; what may not be done is a region with forbidden = true";
        return Err(place.error(found, allowed));
    }
    Ok(())
}

/// Share of a box in the allowed range, each axis brought to a finite length by x / (1 + |x|).
fn volume(cover: &[(f64, f64)], range: &[(f64, f64)]) -> f64 {
    let squeeze = |x: f64| match x {
        f64::INFINITY => 1.0,
        f64::NEG_INFINITY => -1.0,
        x => x / (1.0 + x.abs()),
    };
    let mut share = 1.0;
    for (&(low, high), &(least, most)) in cover.iter().zip(range) {
        let whole = squeeze(most) - squeeze(least);
        if whole > 0.0 {
            share *= ((squeeze(high) - squeeze(low)) / whole).max(0.0);
        }
    }
    share
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
