//! The instruction by which an operating system moves the tail of the IOMMU's invalidation queue.
//!
//! Linux stores a register of 32 bits to a pointer with a displacement, and the displacement is the register's offset.
#![forbid(unsafe_code)]

/// Offset of the tail register.
pub const TAIL: u32 = 0x88;

/// Whether an instruction stores a register to where its displacement of 32 bits is that of the tail register.
pub fn may_be_it(bytes: &[u8]) -> bool {
    let bytes = match bytes {
        [0x40..=0x4f, rest @ ..] => rest,
        _ => bytes,
    };
    let [0x89, modrm, rest @ ..] = bytes else { return false };
    // Mode 2 has a displacement of 32 bits, behind another byte if the base is the stack pointer's number.
    let displacement = if modrm & 7 == 4 { rest.get(1..) } else { Some(rest) };
    modrm >> 6 == 2 && displacement == Some(&TAIL.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_recognised_with_every_base() {
        // mov %ecx,0x88(%rax); mov %eax,0x88(%r12); mov %edx,0x88(%rsp)
        assert!(may_be_it(&[0x89, 0x88, 0x88, 0, 0, 0]));
        assert!(may_be_it(&[0x41, 0x89, 0x84, 0x24, 0x88, 0, 0, 0]));
        assert!(may_be_it(&[0x89, 0x94, 0x24, 0x88, 0, 0, 0]));
        // Another displacement, a short one, a load, an absolute address.
        assert!(!may_be_it(&[0x89, 0x88, 0x80, 0, 0, 0]));
        assert!(!may_be_it(&[0x89, 0x48, 0x08]));
        assert!(!may_be_it(&[0x8b, 0x88, 0x88, 0, 0, 0]));
        assert!(!may_be_it(&[0x89, 0x0d, 0x88, 0, 0, 0]));
        assert!(!may_be_it(&[0x89]));
        assert!(!may_be_it(&[]));
    }
}
