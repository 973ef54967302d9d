//! Completion status codes, byte 0 of a completion record (specification section 5.8 and table 5-6).

/// Status bits 5:0 hold the code.
pub const CODE_MASK: u8 = 0x3f;
/// Status bit 7: the faulting access was a write.
pub const FAULT_WRITE: u8 = 0x80;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $value;)*

        /// Every status named here, in ascending order.
        pub const ALL: &[u8] = &[$($name),*];

        /// What a status code (bits 5:0) means, `None` if it is not assigned.
        pub const fn meaning(code: u8) -> Option<&'static str> {
            match code {
                $($value => Some($text),)*
                _ => None,
            }
        }
    };
}

statuses! {
    /// No status yet: the record has not been written.
    NONE = 0x00, "not completed";
    /// Success.
    SUCCESS = 0x01, "success";
    /// Success, with a false predicate.
    SUCCESS_FALSE = 0x02, "success with false predicate";
    /// Page fault, not blocking: partial completion.
    PAGE_FAULT = 0x03, "partial completion: page fault with block on fault off";
    /// Page fault with an invalid page response.
    PAGE_RESPONSE = 0x04, "page fault: the page request was answered with an error";
    /// Batch: a member failed.
    BATCH_FAIL = 0x05, "batch completed, at least one member failed";
    /// Batch: page fault on the descriptor list.
    BATCH_LIST_FAULT = 0x06, "page fault on the batch descriptor list";
    /// Delta: offsets are not increasing.
    DELTA_OFFSET_ORDER = 0x07, "offsets in the delta record are not increasing";
    /// Delta: offset beyond the destination.
    DELTA_OFFSET_RANGE = 0x08, "offset in the delta record is beyond the region";
    /// Data-integrity error.
    DIF_ERROR = 0x09, "data integrity field error";
    /// Unsupported operation code.
    BAD_OPCODE = 0x10, "operation code not supported or disabled";
    /// Invalid flags.
    BAD_FLAGS = 0x11, "invalid flags";
    /// Reserved field not zero.
    RESERVED_FIELD = 0x12, "reserved field not zero";
    /// Transfer size out of range.
    BAD_SIZE = 0x13, "transfer size zero or above the queue's maximum";
    /// Descriptor count (or SGL size) out of range.
    BAD_COUNT = 0x14, "descriptor count or SGL size out of range";
    /// Unsupported field value, such as a delta record size.
    BAD_FIELD_VALUE = 0x15, "field value out of range";
    /// Buffers overlap.
    OVERLAP = 0x16, "overlapping buffers";
    /// Dualcast destinations differ in bits 11:0.
    DUALCAST_ALIGN = 0x17, "dualcast destinations differ in address bits 11:0";
    /// Descriptor list misaligned.
    LIST_ALIGN = 0x18, "descriptor list not 64-byte aligned";
    /// Interrupt handle invalid.
    BAD_INT_HANDLE = 0x19, "interrupt handle invalid";
    /// Page fault on the completion record. Never in a record: event log or software error only.
    CR_FAULT = 0x1a, "page fault on the completion record";
    /// Completion record misaligned. Never in a record: event log or software error only.
    CR_ALIGN = 0x1b, "completion record address not 32-byte aligned";
    /// Address misaligned.
    ADDR_ALIGN = 0x1c, "address misaligned";
    /// Privilege error. Never in a record: event log or software error only.
    BAD_PRIV = 0x1d, "privilege or PASID invalid for the queue";
    /// Traffic class configuration incorrect.
    BAD_TRAFFIC_CLASS = 0x1e, "traffic class configuration incorrect";
    /// Page fault on a drain readback address.
    DRAIN_FAULT = 0x1f, "page fault on a drain readback address";
    /// Hardware read error.
    HW_READ = 0x20, "hardware error on a read";
    /// Hardware write or readback error.
    HW_WRITE = 0x21, "hardware error on a write or destination readback";
    /// Translation failure.
    TRANSLATION = 0x22, "address translation failed";
    /// Fault while draining (2.0). Never in a record: event log only.
    DRAIN_EVENT_LOG = 0x26, "page fault of a descriptor that a drain waited for";
    /// Fault in a batch (2.0). Never in a record: event log only.
    BATCH_EVENT_LOG = 0x27, "page fault of a descriptor within a batch";
    /// Inter-domain operation on a queue without PASID.
    INTER_DOMAIN_NO_PASID = 0x28, "inter-domain operation on a queue without a PASID";
    /// IDPT entry not there, not usable, or not for this submitter.
    IDPT_HANDLE = 0x29, "IDPT handle invalid, not usable, or not for this submitter";
    /// IDPT entry does not permit the access.
    IDPT_PERMISSION = 0x2a, "the IDPT entry does not permit the access";
    /// Access outside the window of the IDPT entry.
    IDPT_WINDOW = 0x2b, "address range outside the window of the IDPT entry";
    /// Update window: entry not there, not modifiable, or not the submitter's.
    IDPT_UPDATE = 0x2c, "IDPT entry invalid, not modifiable, or not owned by the submitter";
    /// Update window: contradictory window fields.
    WINDOW_FIELDS = 0x2d, "window flags, base or size contradict each other";
    /// The other domain went away while the operation ran.
    DOMAIN_GONE = 0x2e, "the other address space became inaccessible";
}

/// Software error register only: PCI configuration was changed while the device was not disabled.
pub const SWERR_PCI_CONFIG: u8 = 0x51;
/// Software error register or event log: a command was written while another one was active.
pub const SWERR_COMMAND_ACTIVE: u8 = 0x52;
/// Software error register only: an event could not be appended to the log.
pub const SWERR_EVENT_LOG: u8 = 0x54;
/// Software error register only: a descriptor was sent to a full dedicated work queue and is lost.
pub const SWERR_DWQ_OVERFLOW: u8 = 0x53;
