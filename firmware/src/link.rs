//! What a board offers to the message loop.

/// The host is gone and no further byte will come or go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkClosed;

/// A stream of bytes from and to the host.
pub trait Link {
    /// Waits for bytes, writes them to the front of `buffer` and returns how many (at most its length). 0 where the
    /// board has something else to do: it is asked again afterwards.
    ///
    /// # Errors
    /// [`LinkClosed`] when no more bytes will come.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, LinkClosed>;

    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// [`LinkClosed`] when they cannot be sent.
    fn send(&mut self, bytes: &[u8]) -> Result<(), LinkClosed>;
}

/// What a board can measure about itself.
pub trait Instruments {
    /// A counter that goes up and wraps at 2^32; what one tick is depends on board and emulator.
    fn ticks(&mut self) -> u32;

    /// Greatest stack use in bytes since the start; 0 where the board cannot tell.
    fn stack_bytes(&mut self) -> u32;

    /// The device is to start anew, as by a reset. Only a device with slots is ever asked to.
    fn restart(&mut self) {}
}
