//! What of a plant file constrains and supervises a policy, as the policy format has it.

use policy_format::{Envelope, Limits, Safety};

use crate::plant::{OwnedModeRules, PlantModel};

/// The sections of constraints that a policy for `plant` carries; none for a plant that states none.
#[must_use]
pub fn safety_of(plant: &PlantModel) -> Safety<'_> {
    let (constraints, watch) = (plant.constraints(), plant.watch());
    Safety {
        limits: constraints.rate.as_ref().map(|rate| Limits {
            rate: &rate.step,
            start: &rate.start,
        }),
        mode_rules: constraints.modes.as_ref().map(OwnedModeRules::view),
        envelope: watch
            .envelope
            .as_ref()
            .map(|[lower, upper, typical_lower, typical_upper]| Envelope {
                lower,
                upper,
                typical_lower,
                typical_upper,
            }),
        supervision: watch.supervision,
    }
}
