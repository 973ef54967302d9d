//! The short way of the most frequent jobs: one descriptor does the whole of it, and succeeds.
//!
//! Small operations are mostly overhead, and most of that is care for cases that do not occur: several pieces, options,
//! alignment, another queue. A plain job of a few kinds without options needs none of it. Whatever is not as expected goes
//! the long way of [`super::flight`], which finds everything as if it had begun there.
//!
//! What a queue may be given is not stated a second time here. [`Templates`] asks the descriptor builders once for each
//! kind of job, when an accelerator is built; what is left to be filled in are addresses and a size that every
//! builder takes as they are. A test compares the results.

use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use super::job::{Job, Quick, QuickKind};
use crate::descriptor::Capabilities;

/// What a queue's descriptors for quick jobs have in common, by kind of job.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// Flags and opcode; 0 where the queue does not take such a job.
    flags_opcode: [u32; QuickKind::COUNT],
    /// Longest transfer.
    limit: u64,
}

impl Templates {
    /// The templates of a queue with these capabilities.
    pub(crate) fn of(caps: &Capabilities) -> Self {
        // Any addresses do: no rule for these jobs looks at them, but that regions must not overlap or wrap around.
        let at = |address: usize| std::ptr::without_provenance_mut::<u8>(address);
        let template = |job: Job| {
            let described = job.describe(64, 0x1000, false, caps);
            described.map_or(0, |descriptor| descriptor.flags_opcode)
        };
        let (src, dst) = (at(0x10_0000).cast_const(), at(0x20_0000));
        let mut flags_opcode = [0; QuickKind::COUNT];
        for (kind, job) in [
            (QuickKind::Copy, Job::copy(src, dst, 64)),
            (QuickKind::Fill, Job::fill(dst, 64, 0)),
            (QuickKind::Crc32c, Job::crc32c(src, 64, 0)),
            (QuickKind::CopyCrc32c, Job::copy_crc32c(src, dst, 64, 0)),
            (QuickKind::Compare, Job::compare(src, dst, 64)),
        ] {
            flags_opcode[kind as usize] = template(job);
        }
        Self { flags_opcode, limit: caps.max_transfer_size() }
    }

    /// Flags and opcode of a job's descriptor; `None` if it is not a quick one for this queue.
    #[inline]
    pub(crate) fn admit(&self, quick: &Quick) -> Option<u32> {
        let flags_opcode = self.flags_opcode[quick.kind as usize];
        // Not 0: that is `left` of a job that has nothing to do, which this way does not know.
        let fits = quick.len.wrapping_sub(1) < self.limit;
        (flags_opcode != 0 && fits).then_some(flags_opcode)
    }
}

/// The descriptor of a job that was admitted, with its record at address `record`.
#[inline]
pub(crate) fn describe(quick: &Quick, flags_opcode: u32, record: u64) -> Descriptor {
    Descriptor {
        pasid: 0,
        flags_opcode,
        completion_addr: record,
        src_addr: quick.first,
        dst_addr: quick.second,
        xfer_size: quick.len as u32,
        int_handle: 0,
        reserved: 0,
        op_specific: [quick.seed, 0, 0],
    }
}

/// Takes note of what a record says, if it says that all of the job is done; then [`Job::outcome`] is the result.
#[inline]
pub(crate) fn absorb(job: &mut Job, kind: QuickKind, record: &CompletionRecord) -> bool {
    if record.status != status::SUCCESS {
        return false;
    }
    match kind {
        QuickKind::Copy | QuickKind::Fill => true,
        QuickKind::Crc32c | QuickKind::CopyCrc32c => {
            job.set_seed(record.op_specific[0] & 0xffff_ffff);
            true
        }
        QuickKind::Compare => record.result == 0,
    }
}

const _: () = assert!(opcode::NOP == 0, "a template of 0 would be a descriptor that nobody sends");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queues() -> Vec<Capabilities> {
        let all = [
            dsa_emulator::Config::sapphire_rapids(),
            dsa_emulator::Config::granite_rapids(),
            dsa_emulator::Config::sapphire_rapids().queue(dsa_emulator::WqConfig::shared(8)),
        ];
        let open = |config: dsa_emulator::Config| {
            let device = dsa_emulator::Device::new(config.manual()).unwrap();
            let accelerator = crate::Accelerator::builder().emulator(&device).build().unwrap();
            accelerator.capabilities().next().copied().unwrap()
        };
        let mut queues: Vec<_> = all.into_iter().map(open).collect();
        // One that offers nothing but moves, and one with short transfers.
        queues.push(Capabilities::new(0x100, 0, [1 << opcode::MEMMOVE, 0, 0, 0]).with_max_transfer_size(4096));
        queues
    }

    fn jobs(src: usize, dst: usize, len: usize, value: u64) -> [Job; 7] {
        let (src, dst) = (std::ptr::without_provenance(src), std::ptr::without_provenance_mut(dst));
        [
            Job::copy(src, dst, len),
            Job::fill(dst, len, value),
            Job::crc32c(src, len, value as u32),
            Job::copy_crc32c(src, dst, len, value as u32),
            Job::compare(src, dst.cast_const(), len),
            // Never quick: what may overlap, and what may need a second look.
            Job::copy_within(src, dst, len),
            Job::compare_pattern(src, len, value),
        ]
    }

    proptest! {
        #[test]
        fn a_quick_descriptor_is_the_builders_own(
            src in 1usize..1 << 40,
            len in prop_oneof![0usize..100_000, Just(1 << 21), 1usize..1 << 31],
            gap in 0usize..1 << 20,
            value: u64,
        ) {
            for caps in queues() {
                let templates = Templates::of(&caps);
                for job in jobs(src, src + len + gap, len, value) {
                    let quick = job
                        .quick()
                        .and_then(|quick| templates.admit(&quick).map(|flags| describe(&quick, flags, 0x4_0000)));
                    let built = (job.next_piece(&caps) == job.left() && !job.is_for_cpu())
                        .then(|| job.describe(job.left(), 0x4_0000, false, &caps).ok())
                        .flatten();
                    match quick {
                        Some(quick) => prop_assert_eq!(Some(quick), built),
                        // What is left to the long way is of the other kinds, or not possible.
                        None => prop_assert!(built.is_none() || job.quick().is_none()),
                    }
                }
            }
        }

        #[test]
        fn a_quick_outcome_is_that_of_the_long_way(
            status: u8,
            result: u8,
            crc: u64,
            completed in 0u32..10_000,
            len in 1usize..10_000,
        ) {
            for caps in queues() {
                for job in jobs(0x10_0000, 0x20_0000, len, 0) {
                    let Some(quick) = job.quick() else { continue };
                    let Ok(sent) = job.describe(job.left(), 0x1000, false, &caps) else { continue };
                    let mut record = CompletionRecord { status, result, bytes_completed: completed, ..Default::default() };
                    record.op_specific[0] = crc;
                    let mut short = job.clone();
                    if !absorb(&mut short, quick.kind, &record) {
                        continue;
                    }
                    let outcome = short.outcome();
                    let piece = super::super::job::Piece::new(job.left());
                    let of_piece = job.outcome_of(&sent, &record, &piece, &caps).expect("a success");
                    let mut job = job.clone();
                    match job.absorb(piece.size, of_piece) {
                        super::super::job::Absorbed::Done(long) => {
                            prop_assert_eq!(format!("{long:?}"), format!("{outcome:?}"));
                            prop_assert_eq!(job.written(&long), job.written(&outcome));
                        }
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
            }
        }
    }

    #[test]
    fn usual_queues_take_all_kinds() {
        for caps in queues().into_iter().take(3) {
            assert!(Templates::of(&caps).flags_opcode.iter().all(|&flags| flags != 0));
        }
    }
}
