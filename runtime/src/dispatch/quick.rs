//! The short way of the most frequent jobs: one descriptor does the whole of it, and succeeds.
//!
//! Small operations are mostly overhead, and most of that is care for cases that do not occur: several pieces, options,
//! alignment, another queue. A plain job of a few kinds without options needs none of it. Whatever is not as expected goes
//! the long way of [`super::flight`], which finds everything as if it had begun there.
//!
//! What a queue may be given is not stated a second time here. [`Templates`] asks the descriptor builders once for each
//! kind of job, when an accelerator is built; what is left to be filled in are addresses and a size that every
//! builder takes as they are. A test compares the results.

use idxd_sys::{opcode, status};

use super::job::{Extras, Kind, Plain, Quick, Work};
use crate::descriptor::Capabilities;
use crate::lane::Words;
use crate::lane::records::RecordCell;
use crate::stats::Operation;

/// What a queue's descriptors for quick jobs have in common, by kind of job.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// The first eight bytes of a descriptor: PASID 0, flags and opcode. 0 where the queue does not take such a job, or it is
    /// not a quick one.
    heads: [u64; Kind::COUNT],
    /// The shortest transfer that goes to a device unless it is told to; at least 1.
    least: u64,
    /// How many bytes longer than `least` is too long.
    span: u64,
    /// Longest transfer.
    limit: u64,
}

impl Templates {
    /// The templates of a queue with these capabilities, which gets no less than `least` bytes unless it is told to.
    pub(crate) fn of(caps: &Capabilities, least: u64) -> Self {
        // Any addresses do: no rule for these jobs looks at them, but that regions must not overlap or wrap around.
        let at = |address: usize| std::ptr::without_provenance_mut::<u8>(address);
        let template = |job: Plain| {
            let described = job.describe(64, Extras::new(0x1000, false, caps), caps);
            described.map_or(0, |descriptor| u64::from(descriptor.flags_opcode) << 32)
        };
        let (src, dst) = (at(0x10_0000).cast_const(), at(0x20_0000));
        let mut heads = [0; Kind::COUNT];
        for (kind, job) in [
            (Kind::Copy, Plain::copy(src, dst, 64)),
            (Kind::Fill, Plain::fill(dst, 64, 0)),
            (Kind::Crc32c, Plain::crc32c(src, 64, 0)),
            (Kind::CopyCrc32c, Plain::copy_crc32c(src, dst, 64, 0)),
            (Kind::Compare, Plain::compare(src, dst, 64)),
        ] {
            heads[kind as usize] = template(job);
        }
        // Not 0: that is `left` of a job that has nothing to do, which this way does not know.
        let (least, limit) = (least.max(1), caps.max_transfer_size());
        Self { heads, least, span: limit.saturating_add(1).saturating_sub(least), limit }
    }

    /// The head of a job's descriptor, 0 if it is not one that goes to this queue the short way. `told`: however short it
    /// is.
    #[inline]
    pub(crate) fn admit(&self, quick: &Quick, told: bool) -> u64 {
        let fits =
            if told { quick.len.wrapping_sub(1) < self.limit } else { quick.len.wrapping_sub(self.least) < self.span };
        if fits { self.heads[quick.kind as usize] } else { 0 }
    }
}

/// The descriptor of a job that was admitted, with its record at address `record`: the words of a [`Descriptor`].
#[inline]
pub(crate) fn describe(quick: &Quick, head: u64, record: u64) -> Words {
    // The size takes half a word, and no interrupt is asked for in the other half: the size has been admitted.
    [head, record, quick.first, quick.second, quick.len, quick.seed, 0, 0]
}

/// Takes note of what a record says whose status is `status`, if it says that all of the job is done; then [`Work::outcome`] is
/// the result. Gives what it is to be counted as.
///
/// # Safety
///
/// If `status` is not 0, it has been read from the record, which may be read altogether: see [`RecordCell::read`].
#[expect(clippy::inline_always, reason = "measured in instructions")]
#[inline(always)]
pub(crate) unsafe fn absorb(job: &mut Plain, status: u8, record: &RecordCell) -> Option<Operation> {
    if status != status::SUCCESS {
        return None;
    }
    match job.quick().kind {
        Kind::Copy => Some(Operation::Copy),
        Kind::Fill => Some(Operation::Fill),
        // SAFETY: the caller's promise.
        _ => unsafe { absorb_value(job, record) },
    }
}

/// The same, where there is more to it than that it is done.
///
/// # Safety
///
/// As for [`RecordCell::read`].
#[inline(never)]
unsafe fn absorb_value(job: &mut Plain, record: &RecordCell) -> Option<Operation> {
    // SAFETY: the caller's promise.
    let record = unsafe { record.read() };
    let kind = job.quick().kind;
    match kind {
        Kind::Crc32c | Kind::CopyCrc32c => {
            job.set_seed(record.op_specific[0] & 0xffff_ffff);
            Some(kind.operation())
        }
        Kind::Compare => (record.result == 0).then_some(Operation::Compare),
        // Not quick.
        _ => None,
    }
}

const _: () = assert!(opcode::NOP == 0, "a template of 0 would be a descriptor that nobody sends");

#[cfg(test)]
mod tests {
    use idxd_sys::CompletionRecord;
    use proptest::prelude::*;

    use idxd_sys::Descriptor;

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

    fn jobs(src: usize, dst: usize, len: usize, value: u64) -> [Plain; 7] {
        let (src, dst) = (std::ptr::without_provenance(src), std::ptr::without_provenance_mut(dst));
        [
            Plain::copy(src, dst, len),
            Plain::fill(dst, len, value),
            Plain::crc32c(src, len, value as u32),
            Plain::copy_crc32c(src, dst, len, value as u32),
            Plain::compare(src, dst.cast_const(), len),
            // Never quick: what may overlap, and what may need a second look.
            Plain::copy_within(src, dst, len),
            Plain::compare_pattern(src, len, value),
        ]
    }

    fn descriptor(words: Words) -> Descriptor {
        // SAFETY: a descriptor is plain data of the same size.
        unsafe { std::mem::transmute(words) }
    }

    fn is_quick(job: &Plain) -> bool {
        let kind = job.quick().kind;
        matches!(kind, Kind::Copy | Kind::Fill | Kind::Crc32c | Kind::CopyCrc32c | Kind::Compare)
    }

    proptest! {
        #[test]
        fn a_quick_descriptor_is_the_builders_own(
            src in 1usize..1 << 40,
            len in prop_oneof![0usize..100_000, Just(1 << 21), 1usize..1 << 31],
            gap in 0usize..1 << 20,
            value: u64,
            least in prop_oneof![Just(0u64), 0u64..200_000, Just(u64::MAX)],
        ) {
            for caps in queues() {
                let templates = Templates::of(&caps, least);
                for job in jobs(src, src + len + gap, len, value) {
                    let described = |told| {
                        let quick = job.quick();
                        let head = templates.admit(&quick, told);
                        (head != 0).then(|| descriptor(describe(&quick, head, 0x4_0000)))
                    };
                    prop_assert_eq!(described(false), described(true).filter(|_| job.left() >= least));
                    let quick = described(true);
                    let built = (job.next_piece(&caps) == job.left() && !job.is_for_cpu())
                        .then(|| job.describe(job.left(), Extras::new(0x4_0000, false, &caps), &caps).ok())
                        .flatten();
                    match quick {
                        Some(quick) => prop_assert_eq!(Some(quick), built),
                        // What is left to the long way is of the other kinds, or not possible.
                        None => prop_assert!(built.is_none() || !is_quick(&job)),
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
                    let Ok(sent) = job.describe(job.left(), Extras::new(0x1000, false, &caps), &caps) else { continue };
                    let mut record = CompletionRecord { status, result, bytes_completed: completed, ..Default::default() };
                    record.op_specific[0] = crc;
                    let mut short = job.clone();
                    let cell = RecordCell::of(record);
                    // SAFETY: nobody else has the record.
                    let absorbed = unsafe { absorb(&mut short, status, &cell) };
                    let Some(operation) = absorbed else { continue };
                    prop_assert!(is_quick(&job));
                    prop_assert_eq!(operation, job.operation());
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
            let quick = Templates::of(&caps, 4096).heads.iter().filter(|&&head| head != 0).count();
            assert_eq!(quick, 5);
        }
    }
}
