//! Options that all builders share, and the macros that give a builder exactly those setters its operation defines.

use idxd_sys::{Descriptor, flag};

/// Where the writes of an operation go; the value is CC3 CC2 CC1 (specification section 8.1.3).
///
/// Everything but [`Memory`](Self::Memory) needs a capability of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CacheControl {
    /// To memory. Works everywhere.
    #[default]
    Memory = 0b000,
    /// Into the cache, as a hint (GENCAP bit 2).
    Cache = 0b001,
    /// Made durable, and read back before completion (GENCAP bit 8). For a cache flush: write back for durability.
    DurableReadback = 0b010,
    /// Into the cache, and read back before completion (GENCAP bits 2 and 8).
    CacheReadback = 0b011,
    /// Made durable (GENCAP bit 5).
    Durable = 0b100,
    /// To memory, and read back before completion (GENCAP bits 5 and 8).
    MemoryReadback = 0b110,
}

impl CacheControl {
    /// The three flag bits.
    pub(super) const MASK: u32 = flag::CACHE_CONTROL | flag::DEST_READBACK | flag::CACHE_CONTROL_3;

    #[inline]
    pub(super) const fn flags(self) -> u32 {
        match self {
            Self::Memory => 0,
            Self::Cache => flag::CACHE_CONTROL,
            Self::DurableReadback => flag::DEST_READBACK,
            Self::CacheReadback => flag::CACHE_CONTROL | flag::DEST_READBACK,
            Self::Durable => flag::CACHE_CONTROL_3,
            Self::MemoryReadback => flag::DEST_READBACK | flag::CACHE_CONTROL_3,
        }
    }

    /// The value CC3 CC2 CC1 in descriptor flags.
    #[inline]
    pub(super) const fn value_of(flags: u32) -> u8 {
        let cc1 = flags & flag::CACHE_CONTROL != 0;
        let cc2 = flags & flag::DEST_READBACK != 0;
        let cc3 = flags & flag::CACHE_CONTROL_3 != 0;
        cc1 as u8 | (cc2 as u8) << 1 | (cc3 as u8) << 2
    }
}

/// Which of the two traffic classes of the queue's group an address uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrafficClass {
    /// Traffic class A of the group.
    #[default]
    A,
    /// Traffic class B of the group.
    B,
}

/// What every builder holds: the completion record address and the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Common {
    record: u64,
    flags: u32,
}

impl Common {
    /// No record; one will be requested as soon as an address is given.
    #[inline]
    pub(super) const fn new() -> Self {
        Self { record: 0, flags: flag::RCR }
    }

    #[inline]
    pub(super) const fn set_record(&mut self, address: u64) {
        self.record = address;
        self.flags |= flag::CRAV;
    }

    /// Sets or clears flag bits.
    #[inline]
    pub(super) const fn set(&mut self, bits: u32, on: bool) {
        if on {
            self.flags |= bits;
        } else {
            self.flags &= !bits;
        }
    }

    #[inline]
    pub(super) const fn set_traffic_class(&mut self, bit: u32, class: TrafficClass) {
        self.set(bit, matches!(class, TrafficClass::B));
    }

    /// A descriptor with header and record address filled in and the rest zero.
    #[inline]
    pub(super) const fn descriptor(&self, opcode: u8, op_flags: u32) -> Descriptor {
        // "Request record" is our default, but reserved without an address.
        let dropped = if self.flags & flag::CRAV == 0 { flag::RCR } else { 0 };
        Descriptor {
            pasid: 0,
            flags_opcode: (opcode as u32) << 24 | (self.flags & !dropped | op_flags) & 0x00ff_ffff,
            completion_addr: self.record,
            src_addr: 0,
            dst_addr: 0,
            xfer_size: 0,
            int_handle: 0,
            reserved: 0,
            op_specific: [0; 3],
        }
    }
}

/// An enumeration whose values are the codes of a descriptor field that is a closed set.
macro_rules! closed_set {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $code:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type {
            $($(#[$doc])* $variant = $code),*
        }

        impl $type {
            /// Every one of them, in ascending order of the codes.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code in a descriptor.
            #[inline]
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The one with this code; `None` for a code that is reserved.
            pub const fn from_code(code: u8) -> Option<Self> {
                let mut at = 0;
                while at < Self::ALL.len() {
                    if Self::ALL[at] as u8 == code {
                        return Some(Self::ALL[at]);
                    }
                    at += 1;
                }
                None
            }
        }
    };
}

/// Setters about the completion record: every operation.
macro_rules! record_setters {
    () => {
        /// Sets the completion record address: 32 bytes, 32-byte aligned, not null. A record is then requested on
        /// success too, unless [`request_record`](Self::request_record) says otherwise.
        #[inline]
        pub const fn record(mut self, address: u64) -> Self {
            self.common.set_record(address);
            self
        }

        /// Whether a record is written on success; the default is yes once there is an address. Without the request
        /// only a status other than 0x01, 0x02 and 0x05 is written.
        #[inline]
        pub const fn request_record(mut self, on: bool) -> Self {
            self.common.set(idxd_sys::flag::RCR, on);
            self
        }

        /// Sets the traffic class of the completion record; needs a record address.
        #[inline]
        pub const fn record_traffic_class(mut self, class: $crate::descriptor::TrafficClass) -> Self {
            self.common.set_traffic_class(idxd_sys::flag::CR_TC, class);
            self
        }
    };
}

/// Block on fault: every operation that touches memory.
macro_rules! fault_setters {
    () => {
        /// Whether the device waits for a missing page (default: no). Without it, a missing page ends the operation
        /// with status 0x03 and the number of bytes done. The queue must allow it.
        #[inline]
        pub const fn block_on_fault(mut self, on: bool) -> Self {
            self.common.set(idxd_sys::flag::BLOCK_ON_FAULT, on);
            self
        }
    };
}

/// Check Result: comparisons, which have a field `expected`.
macro_rules! expectation_setter {
    () => {
        /// Has the device check the result: status 0x01 if it is as expected, else 0x02.
        #[inline]
        pub const fn expect(mut self, expectation: $crate::descriptor::Expectation) -> Self {
            self.common.set(idxd_sys::flag::CHECK_RESULT, true);
            self.expected = expectation as u8;
            self
        }
    };
}

/// Cache control and ordering: operations that write.
macro_rules! write_setters {
    () => {
        /// Where the writes go; the default is memory.
        #[inline]
        pub const fn cache_control(mut self, control: $crate::descriptor::CacheControl) -> Self {
            self.common.set($crate::descriptor::CacheControl::MASK, false);
            self.common.set(control.flags(), true);
            self
        }

        /// Whether writes become visible in address order (default: no).
        #[inline]
        pub const fn strict_ordering(mut self, on: bool) -> Self {
            self.common.set(idxd_sys::flag::STRICT_ORDER, on);
            self
        }
    };
}

/// One traffic class setter per address of the operation.
macro_rules! traffic_class_setters {
    ($($name:ident = $bit:ident, $what:literal;)*) => {
        $(
            #[doc = concat!("Sets the traffic class of ", $what, ".")]
            #[inline]
            pub const fn $name(mut self, class: $crate::descriptor::TrafficClass) -> Self {
                self.common.set_traffic_class(idxd_sys::flag::$bit, class);
                self
            }
        )*
    };
}

/// One setter per address that can be reached through an IDPT handle. The builder has the handles of bytes 60 and 62 in
/// an array.
macro_rules! handle_setters {
    ($($name:ident = $bit:ident, $at:literal, $what:literal;)*) => {
        $(
            #[doc = concat!("Has ", $what, " reached through an entry of the permissions table, in the address space and the")]
            /// window that the entry names, instead of the own address space (specification section 3.14).
            #[inline]
            pub const fn $name(mut self, handle: $crate::descriptor::IdptHandle) -> Self {
                self.common.set(idxd_sys::flag::$bit, true);
                self.handles[$at] = handle.get();
                self
            }
        )*
    };
}

/// `build` for a descriptor that goes to the queue itself.
macro_rules! build_for_queue {
    ($check:path) => {
        /// Checks everything and makes a descriptor for the queue itself.
        ///
        /// # Errors
        ///
        /// The first rule that is broken; see [`DescriptorError`](crate::descriptor::DescriptorError).
        #[inline]
        pub fn build(
            &self,
            caps: &$crate::descriptor::Capabilities,
        ) -> Result<idxd_sys::Descriptor, $crate::descriptor::DescriptorError> {
            let descriptor = self.assemble(caps)?;
            $check(&descriptor, caps, $crate::descriptor::Position::Queue)?;
            Ok(descriptor)
        }
    };
}

/// `fence` and `build_member`, for operations that may be part of a batch.
macro_rules! build_for_batch {
    ($check:path) => {
        /// Whether this member waits for all earlier members of its batch (default: no). If one of those ended with
        /// any status but 0x01, this member and all later ones are abandoned.
        #[inline]
        pub const fn fence(mut self, on: bool) -> Self {
            self.common.set(idxd_sys::flag::FENCE, on);
            self
        }

        /// Checks everything and makes a descriptor for a batch list.
        ///
        /// # Errors
        ///
        /// The first rule that is broken; see [`DescriptorError`](crate::descriptor::DescriptorError).
        #[inline]
        pub fn build_member(
            &self,
            caps: &$crate::descriptor::Capabilities,
        ) -> Result<idxd_sys::Descriptor, $crate::descriptor::DescriptorError> {
            let descriptor = self.assemble(caps)?;
            $check(&descriptor, caps, $crate::descriptor::Position::BatchMember)?;
            Ok(descriptor)
        }
    };
}
