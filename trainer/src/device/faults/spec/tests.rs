//! The grammar: what is read, and what is refused by name.

use super::*;

fn one(text: &str) -> Rule {
    let spec: FaultSpec = text.parse().unwrap();
    assert_eq!(spec.rules.len(), 1);
    spec.rules[0].clone()
}

#[test]
fn every_kind_is_read() {
    let file = PathBuf::from("a/b.hpo");
    for (text, kind) in [
        ("drop=0.01", Kind::Drop(Way::Both)),
        ("dup:request@4", Kind::Duplicate(Way::Requests)),
        ("corrupt:reply=1e-3", Kind::Corrupt(Way::Replies)),
        ("delay:2@50..60", Kind::Delay(2, Way::Both)),
        ("delay:3:request@5", Kind::Delay(3, Way::Requests)),
        ("set:1:inf@5", Kind::Set(Some(1), f32::INFINITY)),
        ("set:all:-0.5@5", Kind::Set(None, -0.5)),
        ("freeze:1@70..90", Kind::Freeze(Some(1))),
        ("freeze@70..90", Kind::Freeze(None)),
        ("stale:3@7", Kind::Stale(3)),
        ("pause:200ms@30", Kind::Pause(200_000)),
        ("pause:1.5s@30", Kind::Pause(1_500_000)),
        ("reset@55", Kind::Reset),
        ("swap:a/b.hpo@60", Kind::Swap(file.clone())),
        ("tear:a/b.hpo@60", Kind::Tear(file)),
        ("flip:17@80", Kind::Flip(Some(17))),
        ("flip=0.5", Kind::Flip(None)),
        ("rot:17@80", Kind::Rot(Some(17))),
        ("rot@80", Kind::Rot(None)),
        ("install:b.hpo@8", Kind::Install("b.hpo".into())),
    ] {
        assert_eq!(one(text).kind, kind, "{text}");
    }
    let nan = one("nan:3@40").kind;
    assert_eq!(nan.name(), "nan");
    assert!(matches!(nan, Kind::Set(Some(3), value) if value.is_nan()));
}

#[test]
fn rate_place_and_seed_are_read() {
    let rule = one("drop=0.25@2/40..50");
    assert_eq!((rule.rate, rule.episode), (Some(0.25), Some(2)));
    assert_eq!(rule.steps, 40..50);
    assert!(rule.covers(2, 40) && rule.covers(2, 49));
    assert!(!rule.covers(2, 50) && !rule.covers(1, 45));
    assert_eq!(one("drop@7").steps, 7..8);
    assert_eq!(one("drop@7..").steps, 7..u64::MAX);
    assert!(one("drop=0.1").covers(9, 1_000_000));
    let spec: FaultSpec = "drop=0.1, seed=5 ,reset@3".parse().unwrap();
    assert_eq!((spec.seed, spec.rules.len()), (5, 2));
    assert!(spec.needs_stub());
    assert!(!"nan@3".parse::<FaultSpec>().unwrap().needs_stub());
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (text, item, allowed) in [
        ("", "\"\"", "drop, dup, corrupt"),
        ("bogus", "bogus", "drop, dup, corrupt"),
        ("bogus=0.1", "bogus=0.1", "stale, pause, reset"),
        ("reset", "reset", "a rate (=0.01), a place"),
        ("seed=3", "seed=3", "at least one fault"),
        ("seed=x,drop@1", "seed=x", "seed=NUMBER"),
        ("drop", "drop", "a rate (=0.01), a place"),
        ("drop=2", "drop=2", "a rate from 0 to 1"),
        ("drop=-0.1", "drop=-0.1", "a rate from 0 to 1"),
        ("drop=NaN", "drop=NaN", "a rate from 0 to 1"),
        ("drop:up@1", "drop:up@1", "drop:request or drop:reply"),
        ("delay@1", "delay@1", "delay:PERIODS"),
        ("delay:0@1", "delay:0@1", "1 to 64 periods"),
        ("delay:65@1", "delay:65@1", "1 to 64 periods"),
        ("nan:x@1", "nan:x@1", "a coordinate"),
        ("set:1@1", "set:1@1", "set:COORDINATE:VALUE"),
        ("set:1:x@1", "set:1:x@1", "a value"),
        ("pause@1", "pause@1", "pause:TIME"),
        ("pause:200@1", "pause:200@1", "us, ms or s"),
        ("pause:0ms@1", "pause:0ms@1", "from 1us"),
        ("reset:1@1", "reset:1@1", "without a parameter"),
        ("swap@1", "swap@1", "swap:FILE"),
        ("tear:@1", "tear:@1", "tear:FILE"),
        ("flip:x@1", "flip:x@1", "flip:BIT"),
        ("rot:x@1", "rot:x@1", "rot:BIT"),
        ("install@1", "install@1", "install:FILE"),
        ("drop@x", "drop@x", "a place"),
        ("drop@5..5", "drop@5..5", "not empty"),
        ("drop@6..5", "drop@6..5", "not empty"),
        ("drop@x/5", "drop@x/5", "EPISODE/"),
        ("drop@1,", "\"\"", "drop, dup, corrupt"),
        ("explode@1", "explode@1", "drop, dup, corrupt"),
    ] {
        let error = text.parse::<FaultSpec>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(
            message.starts_with("--faults: found")
                && message.contains(item)
                && message.contains(allowed),
            "{text}: {message}"
        );
    }
}

#[test]
fn a_rule_that_cannot_act_is_an_error() {
    for (text, allowed) in [
        ("drop@20", "a step from 0 to 19"),
        ("drop@0..21", "steps up to 20"),
        ("drop@4/3", "an episode from 0 to 3"),
        ("nan:8@3", "a coordinate from 0 to 7"),
        ("install:x@3,flip@4", "beside install"),
    ] {
        let spec: FaultSpec = text.parse().unwrap();
        let error = spec.fits(4, 20, 8).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(allowed), "{error}");
    }
    let spec: FaultSpec = "drop@19..,nan:7@3/0".parse().unwrap();
    spec.fits(4, 20, 8).unwrap();
}
