//! Bytes in the slot: as they are, and mended so that they pass the checks that noise never passes.

use firmware::supervisor::{Observation, SupervisorState, step};
use firmware::{CAPACITY, Fault, SCRATCH_LEN, boot};
use policy_format::constraint::limit_rate;
use policy_format::{FORMAT_VERSION, HEADER_LEN, MAGIC, Policy, reseal};

use super::link::class;
use super::{Slot, assert_admissible};

/// States that plants and broken sensors may hand over.
const VALUES: [f32; 10] = [
    0.0,
    0.25,
    -3.0e-40,
    1e-38,
    -1.5,
    1e20,
    -3.4e38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// Boots the bytes as they are and mended, and asserts that whatever is armed acts admissibly; the faults of both boots.
pub fn examine(data: &[u8]) -> [Option<Fault>; 2] {
    let raw = Slot::new(data);
    let mended = mend(data);
    [run(&raw, data), run(&mended, data)]
}

/// The bytes with a right header (magic, version, length, target class, CRC-32) and golden vectors that hold, as far as they can be made to:
/// what is left to the checks is the content.
pub fn mend(data: &[u8]) -> Slot {
    let mut slot = Slot::new(data);
    if data.len() < HEADER_LEN {
        return slot;
    }
    let bytes = slot.bytes_mut();
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&(data.len() as u32).to_le_bytes());
    bytes[24..28].copy_from_slice(&class().to_le_bytes());
    reseal(bytes);
    let answers = Policy::load(slot.bytes(), &CAPACITY)
        .map(|policy| golden_answers(&policy, slot.bytes()))
        .unwrap_or_default();
    let mut changed = false;
    for (offset, word) in answers {
        let place = &mut slot.bytes_mut()[offset..offset + 4];
        changed |= place != word.to_le_bytes();
        place.copy_from_slice(&word.to_le_bytes());
    }
    if changed {
        reseal(slot.bytes_mut());
    }
    slot
}

/// Offset and word of every answer that the golden vectors of `policy`, which lies in `bytes`, should hold.
fn golden_answers(policy: &Policy<'_>, bytes: &[u8]) -> Vec<(usize, u32)> {
    let mut control = vec![0.0; policy.control_dim()];
    let mut scratch = vec![0.0; policy.scratch_len()];
    let mut answers = Vec::new();
    for vector in policy.golden() {
        let Ok(decision) = policy.decide(vector.state, &mut control, &mut scratch) else {
            continue;
        };
        // The words lie in the file as state, choice, control.
        let start = vector.control.as_ptr().addr() - bytes.as_ptr().addr();
        answers.push((start - 4, decision.choice.into()));
        let words = control.iter().map(|u| u.to_bits());
        answers.extend((start..).step_by(4).zip(words));
    }
    answers
}

/// The fault of the boot, or none and a few control steps.
fn run(slot: &Slot, data: &[u8]) -> Option<Fault> {
    let mut scratch = [f32::NAN; SCRATCH_LEN];
    // The class it asks for: another one is refused, and that is all that there is to see.
    let class = slot.bytes().get(24..28);
    let class = class.map_or(0, |word| {
        u32::from_le_bytes([word[0], word[1], word[2], word[3]])
    });
    let controller = boot(slot.bytes(), class, &mut scratch);
    let armed = match &controller {
        Ok(armed) => armed,
        Err(fault) => {
            let fault = *fault;
            assert_eq!(Fault::from_code(fault.code()), Some(fault));
            return Some(fault);
        }
    };
    let policy = armed.policy();
    let n = policy.state_dim();
    // Steps of one episode, so that rates, dwell times, masks and monitors have a past: ordinary states with one odd value,
    // states of odd values, and states from the bytes.
    let mut state = SupervisorState::new();
    let limits = policy.safety().limits;
    let mut previous: Option<Vec<f32>> = limits.map(|limits| limits.start.to_vec());
    let from_data = data
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let from_data: Vec<f32> = from_data.rev().take(64).collect();
    for turn in 0..12_usize {
        let odd = VALUES[turn % VALUES.len()];
        let x: Vec<f32> = (0..n)
            .map(|i| match turn % 3 {
                0 if i == turn % n => odd,
                0 => 0.25,
                1 => odd,
                _ => from_data
                    .get((turn + i) % from_data.len().max(1))
                    .copied()
                    .unwrap_or(0.0),
            })
            .collect();
        let time = 1000 * turn as u64;
        let observation = Observation::new(&x, time, time + 10);
        let command = step(&controller, &mut state, &observation, &mut scratch);
        assert_admissible(policy, command.mode(), command.control());
        assert!(usize::from(command.choice()) < policy.choices());
        if x.iter().any(|v| !v.is_finite()) {
            assert!(command.fault().is_some(), "a fault was missed");
        }
        if let (Some(limits), Some(previous)) = (limits, &previous) {
            for (i, u) in command.control().iter().enumerate() {
                let limited = limit_rate(*u, previous[i], limits.rate[i]);
                assert_eq!(u.to_bits(), limited.to_bits(), "rate of control {i}");
            }
        }
        previous = Some(command.control().to_vec());
        if turn % 4 == 3 {
            state.acknowledge();
        }
    }
    None
}
