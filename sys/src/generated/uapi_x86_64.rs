// Generated from <linux/idxd.h> by build.rs with the feature `overwrite`; do not edit.
// The header is Copyright(c) 2019 Intel Corporation, LGPL-2.1 WITH Linux-syscall-note.

#[repr(C)]
#[derive(Copy, Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct __BindgenBitfieldUnit<Storage> {
    storage: Storage,
}
impl<Storage> __BindgenBitfieldUnit<Storage> {
    #[inline]
    pub const fn new(storage: Storage) -> Self {
        Self { storage }
    }
}
impl<Storage> __BindgenBitfieldUnit<Storage>
where
    Storage: AsRef<[u8]> + AsMut<[u8]>,
{
    #[inline]
    fn extract_bit(byte: u8, index: usize) -> bool {
        let bit_index = if cfg!(target_endian = "big") {
            7 - (index % 8)
        } else {
            index % 8
        };
        let mask = 1 << bit_index;
        byte & mask == mask
    }
    #[inline]
    pub fn get_bit(&self, index: usize) -> bool {
        debug_assert!(index / 8 < self.storage.as_ref().len());
        let byte_index = index / 8;
        let byte = self.storage.as_ref()[byte_index];
        Self::extract_bit(byte, index)
    }
    #[inline]
    pub unsafe fn raw_get_bit(this: *const Self, index: usize) -> bool {
        debug_assert!(index / 8 < core::mem::size_of::<Storage>());
        let byte_index = index / 8;
        let byte = unsafe {
            *(core::ptr::addr_of!((*this).storage) as *const u8)
                .offset(byte_index as isize)
        };
        Self::extract_bit(byte, index)
    }
    #[inline]
    fn change_bit(byte: u8, index: usize, val: bool) -> u8 {
        let bit_index = if cfg!(target_endian = "big") {
            7 - (index % 8)
        } else {
            index % 8
        };
        let mask = 1 << bit_index;
        if val { byte | mask } else { byte & !mask }
    }
    #[inline]
    pub fn set_bit(&mut self, index: usize, val: bool) {
        debug_assert!(index / 8 < self.storage.as_ref().len());
        let byte_index = index / 8;
        let byte = &mut self.storage.as_mut()[byte_index];
        *byte = Self::change_bit(*byte, index, val);
    }
    #[inline]
    pub unsafe fn raw_set_bit(this: *mut Self, index: usize, val: bool) {
        debug_assert!(index / 8 < core::mem::size_of::<Storage>());
        let byte_index = index / 8;
        let byte = unsafe {
            (core::ptr::addr_of_mut!((*this).storage) as *mut u8)
                .offset(byte_index as isize)
        };
        unsafe { *byte = Self::change_bit(*byte, index, val) };
    }
    #[inline]
    pub fn get(&self, bit_offset: usize, bit_width: u8) -> u64 {
        debug_assert!(bit_width <= 64);
        debug_assert!(bit_offset / 8 < self.storage.as_ref().len());
        debug_assert!(
            (bit_offset + (bit_width as usize) + 7) / 8 <= self.storage.as_ref().len(),
        );
        if bit_width == 0 {
            return 0;
        }
        let mut val = 0u64;
        let storage = self.storage.as_ref();
        let start_byte = bit_offset / 8;
        let bit_shift = bit_offset % 8;
        let bytes_needed = (bit_width as usize + bit_shift + 7) / 8;
        if cfg!(target_endian = "big") {
            for i in 0..bytes_needed {
                val |= (storage[start_byte + i].reverse_bits() as u64) << (i * 8);
            }
        } else {
            for i in 0..bytes_needed {
                val |= (storage[start_byte + i] as u64) << (i * 8);
            }
        }
        val >>= bit_shift;
        if bit_width < 64 {
            val &= (1u64 << bit_width) - 1;
        }
        if cfg!(target_endian = "big") {
            val = val.reverse_bits() >> (64 - bit_width as usize);
        }
        val
    }
    #[inline]
    pub unsafe fn raw_get(this: *const Self, bit_offset: usize, bit_width: u8) -> u64 {
        debug_assert!(bit_width <= 64);
        debug_assert!(bit_offset / 8 < core::mem::size_of::<Storage>());
        debug_assert!(
            (bit_offset + (bit_width as usize) + 7) / 8
                <= core::mem::size_of::<Storage>(),
        );
        if bit_width == 0 {
            return 0;
        }
        let mut val = 0u64;
        let start_byte = bit_offset / 8;
        let bit_shift = bit_offset % 8;
        let bytes_needed = (bit_width as usize + bit_shift + 7) / 8;
        let storage_ptr = unsafe { core::ptr::addr_of!((*this).storage) as *const u8 };
        if cfg!(target_endian = "big") {
            for i in 0..bytes_needed {
                let byte = unsafe { *storage_ptr.add(start_byte + i) };
                val |= (byte.reverse_bits() as u64) << (i * 8);
            }
        } else {
            for i in 0..bytes_needed {
                let byte = unsafe { *storage_ptr.add(start_byte + i) };
                val |= (byte as u64) << (i * 8);
            }
        }
        val >>= bit_shift;
        if bit_width < 64 {
            val &= (1u64 << bit_width) - 1;
        }
        if cfg!(target_endian = "big") {
            val = val.reverse_bits() >> (64 - bit_width as usize);
        }
        val
    }
    #[inline]
    pub fn set(&mut self, bit_offset: usize, bit_width: u8, val: u64) {
        debug_assert!(bit_width <= 64);
        debug_assert!(bit_offset / 8 < self.storage.as_ref().len());
        debug_assert!(
            (bit_offset + (bit_width as usize) + 7) / 8 <= self.storage.as_ref().len(),
        );
        if bit_width == 0 {
            return;
        }
        let mut val = val;
        if bit_width < 64 {
            val &= (1u64 << bit_width) - 1;
        }
        if cfg!(target_endian = "big") {
            val = val.reverse_bits() >> (64 - bit_width as usize);
        }
        let storage = self.storage.as_mut();
        let start_byte = bit_offset / 8;
        let bit_shift = bit_offset % 8;
        let bytes_needed = (bit_width as usize + bit_shift + 7) / 8;
        val <<= bit_shift;
        let field_mask = if bit_width as usize + bit_shift >= 64 {
            !0u64 << bit_shift
        } else {
            ((1u64 << bit_width) - 1) << bit_shift
        };
        for i in 0..bytes_needed {
            let byte_val = (val >> (i * 8)) as u8;
            let byte_mask = (field_mask >> (i * 8)) as u8;
            if cfg!(target_endian = "big") {
                let byte = storage[start_byte + i].reverse_bits();
                let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                storage[start_byte + i] = new_byte.reverse_bits();
            } else {
                storage[start_byte + i] = (storage[start_byte + i] & !byte_mask)
                    | (byte_val & byte_mask);
            }
        }
    }
    #[inline]
    pub unsafe fn raw_set(this: *mut Self, bit_offset: usize, bit_width: u8, val: u64) {
        debug_assert!(bit_width <= 64);
        debug_assert!(bit_offset / 8 < core::mem::size_of::<Storage>());
        debug_assert!(
            (bit_offset + (bit_width as usize) + 7) / 8
                <= core::mem::size_of::<Storage>(),
        );
        if bit_width == 0 {
            return;
        }
        let mut val = val;
        if bit_width < 64 {
            val &= (1u64 << bit_width) - 1;
        }
        if cfg!(target_endian = "big") {
            val = val.reverse_bits() >> (64 - bit_width as usize);
        }
        let start_byte = bit_offset / 8;
        let bit_shift = bit_offset % 8;
        let bytes_needed = (bit_width as usize + bit_shift + 7) / 8;
        val <<= bit_shift;
        let field_mask = if bit_width as usize + bit_shift >= 64 {
            !0u64 << bit_shift
        } else {
            ((1u64 << bit_width) - 1) << bit_shift
        };
        let storage_ptr = unsafe { core::ptr::addr_of_mut!((*this).storage) as *mut u8 };
        for i in 0..bytes_needed {
            let byte_val = (val >> (i * 8)) as u8;
            let byte_mask = (field_mask >> (i * 8)) as u8;
            let byte_ptr = unsafe { storage_ptr.add(start_byte + i) };
            if cfg!(target_endian = "big") {
                let byte = unsafe { (*byte_ptr).reverse_bits() };
                let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                unsafe { *byte_ptr = new_byte.reverse_bits() };
            } else {
                unsafe { *byte_ptr = (*byte_ptr & !byte_mask) | (byte_val & byte_mask) };
            }
        }
    }
}
/// Const-generic methods for efficient bitfield access when offset and width
/// are known at compile time.
impl<const N: usize> __BindgenBitfieldUnit<[u8; N]> {
    /// Get a field using const generics for compile-time optimization.
    /// Uses native word size operations when the field fits in usize.
    #[inline]
    pub const fn get_const<const BIT_OFFSET: usize, const BIT_WIDTH: u8>(&self) -> u64 {
        debug_assert!(BIT_WIDTH <= 64);
        debug_assert!(BIT_OFFSET / 8 < N);
        debug_assert!((BIT_OFFSET + (BIT_WIDTH as usize) + 7) / 8 <= N);
        if BIT_WIDTH == 0 {
            return 0;
        }
        let start_byte = BIT_OFFSET / 8;
        let bit_shift = BIT_OFFSET % 8;
        let bytes_needed = (BIT_WIDTH as usize + bit_shift + 7) / 8;
        if BIT_WIDTH as usize + bit_shift <= usize::BITS as usize {
            let mut val = 0usize;
            if cfg!(target_endian = "big") {
                let mut i = 0;
                while i < bytes_needed {
                    val
                        |= (self.storage[start_byte + i].reverse_bits() as usize)
                            << (i * 8);
                    i += 1;
                }
            } else {
                let mut i = 0;
                while i < bytes_needed {
                    val |= (self.storage[start_byte + i] as usize) << (i * 8);
                    i += 1;
                }
            }
            val >>= bit_shift;
            if (BIT_WIDTH as u32) < usize::BITS {
                val &= (1usize << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (usize::BITS as usize - BIT_WIDTH as usize);
            }
            val as u64
        } else {
            let mut val = 0u64;
            if cfg!(target_endian = "big") {
                let mut i = 0;
                while i < bytes_needed {
                    val
                        |= (self.storage[start_byte + i].reverse_bits() as u64)
                            << (i * 8);
                    i += 1;
                }
            } else {
                let mut i = 0;
                while i < bytes_needed {
                    val |= (self.storage[start_byte + i] as u64) << (i * 8);
                    i += 1;
                }
            }
            val >>= bit_shift;
            if BIT_WIDTH < 64 {
                val &= (1u64 << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (64 - BIT_WIDTH as usize);
            }
            val
        }
    }
    /// Set a field using const generics for compile-time optimization.
    /// Uses native word size operations when the field fits in usize.
    #[inline]
    pub fn set_const<const BIT_OFFSET: usize, const BIT_WIDTH: u8>(&mut self, val: u64) {
        debug_assert!(BIT_WIDTH <= 64);
        debug_assert!(BIT_OFFSET / 8 < N);
        debug_assert!((BIT_OFFSET + (BIT_WIDTH as usize) + 7) / 8 <= N);
        if BIT_WIDTH == 0 {
            return;
        }
        let start_byte = BIT_OFFSET / 8;
        let bit_shift = BIT_OFFSET % 8;
        let bytes_needed = (BIT_WIDTH as usize + bit_shift + 7) / 8;
        if BIT_WIDTH as usize + bit_shift <= usize::BITS as usize {
            let mut val = val as usize;
            if (BIT_WIDTH as u32) < usize::BITS {
                val &= (1usize << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (usize::BITS as usize - BIT_WIDTH as usize);
            }
            val <<= bit_shift;
            let field_mask = if BIT_WIDTH as usize + bit_shift >= usize::BITS as usize {
                !0usize << bit_shift
            } else {
                ((1usize << BIT_WIDTH) - 1) << bit_shift
            };
            let mut i = 0;
            while i < bytes_needed {
                let byte_val = (val >> (i * 8)) as u8;
                let byte_mask = (field_mask >> (i * 8)) as u8;
                if cfg!(target_endian = "big") {
                    let byte = self.storage[start_byte + i].reverse_bits();
                    let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                    self.storage[start_byte + i] = new_byte.reverse_bits();
                } else {
                    self.storage[start_byte + i] = (self.storage[start_byte + i]
                        & !byte_mask) | (byte_val & byte_mask);
                }
                i += 1;
            }
        } else {
            let mut val = val;
            if BIT_WIDTH < 64 {
                val &= (1u64 << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (64 - BIT_WIDTH as usize);
            }
            val <<= bit_shift;
            let field_mask = if BIT_WIDTH as usize + bit_shift >= 64 {
                !0u64 << bit_shift
            } else {
                ((1u64 << BIT_WIDTH) - 1) << bit_shift
            };
            let mut i = 0;
            while i < bytes_needed {
                let byte_val = (val >> (i * 8)) as u8;
                let byte_mask = (field_mask >> (i * 8)) as u8;
                if cfg!(target_endian = "big") {
                    let byte = self.storage[start_byte + i].reverse_bits();
                    let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                    self.storage[start_byte + i] = new_byte.reverse_bits();
                } else {
                    self.storage[start_byte + i] = (self.storage[start_byte + i]
                        & !byte_mask) | (byte_val & byte_mask);
                }
                i += 1;
            }
        }
    }
    /// Raw pointer get using const generics for compile-time optimization.
    /// Uses native word size operations when the field fits in usize.
    #[inline]
    pub const unsafe fn raw_get_const<const BIT_OFFSET: usize, const BIT_WIDTH: u8>(
        this: *const Self,
    ) -> u64 {
        debug_assert!(BIT_WIDTH <= 64);
        debug_assert!(BIT_OFFSET / 8 < N);
        debug_assert!((BIT_OFFSET + (BIT_WIDTH as usize) + 7) / 8 <= N);
        if BIT_WIDTH == 0 {
            return 0;
        }
        let start_byte = BIT_OFFSET / 8;
        let bit_shift = BIT_OFFSET % 8;
        let bytes_needed = (BIT_WIDTH as usize + bit_shift + 7) / 8;
        let storage_ptr = unsafe { core::ptr::addr_of!((*this).storage) as *const u8 };
        if BIT_WIDTH as usize + bit_shift <= usize::BITS as usize {
            let mut val = 0usize;
            if cfg!(target_endian = "big") {
                let mut i = 0;
                while i < bytes_needed {
                    let byte = unsafe { *storage_ptr.add(start_byte + i) };
                    val |= (byte.reverse_bits() as usize) << (i * 8);
                    i += 1;
                }
            } else {
                let mut i = 0;
                while i < bytes_needed {
                    let byte = unsafe { *storage_ptr.add(start_byte + i) };
                    val |= (byte as usize) << (i * 8);
                    i += 1;
                }
            }
            val >>= bit_shift;
            if (BIT_WIDTH as u32) < usize::BITS {
                val &= (1usize << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (usize::BITS as usize - BIT_WIDTH as usize);
            }
            val as u64
        } else {
            let mut val = 0u64;
            if cfg!(target_endian = "big") {
                let mut i = 0;
                while i < bytes_needed {
                    let byte = unsafe { *storage_ptr.add(start_byte + i) };
                    val |= (byte.reverse_bits() as u64) << (i * 8);
                    i += 1;
                }
            } else {
                let mut i = 0;
                while i < bytes_needed {
                    let byte = unsafe { *storage_ptr.add(start_byte + i) };
                    val |= (byte as u64) << (i * 8);
                    i += 1;
                }
            }
            val >>= bit_shift;
            if BIT_WIDTH < 64 {
                val &= (1u64 << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (64 - BIT_WIDTH as usize);
            }
            val
        }
    }
    /// Raw pointer set using const generics for compile-time optimization.
    /// Uses native word size operations when the field fits in usize.
    #[inline]
    pub unsafe fn raw_set_const<const BIT_OFFSET: usize, const BIT_WIDTH: u8>(
        this: *mut Self,
        val: u64,
    ) {
        debug_assert!(BIT_WIDTH <= 64);
        debug_assert!(BIT_OFFSET / 8 < N);
        debug_assert!((BIT_OFFSET + (BIT_WIDTH as usize) + 7) / 8 <= N);
        if BIT_WIDTH == 0 {
            return;
        }
        let start_byte = BIT_OFFSET / 8;
        let bit_shift = BIT_OFFSET % 8;
        let bytes_needed = (BIT_WIDTH as usize + bit_shift + 7) / 8;
        let storage_ptr = this.cast::<[u8; N]>().cast::<u8>();
        if BIT_WIDTH as usize + bit_shift <= usize::BITS as usize {
            let mut val = val as usize;
            if (BIT_WIDTH as u32) < usize::BITS {
                val &= (1usize << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (usize::BITS as usize - BIT_WIDTH as usize);
            }
            val <<= bit_shift;
            let field_mask = if BIT_WIDTH as usize + bit_shift >= usize::BITS as usize {
                !0usize << bit_shift
            } else {
                ((1usize << BIT_WIDTH) - 1) << bit_shift
            };
            let mut i = 0;
            while i < bytes_needed {
                let byte_val = (val >> (i * 8)) as u8;
                let byte_mask = (field_mask >> (i * 8)) as u8;
                let byte_ptr = unsafe { storage_ptr.add(start_byte + i) };
                if cfg!(target_endian = "big") {
                    let byte = unsafe { (*byte_ptr).reverse_bits() };
                    let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                    unsafe { *byte_ptr = new_byte.reverse_bits() };
                } else {
                    unsafe {
                        *byte_ptr = (*byte_ptr & !byte_mask) | (byte_val & byte_mask)
                    };
                }
                i += 1;
            }
        } else {
            let mut val = val;
            if BIT_WIDTH < 64 {
                val &= (1u64 << BIT_WIDTH) - 1;
            }
            if cfg!(target_endian = "big") {
                val = val.reverse_bits() >> (64 - BIT_WIDTH as usize);
            }
            val <<= bit_shift;
            let field_mask = if BIT_WIDTH as usize + bit_shift >= 64 {
                !0u64 << bit_shift
            } else {
                ((1u64 << BIT_WIDTH) - 1) << bit_shift
            };
            let mut i = 0;
            while i < bytes_needed {
                let byte_val = (val >> (i * 8)) as u8;
                let byte_mask = (field_mask >> (i * 8)) as u8;
                let byte_ptr = unsafe { storage_ptr.add(start_byte + i) };
                if cfg!(target_endian = "big") {
                    let byte = unsafe { (*byte_ptr).reverse_bits() };
                    let new_byte = (byte & !byte_mask) | (byte_val & byte_mask);
                    unsafe { *byte_ptr = new_byte.reverse_bits() };
                } else {
                    unsafe {
                        *byte_ptr = (*byte_ptr & !byte_mask) | (byte_val & byte_mask)
                    };
                }
                i += 1;
            }
        }
    }
}
pub const IDXD_SCMD_SOFTERR_MASK: u32 = 2147483648;
pub const IDXD_SCMD_SOFTERR_SHIFT: u32 = 16;
pub const IDXD_OP_FLAG_FENCE: u32 = 1;
pub const IDXD_OP_FLAG_BOF: u32 = 2;
pub const IDXD_OP_FLAG_CRAV: u32 = 4;
pub const IDXD_OP_FLAG_RCR: u32 = 8;
pub const IDXD_OP_FLAG_RCI: u32 = 16;
pub const IDXD_OP_FLAG_CRSTS: u32 = 32;
pub const IDXD_OP_FLAG_CR: u32 = 128;
pub const IDXD_OP_FLAG_CC: u32 = 256;
pub const IDXD_OP_FLAG_ADDR1_TCS: u32 = 512;
pub const IDXD_OP_FLAG_ADDR2_TCS: u32 = 1024;
pub const IDXD_OP_FLAG_ADDR3_TCS: u32 = 2048;
pub const IDXD_OP_FLAG_CR_TCS: u32 = 4096;
pub const IDXD_OP_FLAG_STORD: u32 = 8192;
pub const IDXD_OP_FLAG_DRDBK: u32 = 16384;
pub const IDXD_OP_FLAG_DSTS: u32 = 32768;
pub const IDXD_OP_FLAG_RD_SRC2_AECS: u32 = 65536;
pub const IDXD_OP_FLAG_RD_SRC2_2ND: u32 = 131072;
pub const IDXD_OP_FLAG_WR_SRC2_AECS_COMP: u32 = 262144;
pub const IDXD_OP_FLAG_WR_SRC2_AECS_OVFL: u32 = 524288;
pub const IDXD_OP_FLAG_SRC2_STS: u32 = 1048576;
pub const IDXD_OP_FLAG_CRC_RFC3720: u32 = 2097152;
pub const DSA_COMP_STATUS_MASK: u32 = 127;
pub const DSA_COMP_STATUS_WRITE: u32 = 128;
pub type __u8 = core::ffi::c_uchar;
pub type __u16 = core::ffi::c_ushort;
pub type __u32 = core::ffi::c_uint;
pub type __u64 = core::ffi::c_ulonglong;
pub const IDXD_SCMD_DEV_ENABLED: idxd_scmd_stat = 2147483664;
pub const IDXD_SCMD_DEV_NOT_ENABLED: idxd_scmd_stat = 2147483680;
pub const IDXD_SCMD_WQ_ENABLED: idxd_scmd_stat = 2147483681;
pub const IDXD_SCMD_DEV_DMA_ERR: idxd_scmd_stat = 2147614720;
pub const IDXD_SCMD_WQ_NO_GRP: idxd_scmd_stat = 2147680256;
pub const IDXD_SCMD_WQ_NO_NAME: idxd_scmd_stat = 2147745792;
pub const IDXD_SCMD_WQ_NO_SVM: idxd_scmd_stat = 2147811328;
pub const IDXD_SCMD_WQ_NO_THRESH: idxd_scmd_stat = 2147876864;
pub const IDXD_SCMD_WQ_PORTAL_ERR: idxd_scmd_stat = 2147942400;
pub const IDXD_SCMD_WQ_RES_ALLOC_ERR: idxd_scmd_stat = 2148007936;
pub const IDXD_SCMD_PERCPU_ERR: idxd_scmd_stat = 2148073472;
pub const IDXD_SCMD_DMA_CHAN_ERR: idxd_scmd_stat = 2148139008;
pub const IDXD_SCMD_CDEV_ERR: idxd_scmd_stat = 2148204544;
pub const IDXD_SCMD_WQ_NO_SWQ_SUPPORT: idxd_scmd_stat = 2148270080;
pub const IDXD_SCMD_WQ_NONE_CONFIGURED: idxd_scmd_stat = 2148335616;
pub const IDXD_SCMD_WQ_NO_SIZE: idxd_scmd_stat = 2148401152;
pub const IDXD_SCMD_WQ_NO_PRIV: idxd_scmd_stat = 2148466688;
pub const IDXD_SCMD_WQ_IRQ_ERR: idxd_scmd_stat = 2148532224;
pub const IDXD_SCMD_WQ_USER_NO_IOMMU: idxd_scmd_stat = 2148597760;
pub const IDXD_SCMD_DEV_EVL_ERR: idxd_scmd_stat = 2148663296;
pub const IDXD_SCMD_WQ_NO_DRV_NAME: idxd_scmd_stat = 2149580800;
pub type idxd_scmd_stat = core::ffi::c_uint;
pub const DSA_OPCODE_NOOP: dsa_opcode = 0;
pub const DSA_OPCODE_BATCH: dsa_opcode = 1;
pub const DSA_OPCODE_DRAIN: dsa_opcode = 2;
pub const DSA_OPCODE_MEMMOVE: dsa_opcode = 3;
pub const DSA_OPCODE_MEMFILL: dsa_opcode = 4;
pub const DSA_OPCODE_COMPARE: dsa_opcode = 5;
pub const DSA_OPCODE_COMPVAL: dsa_opcode = 6;
pub const DSA_OPCODE_CR_DELTA: dsa_opcode = 7;
pub const DSA_OPCODE_AP_DELTA: dsa_opcode = 8;
pub const DSA_OPCODE_DUALCAST: dsa_opcode = 9;
pub const DSA_OPCODE_TRANSL_FETCH: dsa_opcode = 10;
pub const DSA_OPCODE_CRCGEN: dsa_opcode = 16;
pub const DSA_OPCODE_COPY_CRC: dsa_opcode = 17;
pub const DSA_OPCODE_DIF_CHECK: dsa_opcode = 18;
pub const DSA_OPCODE_DIF_INS: dsa_opcode = 19;
pub const DSA_OPCODE_DIF_STRP: dsa_opcode = 20;
pub const DSA_OPCODE_DIF_UPDT: dsa_opcode = 21;
pub const DSA_OPCODE_DIX_GEN: dsa_opcode = 23;
pub const DSA_OPCODE_CFLUSH: dsa_opcode = 32;
pub type dsa_opcode = core::ffi::c_uint;
pub const IAX_OPCODE_NOOP: iax_opcode = 0;
pub const IAX_OPCODE_DRAIN: iax_opcode = 2;
pub const IAX_OPCODE_MEMMOVE: iax_opcode = 3;
pub const IAX_OPCODE_DECOMPRESS: iax_opcode = 66;
pub const IAX_OPCODE_COMPRESS: iax_opcode = 67;
pub const IAX_OPCODE_CRC64: iax_opcode = 68;
pub const IAX_OPCODE_ZERO_DECOMP_32: iax_opcode = 72;
pub const IAX_OPCODE_ZERO_DECOMP_16: iax_opcode = 73;
pub const IAX_OPCODE_ZERO_COMP_32: iax_opcode = 76;
pub const IAX_OPCODE_ZERO_COMP_16: iax_opcode = 77;
pub const IAX_OPCODE_SCAN: iax_opcode = 80;
pub const IAX_OPCODE_SET_MEMBER: iax_opcode = 81;
pub const IAX_OPCODE_EXTRACT: iax_opcode = 82;
pub const IAX_OPCODE_SELECT: iax_opcode = 83;
pub const IAX_OPCODE_RLE_BURST: iax_opcode = 84;
pub const IAX_OPCODE_FIND_UNIQUE: iax_opcode = 85;
pub const IAX_OPCODE_EXPAND: iax_opcode = 86;
pub type iax_opcode = core::ffi::c_uint;
pub const DSA_COMP_NONE: dsa_completion_status = 0;
pub const DSA_COMP_SUCCESS: dsa_completion_status = 1;
pub const DSA_COMP_SUCCESS_PRED: dsa_completion_status = 2;
pub const DSA_COMP_PAGE_FAULT_NOBOF: dsa_completion_status = 3;
pub const DSA_COMP_PAGE_FAULT_IR: dsa_completion_status = 4;
pub const DSA_COMP_BATCH_FAIL: dsa_completion_status = 5;
pub const DSA_COMP_BATCH_PAGE_FAULT: dsa_completion_status = 6;
pub const DSA_COMP_DR_OFFSET_NOINC: dsa_completion_status = 7;
pub const DSA_COMP_DR_OFFSET_ERANGE: dsa_completion_status = 8;
pub const DSA_COMP_DIF_ERR: dsa_completion_status = 9;
pub const DSA_COMP_BAD_OPCODE: dsa_completion_status = 16;
pub const DSA_COMP_INVALID_FLAGS: dsa_completion_status = 17;
pub const DSA_COMP_NOZERO_RESERVE: dsa_completion_status = 18;
pub const DSA_COMP_XFER_ERANGE: dsa_completion_status = 19;
pub const DSA_COMP_DESC_CNT_ERANGE: dsa_completion_status = 20;
pub const DSA_COMP_DR_ERANGE: dsa_completion_status = 21;
pub const DSA_COMP_OVERLAP_BUFFERS: dsa_completion_status = 22;
pub const DSA_COMP_DCAST_ERR: dsa_completion_status = 23;
pub const DSA_COMP_DESCLIST_ALIGN: dsa_completion_status = 24;
pub const DSA_COMP_INT_HANDLE_INVAL: dsa_completion_status = 25;
pub const DSA_COMP_CRA_XLAT: dsa_completion_status = 26;
pub const DSA_COMP_CRA_ALIGN: dsa_completion_status = 27;
pub const DSA_COMP_ADDR_ALIGN: dsa_completion_status = 28;
pub const DSA_COMP_PRIV_BAD: dsa_completion_status = 29;
pub const DSA_COMP_TRAFFIC_CLASS_CONF: dsa_completion_status = 30;
pub const DSA_COMP_PFAULT_RDBA: dsa_completion_status = 31;
pub const DSA_COMP_HW_ERR1: dsa_completion_status = 32;
pub const DSA_COMP_HW_ERR_DRB: dsa_completion_status = 33;
pub const DSA_COMP_TRANSLATION_FAIL: dsa_completion_status = 34;
pub const DSA_COMP_DRAIN_EVL: dsa_completion_status = 38;
pub const DSA_COMP_BATCH_EVL_ERR: dsa_completion_status = 39;
pub type dsa_completion_status = core::ffi::c_uint;
pub const IAX_COMP_NONE: iax_completion_status = 0;
pub const IAX_COMP_SUCCESS: iax_completion_status = 1;
pub const IAX_COMP_PAGE_FAULT_IR: iax_completion_status = 4;
pub const IAX_COMP_ANALYTICS_ERROR: iax_completion_status = 10;
pub const IAX_COMP_OUTBUF_OVERFLOW: iax_completion_status = 11;
pub const IAX_COMP_BAD_OPCODE: iax_completion_status = 16;
pub const IAX_COMP_INVALID_FLAGS: iax_completion_status = 17;
pub const IAX_COMP_NOZERO_RESERVE: iax_completion_status = 18;
pub const IAX_COMP_INVALID_SIZE: iax_completion_status = 19;
pub const IAX_COMP_OVERLAP_BUFFERS: iax_completion_status = 22;
pub const IAX_COMP_INT_HANDLE_INVAL: iax_completion_status = 25;
pub const IAX_COMP_CRA_XLAT: iax_completion_status = 26;
pub const IAX_COMP_CRA_ALIGN: iax_completion_status = 27;
pub const IAX_COMP_ADDR_ALIGN: iax_completion_status = 28;
pub const IAX_COMP_PRIV_BAD: iax_completion_status = 29;
pub const IAX_COMP_TRAFFIC_CLASS_CONF: iax_completion_status = 30;
pub const IAX_COMP_PFAULT_RDBA: iax_completion_status = 31;
pub const IAX_COMP_HW_ERR1: iax_completion_status = 32;
pub const IAX_COMP_HW_ERR_DRB: iax_completion_status = 33;
pub const IAX_COMP_TRANSLATION_FAIL: iax_completion_status = 34;
pub const IAX_COMP_PRS_TIMEOUT: iax_completion_status = 35;
pub const IAX_COMP_WATCHDOG: iax_completion_status = 36;
pub const IAX_COMP_INVALID_COMP_FLAG: iax_completion_status = 48;
pub const IAX_COMP_INVALID_FILTER_FLAG: iax_completion_status = 49;
pub const IAX_COMP_INVALID_INPUT_SIZE: iax_completion_status = 50;
pub const IAX_COMP_INVALID_NUM_ELEMS: iax_completion_status = 51;
pub const IAX_COMP_INVALID_SRC1_WIDTH: iax_completion_status = 52;
pub const IAX_COMP_INVALID_INVERT_OUT: iax_completion_status = 53;
pub type iax_completion_status = core::ffi::c_uint;
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct dsa_hw_desc {
    pub _bitfield_1: __BindgenBitfieldUnit<[u8; 8usize]>,
    pub completion_addr: __u64,
    pub __bindgen_anon_1: dsa_hw_desc__bindgen_ty_1,
    pub __bindgen_anon_2: dsa_hw_desc__bindgen_ty_2,
    pub __bindgen_anon_3: dsa_hw_desc__bindgen_ty_3,
    pub int_handle: __u16,
    pub rsvd1: __u16,
    pub __bindgen_anon_4: dsa_hw_desc__bindgen_ty_4,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_hw_desc__bindgen_ty_1 {
    pub src_addr: __u64,
    pub rdback_addr: __u64,
    pub pattern: __u64,
    pub desc_list_addr: __u64,
    pub pattern_lower: __u64,
    pub transl_fetch_addr: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_1",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_1>() - 8usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_1",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::src_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, src_addr) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::rdback_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, rdback_addr) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::pattern",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, pattern) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::desc_list_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, desc_list_addr) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::pattern_lower",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, pattern_lower) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_1::transl_fetch_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_1, transl_fetch_addr) - 0usize];
};
impl Default for dsa_hw_desc__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_hw_desc__bindgen_ty_2 {
    pub dst_addr: __u64,
    pub rdback_addr2: __u64,
    pub src2_addr: __u64,
    pub comp_pattern: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_2",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_2>() - 8usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_2",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_2::dst_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_2, dst_addr) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_2::rdback_addr2",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_2, rdback_addr2) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_2::src2_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_2, src2_addr) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_2::comp_pattern",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_2, comp_pattern) - 0usize];
};
impl Default for dsa_hw_desc__bindgen_ty_2 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_hw_desc__bindgen_ty_3 {
    pub xfer_size: __u32,
    pub desc_count: __u32,
    pub region_size: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_3",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_3>() - 4usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_3",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_3>() - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_3::xfer_size",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_3, xfer_size) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_3::desc_count",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_3, desc_count) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_3::region_size",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_3, region_size) - 0usize];
};
impl Default for dsa_hw_desc__bindgen_ty_3 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_hw_desc__bindgen_ty_4 {
    pub expected_res: __u8,
    pub __bindgen_anon_1: dsa_hw_desc__bindgen_ty_4__bindgen_ty_1,
    pub delta_rec_size: __u32,
    pub dest2: __u64,
    pub __bindgen_anon_2: dsa_hw_desc__bindgen_ty_4__bindgen_ty_2,
    pub __bindgen_anon_3: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3,
    pub __bindgen_anon_4: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4,
    pub __bindgen_anon_5: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5,
    pub pattern_upper: __u64,
    pub __bindgen_anon_6: dsa_hw_desc__bindgen_ty_4__bindgen_ty_6,
    pub __bindgen_anon_7: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7,
    pub op_specific: [__u8; 24usize],
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_1 {
    pub delta_addr: __u64,
    pub max_delta_size: __u32,
    pub delt_rsvd: __u32,
    pub expected_res_mask: __u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_1",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_1>() - 24usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_1",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_1::delta_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_1, delta_addr)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_1::max_delta_size",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_1, max_delta_size)
        - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_1::delt_rsvd",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_1, delt_rsvd)
        - 12usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_1::expected_res_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_1, expected_res_mask)
        - 16usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_2 {
    pub crc_seed: __u32,
    pub crc_rsvd: __u32,
    pub seed_addr: __u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_2",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_2>() - 16usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_2",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_2>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_2::crc_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_2, crc_seed)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_2::crc_rsvd",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_2, crc_rsvd)
        - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_2::seed_addr",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_2, seed_addr)
        - 8usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_3 {
    pub src_dif_flags: __u8,
    pub dif_chk_res: __u8,
    pub dif_chk_flags: __u8,
    pub dif_chk_res2: [__u8; 5usize],
    pub chk_ref_tag_seed: __u32,
    pub chk_app_tag_mask: __u16,
    pub chk_app_tag_seed: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_3",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_3>() - 16usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_3",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_3>() - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::src_dif_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, src_dif_flags)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::dif_chk_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, dif_chk_res)
        - 1usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::dif_chk_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, dif_chk_flags)
        - 2usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::dif_chk_res2",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, dif_chk_res2)
        - 3usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::chk_ref_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, chk_ref_tag_seed)
        - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::chk_app_tag_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, chk_app_tag_mask)
        - 12usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_3::chk_app_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_3, chk_app_tag_seed)
        - 14usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_4 {
    pub dif_ins_res: __u8,
    pub dest_dif_flag: __u8,
    pub dif_ins_flags: __u8,
    pub dif_ins_res2: [__u8; 13usize],
    pub ins_ref_tag_seed: __u32,
    pub ins_app_tag_mask: __u16,
    pub ins_app_tag_seed: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_4",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_4>() - 24usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_4",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_4>() - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::dif_ins_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, dif_ins_res)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::dest_dif_flag",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, dest_dif_flag)
        - 1usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::dif_ins_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, dif_ins_flags)
        - 2usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::dif_ins_res2",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, dif_ins_res2)
        - 3usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::ins_ref_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, ins_ref_tag_seed)
        - 16usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::ins_app_tag_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, ins_app_tag_mask)
        - 20usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_4::ins_app_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_4, ins_app_tag_seed)
        - 22usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_5 {
    pub src_upd_flags: __u8,
    pub upd_dest_flags: __u8,
    pub dif_upd_flags: __u8,
    pub dif_upd_res: [__u8; 5usize],
    pub src_ref_tag_seed: __u32,
    pub src_app_tag_mask: __u16,
    pub src_app_tag_seed: __u16,
    pub dest_ref_tag_seed: __u32,
    pub dest_app_tag_mask: __u16,
    pub dest_app_tag_seed: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_5",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_5>() - 24usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_5",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_5>() - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::src_upd_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, src_upd_flags)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::upd_dest_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, upd_dest_flags)
        - 1usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::dif_upd_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, dif_upd_flags)
        - 2usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::dif_upd_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, dif_upd_res)
        - 3usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::src_ref_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, src_ref_tag_seed)
        - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::src_app_tag_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, src_app_tag_mask)
        - 12usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::src_app_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, src_app_tag_seed)
        - 14usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::dest_ref_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, dest_ref_tag_seed)
        - 16usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::dest_app_tag_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, dest_app_tag_mask)
        - 20usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_5::dest_app_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_5, dest_app_tag_seed)
        - 22usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_6 {
    pub transl_fetch_res: __u64,
    pub region_stride: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_6",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_6>() - 16usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_6",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_6>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_6::transl_fetch_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_6, transl_fetch_res)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_6::region_stride",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_6, region_stride)
        - 8usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_hw_desc__bindgen_ty_4__bindgen_ty_7 {
    pub dix_gen_res: __u8,
    pub dest_dif_flags: __u8,
    pub dif_flags: __u8,
    pub dix_gen_res2: [__u8; 13usize],
    pub ref_tag_seed: __u32,
    pub app_tag_mask: __u16,
    pub app_tag_seed: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4__bindgen_ty_7",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_7>() - 24usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4__bindgen_ty_7",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4__bindgen_ty_7>() - 4usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::dix_gen_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, dix_gen_res)
        - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::dest_dif_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, dest_dif_flags)
        - 1usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::dif_flags",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, dif_flags)
        - 2usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::dix_gen_res2",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, dix_gen_res2)
        - 3usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::ref_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, ref_tag_seed)
        - 16usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::app_tag_mask",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, app_tag_mask)
        - 20usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4__bindgen_ty_7::app_tag_seed",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4__bindgen_ty_7, app_tag_seed)
        - 22usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_hw_desc__bindgen_ty_4",
    ][::core::mem::size_of::<dsa_hw_desc__bindgen_ty_4>() - 24usize];
    [
        "Alignment of dsa_hw_desc__bindgen_ty_4",
    ][::core::mem::align_of::<dsa_hw_desc__bindgen_ty_4>() - 8usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4::expected_res",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4, expected_res) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4::delta_rec_size",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4, delta_rec_size) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4::dest2",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4, dest2) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4::pattern_upper",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4, pattern_upper) - 0usize];
    [
        "Offset of field: dsa_hw_desc__bindgen_ty_4::op_specific",
    ][::core::mem::offset_of!(dsa_hw_desc__bindgen_ty_4, op_specific) - 0usize];
};
impl Default for dsa_hw_desc__bindgen_ty_4 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of dsa_hw_desc"][::core::mem::size_of::<dsa_hw_desc>() - 64usize];
    ["Alignment of dsa_hw_desc"][::core::mem::align_of::<dsa_hw_desc>() - 1usize];
    [
        "Offset of field: dsa_hw_desc::completion_addr",
    ][::core::mem::offset_of!(dsa_hw_desc, completion_addr) - 8usize];
    [
        "Offset of field: dsa_hw_desc::int_handle",
    ][::core::mem::offset_of!(dsa_hw_desc, int_handle) - 36usize];
    [
        "Offset of field: dsa_hw_desc::rsvd1",
    ][::core::mem::offset_of!(dsa_hw_desc, rsvd1) - 38usize];
};
impl Default for dsa_hw_desc {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
impl dsa_hw_desc {
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn pasid(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<0usize, 20u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_pasid(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<0usize, 20u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn pasid_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    0usize,
                    20u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_pasid_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                0usize,
                20u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn rsvd(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<20usize, 11u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_rsvd(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<20usize, 11u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn rsvd_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    20usize,
                    11u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_rsvd_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                20usize,
                11u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn priv_(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<31usize, 1u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_priv(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<31usize, 1u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn priv__raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    31usize,
                    1u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_priv_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                31usize,
                1u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn flags(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<32usize, 24u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_flags(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<32usize, 24u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn flags_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    32usize,
                    24u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_flags_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                32usize,
                24u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn opcode(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<56usize, 8u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_opcode(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<56usize, 8u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn opcode_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    56usize,
                    8u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_opcode_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                56usize,
                8u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn new_bitfield_1(
        pasid: __u32,
        rsvd: __u32,
        priv_: __u32,
        flags: __u32,
        opcode: __u32,
    ) -> __BindgenBitfieldUnit<[u8; 8usize]> {
        let mut __bindgen_bitfield_unit: __BindgenBitfieldUnit<[u8; 8usize]> = Default::default();
        __bindgen_bitfield_unit
            .set_const::<
                0usize,
                20u8,
            >({
                let pasid: u32 = unsafe { ::core::mem::transmute(pasid) };
                pasid as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                20usize,
                11u8,
            >({
                let rsvd: u32 = unsafe { ::core::mem::transmute(rsvd) };
                rsvd as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                31usize,
                1u8,
            >({
                let priv_: u32 = unsafe { ::core::mem::transmute(priv_) };
                priv_ as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                32usize,
                24u8,
            >({
                let flags: u32 = unsafe { ::core::mem::transmute(flags) };
                flags as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                56usize,
                8u8,
            >({
                let opcode: u32 = unsafe { ::core::mem::transmute(opcode) };
                opcode as u64
            });
        __bindgen_bitfield_unit
    }
}
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct iax_hw_desc {
    pub _bitfield_1: __BindgenBitfieldUnit<[u8; 8usize]>,
    pub completion_addr: __u64,
    pub src1_addr: __u64,
    pub dst_addr: __u64,
    pub src1_size: __u32,
    pub int_handle: __u16,
    pub __bindgen_anon_1: iax_hw_desc__bindgen_ty_1,
    pub src2_addr: __u64,
    pub max_dst_size: __u32,
    pub src2_size: __u32,
    pub filter_flags: __u32,
    pub num_inputs: __u32,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union iax_hw_desc__bindgen_ty_1 {
    pub compr_flags: __u16,
    pub decompr_flags: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of iax_hw_desc__bindgen_ty_1",
    ][::core::mem::size_of::<iax_hw_desc__bindgen_ty_1>() - 2usize];
    [
        "Alignment of iax_hw_desc__bindgen_ty_1",
    ][::core::mem::align_of::<iax_hw_desc__bindgen_ty_1>() - 2usize];
    [
        "Offset of field: iax_hw_desc__bindgen_ty_1::compr_flags",
    ][::core::mem::offset_of!(iax_hw_desc__bindgen_ty_1, compr_flags) - 0usize];
    [
        "Offset of field: iax_hw_desc__bindgen_ty_1::decompr_flags",
    ][::core::mem::offset_of!(iax_hw_desc__bindgen_ty_1, decompr_flags) - 0usize];
};
impl Default for iax_hw_desc__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of iax_hw_desc"][::core::mem::size_of::<iax_hw_desc>() - 64usize];
    ["Alignment of iax_hw_desc"][::core::mem::align_of::<iax_hw_desc>() - 1usize];
    [
        "Offset of field: iax_hw_desc::completion_addr",
    ][::core::mem::offset_of!(iax_hw_desc, completion_addr) - 8usize];
    [
        "Offset of field: iax_hw_desc::src1_addr",
    ][::core::mem::offset_of!(iax_hw_desc, src1_addr) - 16usize];
    [
        "Offset of field: iax_hw_desc::dst_addr",
    ][::core::mem::offset_of!(iax_hw_desc, dst_addr) - 24usize];
    [
        "Offset of field: iax_hw_desc::src1_size",
    ][::core::mem::offset_of!(iax_hw_desc, src1_size) - 32usize];
    [
        "Offset of field: iax_hw_desc::int_handle",
    ][::core::mem::offset_of!(iax_hw_desc, int_handle) - 36usize];
    [
        "Offset of field: iax_hw_desc::src2_addr",
    ][::core::mem::offset_of!(iax_hw_desc, src2_addr) - 40usize];
    [
        "Offset of field: iax_hw_desc::max_dst_size",
    ][::core::mem::offset_of!(iax_hw_desc, max_dst_size) - 48usize];
    [
        "Offset of field: iax_hw_desc::src2_size",
    ][::core::mem::offset_of!(iax_hw_desc, src2_size) - 52usize];
    [
        "Offset of field: iax_hw_desc::filter_flags",
    ][::core::mem::offset_of!(iax_hw_desc, filter_flags) - 56usize];
    [
        "Offset of field: iax_hw_desc::num_inputs",
    ][::core::mem::offset_of!(iax_hw_desc, num_inputs) - 60usize];
};
impl Default for iax_hw_desc {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
impl iax_hw_desc {
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn pasid(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<0usize, 20u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_pasid(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<0usize, 20u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn pasid_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    0usize,
                    20u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_pasid_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                0usize,
                20u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn rsvd(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<20usize, 11u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_rsvd(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<20usize, 11u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn rsvd_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    20usize,
                    11u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_rsvd_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                20usize,
                11u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn priv_(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<31usize, 1u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_priv(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<31usize, 1u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn priv__raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    31usize,
                    1u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_priv_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                31usize,
                1u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn flags(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<32usize, 24u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_flags(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<32usize, 24u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn flags_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    32usize,
                    24u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_flags_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                32usize,
                24u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn opcode(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<56usize, 8u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_opcode(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<56usize, 8u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn opcode_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 8usize],
                >>::raw_get_const::<
                    56usize,
                    8u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_opcode_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 8usize],
            >>::raw_set_const::<
                56usize,
                8u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn new_bitfield_1(
        pasid: __u32,
        rsvd: __u32,
        priv_: __u32,
        flags: __u32,
        opcode: __u32,
    ) -> __BindgenBitfieldUnit<[u8; 8usize]> {
        let mut __bindgen_bitfield_unit: __BindgenBitfieldUnit<[u8; 8usize]> = Default::default();
        __bindgen_bitfield_unit
            .set_const::<
                0usize,
                20u8,
            >({
                let pasid: u32 = unsafe { ::core::mem::transmute(pasid) };
                pasid as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                20usize,
                11u8,
            >({
                let rsvd: u32 = unsafe { ::core::mem::transmute(rsvd) };
                rsvd as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                31usize,
                1u8,
            >({
                let priv_: u32 = unsafe { ::core::mem::transmute(priv_) };
                priv_ as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                32usize,
                24u8,
            >({
                let flags: u32 = unsafe { ::core::mem::transmute(flags) };
                flags as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                56usize,
                8u8,
            >({
                let opcode: u32 = unsafe { ::core::mem::transmute(opcode) };
                opcode as u64
            });
        __bindgen_bitfield_unit
    }
}
#[repr(C, packed)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_raw_desc {
    pub field: [__u64; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of dsa_raw_desc"][::core::mem::size_of::<dsa_raw_desc>() - 64usize];
    ["Alignment of dsa_raw_desc"][::core::mem::align_of::<dsa_raw_desc>() - 1usize];
    [
        "Offset of field: dsa_raw_desc::field",
    ][::core::mem::offset_of!(dsa_raw_desc, field) - 0usize];
};
#[repr(C, packed)]
#[derive(Copy, Clone)]
pub struct dsa_completion_record {
    pub status: __u8,
    pub __bindgen_anon_1: dsa_completion_record__bindgen_ty_1,
    pub fault_info: __u8,
    pub rsvd: __u8,
    pub __bindgen_anon_2: dsa_completion_record__bindgen_ty_2,
    pub fault_addr: __u64,
    pub __bindgen_anon_3: dsa_completion_record__bindgen_ty_3,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_completion_record__bindgen_ty_1 {
    pub result: __u8,
    pub dif_status: __u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_1",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_1>() - 1usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_1",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_1>() - 1usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_1::result",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_1, result) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_1::dif_status",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_1, dif_status) - 0usize];
};
impl Default for dsa_completion_record__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_completion_record__bindgen_ty_2 {
    pub bytes_completed: __u32,
    pub descs_completed: __u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_2",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_2>() - 4usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_2",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_2>() - 4usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_2::bytes_completed",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_2, bytes_completed)
        - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_2::descs_completed",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_2, descs_completed)
        - 0usize];
};
impl Default for dsa_completion_record__bindgen_ty_2 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union dsa_completion_record__bindgen_ty_3 {
    pub __bindgen_anon_1: dsa_completion_record__bindgen_ty_3__bindgen_ty_1,
    pub delta_rec_size: __u32,
    pub crc_val: __u64,
    pub __bindgen_anon_2: dsa_completion_record__bindgen_ty_3__bindgen_ty_2,
    pub __bindgen_anon_3: dsa_completion_record__bindgen_ty_3__bindgen_ty_3,
    pub __bindgen_anon_4: dsa_completion_record__bindgen_ty_3__bindgen_ty_4,
    pub __bindgen_anon_5: dsa_completion_record__bindgen_ty_3__bindgen_ty_5,
    pub op_specific: [__u8; 16usize],
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_completion_record__bindgen_ty_3__bindgen_ty_1 {
    pub _bindgen_align: [u32; 0],
    pub _bitfield_1: __BindgenBitfieldUnit<[u8; 4usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3__bindgen_ty_1",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_1>()
        - 4usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3__bindgen_ty_1",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_1>()
        - 4usize];
};
impl dsa_completion_record__bindgen_ty_3__bindgen_ty_1 {
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn invalid_flags(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<0usize, 24u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_invalid_flags(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<0usize, 24u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn invalid_flags_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 4usize],
                >>::raw_get_const::<
                    0usize,
                    24u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_invalid_flags_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 4usize],
            >>::raw_set_const::<
                0usize,
                24u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn rsvd2(&self) -> __u32 {
        unsafe {
            ::core::mem::transmute(self._bitfield_1.get_const::<24usize, 8u8>() as u32)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn set_rsvd2(&mut self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            self._bitfield_1.set_const::<24usize, 8u8>(val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn rsvd2_raw(this: *const Self) -> __u32 {
        unsafe {
            ::core::mem::transmute(
                <__BindgenBitfieldUnit<
                    [u8; 4usize],
                >>::raw_get_const::<
                    24usize,
                    8u8,
                >(::core::ptr::addr_of!((*this)._bitfield_1)) as u32,
            )
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub unsafe fn set_rsvd2_raw(this: *mut Self, val: __u32) {
        unsafe {
            let val: u32 = ::core::mem::transmute(val);
            <__BindgenBitfieldUnit<
                [u8; 4usize],
            >>::raw_set_const::<
                24usize,
                8u8,
            >(::core::ptr::addr_of_mut!((*this)._bitfield_1), val as u64)
        }
    }
    #[inline]
    #[allow(unnecessary_transmutes)]
    pub fn new_bitfield_1(
        invalid_flags: __u32,
        rsvd2: __u32,
    ) -> __BindgenBitfieldUnit<[u8; 4usize]> {
        let mut __bindgen_bitfield_unit: __BindgenBitfieldUnit<[u8; 4usize]> = Default::default();
        __bindgen_bitfield_unit
            .set_const::<
                0usize,
                24u8,
            >({
                let invalid_flags: u32 = unsafe {
                    ::core::mem::transmute(invalid_flags)
                };
                invalid_flags as u64
            });
        __bindgen_bitfield_unit
            .set_const::<
                24usize,
                8u8,
            >({
                let rsvd2: u32 = unsafe { ::core::mem::transmute(rsvd2) };
                rsvd2 as u64
            });
        __bindgen_bitfield_unit
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_completion_record__bindgen_ty_3__bindgen_ty_2 {
    pub dif_chk_ref_tag: __u32,
    pub dif_chk_app_tag_mask: __u16,
    pub dif_chk_app_tag: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3__bindgen_ty_2",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_2>()
        - 8usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3__bindgen_ty_2",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_2>()
        - 4usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_2::dif_chk_ref_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_2, dif_chk_ref_tag
    ) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_2::dif_chk_app_tag_mask",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_2, dif_chk_app_tag_mask
    ) - 4usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_2::dif_chk_app_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_2, dif_chk_app_tag
    ) - 6usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_completion_record__bindgen_ty_3__bindgen_ty_3 {
    pub dif_ins_res: __u64,
    pub dif_ins_ref_tag: __u32,
    pub dif_ins_app_tag_mask: __u16,
    pub dif_ins_app_tag: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3__bindgen_ty_3",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_3>()
        - 16usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3__bindgen_ty_3",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_3>()
        - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_3::dif_ins_res",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_3, dif_ins_res
    ) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_3::dif_ins_ref_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_3, dif_ins_ref_tag
    ) - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_3::dif_ins_app_tag_mask",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_3, dif_ins_app_tag_mask
    ) - 12usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_3::dif_ins_app_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_3, dif_ins_app_tag
    ) - 14usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_completion_record__bindgen_ty_3__bindgen_ty_4 {
    pub dif_upd_src_ref_tag: __u32,
    pub dif_upd_src_app_tag_mask: __u16,
    pub dif_upd_src_app_tag: __u16,
    pub dif_upd_dest_ref_tag: __u32,
    pub dif_upd_dest_app_tag_mask: __u16,
    pub dif_upd_dest_app_tag: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3__bindgen_ty_4",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_4>()
        - 16usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3__bindgen_ty_4",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_4>()
        - 4usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_src_ref_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_src_ref_tag
    ) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_src_app_tag_mask",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_src_app_tag_mask
    ) - 4usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_src_app_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_src_app_tag
    ) - 6usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_dest_ref_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_dest_ref_tag
    ) - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_dest_app_tag_mask",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_dest_app_tag_mask
    ) - 12usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_4::dif_upd_dest_app_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_4, dif_upd_dest_app_tag
    ) - 14usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_completion_record__bindgen_ty_3__bindgen_ty_5 {
    pub dix_gen_res: __u64,
    pub dix_ref_tag: __u32,
    pub dix_app_tag_mask: __u16,
    pub dix_app_tag: __u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3__bindgen_ty_5",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_5>()
        - 16usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3__bindgen_ty_5",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3__bindgen_ty_5>()
        - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_5::dix_gen_res",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_5, dix_gen_res
    ) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_5::dix_ref_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_5, dix_ref_tag
    ) - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_5::dix_app_tag_mask",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_5, dix_app_tag_mask
    ) - 12usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3__bindgen_ty_5::dix_app_tag",
    ][::core::mem::offset_of!(
        dsa_completion_record__bindgen_ty_3__bindgen_ty_5, dix_app_tag
    ) - 14usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record__bindgen_ty_3",
    ][::core::mem::size_of::<dsa_completion_record__bindgen_ty_3>() - 16usize];
    [
        "Alignment of dsa_completion_record__bindgen_ty_3",
    ][::core::mem::align_of::<dsa_completion_record__bindgen_ty_3>() - 8usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3::delta_rec_size",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_3, delta_rec_size)
        - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3::crc_val",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_3, crc_val) - 0usize];
    [
        "Offset of field: dsa_completion_record__bindgen_ty_3::op_specific",
    ][::core::mem::offset_of!(dsa_completion_record__bindgen_ty_3, op_specific)
        - 0usize];
};
impl Default for dsa_completion_record__bindgen_ty_3 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_completion_record",
    ][::core::mem::size_of::<dsa_completion_record>() - 32usize];
    [
        "Alignment of dsa_completion_record",
    ][::core::mem::align_of::<dsa_completion_record>() - 1usize];
    [
        "Offset of field: dsa_completion_record::status",
    ][::core::mem::offset_of!(dsa_completion_record, status) - 0usize];
    [
        "Offset of field: dsa_completion_record::fault_info",
    ][::core::mem::offset_of!(dsa_completion_record, fault_info) - 2usize];
    [
        "Offset of field: dsa_completion_record::rsvd",
    ][::core::mem::offset_of!(dsa_completion_record, rsvd) - 3usize];
    [
        "Offset of field: dsa_completion_record::fault_addr",
    ][::core::mem::offset_of!(dsa_completion_record, fault_addr) - 8usize];
};
impl Default for dsa_completion_record {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C, packed)]
#[derive(Debug, Default, Copy, Clone)]
pub struct dsa_raw_completion_record {
    pub field: [__u64; 4usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of dsa_raw_completion_record",
    ][::core::mem::size_of::<dsa_raw_completion_record>() - 32usize];
    [
        "Alignment of dsa_raw_completion_record",
    ][::core::mem::align_of::<dsa_raw_completion_record>() - 1usize];
    [
        "Offset of field: dsa_raw_completion_record::field",
    ][::core::mem::offset_of!(dsa_raw_completion_record, field) - 0usize];
};
#[repr(C, packed)]
#[derive(Debug, Default, Copy, Clone)]
pub struct iax_completion_record {
    pub status: __u8,
    pub error_code: __u8,
    pub fault_info: __u8,
    pub rsvd: __u8,
    pub bytes_completed: __u32,
    pub fault_addr: __u64,
    pub invalid_flags: __u32,
    pub rsvd2: __u32,
    pub output_size: __u32,
    pub output_bits: __u8,
    pub rsvd3: __u8,
    pub xor_csum: __u16,
    pub crc: __u32,
    pub min: __u32,
    pub max: __u32,
    pub sum: __u32,
    pub rsvd4: [__u64; 2usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of iax_completion_record",
    ][::core::mem::size_of::<iax_completion_record>() - 64usize];
    [
        "Alignment of iax_completion_record",
    ][::core::mem::align_of::<iax_completion_record>() - 1usize];
    [
        "Offset of field: iax_completion_record::status",
    ][::core::mem::offset_of!(iax_completion_record, status) - 0usize];
    [
        "Offset of field: iax_completion_record::error_code",
    ][::core::mem::offset_of!(iax_completion_record, error_code) - 1usize];
    [
        "Offset of field: iax_completion_record::fault_info",
    ][::core::mem::offset_of!(iax_completion_record, fault_info) - 2usize];
    [
        "Offset of field: iax_completion_record::rsvd",
    ][::core::mem::offset_of!(iax_completion_record, rsvd) - 3usize];
    [
        "Offset of field: iax_completion_record::bytes_completed",
    ][::core::mem::offset_of!(iax_completion_record, bytes_completed) - 4usize];
    [
        "Offset of field: iax_completion_record::fault_addr",
    ][::core::mem::offset_of!(iax_completion_record, fault_addr) - 8usize];
    [
        "Offset of field: iax_completion_record::invalid_flags",
    ][::core::mem::offset_of!(iax_completion_record, invalid_flags) - 16usize];
    [
        "Offset of field: iax_completion_record::rsvd2",
    ][::core::mem::offset_of!(iax_completion_record, rsvd2) - 20usize];
    [
        "Offset of field: iax_completion_record::output_size",
    ][::core::mem::offset_of!(iax_completion_record, output_size) - 24usize];
    [
        "Offset of field: iax_completion_record::output_bits",
    ][::core::mem::offset_of!(iax_completion_record, output_bits) - 28usize];
    [
        "Offset of field: iax_completion_record::rsvd3",
    ][::core::mem::offset_of!(iax_completion_record, rsvd3) - 29usize];
    [
        "Offset of field: iax_completion_record::xor_csum",
    ][::core::mem::offset_of!(iax_completion_record, xor_csum) - 30usize];
    [
        "Offset of field: iax_completion_record::crc",
    ][::core::mem::offset_of!(iax_completion_record, crc) - 32usize];
    [
        "Offset of field: iax_completion_record::min",
    ][::core::mem::offset_of!(iax_completion_record, min) - 36usize];
    [
        "Offset of field: iax_completion_record::max",
    ][::core::mem::offset_of!(iax_completion_record, max) - 40usize];
    [
        "Offset of field: iax_completion_record::sum",
    ][::core::mem::offset_of!(iax_completion_record, sum) - 44usize];
    [
        "Offset of field: iax_completion_record::rsvd4",
    ][::core::mem::offset_of!(iax_completion_record, rsvd4) - 48usize];
};
#[repr(C, packed)]
#[derive(Debug, Default, Copy, Clone)]
pub struct iax_raw_completion_record {
    pub field: [__u64; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of iax_raw_completion_record",
    ][::core::mem::size_of::<iax_raw_completion_record>() - 64usize];
    [
        "Alignment of iax_raw_completion_record",
    ][::core::mem::align_of::<iax_raw_completion_record>() - 1usize];
    [
        "Offset of field: iax_raw_completion_record::field",
    ][::core::mem::offset_of!(iax_raw_completion_record, field) - 0usize];
};
