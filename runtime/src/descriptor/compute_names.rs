//! Names of data types, compute types and compute flags, reserved codes included; for messages.

use core::fmt;

use idxd_sys::compute::{compute_flag, compute_type, data_type};

/// Shows a data type by name; for error messages.
pub(super) struct DataTypeName(pub(super) u8);

impl fmt::Display for DataTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(data_type::name(self.0).unwrap_or("reserved"))
    }
}

/// Shows a compute type by name; for error messages.
pub(super) struct ComputeTypeName(pub(super) u8);

impl fmt::Display for ComputeTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(compute_type::name(self.0).unwrap_or("reserved"))
    }
}

/// Lists compute flags by name; for error messages.
pub(super) struct ComputeFlagNames(pub(super) u16);

impl fmt::Display for ComputeFlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for bit in (0..16).filter(|bit| self.0 >> bit & 1 == 1) {
            f.write_str(separator)?;
            let name = match 1_u16 << bit {
                compute_flag::NEGATE_1 => "negate-source",
                compute_flag::NEGATE_2 => "negate-source-2",
                compute_flag::FLUSH_TO_ZERO => "flush-to-zero",
                compute_flag::DENORMALS_ARE_ZERO => "denormals-are-zero",
                compute_flag::SIGNED => "signed",
                compute_flag::SATURATE => "saturate",
                other if other & compute_flag::ROUNDING != 0 => "rounding",
                _ => "reserved",
            };
            write!(f, "{name} (bit {bit})")?;
            separator = ", ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ComputeType, DataType};
    use super::*;

    #[test]
    fn names_for_messages() {
        assert_eq!(DataType::Fp8E4m3.to_string(), "fp8-e4m3");
        assert_eq!(ComputeType::Xor.to_string(), "xor");
        assert_eq!(DataTypeName(12).to_string(), "reserved");
        assert_eq!(
            ComputeFlagNames(0x2a1).to_string(),
            "negate-source (bit 0), rounding (bit 5), signed (bit 7), reserved (bit 9)"
        );
    }
}
