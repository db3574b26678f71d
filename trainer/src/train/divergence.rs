//! Training that diverges: how it is seen, and what most likely caused it.

use crate::error::Error;
use crate::policy::Model;
use crate::policy::model::Group;
use crate::train::checkpoint::Checkpoint;
use crate::train::learner::EpochMetrics;
use crate::train::run::{TrainConfig, plant_traits};
use crate::train::settings::{Algorithm, Settings, TrainSettings};

/// A validated cost beyond this multiple of the start's, with states at the clamp, is taken for divergence:
/// the clamp bounds every cost, so that none would ever be infinite.
const BLOW_UP: f64 = 100.0;

/// Whether a validated cost says that training has diverged.
pub(super) fn blows_up(cost: f64, start_cost: f64, epoch: &EpochMetrics) -> bool {
    !cost.is_finite() || (cost > BLOW_UP * start_cost && epoch.clamped > 0)
}

/// Whether the sampled cost of an epoch says that the policy must be validated now, due or not: divergence is then
/// named in the epoch in which it happened.
pub(super) fn is_suspected(epoch: &EpochMetrics, start_cost: f64) -> bool {
    blows_up(epoch.cost, start_cost, epoch)
}

/// The error of a diverged run; `validation` is the cost that gave it away, where it was one.
pub(super) fn error(
    config: &TrainConfig,
    model: &Model,
    progress: &Checkpoint,
    epoch: &EpochMetrics,
    validation: Option<f64>,
) -> Error {
    let train = &config.settings.train;
    let structure = config.settings.policy.structure;
    let traits = plant_traits(&config.plant);
    let mut usual = Settings::preset(train.algo, structure, traits);
    train.start.defaults(&mut usual, traits);
    let state = &progress.state;
    let mut bad: Vec<Group> = Vec::new();
    for (group, range) in model.groups() {
        if state.parameters[range].iter().any(|v| !v.is_finite()) {
            bad.push(group);
        }
    }
    let critic = state.critic.iter().any(|v| !v.is_finite());
    let mut seen: Vec<String> = bad
        .iter()
        .map(|&group| format!("{} not finite", name(group)))
        .collect();
    if critic {
        seen.push("critic not finite".into());
    }
    match validation {
        Some(cost) => seen.push(format!(
            "validation cost {cost:.3e}, {:.3e} at the start",
            progress.start_cost
        )),
        None => seen.push(format!("sampled cost {:.3e}", epoch.cost)),
    }
    seen.push(format!(
        "gradient norms {:.1e} (selector) and {:.1e} (laws)",
        epoch.selector_gradient, epoch.law_gradient
    ));
    seen.push(format!("{} state coordinates at the clamp", epoch.clamped));
    let update = epoch.failed_update.map_or(String::new(), |update| {
        format!(" at update {} of {}", update + 1, train.batches_per_epoch)
    });
    Error::Negative(format!(
        "training diverged in epoch {}{update}: {}; the likely cause is {}. The best policy so far, of epoch {}, is \
         policy.hpo in {}",
        state.epoch,
        seen.join(", "),
        cause(train, &usual.train, &bad, critic, epoch.clamped),
        progress.best.epoch,
        config.out.display()
    ))
}

/// What most likely made training diverge: a step size or noise above its default for this algorithm, structure and
/// start, else what failed first, else the plant.
fn cause(
    train: &TrainSettings,
    default: &TrainSettings,
    bad: &[Group],
    critic: bool,
    clamped: u64,
) -> String {
    let mut steps = vec![
        ("train.step_gains", train.step_gains, default.step_gains),
        ("train.step_scores", train.step_scores, default.step_scores),
        (
            "train.step_networks",
            train.step_networks,
            default.step_networks,
        ),
        ("train.step_critic", train.step_critic, default.step_critic),
    ];
    if matches!(train.algo, Algorithm::Ppo | Algorithm::Reinforce) {
        steps.push(("train.noise_start", train.noise_start, default.noise_start));
        if default.step_noise > 0.0 {
            steps.push(("train.step_noise", train.step_noise, default.step_noise));
        }
    }
    let greatest = steps
        .into_iter()
        .max_by(|a, b| (a.1 / a.2).total_cmp(&(b.1 / b.2)));
    if let Some((key, value, usual)) = greatest.filter(|(_, value, usual)| value > usual) {
        return format!(
            "a setting too great for this plant: {key} = {value:e}, {:.1e} times its default",
            value / usual
        );
    }
    match (bad.first(), critic) {
        (None, true) => format!("the critic's step size, train.step_critic = {}", train.step_critic),
        _ if clamped > 0 => "an unstable mode of the plant that the policy does not hold, with states at the clamp \
             (the plant's state_clamp): smaller steps (train.step_gains, train.step_networks), a shorter horizon, or a \
             start that holds it"
            .into(),
        (Some(&group), _) => format!("a step size too great for this plant: {} = {}", key(group), train.step_size(group)),
        (None, false) => "a cost beyond the range of single precision: scale the plant's cost or its initial states".into(),
    }
}

fn name(group: Group) -> &'static str {
    match group {
        Group::Scores => "scores",
        Group::Selector => "selector network",
        Group::Gains => "gains",
        Group::Control => "control network",
    }
}

fn key(group: Group) -> &'static str {
    match group {
        Group::Scores => "train.step_scores",
        Group::Gains => "train.step_gains",
        Group::Selector | Group::Control => "train.step_networks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_what_was_seen() {
        let mut train = TrainSettings::default();
        let usual = TrainSettings::default();
        let clamped = cause(&train, &usual, &[Group::Gains], false, 7);
        assert!(
            clamped.contains("unstable mode") && clamped.contains("state_clamp"),
            "{clamped}"
        );
        assert!(cause(&train, &usual, &[], true, 0).contains("train.step_critic"));
        assert!(
            cause(&train, &usual, &[Group::Scores], false, 0).contains("train.step_scores = 0.1")
        );
        assert!(cause(&train, &usual, &[], false, 0).contains("single precision"));
        train.step_networks = 2.0;
        assert!(
            cause(&train, &usual, &[Group::Gains], true, 7)
                .contains("train.step_networks = 2e0, 1.0e3 times")
        );
    }

    #[test]
    fn a_great_cost_alone_is_no_divergence() {
        let mut epoch = EpochMetrics::default();
        assert!(blows_up(f64::NAN, 1.0, &epoch) && blows_up(f64::INFINITY, 1.0, &epoch));
        assert!(!blows_up(1e6, 1.0, &epoch));
        epoch.clamped = 1;
        assert!(blows_up(1e6, 1.0, &epoch) && !blows_up(99.0, 1.0, &epoch));
        epoch.cost = 99.0;
        assert!(!is_suspected(&epoch, 1.0));
        epoch.cost = 101.0;
        assert!(is_suspected(&epoch, 1.0));
    }
}
