//! The engine's kernels by name, where a family offers them: one line each.

use dsa::cpu::Tier;
use dsa::internals::kernels;

pub(crate) use kernels::{Compare, ComparePattern, Copy, CopyCrc32c, Crc32c, Dualcast, Fill, Kernel};

/// Lists such as `dsa::internals::kernels::copy()`, cut down to what this process may use.
macro_rules! families {
    ($($name:ident: $kind:ty = $list:expr;)*) => {$(
        pub(crate) fn $name() -> Vec<Kernel<$kind>> {
            $list.into_iter().filter(|kernel| kernel.tier <= Tier::current()).collect()
        }
    )*};
}

families! {
    copy: Copy = kernels::copy();
    fill: Fill = kernels::fill();
    dualcast: Dualcast = kernels::dualcast();
    crc32c: Crc32c = kernels::crc32c();
    copy_crc32c: CopyCrc32c = kernels::copy_crc32c();
    compare: Compare = kernels::compare();
    compare_pattern: ComparePattern = kernels::compare_pattern();
}
