//! Operations across address spaces.

use arbitrary::Arbitrary;
use dsa::descriptor::{
    Capabilities, DescriptorError, Expectation, IdptHandle, InterDomainCompare, InterDomainComparePattern,
    InterDomainCopy, InterDomainFill, Position, UpdateWindow,
};
use idxd_sys::Descriptor;

use super::{Length, Options};
use crate::Address;

/// Calls of their builders.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Domains {
    Copy { src: Address, dst: Address, len: Length, handles: [Option<u16>; 2] },
    Fill { dst: Address, len: Length, pattern: u64, high: Option<u64>, handle: u16 },
    Compare { first: Address, second: Address, len: Length, expect: Option<bool>, handles: [Option<u16>; 2] },
    ComparePattern { src: Address, len: Length, pattern: u64, expect: Option<bool>, handle: u16 },
    UpdateWindow { handle: u16, window: Option<(Address, u64)>, offset: bool, permissions: [bool; 2], suppress: bool },
}

fn handle(number: u16) -> IdptHandle {
    IdptHandle::new(if number < 0xf000 { number % 5 } else { number })
}

fn expectation(different: bool) -> Expectation {
    if different { Expectation::Different } else { Expectation::Equal }
}

impl Domains {
    pub(super) fn build(
        self,
        o: Options,
        caps: &Capabilities,
        position: Position,
        slot: usize,
    ) -> Option<Result<Descriptor, DescriptorError>> {
        macro_rules! read {
            ($builder:expr) => {
                build!(with_options!($builder, o, slot, block_on_fault(o.block_on_fault)), o, caps, position)
            };
        }
        macro_rules! write {
            ($builder:expr) => {
                read!($builder.cache_control(o.cache_control()).strict_ordering(o.strict_ordering))
            };
        }
        Some(match self {
            Self::Copy { src, dst, len, handles } => {
                let mut b = InterDomainCopy::new(src.get(), dst.get(), len.get(caps));
                if let Some(number) = handles[0] {
                    b = b.source_handle(handle(number));
                }
                if let Some(number) = handles[1] {
                    b = b.destination_handle(handle(number));
                }
                write!(b)
            }
            Self::Fill { dst, len, pattern, high, handle: number } => {
                let (dst, len) = (dst.get(), len.get(caps));
                let b = match high {
                    Some(high) => InterDomainFill::with_wide_pattern(dst, handle(number), len, [pattern, high]),
                    None => InterDomainFill::new(dst, handle(number), len, pattern),
                };
                write!(b)
            }
            Self::Compare { first, second, len, expect, handles } => {
                let mut b = InterDomainCompare::new(first.get(), second.get(), len.get(caps));
                if let Some(different) = expect {
                    b = b.expect(expectation(different));
                }
                if let Some(number) = handles[0] {
                    b = b.source_handle(handle(number));
                }
                if let Some(number) = handles[1] {
                    b = b.second_source_handle(handle(number));
                }
                read!(b)
            }
            Self::ComparePattern { src, len, pattern, expect, handle: number } => {
                let mut b = InterDomainComparePattern::new(src.get(), handle(number), len.get(caps), pattern);
                if let Some(different) = expect {
                    b = b.expect(expectation(different));
                }
                read!(b)
            }
            Self::UpdateWindow { handle: number, window, offset, permissions, suppress } => {
                if matches!(position, Position::BatchMember) {
                    return None;
                }
                let mut b = UpdateWindow::new(handle(number)).read(permissions[0]).write(permissions[1]);
                if let Some((base, size)) = window {
                    b = b.window(base.get(), size);
                }
                with_options!(b.offset_mode(offset).suppress_drain(suppress), o, slot).build(caps)
            }
        })
    }
}
