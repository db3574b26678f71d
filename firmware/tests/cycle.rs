//! One whole period, where a part of the board fails: the fault by its number and an admissible command in the same period, and what
//! becomes of the watchdog. And a policy that does not compute what its file says.

#[allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]
#[path = "../examples/kalman.rs"]
mod kalman;

use firmware::supervisor::{FaultRecord, Phase, RECORD_WORDS};
use firmware::{
    Actuators, Clock, Command, ControlLoop, Fault, ResetCause, RetainedMemory, Sensors, Watchdog,
    boot,
};
use kalman::cart_policy;

/// A board on which nothing moves, with parts that can be broken.
#[derive(Default)]
struct Bench {
    now: u64,
    no_sensor: bool,
    no_actuator: bool,
    applied: Vec<f32>,
    fed: u32,
    retained: [u32; RECORD_WORDS],
}

impl Clock for Bench {
    fn now_us(&mut self) -> u64 {
        self.now
    }
}

impl Sensors for Bench {
    type Error = ();

    fn read(&mut self, measured: &mut [f32]) -> Result<u64, ()> {
        measured.fill(0.25);
        if self.no_sensor {
            Err(())
        } else {
            Ok(self.now)
        }
    }
}

impl Actuators for Bench {
    type Error = ();

    fn apply(&mut self, command: &Command<'_>) -> Result<(), ()> {
        self.applied = command.control().to_vec();
        if self.no_actuator { Err(()) } else { Ok(()) }
    }
}

impl RetainedMemory for Bench {
    fn load(&mut self) -> [u32; RECORD_WORDS] {
        self.retained
    }

    fn store(&mut self, words: &[u32; RECORD_WORDS]) {
        self.retained = *words;
    }
}

impl Watchdog for Bench {
    fn feed(&mut self) {
        self.fed += 1;
    }
}

fn started<'p>(
    file: &'p [u128; 64],
    length: usize,
    retained: &[u32; RECORD_WORDS],
) -> ControlLoop<'p> {
    let mut control = ControlLoop::new();
    let slot = &bytemuck::cast_slice(file)[..length];
    control.start(slot, 1, ResetCause::Other, retained).unwrap();
    control
}

fn period<'c>(control: &'c mut ControlLoop<'_>, bench: &mut Bench) -> Command<'c> {
    bench.now += 10_000;
    control.cycle(bench)
}

fn admissible(control: &[f32]) -> bool {
    control.len() == 1 && control.iter().all(|u| u.is_finite())
}

#[test]
fn actuators_that_fail_lock_the_fallback_law_and_starve_the_watchdog() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut bench = Bench::default();
    let mut control = started(&file, length, &bench.retained);
    assert_eq!(period(&mut control, &mut bench).fault(), None);
    assert_eq!(bench.fed, 1);

    bench.no_actuator = true;
    assert_eq!(
        period(&mut control, &mut bench).fault(),
        Some(Fault::ACTUATOR_FAILED)
    );
    let reason = Fault::ACTUATOR_FAILED;
    assert_eq!(control.phase(), Phase::Locked { reason });
    // Nobody feeds until the actuators take a command, so a bus that stays silent ends in a reset; the reset finds the fault pending.
    period(&mut control, &mut bench);
    assert_eq!(bench.fed, 1);
    assert_eq!(FaultRecord::load(&bench.retained).pending(), Some(reason));

    bench.no_actuator = false;
    let mut control = started(&file, length, &bench.retained);
    assert_eq!(period(&mut control, &mut bench).fault(), Some(reason));
    assert!(bench.fed == 2 && admissible(&bench.applied));
    control.acknowledge();
    assert_eq!(period(&mut control, &mut bench).fault(), None);
}

#[test]
fn a_sensor_that_fails_is_named_in_the_same_period() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut bench = Bench::default();
    let mut control = started(&file, length, &bench.retained);
    period(&mut control, &mut bench);
    bench.no_sensor = true;
    assert_eq!(
        period(&mut control, &mut bench).fault(),
        Some(Fault::SENSOR_FAILED)
    );
    assert!(bench.fed == 2 && admissible(&bench.applied));
}

#[test]
fn a_policy_that_does_not_give_its_golden_vectors_is_refused() {
    let mut file = [0; 64];
    let length = cart_policy(&mut file);
    let mut scratch = [0.0; firmware::SCRATCH_LEN];
    let target = |file: &[u128; 64]| {
        let slot: &[u8] = &bytemuck::cast_slice(file)[..length];
        let found = boot(slot, 1, &mut [0.0; firmware::SCRATCH_LEN]);
        found.err()
    };
    assert_eq!(target(&file), None);
    // The last control value of the last golden vector, and the checksum set right again.
    let slot: &mut [u8] = &mut bytemuck::cast_slice_mut(&mut file)[..length];
    let raw = policy_format::RawPolicy::parse(slot).unwrap();
    let golden = raw.section(policy_format::SectionId::GOLDEN).unwrap();
    let at = golden.as_ptr() as usize - slot.as_ptr() as usize + golden.len() - 4;
    slot[at] ^= 1;
    policy_format::reseal(slot);
    assert!(boot(slot, 1, &mut scratch).is_err_and(|fault| fault == Fault::GOLDEN_MISMATCH));
}
