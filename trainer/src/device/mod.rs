//! Getting a policy onto a device: tools, firmware build, emulator, links, hardware in the loop.
//!
//! [`setup`] finds or installs the cross toolchain and QEMU, [`build`] is the one door to firmware
//! builds, [`board`] the table of boards, [`qemu`] the emulator process with its [`link`],
//! [`flash`] writes slots, by probe-rs or through [`gdb`]'s debug stubs, [`image`] makes files of them,
//! [`session`] the protocol with a running device over any [`transport`] (the emulator's link, a serial [`port`]), and [`hil`] closes the loop with a plant
//! ([`plant_loop`] makes one from a plant file).

pub mod board;
pub mod budget;
pub mod build;
pub mod c_compiler;
pub mod faults;
pub mod flash;
pub mod gdb;
pub mod guest;
pub mod hil;
pub mod hostile;
mod hostile_times;
pub mod image;
pub mod link;
pub mod local;
pub mod measure;
pub mod monitor;
pub mod noise;
pub mod plant_loop;
pub mod port;
pub mod pty;
pub mod push;
pub mod qemu;
pub mod session;
pub mod setup;
pub mod transport;
