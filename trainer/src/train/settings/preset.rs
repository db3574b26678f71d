//! Tuned defaults of every algorithm and structure.

use crate::error::{Error, Result};
use crate::policy::InputKind;
use crate::train::settings::{Advantage, Algorithm, CrossTerm, PlantTraits, Settings, Structure};
use crate::train::start::Start;

/// Most states for which products of two are inputs by default, on plants that are not linear-quadratic.
const MOST_QUADRATIC_STATES: usize = 16;

impl Settings {
    /// Tuned defaults of an algorithm with a structure on a plant.
    #[must_use]
    pub fn preset(algo: Algorithm, structure: Structure, plant: PlantTraits) -> Self {
        let mut settings = Self::default();
        let (train, policy, critic) = (
            &mut settings.train,
            &mut settings.policy,
            &mut settings.critic,
        );
        train.algo = algo;
        train.minibatches = train.minibatches.min(plant.horizon);
        policy.structure = structure;
        if structure != Structure::Quadratic {
            policy.laws_per_mode = 1;
            policy.selector_hidden = Some(vec![64, 64]);
            policy.control_hidden = Some(vec![64, 64]);
        }
        if structure == Structure::Plain {
            policy.input = InputKind::Affine;
            policy.scores = false;
            policy.gains = false;
            critic.hidden = vec![64, 64];
        }
        if !plant.homogeneous {
            policy.input = InputKind::Affine;
            if structure == Structure::Quadratic {
                policy.selector_hidden = Some(vec![32, 32]);
                policy.control_hidden = Some(vec![32, 32]);
            }
        }
        if !plant.linear {
            // One law per region or mode; monomials of many states cost more than networks.
            policy.laws_per_mode = 1;
            policy.scores = false;
            critic.forms = usize::from(plant.states <= MOST_QUADRATIC_STATES);
            critic.hidden = vec![64, 64];
            train.step_gains = 0.01;
        }
        if Structure::of_choice(plant) == Structure::Structured {
            // Derivatives along an unstable nonlinear loop can be larger than all others together by any factor, and one such
            // batch would stay in Adam's second moments.
            train.gradient_norm = 10.0;
        }
        match algo {
            // Networks want more updates than scores and gains do, from fewer simulator calls each.
            Algorithm::Hpo if structure != Structure::Quadratic => {
                train.batch = 32;
                train.batches_per_epoch = 32;
                if structure == Structure::Plain {
                    train.step_networks = 1e-2;
                }
            }
            Algorithm::Hpo if plant.jumps => {
                // A jump's cost comes at once and its worth later: one step of look-ahead with a young critic never pays it.
                train.advantage = Advantage::Gae;
                train.gae_lambda = 0.95;
                train.batches_per_epoch = 16;
            }
            Algorithm::Hpo => {}
            Algorithm::Ppo => {
                train.advantage = Advantage::Gae;
                train.gae_lambda = 0.95;
                train.passes = 5;
                train.clip = 0.2;
                train.entropy_start = 0.01;
                train.entropy_end = 1e-3;
                train.step_networks = 1e-3;
                train.step_gains = 0.01;
                train.step_scores = 0.01;
                train.step_noise = 1e-3;
            }
            Algorithm::Reinforce => {
                train.advantage = Advantage::MonteCarlo;
                train.step_gains = 0.03;
                train.step_scores = 0.03;
                train.step_networks = match structure {
                    Structure::Plain => 3e-3,
                    Structure::Quadratic => 1e-3,
                    Structure::Structured => 3e-4,
                };
                train.entropy_start = 0.01;
                train.entropy_end = 1e-3;
                train.step_noise = 1e-3;
            }
            Algorithm::Gumbel => {
                train.cross_term = CrossTerm::On;
                train.critic_passes = 0;
                match structure {
                    Structure::Quadratic => {
                        train.step_gains = 0.01;
                        train.step_scores = 0.01;
                    }
                    Structure::Plain => train.step_networks = 0.03,
                    Structure::Structured => {
                        train.step_gains = 0.03;
                        train.step_scores = 0.03;
                        train.step_networks = 3e-3;
                    }
                }
            }
        }
        settings
    }

    /// Simulator calls of one epoch on a plant with `modes` modes and `horizon` steps an episode.
    #[must_use]
    pub fn env_steps_per_epoch(&self, modes: usize, horizon: usize) -> u64 {
        let train = &self.train;
        let choices = modes * self.policy.laws_per_mode;
        let calls = match train.algo {
            Algorithm::Hpo if train.advantage == Advantage::LookAhead => choices,
            Algorithm::Hpo | Algorithm::Ppo | Algorithm::Reinforce => 1,
            Algorithm::Gumbel => choices,
        };
        [train.batch, train.batches_per_epoch, horizon, calls]
            .into_iter()
            .fold(1, |product, factor| product.saturating_mul(factor as u64))
    }

    /// Sets the number of epochs to the greatest that makes at most `limit` simulator calls.
    ///
    /// # Errors
    /// [`Error::Usage`] if not even one epoch fits, or if every choice is tried and a policy file says how many there are.
    pub fn limit_env_steps(&mut self, limit: u64, modes: usize, horizon: usize) -> Result<()> {
        let branches = match self.train.algo {
            Algorithm::Hpo => self.train.advantage == Advantage::LookAhead,
            Algorithm::Gumbel => true,
            Algorithm::Ppo | Algorithm::Reinforce => false,
        };
        if let (true, Start::Policy(path)) = (branches, &self.train.start) {
            return Err(Error::Usage(format!(
                "--env-steps: found a start from {}, whose own number of choices decides how many simulator calls an epoch \
                 makes; allowed: --epochs",
                path.display()
            )));
        }
        let epoch = self.env_steps_per_epoch(modes, horizon);
        if limit < epoch {
            return Err(Error::Usage(format!(
                "--env-steps: found {limit}; allowed: {epoch} or more, the simulator calls of one epoch"
            )));
        }
        self.train.epochs = (limit / epoch).min(1_000_000) as usize;
        Ok(())
    }
}
