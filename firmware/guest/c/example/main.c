/* A controller in C on QEMU's mps2-an386: prints one line per period. Built and run by tests/tests/guests.rs:
 *
 *   arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -O2 -Wall -Wextra -Werror -nostdlib \
 *       -Wl,--gc-sections -Wl,-z,noexecstack -I firmware/guest/c/include -T firmware/guest/c/example/link.ld firmware/guest/c/example/main.c \
 *       libhpo_control.a -lgcc -o example.elf
 */
#include "hpo_control.h"

/* The policy is loaded to the last MiB of the flash; the word behind the slot says how many bytes it has. */
#define SLOT ((const uint8_t *)0x00300000)
#define LOADED (*(const volatile uint32_t *)0x003FFFF0)
#define TARGET_CLASS (*(const uint32_t *)(SLOT + 24))

static hpo_control control;
static uint32_t retained[HPO_RECORD_WORDS] __attribute__((section(".uninit")));

static int semihosting(int operation, const void *block) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(const char *text) { semihosting(0x04, text); }

static void print_hex(uint32_t value) {
    char text[10] = " 00000000";
    for (int i = 0; i < 8; i++) text[8 - i] = "0123456789abcdef"[value >> (4 * i) & 15];
    print(text);
}

int main(void) {
    /* What this program has for a step, in a period of 10 ms: a policy that needs more is refused. */
    static const hpo_offer offer = {HPO_CORE_ARMV7EM_FPU, 100000, 5120};
    uint16_t fault = hpo_control_start_on(&control, &offer, SLOT, LOADED, TARGET_CLASS, 0, retained);
    if (fault != 0) {
        char name[32];
        hpo_fault_name(fault, name, sizeof name);
        print(name);
        print("\n");
        return 1;
    }
    for (uint32_t period = 0; period < 20; period++) {
        /* Small multiples of 1/64; one broken value in the eighth period, no measurement in the twelfth. */
        float state[8];
        for (uint32_t i = 0; i < 8; i++) state[i] = (float)((period * 7 + i * 5) % 64) / 64.0f - 0.5f;
        if (period == 8) state[3] = __builtin_inff();
        uint64_t now = 1000000 + (uint64_t)period * 10000;
        hpo_command command;
        if (period == 12) {
            hpo_control_step_without_measurement(&control, now, &command);
        } else {
            hpo_control_step(&control, state, 8, now - 500, now, &command);
        }
        print("step");
        print_hex(period);
        print_hex(command.fault);
        print_hex(command.mode);
        for (size_t i = 0; i < command.controls; i++) {
            uint32_t bits;
            __builtin_memcpy(&bits, &command.control[i], sizeof bits);
            print_hex(bits);
        }
        print("\n");
        if (hpo_control_unsaved(&control, retained)) {
            print("record");
            for (int i = 0; i < HPO_RECORD_WORDS; i++) print_hex(retained[i]);
            print("\n");
        }
    }
    return 0;
}

/* Start-up: stack, FPU, zeroed statics, main, exit. */
extern uint32_t stack_top, bss_start, bss_end;

__attribute__((noreturn)) static void stop(uint32_t code) {
    const uint32_t block[2] = {0x20026, code};
    for (;;) semihosting(0x20, block);
}

void reset(void);

void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20;
    __asm__ volatile("dsb\nisb");
    for (volatile uint32_t *word = &bss_start; word < &bss_end; word++) *word = 0;
    stop((uint32_t)main());
}

static void fault_handler(void) { stop(99); }

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&stack_top, reset, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
};
