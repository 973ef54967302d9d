//! Update window: changes what others can reach of the own memory (DSA 2.0).

use idxd_sys::{Descriptor, flag, idpt, opcode};

use super::capabilities::Capabilities;
use super::common::Common;
use super::error::DescriptorError;
use super::inter_domain::IdptHandle;
use super::rules::{self, Header, NO_CACHE_CONTROL};
use super::validate::Position;

/// Update window: sets window and permissions of an entry of the permissions table, all at once.
///
/// The entry must allow updates, and name the own address space. By default the device then waits for descriptors that
/// still use the old window. It cannot be part of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a builder does nothing until it is built"]
pub struct UpdateWindow {
    common: Common,
    base: u64,
    size: u64,
    window_flags: u8,
    handle: IdptHandle,
}

impl UpdateWindow {
    /// Permits nothing, in the whole address space, until [`read`](Self::read), [`write`](Self::write) and
    /// [`window`](Self::window) say otherwise.
    #[inline]
    pub const fn new(handle: IdptHandle) -> Self {
        Self { common: Common::new(), base: 0, size: 0, window_flags: 0, handle }
    }

    /// Whether others may read through the entry (default: no).
    #[inline]
    pub const fn read(self, on: bool) -> Self {
        self.set(idpt::UPDATE_READ, on)
    }

    /// Whether others may write through the entry (default: no).
    #[inline]
    pub const fn write(self, on: bool) -> Self {
        self.set(idpt::UPDATE_WRITE, on)
    }

    /// Restricts others to the `size` bytes at `base`, which are not 0 and end inside the address space. Without it they
    /// reach all of the address space.
    #[inline]
    pub const fn window(mut self, base: u64, size: u64) -> Self {
        (self.base, self.size) = (base, size);
        self.set(idpt::UPDATE_ENABLE, true)
    }

    /// Whether addresses of others are offsets into the window (default: no). Needs a window, and offset mode in
    /// [`InterDomainCapabilities`](super::InterDomainCapabilities).
    #[inline]
    pub const fn offset_mode(self, on: bool) -> Self {
        self.set(idpt::UPDATE_OFFSET, on)
    }

    /// Whether the device does not wait for descriptors that use the old window (default: no). Needs that in
    /// [`InterDomainCapabilities`](super::InterDomainCapabilities).
    #[inline]
    pub const fn suppress_drain(mut self, on: bool) -> Self {
        self.common.set(flag::SUPPRESS_DRAIN, on);
        self
    }

    record_setters!();
    build_for_queue!(check_update_window);

    #[inline]
    const fn set(mut self, bit: u8, on: bool) -> Self {
        if on {
            self.window_flags |= bit;
        } else {
            self.window_flags &= !bit;
        }
        self
    }

    #[inline]
    #[expect(clippy::unnecessary_wraps, reason = "all builders have the same shape")]
    fn assemble(&self, _caps: &Capabilities) -> Result<Descriptor, DescriptorError> {
        let fields = u64::from(self.window_flags) << 40 | u64::from(self.handle.get()) << 48;
        Ok(Descriptor {
            src_addr: self.base,
            dst_addr: self.size,
            op_specific: [0, 0, fields],
            ..self.common.descriptor(opcode::UPDATE_WINDOW, 0)
        })
    }
}

#[inline]
pub(super) fn check_update_window(
    d: &Descriptor,
    caps: &Capabilities,
    position: Position,
) -> Result<(), DescriptorError> {
    let may = caps.inter_domain_capabilities();
    let header = Header {
        opcode: opcode::UPDATE_WINDOW,
        defined: flag::SUPPRESS_DRAIN,
        missing: if may.suppress_drain { 0 } else { flag::SUPPRESS_DRAIN },
        cache_controls: NO_CACHE_CONTROL,
        record_required: false,
        in_batch: false,
    };
    header.check(d, caps, position)?;
    header.reserved(u64::from(d.xfer_size), u64::MAX, 32)?;
    header.reserved(d.op_specific[0], u64::MAX, 40)?;
    header.reserved(d.op_specific[1], u64::MAX, 48)?;
    // Byte 61 has the window flags, bytes 62 and 63 the handle.
    let defined = idpt::UPDATE_READ | idpt::UPDATE_WRITE | idpt::UPDATE_ENABLE | idpt::UPDATE_OFFSET;
    header.reserved(d.op_specific[2], 0xff_ffff_ffff | u64::from(!defined) << 40, 56)?;
    rules::handle(header, d, caps, true, 62)?;
    let window_flags = d.op_u8(61);
    let is_enabled = window_flags & idpt::UPDATE_ENABLE != 0;
    if window_flags & idpt::UPDATE_OFFSET != 0 && !(is_enabled && may.offset_mode) {
        return Err(bad_offset_mode());
    }
    let (base, size) = (d.src_addr, d.dst_addr);
    if !is_enabled {
        header.reserved(base, u64::MAX, 16)?;
        return header.reserved(size, u64::MAX, 24);
    }
    if size == 0 {
        return Err(empty());
    }
    if base.checked_add(size - 1).is_none() {
        return Err(wraps(base, size));
    }
    Ok(())
}

#[cold]
fn bad_offset_mode() -> DescriptorError {
    DescriptorError::WindowOffsetMode
}

#[cold]
fn empty() -> DescriptorError {
    DescriptorError::WindowEmpty
}

#[cold]
fn wraps(base: u64, size: u64) -> DescriptorError {
    DescriptorError::WindowWraps { base, size }
}
