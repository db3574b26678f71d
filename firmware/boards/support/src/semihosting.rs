//! Calls to the emulator: command line, files, exit.
//!
//! A read stops the virtual processor until the host has written, which is why a run over this link
//! repeats to the last tick under icount.
#![expect(unsafe_code, reason = "semihosting calls take addresses")]

use cortex_m_semihosting::{nr, syscall};
use firmware::LinkClosed;

/// SYS_EXIT_EXTENDED: exit with reason and code.
const EXIT_EXTENDED: usize = 0x20;
/// ADP_Stopped_ApplicationExit.
const APPLICATION_EXIT: usize = 0x2_0026;

/// The last word of the command line, read into `buffer`; `None` if there is none or it does not fit.
pub fn last_argument(buffer: &mut [u8; 80]) -> Option<&[u8]> {
    let mut block = [buffer.as_mut_ptr() as usize, buffer.len()];
    // SAFETY: GET_CMDLINE writes at most `block[1]` bytes to `block[0]`, which is `buffer`, and the
    // line's length to `block[1]`; both live through the call.
    let failed =
        unsafe { cortex_m_semihosting::syscall1(nr::GET_CMDLINE, block.as_mut_ptr() as usize) };
    // The compiler sees no write to `block`; the emulator made one.
    let length = core::hint::black_box(block)[1];
    let line = core::hint::black_box(buffer).get(..length)?;
    (failed == 0).then_some(line)?.rsplit(|&b| b == b' ').next()
}

/// A file to read from and one to write to, in the emulator's folder.
pub struct Files {
    from_host: usize,
    to_host: ToHost,
}

/// The open file to write to.
#[derive(Clone, Copy)]
pub struct ToHost(usize);

impl Files {
    /// Opens `to-guest` and `from-guest`; `None` if one of them cannot be opened.
    pub fn open() -> Option<Self> {
        let open = |name: &core::ffi::CStr, mode: usize| {
            // SAFETY: OPEN reads the name with its final zero, which lives through the call.
            let handle = unsafe { syscall!(OPEN, name.as_ptr(), mode, name.count_bytes()) };
            (handle != usize::MAX).then_some(handle)
        };
        Some(Self {
            from_host: open(c"to-guest", nr::open::R_BINARY)?,
            to_host: ToHost(open(c"from-guest", nr::open::W_TRUNC_BINARY)?),
        })
    }

    /// The file to write to, for the exception handlers.
    pub fn to_host(&self) -> ToHost {
        self.to_host
    }

    /// Waits for bytes from the host.
    ///
    /// # Errors
    /// [`LinkClosed`] at the end of the file: the host is gone.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed> {
        // SAFETY: READ writes at most the given length to `buffer`, which lives through the call.
        let missing = unsafe { syscall!(READ, self.from_host, buffer.as_mut_ptr(), buffer.len()) };
        match buffer.len().checked_sub(missing) {
            None | Some(0) => Err(LinkClosed),
            Some(received) => Ok(received),
        }
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`LinkClosed`] if they were not all taken.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed> {
        self.to_host.send(bytes)
    }
}

impl ToHost {
    /// The handle as a number.
    pub fn handle(self) -> usize {
        self.0
    }

    /// The file with this handle; a number that is no open file gives errors.
    pub fn from_handle(handle: usize) -> Self {
        Self(handle)
    }

    /// Sends all bytes.
    ///
    /// # Errors
    /// [`LinkClosed`] if they were not all taken.
    pub fn send(self, bytes: &[u8]) -> Result<(), LinkClosed> {
        // SAFETY: WRITE reads the given length from `bytes`, which lives through the call.
        match unsafe { syscall!(WRITE, self.0, bytes.as_ptr(), bytes.len()) } {
            0 => Ok(()),
            _ => Err(LinkClosed),
        }
    }
}

/// Ends the emulator with an exit code.
pub fn exit(code: u8) -> ! {
    let block = [APPLICATION_EXIT, usize::from(code)];
    loop {
        // SAFETY: the call reads the two words of `block` and, in the emulator, does not return.
        unsafe { cortex_m_semihosting::syscall1(EXIT_EXTENDED, block.as_ptr() as usize) };
    }
}
