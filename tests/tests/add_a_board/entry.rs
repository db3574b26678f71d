Board {
    name: "lm3s6965evb",
    description: "QEMU's Stellaris LM3S6965, Cortex-M3 at 12.5 MHz",
    core: Core::M3,
    folder: "lm3s6965evb",
    feature: None,
    policy_address: 0x0002_0000,
    slot_bytes: (128 << 10) - 16,
    emulator: Some(Emulator {
        machine: "lm3s6965evb",
        icount: "shift=7,sleep=off",
        ticks_per_instruction: 256.0 * 1.6,
    }),
    probe: None,
}
