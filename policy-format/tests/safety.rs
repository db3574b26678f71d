//! The sections of constraints: they come back as written, each mistake has its error, and files without them
//! are what they were. The meaning of the rules against definitions in other words.

mod common;

use common::parts::Parts;
use common::{Aligned, OwnedPolicy, Structure, generate, load};
use policy_format::constraint::{joint_logit, limit_rate, rate_is_active};
use policy_format::{
    Capacity, Envelope, FallbackKind, FormatError, Limits, ModeHistory, ModeRules, Safety,
    SectionId, Supervision, encode_supervised, supervised_len,
};
use proptest::prelude::*;

fn policy() -> OwnedPolicy {
    generate(&Structure {
        n: 2,
        m: 3,
        modes: 3,
        factors: vec![6],
        unit_norm: false,
        scores: true,
        selector: None,
        gains: true,
        control: None,
        head_per_choice: false,
        bounds: true,
        names: true,
        seed: 3,
    })
}

fn file(policy: &OwnedPolicy, safety: &Safety<'_>) -> Aligned {
    policy.with_spec(|spec| {
        let mut out = Aligned::zeros(supervised_len(spec, safety).unwrap());
        let length = encode_supervised(spec, safety, out.bytes_mut()).unwrap();
        assert_eq!(length, out.bytes().len());
        out
    })
}

struct Lists {
    start: Vec<f32>,
}

fn lists() -> Lists {
    Lists {
        start: policy().bounds.unwrap().0,
    }
}

fn safety(lists: &Lists) -> Safety<'_> {
    Safety {
        limits: Some(Limits {
            rate: &[0.1, f32::MAX, 2.0],
            start: &lists.start,
        }),
        mode_rules: Some(ModeRules {
            hysteresis: 0.5,
            dwell: &[1, 2, 3],
            follow: &[0b111, 0b110, 0b101],
        }),
        envelope: Some(Envelope {
            lower: &[-3.0, -4.0],
            upper: &[3.0, 4.0],
            typical_lower: &[-1.0, -4.0],
            typical_upper: &[1.0, 0.0],
        }),
        supervision: Some(Supervision {
            fallback: FallbackKind::Hold,
            recover_after: 10,
            deadline_us: 15_000,
            max_age_us: 0,
            frozen_after: 2,
        }),
    }
}

#[test]
fn what_was_written_comes_back() {
    let lists = lists();
    let safety = safety(&lists);
    for kept in 0..16 {
        let part = Safety {
            limits: safety.limits.filter(|_| kept & 1 != 0),
            mode_rules: safety.mode_rules.filter(|_| kept & 2 != 0),
            envelope: safety.envelope.filter(|_| kept & 4 != 0),
            supervision: safety.supervision.filter(|_| kept & 8 != 0),
        };
        let file = file(&policy(), &part);
        assert_eq!(*load(file.bytes()).safety(), part);
    }
}

#[test]
fn a_file_without_them_has_the_same_bytes_as_before() {
    let policy = policy();
    assert_eq!(
        file(&policy, &Safety::NONE).bytes(),
        policy.encode().bytes()
    );
}

#[test]
fn every_mistake_has_its_error() {
    let lists = lists();
    let good = Parts::of(&file(&policy(), &safety(&lists)));
    let word = |id, index, word: u32| {
        let mut parts = good.clone();
        parts.set_word(id, index, word);
        parts.error(&Capacity::FORMAT).map(|error| error.name())
    };
    let float = |id, index, value: f32| word(id, index, value.to_bits());
    let (limits, rules) = (SectionId::LIMITS, SectionId::MODE_RULES);
    let (envelope, supervision) = (SectionId::ENVELOPE, SectionId::SUPERVISION);
    for (found, name) in [
        (float(limits, 1, 0.0), "RateLimit"),
        (float(limits, 1, -1.0), "RateLimit"),
        (float(limits, 0, f32::NAN), "NonFinite"),
        (float(limits, 4, 100.0), "StartControl"),
        (float(rules, 0, -0.5), "Hysteresis"),
        (float(rules, 0, f32::INFINITY), "NonFinite"),
        (word(rules, 1, 2), "SafetyPadding"),
        (word(rules, 1, 0), "SectionSize"),
        (word(rules, 2, 1), "SafetyPadding"),
        (word(rules, 4, 0), "DwellTime"),
        (word(rules, 5, 1_000_001), "DwellTime"),
        (word(rules, 7, 0), "ModeTrap"),
        (float(envelope, 0, -0.5), "EnvelopeOrder"),
        (float(envelope, 4, 1.5), "EnvelopeOrder"),
        (float(envelope, 7, f32::NAN), "NonFinite"),
        (word(supervision, 0, 3), "OutOfRange"),
        (word(supervision, 1, 1_000_001), "OutOfRange"),
        (word(supervision, 2, 1 << 31), "OutOfRange"),
        (word(supervision, 3, 1 << 31), "OutOfRange"),
        (word(supervision, 4, 1), "OutOfRange"),
        (word(supervision, 5, 1), "SafetyPadding"),
    ] {
        assert_eq!(found, Some(name));
    }
    for id in [limits, rules, envelope, supervision] {
        let mut parts = good.clone();
        parts.content(id).extend([0; 4]);
        let error = parts.error(&Capacity::FORMAT);
        assert!(matches!(error, Some(FormatError::SectionSize { .. })));
        let mut parts = good.clone();
        parts.sections.iter_mut().find(|s| s.0 == id).unwrap().1 = false;
        let error = parts.error(&Capacity::FORMAT);
        assert!(matches!(error, Some(FormatError::WrongCriticalFlag { .. })));
    }
}

#[test]
fn a_mode_that_dwells_and_that_no_choice_holds_is_a_trap() {
    let mut policy = policy();
    policy.choice_modes = vec![0, 1, 0, 1, 0, 1];
    policy.fallback_mode = 2;
    let rules = |dwell: &[u32; 3]| {
        let safety = Safety {
            mode_rules: Some(ModeRules {
                hysteresis: 0.0,
                dwell,
                follow: &[],
            }),
            ..Safety::NONE
        };
        policy.with_spec(|spec| supervised_len(spec, &safety).map_err(|e| e.to_string()))
    };
    assert!(rules(&[5, 5, 1]).is_ok());
    assert!(rules(&[1, 1, 2]).unwrap_err().contains("mode 2"));
}

#[test]
fn the_joint_logit_of_a_product_is_the_sum_of_its_digits() {
    let factors = [2, 3, 2];
    let logits = [1.0, 2.0, 10.0, 20.0, 30.0, 100.0, 200.0];
    let mut choice = 0;
    for a in 0..2 {
        for b in 0..3 {
            for c in 0..2 {
                let sum = logits[a] + logits[2 + b] + logits[5 + c];
                assert_eq!(joint_logit(choice, &factors, &logits), sum);
                choice += 1;
            }
        }
    }
    assert_eq!(
        joint_logit(3, &[4], &[0.5, 1.5, 2.5, -0.0]).to_bits(),
        1 << 31
    );
}

#[test]
fn a_single_choice_without_logits_is_chosen() {
    let rules = ModeRules {
        hysteresis: 0.5,
        dwell: &[2],
        follow: &[1],
    };
    for history in [ModeHistory::start(), ModeHistory::start().then(0)] {
        assert_eq!(rules.choose(history, &[0], &[1], &[]), Some(0));
    }
}

proptest! {
    #[test]
    fn a_limited_rate_is_between_and_near(
        bits in any::<[u32; 3]>(),
    ) {
        let [u, p, rate] = bits.map(f32::from_bits);
        prop_assume!(u.is_finite() && p.is_finite() && rate.is_finite());
        let rate = rate.abs().max(f32::MIN_POSITIVE);
        let limited = limit_rate(u, p, rate);
        prop_assert!(limited >= u.min(p) && limited <= u.max(p));
        // Again changes nothing, and where it is not active nothing changed.
        prop_assert_eq!(limit_rate(limited, p, rate).to_bits(), limited.to_bits());
        if !rate_is_active(u, p, rate) {
            prop_assert_eq!(limited.to_bits(), u.to_bits());
        }
        let exact = f64::from(limited) - f64::from(p);
        let slack = f64::from(p.abs().max(limited.abs())) * 1.2e-7;
        prop_assert!(exact.abs() <= f64::from(rate) + slack);
    }

    #[test]
    fn the_choice_is_the_best_of_those_a_plain_reading_allows(
        dwell in prop::collection::vec(1_u32..4, 5),
        rows in prop::collection::vec(0_u32..32, 5),
        masked in any::<bool>(),
        hysteresis in 0.0_f32..2.0,
        past in prop::collection::vec(0_u16..5, 0..8),
        choice_modes in prop::collection::vec(0_u16..5, 1..12),
        // Small integers, so that ties are common.
        values in prop::collection::vec(-2_i8..3, 12),
    ) {
        let follow = if masked { rows.as_slice() } else { &[] };
        let rules = ModeRules { hysteresis: hysteresis.round(), dwell: &dwell, follow };
        let logits: Vec<f32> = values.iter().take(choice_modes.len()).map(|&v| v.into()).collect();
        let history = past.iter().fold(ModeHistory::start(), |h, &mode| h.then(mode));
        let held = past.last().copied();
        let age = past.iter().rev().take_while(|&&m| Some(m) == held).count() as u32;
        prop_assert_eq!((history.mode(), history.age()), (held, age));
        let mut best = None;
        for (choice, &mode) in choice_modes.iter().enumerate() {
            let allowed = match held {
                None => true,
                Some(h) if age < dwell[usize::from(h)] => mode == h,
                Some(h) => !masked || rows[usize::from(h)] & (1 << mode) != 0,
            };
            let bonus = if held == Some(mode) { rules.hysteresis } else { 0.0 };
            let score = logits[choice] + bonus;
            if allowed && best.is_none_or(|(_, top)| score > top) {
                best = Some((choice, score));
            }
        }
        let factors = [choice_modes.len() as u16];
        let chosen = rules.choose(history, &choice_modes, &factors, &logits);
        prop_assert_eq!(chosen, best.map(|(choice, _)| choice));
    }
}
