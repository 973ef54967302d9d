//! One large blocking copy by a device and the calling thread together.
//!
//! Every part is an ordinary job on its way ([`Flight`]), so that faults, full queues and dead devices are what they are
//! everywhere: a part that a device cannot do, or leaves behind, is done by the CPU. Which parts there are says
//! [`Shares`]; they are disjoint, and no byte is in none. Several are with the device at a time, so that it does not wait for
//! this thread, which looks after them between two of its own.

use crate::accelerator::Accelerator;
use crate::dispatch::{Flight, Plain, Route, Shares};
use crate::stats::Path;

/// Parts that are with the device at a time.
const DEPTH: usize = 4;

/// The parts that are with the device. None is left behind: not to be forgotten, and the destructor waits.
struct Out<'a> {
    accelerator: &'a Accelerator,
    from: *const u8,
    to: *mut u8,
    flights: [Option<Flight<Plain>>; DEPTH],
    /// The CPU, as soon as it has done a part.
    path: Path,
}

/// Copies `shares`, all the bytes of a copy. Says whether the CPU had a part in it.
///
/// # Safety
///
/// Source and destination are valid for all bytes of the shares, and do not overlap. Until this returns, or unwinds, nobody
/// else touches the destination, and the source is only read.
pub(super) unsafe fn copy(accelerator: &Accelerator, from: *const u8, to: *mut u8, mut shares: Shares) -> Path {
    let mut out = Out { accelerator, from, to, flights: [const { None }; DEPTH], path: Path::Device };
    loop {
        // SAFETY: the caller's promise. `Shares` gives every byte once: so what is with the device, and what the CPU does
        // meanwhile, are written by nobody else.
        unsafe { out.look_after(&mut shares) };
        let Some(part) = shares.for_cpu() else { break };
        // SAFETY: as above.
        unsafe { out.by_cpu(part) };
    }
    out.wait();
    out.path
}

impl Out<'_> {
    fn part(&self, part: &std::ops::Range<usize>) -> Flight<Plain> {
        // Inside of both regions. `wrapping_add`, because that needs no claim.
        let (from, to) = (self.from.wrapping_add(part.start), self.to.wrapping_add(part.start));
        Flight::new(Plain::copy(from, to, part.len()))
    }

    /// Looks at what is with the device, and gives it more.
    ///
    /// # Safety
    ///
    /// As for [`copy`], whose shares these are.
    unsafe fn look_after(&mut self, shares: &mut Shares) {
        for index in 0..DEPTH {
            if let Some(flight) = &mut self.flights[index] {
                // A look is what starting once more is.
                // SAFETY: the caller's promise; there is an outcome, or it is waited for, here or by the destructor.
                if unsafe { flight.start(self.accelerator) }.is_none() {
                    continue;
                }
                let path = flight.path();
                self.end(index, path);
            }
            let Some(part) = shares.for_device() else { continue };
            let flight = self.part(&part);
            let flight = self.flights[index].insert(flight);
            // SAFETY: as above. It is in its place already, so that the destructor knows it.
            if unsafe { flight.start(self.accelerator) }.is_some() {
                let path = flight.path();
                self.end(index, path);
                if path == Path::Cpu {
                    // There is no room, or no device. The CPU takes parts of its own kind, and then looks again.
                    return;
                }
            }
        }
    }

    /// Does a part on this thread.
    ///
    /// # Safety
    ///
    /// As for [`copy`], of whose shares this is one.
    unsafe fn by_cpu(&mut self, part: std::ops::Range<usize>) {
        let mut flight = self.part(&part);
        flight.set_route(Route::Cpu);
        // SAFETY: the caller's promise.
        unsafe { flight.wait(self.accelerator) };
        self.path = Path::Cpu;
    }

    /// Notes that the device has no part any more in one place.
    fn end(&mut self, index: usize, path: Path) {
        self.flights[index] = None;
        if path == Path::Cpu {
            self.path = path;
        }
    }

    /// Waits for all that is with the device.
    fn wait(&mut self) {
        for index in 0..DEPTH {
            if let Some(flight) = &mut self.flights[index] {
                // SAFETY: the promise of `copy`, which has not returned.
                unsafe { flight.wait(self.accelerator) };
                let path = flight.path();
                self.end(index, path);
            }
        }
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.wait();
    }
}
