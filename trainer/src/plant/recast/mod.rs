//! The recast of jumps: a control in which cost or transition jumps becomes a choice of region and a control inside it.
//!
//! A [`Jump`] concerns some coordinates of the control, jointly or one. Its closed regions cover the allowed values; in the interior of
//! each, cost and transition are smooth. The recast plant has a mode per combination of regions (and of the plant's own modes): the
//! selector's factors. docs/recast.md has the mathematics.

mod check;
mod cover;
mod read;
mod simulate;

use super::{ControlBounds, Dims};
use crate::policy::ControlRegions;

pub(super) use read::{JumpTable, RecastTable, Surroundings, read};
pub use simulate::Jumping;

/// Greatest number of choices of the flattened product, as in the policy format's use on a device.
pub const MAX_CHOICES: usize = 256;
/// Most factors of a selector, as in the policy format.
pub const MAX_FACTORS: usize = 8;

/// A region of the coordinates of one jump.
#[derive(Clone, Debug, PartialEq)]
pub struct JumpRegion {
    /// Its name.
    pub name: String,
    /// The closed box of values that belong to it, an interval per coordinate of the jump. A value in several regions belongs to the first.
    pub cover: Vec<(f64, f64)>,
    /// The closed box that a policy's control is mapped onto: part of `cover`, and a point of it stands for every other one of the same
    /// effect.
    pub target: Vec<(f64, f64)>,
    /// Effective control per control: the plant sees `gain * u`.
    pub gain: f64,
    /// Cost of being in the region, at least 0.
    pub cost: f64,
    /// Cost per unit of each of the coordinates; with `cost` nowhere below 0 in the region.
    pub price: f64,
    /// Mode of the plant in this region, where the jump decides the mode.
    pub mode: Option<usize>,
}

impl JumpRegion {
    fn contains(&self, values: &[f64]) -> bool {
        let inside = |(&(lower, upper), &u): (&(f64, f64), &f64)| lower <= u && u <= upper;
        self.cover.iter().zip(values).all(inside)
    }

    /// The least cost that the region adds to the plant's, over all of its controls, and how far rounding may have moved it.
    fn least_cost(&self) -> (f64, f64) {
        if self.price == 0.0 {
            return (self.cost, 0.0);
        }
        let cheapest = |&(low, high): &(f64, f64)| (self.price * low).min(self.price * high);
        let terms = self.cover.iter().map(cheapest);
        let (sum, size) = terms.fold((self.cost, self.cost), |(sum, size), term| {
            (sum + term, size + term.abs())
        });
        (sum, if size.is_finite() { 1e-12 * size } else { 0.0 })
    }
}

/// Coordinates of the control in which cost or transition jumps.
#[derive(Clone, Debug, PartialEq)]
pub struct Jump {
    /// The coordinates, ascending.
    pub controls: Vec<usize>,
    /// The regions, at least one; a value in several belongs to the first.
    pub regions: Vec<JumpRegion>,
    /// Boxes that no control may lie in, except where an edge of theirs belongs to a region.
    pub forbidden: Vec<Vec<(f64, f64)>>,
    /// Half width of the rounding of a region's ends, per coordinate.
    pub corner: Vec<f64>,
}

impl Jump {
    /// The region that the values of the jump's coordinates belong to; `None` where none has them.
    #[must_use]
    pub fn region_of(&self, values: &[f64]) -> Option<usize> {
        self.regions.iter().position(|r| r.contains(values))
    }
}

/// What becomes of the jumps of a plant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Treatment {
    /// Recast: a factor of the selector per jump.
    Regions,
    /// The plant as it is: cost and transition jump in the control. Pathwise derivatives are those inside the regions.
    Raw,
    /// Each jump replaced by a smooth step of this half width: another plant, with derivatives that see the jump.
    Smoothed(f64),
}

/// The jumps of a plant and their treatment.
#[derive(Clone, Debug, PartialEq)]
pub struct Jumps {
    /// The jumps; no coordinate is in two of them.
    pub list: Vec<Jump>,
    /// What becomes of them.
    pub treatment: Treatment,
}

impl Jumps {
    /// Whether a jump's regions decide the plant's own mode.
    #[must_use]
    pub fn decide_mode(&self) -> bool {
        let mut regions = self.list.iter().flat_map(|jump| &jump.regions);
        regions.any(|region| region.mode.is_some())
    }

    /// Sizes of the selector's factors for a plant with `modes` modes of its own: those first, where the selector chooses them, then
    /// a factor per jump.
    #[must_use]
    pub fn factors(&self, modes: usize) -> Vec<usize> {
        if self.treatment != Treatment::Regions {
            return vec![modes];
        }
        let own = (modes > 1 && !self.decide_mode()).then_some(modes);
        own.into_iter()
            .chain(self.list.iter().map(|jump| jump.regions.len()))
            .collect()
    }

    /// Sizes of the plant with its jumps treated, from those of the plant under them.
    #[must_use]
    pub fn dims(&self, own: Dims) -> Dims {
        Dims {
            modes: self.factors(own.modes).iter().product(),
            ..own
        }
    }

    /// For a mode of the recast plant: the mode of the plant under it and the region of each jump.
    #[must_use]
    pub fn decode(&self, mode: usize, own_modes: usize) -> (usize, Vec<usize>) {
        if self.treatment != Treatment::Regions {
            return (mode, Vec::new());
        }
        let mut rest = mode;
        let mut regions: Vec<usize> = self
            .list
            .iter()
            .rev()
            .map(|jump| {
                let region = rest % jump.regions.len();
                rest /= jump.regions.len();
                region
            })
            .collect();
        regions.reverse();
        let chosen = self.list.iter().zip(&regions);
        let decided = chosen
            .filter_map(|(jump, &region)| jump.regions[region].mode)
            .next();
        (decided.unwrap_or(rest.min(own_modes - 1)), regions)
    }

    /// The mode of the recast plant in which a control `[m]` lies, with the plant's own mode `own` where the selector chooses it; `None`
    /// for a control that is not allowed.
    #[must_use]
    pub fn mode_of(&self, own: usize, control: &[f64]) -> Option<usize> {
        if self.treatment != Treatment::Regions {
            return Some(own);
        }
        let mut mode = if self.decide_mode() { 0 } else { own };
        for jump in &self.list {
            let values: Vec<f64> = jump.controls.iter().map(|&i| control[i]).collect();
            mode = mode * jump.regions.len() + jump.region_of(&values)?;
        }
        Some(mode)
    }

    /// Regions of the control by mode of the recast plant, `modes * m` entries; `None` where the jumps are not recast.
    #[must_use]
    pub fn control_regions(
        &self,
        own: Dims,
        bounds: Option<&ControlBounds>,
    ) -> Option<ControlRegions> {
        if self.treatment != Treatment::Regions {
            return None;
        }
        // What a region's end is on the device.
        let single = |v: f64| f64::from(v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32);
        let m = own.control;
        let mut all = ControlRegions {
            lower: Vec::new(),
            upper: Vec::new(),
            corner: Vec::new(),
        };
        for mode in 0..self.dims(own).modes {
            let (_, regions) = self.decode(mode, own.modes);
            let mut row: Vec<(f64, f64, f64)> = (0..m)
                .map(|i| match bounds {
                    Some(bounds) => (bounds.lower[i], bounds.upper[i], 0.0),
                    None => (f64::NEG_INFINITY, f64::INFINITY, 0.0),
                })
                .collect();
            for (jump, &region) in self.list.iter().zip(&regions) {
                let target = jump.regions[region].target.iter();
                for ((&i, &(lower, upper)), &corner) in
                    jump.controls.iter().zip(target).zip(&jump.corner)
                {
                    let half = 0.5 * (single(upper) - single(lower));
                    row[i] = (lower, upper, corner.min(0.5 * half));
                }
            }
            for (lower, upper, corner) in row {
                all.lower.push(single(lower));
                all.upper.push(single(upper));
                all.corner.push(single(corner));
            }
        }
        Some(all)
    }

    /// Names of the modes of the recast plant.
    #[must_use]
    pub fn mode_names(&self, own: &[String]) -> Vec<String> {
        if self.treatment != Treatment::Regions {
            return own.to_vec();
        }
        let choose_own = own.len() > 1 && !self.decide_mode();
        let count: usize = self.factors(own.len()).iter().product();
        (0..count)
            .map(|mode| {
                let (base, regions) = self.decode(mode, own.len());
                let of_regions = self.list.iter().zip(&regions);
                let parts: Vec<&str> = choose_own
                    .then(|| own[base].as_str())
                    .into_iter()
                    .chain(of_regions.map(|(jump, &r)| jump.regions[r].name.as_str()))
                    .collect();
                parts.join("/")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
