//! What the model takes where the specification leaves a choice that software can see, and the other way to take it.
//!
//! The defaults are what the text says if it is taken by the word. Where the text only says "should", they are what
//! published software relies on, or else the stricter.

use crate::config::Checks;

/// Readings of the specification, a part of [`Config`](crate::Config).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // each is a choice of its own
pub struct Choices {
    /// Transfer sizes of DIF and DIX operations that are not whole blocks (8.3.14 to 8.3.18: "should be a multiple").
    /// Strict, the default: they end with status 0x13. Lenient: bytes behind the last whole block are not looked at.
    pub dif_sizes: Checks,
    /// Delta record sizes, and maximum sizes, that are no multiple of 10 (8.3.8: "should be a multiple"). Strict: they
    /// end with status 0x15. Lenient, the default: bytes behind the last whole entry are not used.
    pub delta_sizes: Checks,
    /// Whether an application tag read from the source loses the bits that the source's mask names before it is
    /// compared. Off, the default: only the expected tag does, so the stored one must have them 0 (8.3.17.4, appendix B).
    pub mask_stored_tags: bool,
    /// Whether the queue's maximum transfer size also limits the region of a translation fetch. Off by default: the
    /// region size is not called a transfer size, and no data moves (5.4, 8.3.11).
    pub limit_fetched_regions: bool,
    /// Whether bytes completed of a gather or scatter count a part of a list entry (8.3.23: "implementation dependent"). On
    /// by default: software that only takes whole entries must look at the entries completed.
    pub partial_list_entries: bool,
    /// Whether an FP8 E4M3 element is the largest number where another type has an infinity (8.2.2, appendix E: the type has
    /// none). Off, the default: it is a NaN.
    pub clamp_e4m3: bool,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            dif_sizes: Checks::Strict,
            delta_sizes: Checks::Lenient,
            mask_stored_tags: false,
            limit_fetched_regions: false,
            partial_list_entries: true,
            clamp_e4m3: false,
        }
    }
}
