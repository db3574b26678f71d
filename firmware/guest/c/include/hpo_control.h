/* The control loop of hybrid policies for C firmware: libhpo_control.a, built from firmware/guest/c.
 *
 * Three calls make a controller: hpo_control_start once, then in each period hpo_control_step and your own actuators.
 * No call allocates, blocks or panics. One control loop belongs to one task at a time. docs/safety.md says what the
 * supervisor checks; docs/messages.md lists the numbers of faults.
 */
#ifndef HPO_CONTROL_H
#define HPO_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Memory of one control loop, 8 KiB; keep it static. */
#define HPO_CONTROL_WORDS 1024
typedef struct {
    uint64_t words[HPO_CONTROL_WORDS];
} hpo_control;

/* Words of the fault record. Keep them in memory that start-up code does not write and a reset leaves alone. */
#define HPO_RECORD_WORDS 6

/* A checked command: finite, inside the bounds and the rate limits. It lasts until the next call on its control loop. */
typedef struct {
    const float *control;    /* `controls` values in the plant's units */
    size_t controls;         /* length m; 0 without an armed policy: every actuator to zero */
    uint16_t mode;           /* plant mode to apply */
    uint16_t choice;         /* choice of the policy; 0 when the fallback law acts */
    uint16_t fault;          /* why the fallback law acts; 0 while the policy does */
    uint8_t in_distribution; /* 1 if the state lay where the states of training lay */
} hpo_command;

/* Boots the policy in `slot` (16-aligned, `length` bytes, to stay as they are) and takes up the fault record in `retained`. After a
 * watchdog reset, or with a fault pending, the fallback law acts until hpo_control_acknowledge. Returns 0, or the fault that keeps the
 * policy from acting; the loop runs all the same, with the safe constant. */
uint16_t hpo_control_start(hpo_control *control, const void *slot, size_t length, uint32_t target_class,
                           int watchdog_reset, const uint32_t retained[HPO_RECORD_WORDS]);

/* What the board has for a control step. */
#define HPO_CORE_ARMV6M 1      /* Cortex-M0, M0+ */
#define HPO_CORE_ARMV7M 2      /* Cortex-M3 */
#define HPO_CORE_ARMV7EM_FPU 3 /* Cortex-M4F, M7 */
#define HPO_CORE_ARMV8M_FPU 4  /* Cortex-M33, M55 */
typedef struct {
    uint32_t core;         /* one of the above */
    uint32_t instructions; /* that a control step may take */
    uint32_t stack_bytes;  /* of the stack */
} hpo_offer;

/* As hpo_control_start, on a board that offers `offer`: a policy that carries a budget and asks for more is refused, with fault
 * BudgetCore (0x0020, also for a class of cores that does not exist), BudgetInstructions (0x0021) or BudgetStack (0x0022). */
uint16_t hpo_control_start_on(hpo_control *control, const hpo_offer *offer, const void *slot, size_t length,
                              uint32_t target_class, int watchdog_reset, const uint32_t retained[HPO_RECORD_WORDS]);

/* One control step on a state of `length` floats measured at `measured_us`, used at `now_us`: microseconds of one clock that never
 * goes back. Whatever the values, the command is admissible. NULL is an empty state, as an empty slot above. */
void hpo_control_step(hpo_control *control, const float *state, size_t length, uint64_t measured_us,
                      uint64_t now_us, hpo_command *command);

/* One control step in which no measurement could be had: fault SensorFailed. */
void hpo_control_step_without_measurement(hpo_control *control, uint64_t now_us, hpo_command *command);

/* An operator has seen the fault: the policy acts again from the next step on. */
void hpo_control_acknowledge(hpo_control *control);

/* Copies the fault record to `retained` and returns 1 if it changed since the last call, else returns 0. */
int hpo_control_unsaved(hpo_control *control, uint32_t retained[HPO_RECORD_WORDS]);

/* The stable name of a fault, cut to `size` bytes with the final zero; nothing where there is no room. */
void hpo_fault_name(uint16_t fault, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
