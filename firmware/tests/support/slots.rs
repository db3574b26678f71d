//! A device with slots on the model of NOR flash: it starts, installs, tries, confirms and reverts policies, and knows at every
//! moment which policies a power cut may leave running.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use ed25519_dalek::{Signer as _, SigningKey};
use firmware::slots::nor::{Nor, Part, Torn};
use firmware::slots::{Activity, Region, Slots, Trial, TrialRule, Verdict, policy_in};
use firmware::{Fault, PublicKey, SCRATCH_LEN, Trust, boot_trusting, signature};
use policy_format::{RawPolicy, seal_signature, with_signature};

use crate::policies::common::{Aligned, Structure, generate};

pub const CLASS: u32 = 77;

/// The smallest policy there is, told apart by its seed.
pub fn policy(seed: u64, target_class: u32) -> Vec<u8> {
    let mut policy = generate(&Structure {
        n: 1,
        m: 1,
        modes: 1,
        factors: vec![1],
        unit_norm: false,
        scores: false,
        selector: None,
        gains: true,
        control: None,
        head_per_choice: false,
        bounds: false,
        names: false,
        seed,
    });
    policy.target_class = target_class;
    policy.encode().bytes().to_vec()
}

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// `file` with a signature.
pub fn signed(file: &[u8], key: &SigningKey, counter: u32) -> Vec<u8> {
    let mut out = Aligned::zeros(file.len() + 256);
    let file = Aligned::from(file);
    let id = signature::key_id(&public(key));
    let length = with_signature(file.bytes(), id, counter, out.bytes_mut()).unwrap();
    let mut out = Aligned::from(&out.bytes()[..length]);
    let parts = RawPolicy::parse(out.bytes()).unwrap().signature().unwrap();
    let parts = parts.unwrap();
    let message = parts.message(&signature::payload_hash(parts.payload()));
    seal_signature(out.bytes_mut(), &key.sign(&message).to_bytes());
    out.bytes().to_vec()
}

/// CRC-32 in a file's header: tells policies apart.
pub fn id(file: &[u8]) -> u32 {
    u32::from_le_bytes(file[16..20].try_into().unwrap())
}

/// What lies in a flash.
#[derive(Clone)]
pub struct Image {
    pub bytes: Aligned,
    pub marks: Vec<u8>,
}

impl Image {
    /// Erased, with `file` flashed to slot A by a programmer, if there is one.
    pub fn new(capacity: usize, file: Option<&[u8]>) -> Self {
        let mut image = Self {
            bytes: Aligned::from(&vec![0xFF; capacity]),
            marks: vec![0; capacity],
        };
        if let Some(file) = file {
            image.bytes.bytes_mut()[..file.len()].copy_from_slice(file);
            image.marks[..file.len()].fill(1);
        }
        image
    }

    pub fn nor<const W: usize, const E: usize>(&mut self, part: Part) -> Nor<'_, W, E> {
        Nor::new(self.bytes.bytes_mut(), &mut self.marks, part, |_| {})
    }
}

/// One thing that a device does.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Power-on.
    Start,
    /// The host installs the policy with this index.
    Install(usize),
    /// The policy on trial does well and is confirmed.
    Good,
    /// It does badly and is reverted.
    Bad,
}

/// Which policies may run after the power went, and the confirmed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Ids; `None` is no policy.
    pub ids: Vec<Option<u32>>,
    pub confirmed: Option<u32>,
}

/// The policies, and who may say what runs.
pub struct World<'w> {
    pub files: &'w [Vec<u8>],
    pub trust: Trust<'w>,
    pub part: Part,
}

impl World<'_> {
    /// Does every check of a boot and takes a control step; gives id and counter.
    pub fn arm<const W: usize, const E: usize>(
        &self,
        flash: &Nor<'_, W, E>,
        region: Region,
    ) -> Result<(u32, u32), Fault> {
        let header = flash.mapped(region.offset, 32).ok_or(Fault::FLASH_FAILED)?;
        let declared = u32::from_le_bytes(header[12..16].try_into().unwrap());
        let length = declared.clamp(32, region.length);
        let slot = flash
            .mapped(region.offset, length)
            .ok_or(Fault::FLASH_FAILED)?;
        let file = policy_in(slot)?;
        let armed = boot_trusting(&self.trust, file, CLASS, &mut [0.0; SCRATCH_LEN])?;
        // Whole: a policy that boots is one of those that were made, to the last byte.
        assert!(
            self.files.iter().any(|known| known == file),
            "an unknown policy boots"
        );
        Ok((armed.policy().crc32(), self.trust.counter(file)?))
    }

    /// Does the steps until the last or until the power goes. `allowed` is kept up with them.
    pub fn play<const W: usize, const E: usize>(
        &self,
        nor: Nor<'_, W, E>,
        steps: &[Step],
        allowed: &mut Allowed,
    ) -> Played {
        let mut slots: Option<Slots<Nor<'_, W, E>>> = None;
        let mut flash = Some(nor);
        let mut pending = None;
        let mut running = None;
        let mut on_trial = false;
        for step in steps {
            match *step {
                Step::Start => {
                    let nor = flash
                        .take()
                        .or_else(|| slots.take().map(Slots::into_flash))
                        .unwrap();
                    let mut fresh = Slots::new(nor).unwrap();
                    // A record of a trial may or may not be written by this start.
                    if let Some(id) = pending {
                        allowed.ids = vec![Some(id), allowed.confirmed];
                    }
                    let started = fresh.start(|flash, region| self.arm(flash, region));
                    (running, on_trial) = match &started {
                        Ok(started) => (Some(started.armed), started.on_trial),
                        Err(_) => (None, false),
                    };
                    let powered = fresh.flash().is_powered();
                    slots = Some(fresh);
                    if !powered {
                        break;
                    }
                    if let Some(id) = pending {
                        assert_eq!(running, Some(id), "what is ready is tried");
                        assert!(on_trial);
                        // Interrupted from here on, it is reverted; but on a device that has nothing else.
                        allowed.ids = match allowed.confirmed {
                            Some(_) => vec![allowed.confirmed],
                            None => vec![Some(id)],
                        };
                    } else {
                        assert!(allowed.ids.contains(&running), "{running:?} of {allowed:?}");
                    }
                }
                Step::Install(index) => {
                    let slots = slots.as_mut().unwrap();
                    if self.install(slots, index, allowed).is_err() {
                        break;
                    }
                    pending = Some(id(&self.files[index]));
                    allowed.ids = vec![pending];
                }
                Step::Good | Step::Bad => {
                    let slots = slots.as_mut().unwrap();
                    let mut trial = Trial::new(TrialRule {
                        good_periods: 3,
                        within: 9,
                    });
                    let fault = matches!(step, Step::Bad).then_some(Fault::NON_FINITE_VALUE);
                    let verdict = loop {
                        match trial.observe(fault) {
                            Verdict::Continue => {}
                            verdict => break verdict,
                        }
                    };
                    let new = pending.take();
                    let done = match verdict {
                        Verdict::Revert(fault) => slots.revert(fault),
                        _ => {
                            allowed.ids = vec![new, allowed.confirmed];
                            slots.confirm()
                        }
                    };
                    if done.is_err() {
                        assert!(!slots.flash().is_powered(), "{done:?}");
                        break;
                    }
                    if fault.is_none() {
                        allowed.confirmed = new;
                    }
                    allowed.ids = vec![allowed.confirmed];
                }
            }
        }
        let nor = flash.or_else(|| slots.map(Slots::into_flash)).unwrap();
        assert_eq!(
            nor.mistakes(),
            0,
            "something that is not erased was written"
        );
        Played {
            operations: nor.operations(),
            busy_us: nor.busy_us(),
            powered: nor.is_powered(),
            running,
            on_trial,
        }
    }

    /// Starts, and if a confirmed policy runs, installs another one up to the last byte, without finishing. `cut` counts from the
    /// power-on. Gives what ran, and the operations of start and installation: until the slot begins to be erased, and all.
    pub fn begin_another<const W: usize, const E: usize>(
        &self,
        mut nor: Nor<'_, W, E>,
        index: usize,
        cut: Option<(u64, Torn)>,
    ) -> Option<(u32, u64, u64)> {
        if let Some((at, torn)) = cut {
            nor.cut_power_at(at, torn);
        }
        let mut slots = Slots::new(nor).unwrap();
        let mut untouched = 0;
        let started = slots
            .start(|flash, region| self.arm(flash, region))
            .ok()
            .filter(|started| !started.on_trial)?;
        let file = &self.files[index];
        if let Ok(mut install) = slots.begin(file.len() as u32, Activity::Disarmed) {
            // Its last operations erase a sector each.
            untouched = slots.flash().operations() - file.len().div_ceil(E) as u64;
            // Fails only by the power, which ends it.
            let _ = slots.write(&mut install, file);
        }
        let nor = slots.into_flash();
        assert_eq!(nor.mistakes(), 0);
        Some((started.armed, untouched, nor.operations()))
    }

    fn install<const W: usize, const E: usize>(
        &self,
        slots: &mut Slots<Nor<'_, W, E>>,
        index: usize,
        allowed: &mut Allowed,
    ) -> Result<(), Fault> {
        let file = &self.files[index];
        // What was ready before is no longer, as soon as the record says so.
        if !allowed.ids.contains(&allowed.confirmed) {
            allowed.ids.push(allowed.confirmed);
        }
        let begun = slots.begin(file.len() as u32, Activity::Disarmed);
        let mut install = self.unless_cut(slots, begun)?;
        allowed.ids = vec![allowed.confirmed];
        for part in file.chunks(100) {
            let written = slots.write(&mut install, part);
            self.unless_cut(slots, written)?;
        }
        allowed.ids = vec![allowed.confirmed, Some(id(file))];
        let finished = slots.finish(install, |flash, region| {
            self.arm(flash, region).map(|(_, counter)| counter)
        });
        self.unless_cut(slots, finished)
    }

    /// A step fails for no other reason than the power.
    fn unless_cut<T, const W: usize, const E: usize>(
        &self,
        slots: &Slots<Nor<'_, W, E>>,
        result: Result<T, Fault>,
    ) -> Result<T, Fault> {
        if let Err(fault) = &result {
            assert!(!slots.flash().is_powered(), "{fault:?}");
        }
        result
    }
}

/// How it went.
#[derive(Clone, Copy, Debug)]
pub struct Played {
    pub operations: u64,
    pub busy_us: u64,
    pub powered: bool,
    /// Id of what the last start armed.
    pub running: Option<u32>,
    pub on_trial: bool,
}

/// Every way in which a place may be torn.
pub const TORN: [Torn; 9] = [
    Torn::Old,
    Torn::New,
    Torn::Part(0xFFFF_0000),
    Torn::Part(0x0000_FFFF),
    Torn::Part(0xAAAA_AAAA),
    Torn::Part(0x1234_8765),
    Torn::Unreadable,
    Torn::Unstable,
    Torn::Half,
];
