//! The link under byte errors: device's message loop and host's session, the real frames, over a pipe of memory.

#[path = "../../firmware/tests/support/mod.rs"]
mod policies;

use std::time::{Duration, Instant};

use firmware::{ControllerState, SCRATCH_LEN, boot, control_step};
use policies::{good_policy, slot};
use trainer::device::local::{LocalConfig, LocalDevice};
use trainer::device::noise::Noisy;
use trainer::device::session::Session;

const CLASS: u32 = 7;
/// Chance of a byte to be another one.
const RATE: f64 = 1e-3;
/// Steps in CI: a tenth of the stated number, which `HPO_LINK_FRAMES=1000000` runs.
const FRAMES: u32 = 100_000;

#[derive(Debug, Default)]
struct Counts {
    hit: u32,
    accepted: u32,
    lost: u32,
    lost_behind_a_bad_one: u32,
}

/// Each frame that was not hit and follows one that was not hit gets its answer, and every answer that is accepted is the one
/// that the policy gives, bit for bit.
#[test]
fn no_wrong_action_is_accepted_and_the_link_recovers_within_two_frames() {
    let frames = match std::env::var("HPO_LINK_FRAMES") {
        Ok(count) => count.parse().unwrap(),
        Err(_) => FRAMES,
    };
    let policy = good_policy(CLASS);
    let device = LocalDevice::start(LocalConfig {
        slot: policy.clone(),
        target_class: CLASS,
        offer: None,
        flash: None,
    });
    let quiet = Noisy::new(device.unwrap(), 0.0, 1);
    let mut session = Session::greet(quiet).unwrap();
    session.device_mut().set_rate(RATE);

    let bytes = slot(&policy);
    let mut scratch = Box::new([0.0; SCRATCH_LEN]);
    let host = boot(bytes.bytes(), CLASS, &mut scratch);
    let mut expected = [0.0; 8];
    let mut counts = Counts::default();
    let mut hit_before = false;
    let start = Instant::now();
    for seq in 0..frames {
        // A state of its own for each step, so that an old or foreign action is a wrong one.
        let state: [f32; 8] = std::array::from_fn(|i| {
            let mixed = (u64::from(seq) * 8 + i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
        });
        let before = session.device().bytes.1;
        let answer = session
            .try_step_at(seq, seq + 1, seq + 1, &state, Duration::ZERO)
            .unwrap();
        let hit = session.device().bytes.1 > before;
        let outcome = control_step(
            &host,
            &mut ControllerState::new(),
            &state,
            &mut expected,
            &mut scratch,
        );
        match answer {
            Some(action) => {
                let bits = |u: &[f32]| u.iter().map(|u| u.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    (action.mode, action.choice, action.fault),
                    (outcome.mode, outcome.choice, 0),
                    "step {seq}"
                );
                assert_eq!(bits(&action.control), bits(&expected), "step {seq}");
                counts.accepted += 1;
            }
            None => {
                assert!(
                    hit || hit_before,
                    "step {seq} was lost without a byte error"
                );
                counts.lost += 1;
                counts.lost_behind_a_bad_one += u32::from(!hit);
            }
        }
        counts.hit += u32::from(hit);
        hit_before = hit;
    }
    let (carried, changed) = session.device().bytes;
    println!(
        "{frames} steps, {carried} bytes, {changed} of them changed: {counts:?}, {:?}, {:.1} s",
        session.dropped(),
        start.elapsed().as_secs_f64()
    );
    // The noise was there, and of the stated rate: within six standard deviations.
    let due = RATE * carried as f64;
    assert!((changed as f64 - due).abs() < 6.0 * due.sqrt(), "{changed}");
    assert!(counts.lost > frames / 50, "{counts:?}");
    // A bad frame takes the next one with it where its end was hit, and only there.
    assert!(counts.lost_behind_a_bad_one > 0, "{counts:?}");
    assert!(counts.lost_behind_a_bad_one < counts.hit / 10, "{counts:?}");
    assert!(
        counts.accepted > frames * 9 / 10 - frames / 20,
        "{counts:?}"
    );

    // Without noise it is as if nothing had been, but for the end of the last frame.
    session.device_mut().set_rate(0.0);
    let state = [0.5; 8];
    let _ = session.try_step_at(frames, frames + 1, frames + 1, &state, Duration::ZERO);
    let last = session
        .try_step_at(frames + 1, frames + 2, frames + 2, &state, Duration::ZERO)
        .unwrap();
    assert_eq!(last.unwrap().fault, 0);
    session.shut_down().unwrap();
}
