//! Power cuts at every unit that is programmed and every sector that is erased, in every way of tearing it, while policies are
//! installed, tried, confirmed and reverted; and again while the device recovers. After each: a policy that is allowed, whole
//! and running.
//!
//! Each test prints how many cuts it made; `docs/benchmarks.md` publishes the numbers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/mod.rs"]
mod policies;
#[path = "support/slots.rs"]
mod slots_support;

use firmware::Trust;
use firmware::slots::nor::{NRF52840, Part, RP2350, STM32F4, Torn};
use slots_support::{
    Allowed, CLASS, Image, Played, Step, TORN, World, id, key, policy, public, signed,
};

use Step::{Bad, Good, Install, Start};

/// A part with error correction: 32 bytes at once, unreadable when torn.
const ECC: Part = Part {
    name: "32-byte words",
    unit: 32,
    ..STM32F4
};

/// Six updates, of which one fails its trial and one is overwritten before it was tried. The records go through both sectors.
const UPDATES: [Step; 20] = [
    Start,
    Install(1),
    Start,
    Good,
    Install(2),
    Start,
    Bad,
    Start,
    Install(3),
    Install(0),
    Start,
    Good,
    Install(1),
    Start,
    Good,
    Start,
    Install(2),
    Start,
    Good,
    Start,
];

struct Cuts {
    single: u64,
    nested: u64,
}

/// A story, cut everywhere.
struct Story<'s, const W: usize, const E: usize> {
    world: World<'s>,
    image: Image,
    steps: &'s [Step],
    start: Allowed,
}

impl<const W: usize, const E: usize> Story<'_, W, E> {
    fn power_on(&self, image: &mut Image, allowed: &mut Allowed) -> Played {
        let nor = image.nor::<W, E>(self.world.part);
        self.world.play(nor, &[Start], allowed)
    }

    /// Whether what runs after a cut is allowed, and whether the device still takes updates.
    fn check(&self, mut image: Image, allowed: &Allowed, what: &str) {
        let mut after = allowed.clone();
        let played = self.power_on(&mut image, &mut after);
        assert!(
            allowed.ids.contains(&played.running),
            "{what}: {:?} runs, allowed {allowed:x?}",
            played.running
        );
        // Whatever is on trial now is reverted by the next start, or is all there is. Then the next update goes through.
        let mut after = Allowed {
            ids: vec![played.running, allowed.confirmed],
            confirmed: None,
        };
        let again = self.power_on(&mut image, &mut after);
        if played.on_trial && allowed.confirmed.is_some() {
            assert!(
                again.running == allowed.confirmed && !again.on_trial,
                "{what}: a trial is not reverted"
            );
        }
        if !again.on_trial {
            after.confirmed = again.running;
        }
        after.ids = vec![again.running];
        let nor = image.nor::<W, E>(self.world.part);
        let steps = if again.on_trial {
            vec![Start]
        } else {
            vec![Start, Install(3), Start, Good, Start]
        };
        let last = self.world.play(nor, &steps, &mut after);
        if !again.on_trial {
            assert_eq!(last.running, Some(id(&self.world.files[3])), "{what}");
        }
    }

    /// Cuts every `stride`-th operation; with `nested`, also every operation of the start after each cut.
    fn run(&self, nested: bool, stride: u64) -> Cuts {
        let mut whole = self.start.clone();
        let mut image = self.image.clone();
        let nor = image.nor::<W, E>(self.world.part);
        let played = self.world.play(nor, self.steps, &mut whole);
        assert!(played.powered);
        assert_eq!(Some(&played.running), whole.ids.first());
        let mut cuts = Cuts {
            single: 0,
            nested: 0,
        };
        for at in (0..played.operations).step_by(stride as usize) {
            for torn in TORN {
                let what = format!("{} cut {at} {torn:?}", self.world.part.name);
                let mut allowed = self.start.clone();
                let mut image = self.image.clone();
                let mut nor = image.nor::<W, E>(self.world.part);
                nor.cut_power_at(at, torn);
                let played = self.world.play(nor, self.steps, &mut allowed);
                assert!(!played.powered, "{what}");
                cuts.single += 1;
                self.check(image.clone(), &allowed, &what);
                if nested {
                    cuts.nested += self.cut_recovery(&image, &allowed, &what);
                }
            }
        }
        cuts
    }

    /// After a cut that left something unstable, recovers, installs the next policy and cuts that everywhere as well. What ran as the
    /// confirmed policy while the other slot was erased must run at each of several starts, though what was torn first
    /// may read differently at each.
    fn cut_next_install(&self, image: &Image, what: &str) -> u64 {
        let begin = |seed: u32, cut| {
            let mut image = image.clone();
            let mut nor = image.nor::<W, E>(self.world.part);
            nor.reseed(seed);
            let begun = self.world.begin_another(nor, 2, cut);
            (image, begun)
        };
        let mut cuts = 0;
        for seed in [3, 0x1234_5677, 0xDEAD_BEEF] {
            let (_, Some((ran, erased_from, operations))) = begin(seed, None) else {
                continue;
            };
            // Before the slot is erased nothing is lost, and what the torn record reads as decides.
            assert!((1..operations).contains(&erased_from), "{what}");
            let either = [&self.world.files[0], &self.world.files[1]].map(|file| Some(id(file)));
            for (at, torn) in
                (0..operations).zip([Torn::Half, Torn::Unreadable].into_iter().cycle())
            {
                let (mut image, Some(_)) = begin(seed, Some((at, torn))) else {
                    continue;
                };
                cuts += 1;
                for start in 0..4 {
                    let mut nor = image.nor::<W, E>(self.world.part);
                    nor.reseed(seed.wrapping_mul(0x9E37_79B9).wrapping_add(start));
                    let allowed = Allowed {
                        ids: match at < erased_from {
                            true => either.to_vec(),
                            false => vec![Some(ran)],
                        },
                        confirmed: Some(ran),
                    };
                    let last = self.world.play(nor, &[Start], &mut allowed.clone());
                    assert!(
                        allowed.ids.contains(&last.running),
                        "{what}, then {at} {torn:?}"
                    );
                }
            }
        }
        cuts
    }

    fn cut_recovery(&self, image: &Image, allowed: &Allowed, what: &str) -> u64 {
        let operations = self
            .power_on(&mut image.clone(), &mut allowed.clone())
            .operations;
        let mut cuts = 0;
        for at in 0..operations {
            for torn in TORN {
                let mut image = image.clone();
                let mut nor = image.nor::<W, E>(self.world.part);
                nor.cut_power_at(at, torn);
                self.world.play(nor, &[Start], &mut allowed.clone());
                // A trial that this start began is reverted by the next one.
                let mut allowed = allowed.clone();
                allowed.ids.push(allowed.confirmed);
                let what = format!("{what}, again {at} {torn:?}");
                let played = self.power_on(&mut image, &mut allowed.clone());
                assert!(
                    allowed.ids.contains(&played.running),
                    "{what}: {:?} runs, allowed {allowed:x?}",
                    played.running
                );
                cuts += 1;
            }
        }
        cuts
    }
}

fn files() -> Vec<Vec<u8>> {
    (0..4).map(|seed| policy(seed, CLASS)).collect()
}

/// The story on a part: a policy flashed at the factory, then the updates.
fn updates<const W: usize, const E: usize>(part: Part, nested: bool, stride: u64) -> Cuts {
    let files = files();
    let first = Some(id(&files[0]));
    let story = Story::<W, E> {
        image: Image::new(4 * E, Some(&files[0])),
        steps: &UPDATES,
        start: Allowed {
            ids: vec![first],
            confirmed: first,
        },
        world: World {
            files: &files,
            trust: Trust::ANYONE,
            part,
        },
    };
    let cuts = story.run(nested, stride);
    println!(
        "{}: {} power cuts, and {} in the recoveries from them",
        part.name, cuts.single, cuts.nested
    );
    cuts
}

#[test]
fn words_of_four_bytes_cut_everywhere_and_again_in_the_recovery() {
    let cuts = updates::<4, 512>(STM32F4, true, 1);
    assert!(cuts.single > 5_000 && cuts.nested > 10_000);
}

#[test]
fn words_of_32_bytes_with_error_correction() {
    let cuts = updates::<32, 512>(ECC, true, 1);
    assert!(cuts.single > 500 && cuts.nested > 1_000);
}

#[test]
fn pages_of_256_bytes() {
    let cuts = updates::<1, 512>(RP2350, true, 1);
    assert!(cuts.single > 300 && cuts.nested > 1_000);
}

#[test]
fn pages_of_4_kib_as_on_the_nrf52840() {
    let cuts = updates::<4, 4096>(NRF52840, true, 1);
    assert!(cuts.single > 5_000);
}

#[test]
fn sectors_of_128_kib_as_on_the_stm32f4() {
    // The real sectors: a copy of 1 MiB a cut. CI makes every 16th; HPO_POWER_CUTS=all every one.
    let stride = match std::env::var("HPO_POWER_CUTS") {
        Ok(all) if all == "all" => 1,
        _ => 16,
    };
    let cuts = updates::<4, 131_072>(STM32F4, false, stride);
    assert!(cuts.single > 300);
}

#[test]
fn records_that_read_differently_at_each_start() {
    let files = files();
    let first = Some(id(&files[0]));
    let story = Story::<4, 512> {
        image: Image::new(4 * 512, Some(&files[0])),
        steps: &[Start, Install(1), Start, Good, Start],
        start: Allowed {
            ids: vec![first],
            confirmed: first,
        },
        world: World {
            files: &files,
            trust: Trust::ANYONE,
            part: STM32F4,
        },
    };
    let operations = {
        let mut image = story.image.clone();
        let nor = image.nor::<4, 512>(STM32F4);
        story
            .world
            .play(nor, story.steps, &mut story.start.clone())
            .operations
    };
    let mut cuts = 0;
    for at in 0..operations {
        let mut image = story.image.clone();
        let mut nor = image.nor::<4, 512>(STM32F4);
        nor.cut_power_at(at, Torn::Unstable);
        story.world.play(nor, story.steps, &mut story.start.clone());
        cuts += story.cut_next_install(&image, &format!("unstable {at}"));
    }
    println!("unstable: {cuts} power cuts in the installation after an unstable cut");
    assert!(cuts > 10_000);
}

#[test]
fn signed_policies_with_rising_counters() {
    let (ours, unknown) = (key(1), key(2));
    let files: Vec<_> = files()
        .iter()
        .zip([5, 6, 6, 7])
        .map(|(file, counter)| signed(file, &ours, counter))
        .collect();
    let keys = [public(&unknown), public(&ours)];
    let first = Some(id(&files[0]));
    let story = Story::<4, 512> {
        image: Image::new(4 * 512, Some(&files[0])),
        steps: &[
            Start,
            Install(1),
            Start,
            Good,
            Install(2),
            Start,
            Bad,
            Start,
        ],
        start: Allowed {
            ids: vec![first],
            confirmed: first,
        },
        world: World {
            files: &files,
            trust: Trust::keys(&keys),
            part: NRF52840,
        },
    };
    let cuts = story.run(false, 1);
    println!("signed: {} power cuts", cuts.single);
    assert!(cuts.single > 2_000);
}

#[test]
fn a_device_without_any_policy_gets_its_first_one() {
    let files = files();
    let story = Story::<4, 512> {
        image: Image::new(4 * 512, None),
        steps: &[Start, Install(1), Start, Good, Start],
        start: Allowed {
            ids: vec![None],
            confirmed: None,
        },
        world: World {
            files: &files,
            trust: Trust::ANYONE,
            part: STM32F4,
        },
    };
    let cuts = story.run(true, 1);
    println!(
        "first policy: {} power cuts, and {} in the recoveries",
        cuts.single, cuts.nested
    );
    assert!(cuts.single > 800);
}
