//! An encoded policy decodes, decides and passes its golden vectors.
use policy_format::*;
#[repr(align(16))]
struct A([u8; 4096]);
#[test]
fn round() {
    let g = [GoldenVector { state: &[1e-40, 2.0], choice: 0, control: &[0.0] }];
    let spec = PolicySpec {
        target_class: 9, state_dim: 2, control_dim: 1, modes: 2, factors: &[2], input: InputKind::UnitNorm,
        sample_time_s: 0.01, policy_version: 3, choice_modes: &[1, 0], input_shift: &[0.0, 0.0], input_scale: &[1.0, 1.0],
        scores: Some(BlockSpec { bias: &[0.0, 0.0], weights: &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0] }),
        selector: None, gains: Some(GainsSpec { offset: &[0.0; 2], matrix: &[1.0, 2.0, 3.0, 4.0] }), control: None, bounds: None,
        fallback: FallbackSpec { mode: 1, constant: &[0.0], offset: &[0.0], gain: &[0.0, 0.0] }, golden: &g, names: &[],
    };
    let mut a = A([0; 4096]);
    let len = encode(&spec, &mut a.0).unwrap();
    assert_eq!(encoded_len(&spec), Ok(len));
    let p = RawPolicy::parse(&a.0[..len]).unwrap().validate(&Capacity::FORMAT).unwrap();
    let (mut c, mut s) = ([0.0], [0.0; 64]);
    let d = p.decide(&[1.0, 2.0], &mut c, &mut s).unwrap();
    assert_eq!((d.choice, d.mode, c[0]), (1, 0, 11.0));
    assert!(p.check_golden(&mut c, &mut s).is_err());
}
