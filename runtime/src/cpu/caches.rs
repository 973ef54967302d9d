//! The sizes of this CPU's caches, as the kernel has them.

/// Bytes of the last cache, which all cores of a package share; `None` where nobody says.
pub(super) fn last_level() -> Option<usize> {
    if cfg!(miri) {
        return None;
    }
    let size = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size").ok()?;
    size.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
}
