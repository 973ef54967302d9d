//! Which kernel does how much: what fits this CPU's model, or what was measured on it.
//!
//! There is one for the process. It begins as the model's; an accelerator that is built, or [`Tuning::calibrate`], measures once.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::time::Duration;

use super::copy::{CopyKernel, CopyTable};
use super::crc::CrcLimits;
use super::dif::DifLimits;
use super::dualcast::DualcastLimits;
use super::fill::FillLimits;
use super::model::Model;
use super::{Hint, Tier};

/// Which kernels the CPU engine uses, by operation, size and [`Hint`]. None of it changes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// Copies.
    pub copy: CopyTable,
    /// Checksums, alone and with a copy.
    pub(crate) crc: CrcLimits,
    /// Fills.
    pub(crate) fill: FillLimits,
    /// Copies to two destinations.
    pub(crate) dualcast: DualcastLimits,
    /// Inserted data-integrity fields.
    pub(crate) dif: DifLimits,
}

/// What there is before anybody has looked at the CPU: whoever meets an entry that is not there calls [`first`].
static NONE: Tuning = Tuning {
    copy: CopyTable::NONE,
    crc: CrcLimits::DEFAULT,
    fill: FillLimits::DEFAULT,
    dualcast: DualcastLimits::DEFAULT,
    dif: DifLimits::DEFAULT,
};

/// The one in use. What it points to lives as long as the process, and is not written.
static CURRENT: AtomicPtr<Tuning> = AtomicPtr::new((&raw const NONE).cast_mut());

/// The one in use, whether anybody has chosen or not: so that nothing stands in the way of those who come later.
#[inline]
pub(crate) fn current() -> &'static Tuning {
    // SAFETY: whatever is stored there is a static or was leaked, and nobody writes it any more; Acquire pairs with the Release of
    // the store.
    unsafe { &*CURRENT.load(Ordering::Acquire) }
}

/// The one in use, which is that of the CPU's model if nobody has chosen yet.
///
/// Nobody waits for another thread here, which a child of `fork` would not have: whoever comes at the same time works it out too.
#[cold]
pub(crate) fn first() -> &'static Tuning {
    if is_open() {
        replace_none(Box::new(Tuning::of_model()));
    }
    current()
}

/// Whether nobody has chosen.
fn is_open() -> bool {
    ptr::eq(CURRENT.load(Ordering::Acquire), &raw const NONE)
}

/// Puts one in use, for good, if there is none.
fn replace_none(tuning: Box<Tuning>) {
    let mine = Box::into_raw(tuning);
    let none = (&raw const NONE).cast_mut();
    if CURRENT.compare_exchange(none, mine, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: it was made of a box above, and nobody else has seen it.
        drop(unsafe { Box::from_raw(mine) });
    }
}

/// Measures this CPU, if nobody has chosen or measured and the environment does not forbid it, and puts the result in use.
pub(crate) fn calibrate_once() {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    if cfg!(miri) || BEGUN.swap(true, Ordering::Relaxed) {
        // Who comes while another measures has what was there before.
        return;
    }
    let is_forbidden = || std::env::var_os("DSA_CPU_TUNING").is_some_and(|value| value == "model");
    let before = CURRENT.load(Ordering::Acquire);
    // SAFETY: as in `current`.
    let is_model = is_open() || unsafe { &*before } == &Tuning::of_model();
    if !is_model || is_forbidden() {
        return;
    }
    let mine = Box::into_raw(Box::new(Tuning::calibrate(Duration::from_millis(5))));
    // Not instead of what somebody has chosen meanwhile.
    if CURRENT.compare_exchange(before, mine, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: as in `replace_none`.
        drop(unsafe { Box::from_raw(mine) });
    }
}

impl Tuning {
    /// What is in use.
    pub fn current() -> Self {
        *first()
    }

    /// What fits most CPUs of this tier and cache size. Nothing is measured.
    pub fn of_model() -> Self {
        let tier = Tier::current();
        let stream = match tier {
            Tier::Avx2 | Tier::Avx512 => CopyKernel::StreamAvx2,
            // See `Tier`: there nothing is inlined. And Miri has no such instruction.
            _ if cfg!(any(debug_assertions, miri)) => CopyKernel::Library,
            _ => CopyKernel::StreamSse2,
        };
        let model = Model::ask();
        // Of Zen 4 AVX2 is 1.0 to 1.1 times as fast, of Zen 5 and Emerald Rapids AVX-512 up to 1.3 times.
        let vectors =
            if tier < Tier::Avx512 || model == Model::AmdHalves { CopyKernel::Avx2 } else { CopyKernel::Avx512 };
        let copy = CopyTable::all(vectors)
            .with(Hint::Hot, 64 << 10, CopyKernel::Library)
            .with(Hint::Unknown, 64 << 10, CopyKernel::Library)
            // Zen 4 gains by it from 4 KiB on, 1.1 to 1.3 times; Emerald Rapids would lose half there.
            .with(Hint::Cold, if model == Model::AmdHalves { 4 << 10 } else { 16 << 10 }, stream);
        let past = Self::past_caches();
        Self {
            copy: copy.with(Hint::Unknown, past, stream).within(tier),
            crc: CrcLimits {
                // Of what is that large, a good part is not in a cache any more, and the checksum waits for it.
                past_unknown_from: past / 3,
                // Emerald Rapids reads cold data 1.2 to 1.3 times as fast with prefetch instructions, hot data at odd addresses 1.2
                // times, and nothing slower. Zen 4 loses by them, and gains by using both units at once, which there lose.
                prefetch_from: if model == Model::AmdHalves { usize::MAX } else { 16 << 10 },
                hybrid_from: if model == Model::Other { usize::MAX } else { CrcLimits::DEFAULT.hybrid_from },
                probe_from: if model == Model::Other { usize::MAX } else { CrcLimits::DEFAULT.probe_from },
                ..CrcLimits::DEFAULT
            },
            fill: FillLimits {
                stream: past,
                // Zen 5 fills cold memory half as fast again by the instruction, from 4 KiB on; the others do not.
                repeat: if model == Model::Amd { FillLimits::LEAST } else { 8 << 10 },
                // Past the caches Emerald Rapids fills cold memory 1.4 to 1.8 times as fast, Zen 4 1.2 to 1.8 times below 256 KiB and
                // 0.95 times above, Zen 5 a little faster from 64 KiB on.
                stream_cold_to: if model == Model::AmdHalves { 256 << 10 } else { usize::MAX },
                stream_cold: if model == Model::Amd { 64 << 10 } else { 4 << 10 },
                stream_cold_wide: if model == Model::Amd { 64 << 10 } else { 4 << 10 },
                ..FillLimits::DEFAULT
            },
            dualcast: DualcastLimits {
                stream: past / 2,
                stream_cold: if model == Model::AmdHalves { 4 << 10 } else { 16 << 10 },
            },
            dif: DifLimits { unknown: past / 3 * 2, ..DifLimits::DEFAULT },
        }
    }

    /// Bytes from which an operation of which nothing is known goes past the caches: three quarters of the last cache (a copy from
    /// the next power of two on).
    pub fn past_caches() -> usize {
        // 0 until it is known. Whoever comes at the same time finds the same.
        static BYTES: AtomicUsize = AtomicUsize::new(0);
        match BYTES.load(Ordering::Relaxed) {
            0 => {
                let bytes = super::caches::last_level().map_or(24 << 20, |bytes| bytes / 4 * 3).max(1 << 20);
                BYTES.store(bytes, Ordering::Relaxed);
                bytes
            }
            bytes => bytes,
        }
    }

    /// Puts it in use, for the whole process. Some kilobytes are kept for every one that ever was.
    ///
    /// # Errors
    ///
    /// The tier that it needs, if this CPU does not have it.
    pub fn install(self) -> Result<(), Tier> {
        let needed = self.copy.tier();
        if needed > Tier::of_cpu() {
            return Err(needed);
        }
        CURRENT.store(Box::leak(Box::new(self)), Ordering::Release);
        Ok(())
    }
}
