//! The variants of a CRC operation: seeds and results, states, and what `crc-fast` is to do.

use std::sync::LazyLock;

use crc_fast::{CrcAlgorithm, CrcParams as Kernel, Digest};
use idxd_sys::flag;

use super::constants::{POLYNOMIAL_32, POLYNOMIAL_64};

/// Which polynomial, and with it how many bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrcWidth {
    /// CRC-32C (Castagnoli, iSCSI), polynomial `0x1EDC6F41`.
    #[default]
    Crc32C,
    /// CRC-64/NVME, polynomial `0xAD93D23594C93659` (GENCAP bit 11).
    Crc64,
}

/// The variant of a CRC operation. The default is plain CRC-32C.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CrcParams {
    /// The polynomial.
    pub width: CrcWidth,
    /// Seed and result are the raw state: neither inverted nor reflected.
    pub bypass_inversion: bool,
    /// The data bytes are shifted in as they are, most significant bit first.
    pub bypass_reflection: bool,
}

impl CrcParams {
    /// The variant that a descriptor's flags ask for. The flag to read the seed from memory is not looked at.
    pub const fn from_flags(flags: u32) -> Self {
        Self {
            width: if flags & flag::CRC_64 == 0 { CrcWidth::Crc32C } else { CrcWidth::Crc64 },
            bypass_inversion: flags & flag::CRC_BYPASS_INVERT != 0,
            bypass_reflection: flags & flag::CRC_BYPASS_REFLECT != 0,
        }
    }

    /// The state that stands for a seed: reflected if and only if the data is.
    pub(super) fn state(self, seed: u64) -> u64 {
        // The device's state, unreflected, is the reflected and inverted seed: so for reflected data the two reflections
        // cancel, and for raw data with a raw seed there is none in the first place.
        let seed = if self.bypass_inversion { seed } else { !seed };
        self.cut(if self.reflects() { self.reflected(seed) } else { seed })
    }

    /// The result, and next seed, that stands for a state: the way of `state` backwards.
    pub(super) fn result(self, state: u64) -> u64 {
        let value = if self.reflects() { self.reflected(state) } else { state };
        self.cut(if self.bypass_inversion { value } else { !value })
    }

    /// Whether seed and result are the other way round than the state.
    fn reflects(self) -> bool {
        self.bypass_inversion != self.bypass_reflection
    }

    /// The polynomial, if the data is reflected.
    pub(super) fn of_reflected_data(self) -> Option<CrcWidth> {
        if self.bypass_reflection { None } else { Some(self.width) }
    }

    /// A state of `crc-fast`.
    pub(super) fn digest(self, state: u64) -> Digest {
        match self.of_reflected_data() {
            Some(CrcWidth::Crc32C) => Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, state),
            Some(CrcWidth::Crc64) => Digest::new_with_init_state(CrcAlgorithm::Crc64Nvme, state),
            None => {
                let mut kernel = *self.kernel();
                kernel.init_algorithm = state;
                Digest::new_with_params(kernel)
            }
        }
    }

    fn reflected(self, value: u64) -> u64 {
        match self.width {
            CrcWidth::Crc32C => u64::from((value as u32).reverse_bits()),
            CrcWidth::Crc64 => value.reverse_bits(),
        }
    }

    fn cut(self, value: u64) -> u64 {
        match self.width {
            CrcWidth::Crc32C => value & u64::from(u32::MAX),
            CrcWidth::Crc64 => value,
        }
    }

    /// The folding constants for data as it is, worked out once per polynomial.
    fn kernel(self) -> &'static Kernel {
        static KERNELS: LazyLock<[Kernel; 2]> = LazyLock::new(|| {
            [
                Kernel::new("CRC-32C, data as it is", 32, POLYNOMIAL_32, 0, false, 0, 0),
                Kernel::new("CRC-64/NVME, data as it is", 64, POLYNOMIAL_64, 0, false, 0, 0),
            ]
        });
        match self.width {
            CrcWidth::Crc32C => &KERNELS[0],
            CrcWidth::Crc64 => &KERNELS[1],
        }
    }
}
