//! A checked plant with everything around its dynamics: horizon, names, initial states.

use std::fmt::Write as _;

use super::family::{BaselineSetting, FamilyData, FamilyPlant, SafeLaw, Scaling};
use super::recast::{Jumping, Jumps};
use super::{Baseline, Constraints, Dims, Disturbance, Plant, SwitchedLqrData, Watch};
use crate::Result;
use crate::numeric::{Purpose, Real, Scalar, Stream};
use crate::policy::ControlRegions;

/// Names and units of states, controls and modes, for reports and for the policy file.
#[derive(Clone, Debug, PartialEq)]
pub struct Names {
    /// n names of states; `x0`, `x1`, ... by default.
    pub state: Vec<String>,
    /// m names of controls; `u0`, `u1`, ... by default.
    pub control: Vec<String>,
    /// M names of modes; `mode0`, `mode1`, ... by default.
    pub modes: Vec<String>,
    /// n units of states; empty strings by default.
    pub state_units: Vec<String>,
    /// m units of controls; empty strings by default.
    pub control_units: Vec<String>,
}

/// Box in which a policy must keep every control.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlBounds {
    /// Least allowed value of each of the m controls.
    pub lower: Vec<f64>,
    /// Greatest allowed value of each of the m controls; `lower[i] <= upper[i]`.
    pub upper: Vec<f64>,
}

/// The box from which initial states are drawn, uniformly.
#[derive(Clone, Debug, PartialEq)]
pub struct InitialBox {
    /// Centre of the box, length n.
    pub center: Vec<f64>,
    /// Half the length of each of the n edges, at least 0.
    pub half_width: Vec<f64>,
}

/// What [`PlantModel::build`] makes.
#[derive(Clone, Debug)]
pub enum BuiltPlant<T: Real> {
    /// A plant without jumps.
    Smooth(FamilyPlant<T>),
    /// A plant with jumps in its control, in one of their treatments.
    Jumping(Jumping<T, FamilyPlant<T>>),
}

impl<T: Real> Plant<T> for BuiltPlant<T> {
    #[inline(always)]
    fn dims(&self) -> Dims {
        match self {
            Self::Smooth(plant) => plant.dims(),
            Self::Jumping(plant) => plant.dims(),
        }
    }

    #[inline(always)]
    fn step<S: Scalar<T>>(&self, mode: usize, x: &[S], u: &[S], noise: &[S], next: &mut [S]) -> S {
        match self {
            Self::Smooth(plant) => plant.step(mode, x, u, noise, next),
            Self::Jumping(plant) => plant.step(mode, x, u, noise, next),
        }
    }

    #[inline(always)]
    fn vjp<S: Scalar<T>>(
        &self,
        mode: usize,
        x: &[S],
        u: &[S],
        noise: &[S],
        next: &[S],
        d_next: &[S],
        d_cost: S,
        d_x: &mut [S],
        d_u: &mut [S],
    ) {
        match self {
            Self::Smooth(plant) => plant.vjp(mode, x, u, noise, next, d_next, d_cost, d_x, d_u),
            Self::Jumping(plant) => plant.vjp(mode, x, u, noise, next, d_next, d_cost, d_x, d_u),
        }
    }

    #[inline(always)]
    fn count_clamped<S: Scalar<T>>(&self, next: &[S]) -> u32 {
        match self {
            Self::Smooth(plant) => plant.count_clamped(next),
            Self::Jumping(plant) => plant.count_clamped(next),
        }
    }
}

/// A plant that has been read and checked; made by [`super::load_plant`].
#[derive(Clone, Debug)]
pub struct PlantModel {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) source: String,
    pub(super) horizon: usize,
    pub(super) discount: f64,
    pub(super) sample_time_s: f64,
    pub(super) target_class: u32,
    pub(super) names: Names,
    pub(super) family: FamilyData,
    pub(super) jumps: Option<Jumps>,
    /// The tables of the jumps as they stand in the plant file.
    pub(super) jump_tables: Vec<toml::Table>,
    pub(super) recast_table: Option<toml::Table>,
    pub(super) disturbance: Disturbance,
    /// Costs before this step do not count.
    pub(super) cost_from: usize,
    pub(super) accept_percent: Option<f64>,
    pub(super) bounds: Option<ControlBounds>,
    pub(super) constraints: Constraints,
    pub(super) watch: Watch,
    pub(super) initial: InitialBox,
    pub(super) test_states: Option<Vec<Vec<f64>>>,
    pub(super) source_text: String,
}

impl PlantModel {
    /// Name of the plant, 1 to 64 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One sentence on what the plant is; may be empty.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Where the plant's numbers come from; may be empty.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Sizes n, m, M and the length of the noise vector.
    #[must_use]
    pub fn dims(&self) -> Dims {
        let own = self.family.dims();
        self.jumps.as_ref().map_or(own, |jumps| jumps.dims(own))
    }

    /// Number of steps T of an episode, at least 1.
    #[must_use]
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Discount factor gamma of the training objective, in `(0, 1]`.
    ///
    /// Reported costs are undiscounted sums.
    #[must_use]
    pub fn discount(&self) -> f64 {
        self.discount
    }

    /// Time between two control steps in seconds, greater than 0.
    #[must_use]
    pub fn sample_time_s(&self) -> f64 {
        self.sample_time_s
    }

    /// Identifier of plant and actuator set that firmware and policy must share.
    #[must_use]
    pub fn target_class(&self) -> u32 {
        self.target_class
    }

    /// Names and units.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The plant's equations and numbers.
    #[must_use]
    pub fn family(&self) -> &FamilyData {
        &self.family
    }

    /// The matrices in `f64` of a switched linear-quadratic plant; `None` for every other kind and with jumps, to which nothing that is
    /// derived from them applies.
    #[must_use]
    pub fn lqr_data(&self) -> Option<&SwitchedLqrData> {
        match &self.family {
            FamilyData::SwitchedLqr(data) if self.jumps.is_none() => Some(data),
            _ => None,
        }
    }

    /// The plant over coefficients of type `T`, for simulation.
    #[must_use]
    pub fn build<T: Real>(&self) -> BuiltPlant<T> {
        self.build_with(&self.family)
    }

    /// This plant with other numbers of the same family.
    pub(crate) fn build_with<T: Real>(&self, family: &FamilyData) -> BuiltPlant<T> {
        match &self.jumps {
            None => BuiltPlant::Smooth(family.build()),
            Some(jumps) => BuiltPlant::Jumping(Jumping::new(family.build(), jumps)),
        }
    }

    /// Jumps of the control, with their treatment.
    #[must_use]
    pub fn jumps(&self) -> Option<&Jumps> {
        self.jumps.as_ref()
    }

    /// Sizes of the independent factors that a mode is made of, the first one most significant; their product is M.
    #[must_use]
    pub fn factors(&self) -> Vec<usize> {
        let modes = self.family.dims().modes;
        self.jumps
            .as_ref()
            .map_or_else(|| vec![modes], |jumps| jumps.factors(modes))
    }

    /// Regions of the control by mode, where its jumps are recast.
    #[must_use]
    pub fn control_regions(&self) -> Option<ControlRegions> {
        let jumps = self.jumps.as_ref()?;
        jumps.control_regions(self.family.dims(), self.bounds.as_ref())
    }

    /// Distribution of the noise vector of a step.
    #[must_use]
    pub fn disturbance(&self) -> &Disturbance {
        &self.disturbance
    }

    /// Whether a normal process noise can be added to the plant.
    #[must_use]
    pub fn takes_noise(&self) -> bool {
        self.family.clone().set_noise(Vec::new())
    }

    /// First step whose cost counts in an episode's cost, less than the horizon: what comes before is warm-up, in which
    /// the initial state is forgotten. Training learns from the costs of all steps.
    #[must_use]
    pub fn cost_from(&self) -> usize {
        self.cost_from
    }

    /// By how many percent a trained policy must cost less than the best classical controller to be accepted, where the
    /// plant states it; in (0, 100).
    #[must_use]
    pub fn accept_percent(&self) -> Option<f64> {
        self.accept_percent
    }

    /// Number of an episode's steps whose cost counts, for an episode of `steps` steps.
    #[must_use]
    pub fn counted_steps(&self, steps: usize) -> usize {
        steps.saturating_sub(self.cost_from)
    }

    /// Names of the classical controllers that the family brings along, the best known first; empty for switched
    /// linear-quadratic plants, whose references are computed.
    #[must_use]
    pub fn baseline_names(&self) -> &'static [&'static str] {
        self.family.baseline_names()
    }

    /// The classical controller `name`; `None` if the family has none of that name.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] where the controller does not exist for this plant.
    pub fn baseline(&self, name: &str) -> Result<Option<Baseline>> {
        let setting = BaselineSetting {
            horizon: self.horizon,
            cost_from: self.cost_from,
            initial: &self.initial,
            bounds: self.bounds.as_ref(),
            constraints: &self.constraints,
            jumps: self.jumps.as_ref(),
            sample_time_s: self.sample_time_s,
        };
        self.family.baseline(name, &setting)
    }

    /// Typical magnitudes of states and costs.
    #[must_use]
    pub fn scaling(&self) -> Scaling {
        self.family.scaling()
    }

    /// Steps whose costs a value is the sum of, about: the horizon, or less with a discount.
    #[must_use]
    pub fn value_steps(&self) -> f64 {
        if self.lqr_data().is_some() {
            // States of such a plant go to 0 within a few steps.
            return 1.0;
        }
        (self.horizon as f64).min(1.0 / (1.0 - self.discount).max(1e-9))
    }

    /// The family's safe law, before bounds. Of a recast plant its mode is the one, with the law's own mode where one has it, whose
    /// regions lie nearest to the offset (the first of several), and the offset is moved into them.
    #[must_use]
    pub fn safe_law(&self) -> SafeLaw {
        let mut law = self.family.safe_law();
        let (Some(jumps), Some(regions)) = (&self.jumps, self.control_regions()) else {
            return law;
        };
        let own = self.family.dims();
        let moved = |mode: usize| -> Vec<f64> {
            let offset = law.offset.iter().enumerate();
            offset
                .map(|(i, u)| {
                    let entry = mode * own.control + i;
                    u.clamp(regions.lower[entry], regions.upper[entry])
                })
                .collect()
        };
        let distance = |mode: usize| {
            let other_mode = jumps.decode(mode, own.modes).0 != law.mode;
            let far = moved(mode).into_iter().zip(&law.offset);
            (other_mode, far.map(|(a, b)| (a - b).abs()).sum::<f64>())
        };
        let nearest = (0..jumps.dims(own).modes).min_by(|&a, &b| {
            let (a, b) = (distance(a), distance(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let mode = nearest.unwrap_or(0);
        law.offset = moved(mode);
        law.mode = mode;
        law
    }

    /// Bounds that a policy must apply to the controls.
    #[must_use]
    pub fn bounds(&self) -> Option<&ControlBounds> {
        self.bounds.as_ref()
    }

    /// Rate limits and mode rules that bind a policy in training and on the device.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    /// What the supervisor watches on the device.
    #[must_use]
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The box of initial states.
    #[must_use]
    pub fn initial(&self) -> &InitialBox {
        &self.initial
    }

    /// Draws one initial state into `out` (length n), using n uniform numbers of `stream`.
    ///
    /// # Panics
    /// If `out` has another length.
    pub fn draw_initial(&self, stream: &mut Stream, out: &mut [f64]) {
        assert_eq!(out.len(), self.initial.center.len(), "length of the state");
        for (i, value) in out.iter_mut().enumerate() {
            let unit = 2.0 * stream.uniform() - 1.0;
            *value = self.initial.center[i] + self.initial.half_width[i] * unit;
        }
    }

    /// `count` initial states, state i from stream (`seed`, `purpose`, i): a longer list begins with
    /// the shorter one.
    #[must_use]
    pub fn draw_states(&self, seed: u64, purpose: Purpose, count: usize) -> Vec<Vec<f64>> {
        (0..count as u64)
            .map(|index| {
                let mut state = vec![0.0; self.initial.center.len()];
                self.draw_initial(&mut Stream::new(seed, purpose, index), &mut state);
                state
            })
            .collect()
    }

    /// The states on which results are reported, where the plant ships them; at least one, each of
    /// length n. Never to be trained or validated on.
    #[must_use]
    pub fn test_states(&self) -> Option<&[Vec<f64>]> {
        self.test_states.as_deref()
    }

    /// The plant file as it was read (for a plant of the generator: the file that says so).
    #[must_use]
    pub fn source_text(&self) -> &str {
        &self.source_text
    }

    /// A plant file with all matrices inline, that reads back to an equal plant in any folder
    /// (without test states); for run directories.
    #[must_use]
    pub fn resolved_toml(&self) -> String {
        super::resolved::to_toml(self)
    }
}

/// The default target class: CRC-32 (ISO-HDLC, as in zip) of the canonical text
///
/// ```text
/// hpo-target 1
/// name=<name>
/// sizes=<n>,<m>,<M>
/// seed=<seed>                     only for a generated plant
/// control=<name> [<unit>]         one line per control
/// mode=<name>                     one line per mode
/// bounds=<lower>..<upper>         one line per control, only with bounds; shortest decimals
/// ```
///
/// with a line feed after every line: what an actuator set means to a policy, and nothing that
/// training may vary (horizon, costs, initial states).
pub(super) fn default_target_class(
    name: &str,
    dims: Dims,
    seed: Option<u64>,
    names: &Names,
    bounds: Option<&ControlBounds>,
) -> u32 {
    let mut text = format!(
        "hpo-target 1\nname={name}\nsizes={},{},{}\n",
        dims.state, dims.control, dims.modes
    );
    // Writing to a String cannot fail.
    if let Some(seed) = seed {
        let _ = writeln!(text, "seed={seed}");
    }
    for (control, unit) in names.control.iter().zip(&names.control_units) {
        let _ = writeln!(text, "control={control} [{unit}]");
    }
    for mode in &names.modes {
        let _ = writeln!(text, "mode={mode}");
    }
    if let Some(bounds) = bounds {
        for (lower, upper) in bounds.lower.iter().zip(&bounds.upper) {
            let _ = writeln!(text, "bounds={lower}..{upper}");
        }
    }
    crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(text.as_bytes())
}
