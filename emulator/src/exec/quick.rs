//! The short way through: the commonest descriptors, where nothing special can happen.
//!
//! Most descriptors are plain: a no-op, a move or a fill, flags that need no second look, memory that is trusted, and
//! no injected faults. [`Quick`] recognises these by a few masks for each opcode, and [`run`] does all of their work.
//! Everything else goes the long way, which alone knows the rules: the masks are made by asking it, so that the two cannot
//! disagree, and whatever this file does not understand it leaves alone.

use idxd_sys::{Descriptor, flag, opcode};

use super::{Exec, validate};
use crate::config::{Checks, gencap};
use crate::memory::trusted;
use crate::observe::{EngineCounters, Executed};

/// Opcodes that have a rule. Higher ones do not exist.
const OPCODES: usize = 64;
/// Flags that a plain descriptor always has.
const ALWAYS: u32 = flag::CRAV | flag::RCR;
/// Flags whose meaning depends on others, or on the position, or that open reserved bytes: never plain.
const NEVER: u32 = 0xff_0000 | flag::RCI | flag::FENCE | flag::DEST_READBACK | flag::CACHE_CONTROL_3;

/// What plain descriptors of one queue look like.
pub(crate) struct Quick {
    /// Those that are executed here, by opcode.
    executed: [Rule; OPCODES],
    /// Those that pass all checks, which is a longer list and has longer transfers.
    passing: [Rule; OPCODES],
}

/// What a plain descriptor of one opcode looks like.
#[derive(Clone, Copy)]
#[repr(align(64))] // vectors of it are read where they are
struct Rule {
    /// Of the descriptor's words, the bits that must be as in `head`, where all are 0 but those of flags and opcode.
    mask: [u64; 8],
    head: [u64; 2],
    /// The smallest size, and how much larger it may be.
    least: u32,
    more: u32,
}

impl Quick {
    /// The masks for the queue of `x`, at its present configuration.
    pub(crate) fn of(x: &Exec<'_>) -> Self {
        let mut quick = Self::NONE;
        let most = x.queue.setup.max_transfer_size();
        let longest = most.min(x.shared.config.chunk as u64);
        // Operations of which nothing but flags, reserved bytes and the size is checked once these are in order. A device
        // that must not overlap, or that moves at random in either direction, needs a closer look at its moves.
        let moves = x.has(gencap::OVERLAPPING_COPY);
        let executed_moves = moves && x.shared.config.backward_moves == 0.0;
        for (code, passing, executed) in [
            (opcode::NOP, true, true),
            (opcode::FILL, true, true),
            (opcode::MEMMOVE, moves, executed_moves),
            (opcode::COMPARE, true, false),
            (opcode::COMPVAL, true, false),
            (opcode::CRCGEN, true, false),
        ] {
            let sized = |most| if code == opcode::NOP { (0, u32::MAX) } else { (1, size_of_u32(most) - 1) };
            if passing {
                quick.passing[usize::from(code)] = Rule::of(x, code, sized(most));
            }
            if executed {
                quick.executed[usize::from(code)] = Rule::of(x, code, sized(longest));
            }
        }
        quick
    }

    /// Masks that fit nothing.
    pub(crate) const NONE: Self = Self { executed: [Rule::NONE; OPCODES], passing: [Rule::NONE; OPCODES] };

    /// Whether a descriptor passes all checks but for its size, can be executed by [`work`](Self::work), and has a record that
    /// can be written.
    #[inline]
    pub(crate) fn executes(&self, d: &Descriptor) -> bool {
        self.rule(d).fits(d) && trusted::whole(d.completion_addr, 32).is_some()
    }

    /// The rule that a descriptor's opcode has, if there is one: it looks at the whole opcode.
    #[inline]
    fn rule(&self, d: &Descriptor) -> &Rule {
        &self.executed[usize::from(d.opcode()) % OPCODES]
    }

    /// Does what a descriptor wants, except for its record; it [may be executed here](Self::executes). `false` if not, and then
    /// nothing has been done.
    #[inline]
    pub(crate) fn work(&self, counters: &EngineCounters, d: &Descriptor) -> bool {
        if !self.rule(d).allows(d.xfer_size) {
            return false;
        }
        let size = d.xfer_size;
        let Some(to) = trusted::whole(d.dst_addr, size) else { return false };
        if d.opcode() == opcode::MEMMOVE {
            let Some(from) = trusted::whole(d.src_addr, size) else { return false };
            // SAFETY: the submitter's promise for trusted memory: the whole of both regions may be accessed.
            unsafe { std::ptr::copy(from, to, size as usize) };
        } else {
            debug_assert_eq!(d.opcode(), opcode::FILL);
            let pattern = u128::from(d.src_addr) | u128::from(d.src_addr) << 64;
            // SAFETY: as above.
            unsafe { trusted::fill(to, size as usize, pattern.to_le_bytes()) };
        }
        counters.bytes.add(u64::from(size));
        true
    }

    /// Whether a descriptor passes all checks for sure. `false` says nothing.
    #[inline]
    pub(super) fn passes(&self, d: &Descriptor) -> bool {
        let rule = &self.passing[usize::from(d.opcode()) % OPCODES];
        rule.fits(d) && rule.allows(d.xfer_size)
    }
}

/// A transfer size as its field has it.
fn size_of_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl Rule {
    /// There is none: a record address of all ones is misaligned, and the size has to be 0 and at least 1.
    const NONE: Self = Self { mask: [u64::MAX; 8], head: [u64::MAX; 2], least: 1, more: 0 };

    fn of(x: &Exec<'_>, code: u8, (least, more): (u32, u32)) -> Self {
        if !x.queue.setup.offers(code) {
            return Self::NONE;
        }
        let with = |flags: u32| {
            let mut d = Descriptor::default();
            d.set_opcode_flags(code, flags);
            d
        };
        let harmless = |bit: &u32| validate::invalid_flags(x, &with(ALWAYS | bit), false) == 0;
        let optional: u32 =
            (0..24).map(|bit| 1 << bit).filter(|bit| bit & (NEVER | ALWAYS) == 0).filter(harmless).sum();
        let mut mask = [0; 8];
        mask[0] = u64::from(!optional) << 32;
        // A record address that is misaligned is reported on the long way.
        mask[1] = 31;
        // The interrupt handle is never plain; the rest depends on the device's strictness.
        mask[4] = 0xffff << 32;
        if x.shared.config.checks == Checks::Strict {
            for byte in 0..48 {
                let mut d = with(ALWAYS);
                set_byte(&mut d, byte);
                if !validate::reserved_bytes_clear(&d) {
                    mask[2 + byte / 8] |= 0xff << (byte % 8 * 8);
                }
            }
        }
        let mut head = [0; 2];
        head[0] = u64::from(u32::from(code) << 24 | ALWAYS) << 32;
        Self { mask, head, least, more }
    }

    #[inline]
    fn fits(&self, d: &Descriptor) -> bool {
        let words: &[u64; 8] = zerocopy::transmute_ref!(d);
        let [first, second, rest @ ..] = words;
        let mut wrong = (first ^ self.head[0]) & self.mask[0] | (second ^ self.head[1]) & self.mask[1];
        for (word, mask) in rest.iter().zip(&self.mask[2..]) {
            wrong |= word & mask;
        }
        wrong == 0
    }

    /// Whether the size, which is a no-op's to choose, is allowed.
    #[inline]
    fn allows(&self, size: u32) -> bool {
        size.wrapping_sub(self.least) <= self.more
    }
}

/// Sets one of the bytes from 16 on to all ones.
fn set_byte(d: &mut Descriptor, byte: usize) {
    let ones = 0xff_u64 << (byte % 8 * 8);
    match byte / 8 {
        0 => d.src_addr |= ones,
        1 => d.dst_addr |= ones,
        2 => {
            d.xfer_size |= ones as u32;
            d.int_handle |= (ones >> 32) as u16;
            d.reserved |= (ones >> 48) as u16;
        }
        word => d.op_specific[word - 3] |= ones,
    }
}

/// Executes a plain descriptor of a queue to its record, and counts it. `false` if it is none, and then nothing has been
/// done.
///
/// Memory must be trusted, and nothing else in the way: see `Shared::is_plain`.
#[inline]
pub(super) fn run(quick: &Quick, counters: &EngineCounters, executed: &Executed, d: &Descriptor) -> bool {
    let done = quick.executes(d) && (d.opcode() == opcode::NOP || quick.work(counters, d));
    if done {
        end(executed, d);
    }
    done
}

/// Counts a descriptor that [may be executed here](Quick::executes) and has been, and writes its record.
#[inline]
pub(crate) fn end(executed: &Executed, d: &Descriptor) {
    executed.count_plain(d.opcode());
    let place = std::ptr::with_exposed_provenance_mut(d.completion_addr as usize);
    // SAFETY: the submitter's promise for the record; it is aligned, and the address can be a pointer: the rule was that.
    unsafe { trusted::store_success(place) };
}

/// A batch's list whose members may be read where they lie: memory is trusted.
pub(super) fn list(x: &Exec<'_>, addr: u64, members: u32) -> Option<*const Descriptor> {
    if !x.shared.is_plain() {
        return None;
    }
    trusted::whole(addr, members.checked_mul(64)?).map(|list| list.cast_const().cast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, WqConfig};
    use crate::device::Device;
    use crate::engine::Engine;
    use crate::prng::Prng;

    /// Whatever passes here must pass there: random bytes, and descriptors that are nearly right.
    #[test]
    fn what_passes_by_masks_passes_all_checks() {
        let base = [Config::sapphire_rapids(), Config::granite_rapids()];
        let variants = base.into_iter().flat_map(|config| {
            let mut no_overlap = config.clone();
            no_overlap.gencap &= !(gencap::OVERLAPPING_COPY | gencap::CACHE_CONTROL);
            let blocking = config.clone().queue(WqConfig::shared(8).block_on_fault(true).max_transfer_size(1 << 12));
            let few = config.clone().queue(WqConfig::shared(8).without(opcode::FILL));
            [config.clone().checks(Checks::Lenient), config, no_overlap, blocking, few]
        });
        let mut passed = 0;
        for config in variants {
            let device = Device::new(config.manual()).unwrap();
            let mut engine = Engine::new(device.config(), 0, &device.shared().engines[0]);
            let quick = engine.look(device.shared(), 0, Quick::of);
            engine.look(device.shared(), 0, |x| {
                let mut rng = Prng::new(1);
                for _ in 0..20_000 {
                    let d = nearly_right(&mut rng);
                    if quick.passes(&d) {
                        passed += 1;
                        assert!(validate::check(x, &d, false).is_ok(), "{d:x?}");
                        assert!(validate::check(x, &d, true).is_ok(), "{d:x?}");
                    }
                }
            });
        }
        assert!(passed > 20_000, "{passed}");
    }

    fn nearly_right(rng: &mut Prng) -> Descriptor {
        let mut d = Descriptor { completion_addr: 0x4000, ..Descriptor::default() };
        let code = rng.below(8) as u8 + u8::from(rng.chance(0.3)) * 0xe;
        let mut flags = ALWAYS;
        for _ in 0..rng.below(3) {
            flags ^= 1 << rng.below(24);
        }
        d.set_opcode_flags(code, flags);
        if code != opcode::NOP {
            (d.src_addr, d.dst_addr, d.xfer_size) = (0x1_0000, 0x2_0000, rng.below(0x3000) as u32);
        }
        if code == opcode::CRCGEN {
            d.dst_addr = 0;
        }
        if rng.chance(0.2) {
            set_byte(&mut d, rng.below(48) as usize);
        }
        if rng.chance(0.1) {
            d.completion_addr += rng.below(32);
        }
        if rng.chance(0.1) {
            d.dst_addr = d.src_addr + rng.below(0x100);
        }
        d
    }
}
