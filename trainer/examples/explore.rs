//! Scratch
use trainer::numeric::random::Stream;
use trainer::numeric::*;
use trainer::plant::*;
use trainer::policy::*;
use trainer::train::*;
use nalgebra::DMatrix;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (n, mm): (usize, usize) = (args[0].parse().unwrap(), args[1].parse().unwrap());
    let seed: u64 = args[2].parse().unwrap();
    let mut toml = toml::Table::new();
    for a in &args[3..] {
        let (k, v) = a.split_once('=').unwrap();
        let (s, k) = k.split_once('.').unwrap();
        let v: toml::Value = format!("x={v}").parse::<toml::Table>().unwrap()["x"].clone();
        toml.entry(s).or_insert(toml::Value::Table(Default::default())).as_table_mut().unwrap().insert(k.into(), v);
    }
    let settings: settings::Settings = toml.try_into().unwrap();
    let j: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(format!("/work/shared/lqr/lqr_n{n}_m{mm}.json")).unwrap()).unwrap();
    let a: Vec<f64> = j["A"].as_array().unwrap().iter().flat_map(|r| r.as_array().unwrap().iter().map(|v| v.as_f64().unwrap())).collect();
    let a = DMatrix::from_row_slice(n, n, &a);
    let b: Vec<DMatrix<f64>> = j["b_diag"].as_array().unwrap().iter().map(|r| DMatrix::from_diagonal(&nalgebra::DVector::from_vec(r.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()))).collect();
    let data = SwitchedLqrData { a: vec![a; mm], b, q: vec![DMatrix::identity(n, n); mm], r: vec![DMatrix::identity(n, n) * 0.1; mm], affine: vec![], noise_std: vec![], bounds: None, state_clamp: 100.0 };
    let plant = SwitchedLqr::<f32>::from_data(&data);
    let p = &settings.policy;
    let choice_modes: Vec<usize> = (0..mm * p.laws_per_mode).map(|c| c / p.laws_per_mode).collect();
    let shape = PolicyShape { state: n, control: n, modes: mm, choice_modes, input: p.input, input_shift: vec![0.0; n], input_scale: vec![1.0; n], scores: p.scores, selector_hidden: p.selector_hidden.clone(), gains: p.gains, control_hidden: p.control_hidden.clone(), head_per_choice: p.head_per_choice, bounds: None };
    let model = Model::new(shape);
    let draw = move |s: &mut Stream, x: &mut [f64]| for v in x { *v = (s.uniform() * 20.0 - 10.0) / (n as f64).sqrt(); };
    let mut hpo = hpo::Hpo::new(&plant, &model, &settings, 20, seed, &draw);
    let mut state = hpo::State { parameters: initial::policy(&model, seed, p.score_spread), critic: initial::critic(hpo.critic(), seed), adam: adam::Adam::new(model.parameters()), critic_adam: adam::Adam::new(hpo.critic().parameters()), epoch: 0, env_steps: 0 };
    let test: Vec<Vec<f32>> = std::fs::read_to_string(format!("/work/shared/lqr/x0_test_n{n}.csv")).unwrap().lines().map(|l| l.split(',').map(|v| v.parse().unwrap()).collect()).collect();
    let optimum = match (n, mm) { (3, 2) => 45.277772, (8, 2) => 49.097124, (8, 4) => 62.354935, (16, 4) => 66.339519, (32, 8) => 82.327814, _ => 84.632221 };
    let critic = hpo.critic().clone();
    println!("parameters {} critic {}", model.parameters(), critic.parameters());
    let t0 = std::time::Instant::now();
    for e in 0..settings.train.epochs {
        let m = hpo.epoch(&mut state);
        if e % (settings.train.epochs / 20).max(1) == 0 || e + 1 == settings.train.epochs {
            let mut w = rollout::Worker::<f32>::new(&model, &critic, 20, 0);
            let (mut total, mut used) = (0.0, vec![0usize; model.shape().choices()]);
            for chunk in test.chunks(LANES) {
                for (l, x) in chunk.iter().enumerate() { for i in 0..n { w.tape.state.at_mut(0)[i].0[l] = x[i]; } }
                w.rollout(&plant, &model, &state.parameters, rollout::Selection::ArgMax, None);
                for t in 0..20 { total += w.tape.cost.at(t)[0].sum() as f64; for l in 0..LANES { used[w.tape.choice[t][l] as usize] += 1; } }
            }
            let cost = total / test.len() as f64;
            println!("{e:5} {:6.1}s sampled {:9.4} entropy {:.4} critic {:.5} |g| {:.3} clamp {} test {cost:.4} gap {:.3}% used {}", t0.elapsed().as_secs_f64(), m.cost, m.entropy, m.critic_loss.sqrt(), m.gradient_norm, m.clamped, (cost / optimum - 1.0) * 100.0, used.iter().filter(|&&u| u > 200).count());
        }
    }
}
