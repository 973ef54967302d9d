//! Data-integrity fields (specification sections 8.3.14 to 8.3.18, appendix B), block by block.

use idxd_sys::{Descriptor, opcode, status};

use super::{Answer, Memory, Nothing, guard};

/// Tag seeds of one side: eight bytes of the descriptor, and how they go on.
struct Tags {
    reference: u32,
    mask: u16,
    application: u16,
    reference_counts: bool,
    application_counts: bool,
}

impl Tags {
    /// From the word of seeds, and the flag byte: bit 7 fixes the reference tag, bit 4 has the application tag count.
    fn new(word: u64, flags: u8) -> Self {
        let bytes = word.to_le_bytes();
        Self {
            reference: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            mask: u16::from_le_bytes([bytes[4], bytes[5]]),
            application: u16::from_le_bytes([bytes[6], bytes[7]]),
            reference_counts: flags & 0x80 == 0,
            application_counts: flags & 0x10 != 0,
        }
    }

    fn next(&mut self) {
        if self.reference_counts {
            self.reference = self.reference.wrapping_add(1);
        }
        if self.application_counts {
            self.application = self.application.wrapping_add(1);
        }
    }

    /// The application tag of a block: bits of the mask are 0 in it.
    fn masked(&self) -> u16 {
        self.application & !self.mask
    }

    /// Eight bytes of the completion record.
    fn word(&self) -> u64 {
        let mut bytes = self.reference.to_le_bytes().to_vec();
        bytes.extend(self.mask.to_le_bytes());
        bytes.extend(self.application.to_le_bytes());
        u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
    }
}

/// What is wrong with a stored tuple: the bits of the DIF status.
fn wrong(flags: u8, stored: &[u8], tags: &Tags, guard: u16) -> u8 {
    let set = |bit: u8| flags >> bit & 1 == 1;
    let ones = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0xff);
    if set(1) && set(0) && ones(stored) {
        return 8;
    }
    let f_detected = set(1) && ones(stored) || set(2) && ones(&stored[2..4]) || set(3) && ones(&stored[2..8]);
    if f_detected {
        return 0;
    }
    let mut status = 0;
    if !set(5) && stored[..2] != guard.to_be_bytes() {
        status |= 1;
    }
    if tags.mask != 0xffff && stored[2..4] != tags.masked().to_be_bytes() {
        status |= 2;
    }
    if !set(6) && stored[4..] != tags.reference.to_be_bytes() {
        status |= 4;
    }
    status
}

pub(super) fn execute(memory: &mut Memory, d: &Descriptor) -> Result<Answer, Nothing> {
    let code = d.opcode();
    let (source_flags, destination_flags, flags) = (d.op_u8(40), d.op_u8(41), d.op_u8(42));
    let block = [512_usize, 520, 4096, 4104][usize::from(flags & 3)];
    let has_tuples = matches!(code, opcode::DIF_CHECK | opcode::DIF_STRP | opcode::DIF_UPDT);
    let makes_tuples = matches!(code, opcode::DIF_INS | opcode::DIF_UPDT | opcode::DIX_GEN);
    let unit = if has_tuples { block + 8 } else { block };
    let mut source = Tags::new(d.op_specific[1], source_flags);
    let mut destination = Tags::new(d.op_specific[2], destination_flags);
    let input = memory.get(d.src_addr, d.xfer_size.into())?;
    let mut output = Vec::new();
    let mut error = None;
    for (index, bytes) in input.chunks_exact(unit).enumerate() {
        let (data, stored) = bytes.split_at(block);
        let guard = guard(data, flags & 4 != 0, flags & 8 != 0);
        if has_tuples {
            let status = wrong(source_flags, stored, &source, guard);
            if status != 0 {
                error = Some((status, (index * unit) as u32));
                break;
            }
        }
        if matches!(code, opcode::DIF_INS | opcode::DIF_STRP | opcode::DIF_UPDT) {
            output.extend(data);
        }
        if makes_tuples {
            let mut tuple = guard.to_be_bytes().to_vec();
            tuple.extend(destination.masked().to_be_bytes());
            tuple.extend(destination.reference.to_be_bytes());
            if code == opcode::DIF_UPDT {
                // What is passed through, by bit and bytes of the tuple.
                for (bit, bytes) in [(0x20, 0..2), (0x08, 2..4), (0x40, 4..8)] {
                    if destination_flags & bit != 0 {
                        tuple[bytes.clone()].copy_from_slice(&stored[bytes]);
                    }
                }
            }
            output.extend(tuple);
        }
        source.next();
        destination.next();
    }
    if code != opcode::DIF_CHECK {
        memory.put(d.dst_addr, &output)?;
    }
    Ok(match error {
        Some((result, completed)) => Answer { status: status::DIF_ERROR, result, completed, words: [0; 2] },
        None => Answer {
            words: [if has_tuples { source.word() } else { 0 }, if makes_tuples { destination.word() } else { 0 }],
            ..Answer::DONE
        },
    })
}
