//! What this board offers a policy.
#![expect(
    unsafe_code,
    reason = "a number from the linker is the address of a symbol"
)]

use firmware::Offer;
use policy_format::CoreClass;

unsafe extern "C" {
    /// Its address is the number of instructions that budget.toml grants a control step (build.rs).
    static _budget_instructions: u8;
}

/// Core, instructions and stack of this board.
pub fn offer() -> Offer {
    Offer {
        core: CORE,
        instructions: &raw const _budget_instructions as u32,
        stack_bytes: crate::stack::size(),
    }
}

#[cfg(armv6m)]
const CORE: CoreClass = CoreClass::Armv6M;
#[cfg(all(armv7m, not(target_abi = "eabihf")))]
const CORE: CoreClass = CoreClass::Armv7M;
#[cfg(all(armv7m, target_abi = "eabihf"))]
const CORE: CoreClass = CoreClass::Armv7EMFpu;
#[cfg(armv8m)]
const CORE: CoreClass = CoreClass::Armv8MFpu;
