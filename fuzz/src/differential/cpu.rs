//! What the CPU engine makes of a descriptor without handles.

use dsa::cpu;
use idxd_sys::{Descriptor, flag, opcode, status};

use crate::oracle::Answer;

/// Bytes of an element of a type.
fn size_of_type(code: u8) -> usize {
    idxd_sys::compute::data_type::size(code).expect("the type is assigned") as usize
}

fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

fn truth(d: &Descriptor, is_as_expected: bool) -> u8 {
    if d.flags() & flag::CHECK_RESULT == 0 || is_as_expected { status::SUCCESS } else { status::SUCCESS_FALSE }
}

/// Executes a descriptor; `None` if the engine has no such operation.
///
/// # Safety
///
/// All that the descriptor names, and what its list names, is real memory with exposed provenance that nobody else uses.
/// What must not overlap does not.
#[allow(clippy::too_many_lines)] // one arm for each operation
pub(super) unsafe fn execute(d: &Descriptor) -> Option<Answer> {
    let (src, dst, len) = (pointer(d.src_addr), pointer(d.dst_addr), d.xfer_size as usize);
    let [third, fourth, _] = d.op_specific;
    let set = |bit: u32| d.flags() & bit != 0;
    let done = Answer::DONE;
    // SAFETY: the caller's promise, for each of the calls.
    unsafe {
        Some(match d.opcode() {
            opcode::MEMMOVE | opcode::INTER_DOMAIN_COPY => {
                cpu::copy(src, dst, len);
                done
            }
            opcode::FILL | opcode::INTER_DOMAIN_FILL => {
                if set(flag::FILL_16) {
                    cpu::fill_wide(dst, len, [d.src_addr, third]);
                } else {
                    cpu::fill(dst, len, d.src_addr);
                }
                done
            }
            opcode::COMPARE | opcode::INTER_DOMAIN_COMPARE => compared(d, cpu::compare(src, dst, len)),
            opcode::COMPVAL | opcode::INTER_DOMAIN_COMPVAL => compared(d, cpu::compare_pattern(src, len, d.dst_addr)),
            opcode::DUALCAST => {
                cpu::dualcast(src, dst, pointer(third), len);
                done
            }
            opcode::CRCGEN | opcode::COPY_CRC => {
                let params = cpu::CrcParams::from_flags(d.flags());
                let seed = match (set(flag::CRC_READ_SEED), set(flag::CRC_64)) {
                    (false, _) => third,
                    (true, false) => pointer(fourth).cast::<u32>().read_unaligned().into(),
                    (true, true) => pointer(fourth).cast::<u64>().read_unaligned(),
                };
                let value = if d.opcode() == opcode::CRCGEN {
                    cpu::crc_at(params, seed, src, len)
                } else {
                    cpu::copy_crc(params, seed, src, dst, len)
                };
                Answer { words: [value, 0], ..done }
            }
            opcode::CFLUSH => {
                cpu::flush(dst, len);
                done
            }
            opcode::TRANSL_FETCH => {
                let stride = if set(flag::FETCH_STRIDE) { d.op_u32(48) as usize } else { 0 };
                // Old kernels do not have the call; that is no difference.
                let _ = cpu::fetch(src, len, stride);
                done
            }
            opcode::CR_DELTA => {
                let delta = cpu::create_delta(src, dst, len, pointer(third), d.op_u32(48) as usize);
                let completed = match delta {
                    cpu::Delta::Overflow { compared, .. } => compared as u32,
                    _ => 0,
                };
                Answer {
                    status: truth(d, d.op_u8(56) >> delta.result() & 1 == 1),
                    result: delta.result(),
                    completed,
                    words: [delta.size() as u64, 0],
                }
            }
            opcode::AP_DELTA => match cpu::apply_delta(src, d.op_u32(40) as usize, dst, len) {
                Ok(()) => done,
                Err(error) => Answer { status: error.status(), completed: error.consumed() as u32, ..done },
            },
            opcode::DIF_CHECK | opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT | opcode::DIX_GEN => dif(d),
            opcode::TYPE_CONV => {
                let conversion = cpu::Conversion::new(d.op_u8(56) & 0xf, d.op_u8(56) >> 4, compute_flags(d))?;
                computed(d, cpu::convert(conversion, src, dst, len))
            }
            opcode::REDUCE => computed(d, cpu::reduce(reduction(d)?, src, dst, pointer(third), len)),
            opcode::REDUCE_DUALCAST => {
                computed(d, cpu::reduce_dualcast(reduction(d)?, src, dst, pointer(third), pointer(fourth), len))
            }
            opcode::GATHER_REDUCE => {
                let list = list(d, src, len * size_of_type(d.op_u8(56) & 0xf))?;
                computed(d, cpu::gather_reduce(reduction(d)?, &list, dst))
            }
            opcode::GATHER_COPY => {
                cpu::gather_copy(&list(d, src, block(d))?, dst);
                done
            }
            opcode::SCATTER_COPY => {
                cpu::scatter_copy(src, &list(d, dst, block(d))?);
                done
            }
            opcode::SCATTER_FILL => {
                cpu::scatter_fill(&list(d, dst, block(d))?, d.src_addr);
                done
            }
            _ => return None,
        })
    }
}

fn compared(d: &Descriptor, difference: Option<usize>) -> Answer {
    let result = u8::from(difference.is_some());
    Answer {
        status: truth(d, result == d.op_u8(40) & 1),
        result,
        completed: difference.unwrap_or(0) as u32,
        words: [0; 2],
    }
}

fn computed(d: &Descriptor, exceptions: u8) -> Answer {
    Answer { status: truth(d, exceptions == 0), result: exceptions, ..Answer::DONE }
}

fn compute_flags(d: &Descriptor) -> u16 {
    u16::from(d.op_u8(57) >> 4) | u16::from(d.op_u8(58)) << 4
}

fn reduction(d: &Descriptor) -> Option<cpu::Reduction> {
    cpu::Reduction::new(d.op_u8(56) & 0xf, d.op_u8(56) >> 4, d.op_u8(57) & 0xf, compute_flags(d))
}

fn block(d: &Descriptor) -> usize {
    d.op_u32(40) as usize * size_of_type(d.op_u8(56) & 0xf)
}

fn list(d: &Descriptor, entries: *const u8, block: usize) -> Option<cpu::ScatterList> {
    cpu::ScatterList::new(entries, d.op_u16(44).into(), d.op_u8(59) >> 4, d.op_specific[1], block)
}

fn tags(word: u64) -> cpu::DifTags {
    cpu::DifTags::new(word as u32, (word >> 32) as u16, (word >> 48) as u16)
}

fn word(tags: cpu::DifTags) -> u64 {
    u64::from(tags.reference) | u64::from(tags.mask) << 32 | u64::from(tags.application) << 48
}

/// # Safety
///
/// As for [`execute`].
unsafe fn dif(d: &Descriptor) -> Answer {
    let (src, dst, len, flags) = (pointer(d.src_addr), pointer(d.dst_addr), d.xfer_size as usize, d.op_u8(42));
    let source = cpu::DifSource::new(d.op_u8(40), tags(d.op_specific[1]));
    let made = cpu::DifDestination::new(d.op_u8(41), tags(d.op_specific[2]));
    // SAFETY: the caller's promise, for each of the calls.
    let words = unsafe {
        match d.opcode() {
            opcode::DIF_CHECK => cpu::dif_check(flags, source, src, len).map(|tags| [word(tags), 0]),
            opcode::DIF_INS => Ok([0, word(cpu::dif_insert(flags, made, src, dst, len))]),
            opcode::DIF_STRP => cpu::dif_strip(flags, source, src, dst, len).map(|tags| [word(tags), 0]),
            opcode::DIF_UPDT => {
                cpu::dif_update(flags, source, made, src, dst, len).map(|(read, made)| [word(read), word(made)])
            }
            _ => Ok([0, word(cpu::dix_generate(flags, made, src, dst, len))]),
        }
    };
    match words {
        Ok(words) => Answer { words, ..Answer::DONE },
        Err(error) => {
            Answer { status: status::DIF_ERROR, result: error.status, completed: error.completed as u32, words: [0; 2] }
        }
    }
}
