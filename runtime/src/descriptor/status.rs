//! Completion status codes as a type, explained.

use core::fmt;

use idxd_sys::status;

/// A completion status code, bits 5:0 of the status byte (specification table 5-6). Codes without a name are kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u8);

macro_rules! named {
    ($($name:ident: $action:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("`", stringify!($name), "`; see [`idxd_sys::status::", stringify!($name), "`].")]
                pub const $name: Self = Self(status::$name);
            )*

            /// Every status with a name, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            const fn known_action(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($action),)*
                    _ => None,
                }
            }
        }
    };
}

named! {
    NONE: "the record has not been written yet; keep waiting";
    SUCCESS: "nothing to do";
    SUCCESS_FALSE: "nothing to do: the operation ended, and its result is not the expected one";
    PAGE_FAULT: "touch the page and resume, or finish on the CPU";
    PAGE_RESPONSE: "the kernel could not provide the page: the address is not mapped, or paging failed; finish on the CPU";
    BATCH_FAIL: "look at the records of the members";
    BATCH_LIST_FAULT: "touch the descriptor list and resume the batch";
    DELTA_OFFSET_ORDER: "the delta record is damaged";
    DELTA_OFFSET_RANGE: "the delta record does not belong to this region, or is damaged";
    DIF_ERROR: "the data does not match its integrity field; the result byte says which part";
    BAD_OPCODE: "check op_cap and the queue's op_config; batch and drain are refused inside a batch";
    BAD_FLAGS: "check the invalid flags in the record against the capabilities and the queue's configuration";
    RESERVED_FIELD: "clear reserved fields; the descriptor was not made by the builders";
    BAD_SIZE: "keep sizes between 1 and the queue's max_transfer_size";
    BAD_COUNT: "keep batches between 2 and the queue's max_batch_size";
    BAD_FIELD_VALUE: "a field such as the delta record size is out of range";
    OVERLAP: "separate the buffers, or use a move where the device can overlap";
    DUALCAST_ALIGN: "give both destinations the same address bits 11:0";
    LIST_ALIGN: "align the descriptor list to 64 bytes";
    BAD_INT_HANDLE: "do not request interrupts from user descriptors";
    CR_FAULT: "the completion record is not mapped; it must stay valid until completion";
    CR_ALIGN: "align completion records to 32 bytes";
    ADDR_ALIGN: "align the address as the operation demands, for example a CRC seed in memory";
    BAD_PRIV: "the queue has no valid PASID for this process; open it again";
    BAD_TRAFFIC_CLASS: "fix the group's traffic classes, on some hosts with the driver parameter tc_override=1";
    DRAIN_FAULT: "touch the readback addresses and send the drain again";
    HW_READ: "hardware trouble, or poisoned memory: finish on the CPU and watch the device";
    HW_WRITE: "hardware trouble: finish on the CPU and watch the device";
    TRANSLATION: "the IOMMU refused the address: finish on the CPU and check the PASID set-up";
    DRAIN_EVENT_LOG: "an entry of the kernel's event log, never of a record";
    BATCH_EVENT_LOG: "an entry of the kernel's event log, never of a record";
    INTER_DOMAIN_NO_PASID: "use a queue that has a PASID";
    IDPT_HANDLE: "ask the owner of the memory for a new handle";
    IDPT_PERMISSION: "ask the owner of the memory for read or write permission";
    IDPT_WINDOW: "keep to the window that the owner of the memory has opened";
    IDPT_UPDATE: "only the owner of the memory can change its window, and only where the entry allows it";
    WINDOW_FIELDS: "give an enabled window a size and no wrap-around, a disabled one neither base, size nor offset mode";
    DOMAIN_GONE: "the owner of the memory is gone or was aborted; do not try again with this handle";
}

impl Status {
    /// The code in a status byte. Bit 7, which says that the faulting access was a write, and bit 6 are dropped.
    #[inline]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte & status::CODE_MASK)
    }

    /// The code, 0 to 0x3f.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// What the code means.
    pub const fn meaning(self) -> &'static str {
        match (status::meaning(self.0), self.0) {
            (Some(text), _) => text,
            (None, _) => "status code not assigned in any known version",
        }
    }

    /// What to do about it.
    pub const fn action(self) -> &'static str {
        match self.known_action() {
            Some(text) => text,
            None => "treat the operation as failed: its outcome is unknown",
        }
    }

    /// Whether the operation ran to its end: 0x01, and 0x02, which adds that a predicate was false.
    #[inline]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::SUCCESS | Self::SUCCESS_FALSE)
    }

    /// Whether the status reports a page fault, so that bit 7 and the fault fields of the record mean something.
    #[inline]
    pub const fn is_fault(self) -> bool {
        matches!(
            self,
            Self::PAGE_FAULT | Self::PAGE_RESPONSE | Self::BATCH_LIST_FAULT | Self::CR_FAULT | Self::DRAIN_FAULT
        )
    }

    /// Whether a device writes this code to a completion record. The others appear in the event log or the software
    /// error register, since there is no usable record.
    pub const fn is_in_records(self) -> bool {
        !matches!(
            self,
            Self::NONE
                | Self::CR_FAULT
                | Self::CR_ALIGN
                | Self::BAD_PRIV
                | Self::DRAIN_EVENT_LOG
                | Self::BATCH_EVENT_LOG
        )
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:#04x}: {})", self.0, self.meaning())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {:#04x})", self.meaning(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_decodes_and_has_text() {
        for code in 0..=0x3f {
            for high in [0, 0x40, 0x80, 0xc0] {
                assert_eq!(Status::from_byte(code | high).code(), code);
            }
            let status = Status::from_byte(code);
            assert!(!status.meaning().is_empty() && !status.action().is_empty());
            assert!(status.to_string().contains(&format!("{code:#04x}")));
            assert_eq!(Status::ALL.contains(&status), status::meaning(code).is_some(), "{code:#x}");
        }
    }

    #[test]
    fn named_codes_are_those_of_the_raw_interface() {
        let codes: Vec<u8> = Status::ALL.iter().map(|status| status.code()).collect();
        assert_eq!(codes, status::ALL);
    }

    #[test]
    fn a_page_fault_on_a_write_is_not_an_unknown_code() {
        assert_eq!(Status::from_byte(0x83), Status::PAGE_FAULT);
    }

    #[test]
    fn classes() {
        let of = |test: fn(Status) -> bool| -> Vec<u8> { (0..=0x3f).filter(|&code| test(Status(code))).collect() };
        assert_eq!(of(Status::is_success), [0x01, 0x02]);
        assert_eq!(of(Status::is_fault), [0x03, 0x04, 0x06, 0x1a, 0x1f]);
        assert_eq!(of(|status| !status.is_in_records()), [0x00, 0x1a, 0x1b, 0x1d, 0x26, 0x27]);
    }
}
