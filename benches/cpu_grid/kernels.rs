//! The engine's kernels by name, where a family offers them: one line each.

use dsa::cpu::Tier;

/// One way of the engine to do an operation.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<F> {
    pub(crate) name: &'static str,
    /// The least tier that it needs.
    pub(crate) tier: Tier,
    pub(crate) run: F,
}

/// From, to, bytes.
pub(crate) type Copy = unsafe fn(*const u8, *mut u8, usize);
/// To, bytes, pattern.
pub(crate) type Fill = unsafe fn(*mut u8, usize, [u64; 2]);
/// From, both destinations, bytes.
pub(crate) type Dualcast = unsafe fn(*const u8, *mut u8, *mut u8, usize);
/// Seed, from, bytes.
pub(crate) type Crc32c = unsafe fn(u32, *const u8, usize) -> u32;
/// Seed, from, to, bytes.
pub(crate) type CopyCrc32c = unsafe fn(u32, *const u8, *mut u8, usize) -> u32;
/// Both regions, bytes.
pub(crate) type Compare = unsafe fn(*const u8, *const u8, usize) -> Option<usize>;
/// Region, bytes, pattern.
pub(crate) type ComparePattern = unsafe fn(*const u8, usize, u64) -> Option<usize>;

/// A family without a list.
fn none<F>() -> Vec<Kernel<F>> {
    Vec::new()
}

/// Lists such as `dsa::internals::kernels::copy()`, cut down to what this process may use.
macro_rules! families {
    ($($name:ident: $kind:ty = $list:expr;)*) => {$(
        pub(crate) fn $name() -> Vec<Kernel<$kind>> {
            let usable = $list.into_iter().filter(|kernel| kernel.tier <= Tier::current());
            usable.map(|kernel| Kernel { name: kernel.name, tier: kernel.tier, run: kernel.run }).collect()
        }
    )*};
}

families! {
    copy: Copy = none();
    fill: Fill = none();
    dualcast: Dualcast = none();
    crc32c: Crc32c = none();
    copy_crc32c: CopyCrc32c = none();
    compare: Compare = none();
    compare_pattern: ComparePattern = none();
}
