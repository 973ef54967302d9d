//! Operation codes, byte 7 of a descriptor (specification table 8-2).

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        $($(#[$doc])* pub const $name: u8 = $value;)*

        /// Every opcode named here, in ascending order.
        pub const ALL: &[u8] = &[$($name),*];

        /// The lower-case name of an opcode, `None` if the code is not assigned.
        pub const fn name(opcode: u8) -> Option<&'static str> {
            match opcode {
                $($value => Some($text),)*
                _ => None,
            }
        }
    };
}

opcodes! {
    /// No operation. A carrier for a fence, and a latency probe.
    NOP = 0x00, "nop";
    /// A list of descriptors in memory.
    BATCH = 0x01, "batch";
    /// Waits for earlier descriptors of the same PASID (shared queue) or of the queue (dedicated).
    DRAIN = 0x02, "drain";
    /// Memory move; the regions may overlap where GENCAP bit 1 says so.
    MEMMOVE = 0x03, "memmove";
    /// Fill with an 8-byte (or 16-byte) pattern.
    FILL = 0x04, "fill";
    /// Compare two regions.
    COMPARE = 0x05, "compare";
    /// Compare a region with an 8-byte pattern.
    COMPVAL = 0x06, "compare-pattern";
    /// Create delta record (optional).
    CR_DELTA = 0x07, "create-delta";
    /// Apply delta record (optional).
    AP_DELTA = 0x08, "apply-delta";
    /// Copy to two destinations.
    DUALCAST = 0x09, "dualcast";
    /// Translation fetch (2.0, optional).
    TRANSL_FETCH = 0x0a, "translation-fetch";
    /// CRC generation.
    CRCGEN = 0x10, "crc";
    /// Copy with CRC generation.
    COPY_CRC = 0x11, "copy-crc";
    /// Data-integrity field check.
    DIF_CHECK = 0x12, "dif-check";
    /// Data-integrity field insert.
    DIF_INS = 0x13, "dif-insert";
    /// Data-integrity field strip.
    DIF_STRP = 0x14, "dif-strip";
    /// Data-integrity field update.
    DIF_UPDT = 0x15, "dif-update";
    /// Data-integrity extension generate (2.0).
    DIX_GEN = 0x17, "dix-generate";
    /// Type conversion (3.0).
    TYPE_CONV = 0x18, "type-convert";
    /// Reduce (3.0).
    REDUCE = 0x19, "reduce";
    /// Reduce with two destinations (3.0).
    REDUCE_DUALCAST = 0x1a, "reduce-dualcast";
    /// Gather and reduce (3.0).
    GATHER_REDUCE = 0x1b, "gather-reduce";
    /// Gather copy (3.0).
    GATHER_COPY = 0x1c, "gather-copy";
    /// Scatter copy (3.0).
    SCATTER_COPY = 0x1d, "scatter-copy";
    /// Scatter fill (3.0).
    SCATTER_FILL = 0x1e, "scatter-fill";
    /// Cache flush.
    CFLUSH = 0x20, "cache-flush";
    /// Update window (2.0, inter-domain).
    UPDATE_WINDOW = 0x21, "update-window";
    /// Inter-domain copy (2.0).
    INTER_DOMAIN_COPY = 0x23, "inter-domain-copy";
    /// Inter-domain fill (2.0).
    INTER_DOMAIN_FILL = 0x24, "inter-domain-fill";
    /// Inter-domain compare (2.0).
    INTER_DOMAIN_COMPARE = 0x25, "inter-domain-compare";
    /// Inter-domain compare pattern (2.0).
    INTER_DOMAIN_COMPVAL = 0x26, "inter-domain-compare-pattern";
}
