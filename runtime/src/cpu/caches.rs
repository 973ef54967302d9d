//! The sizes of this CPU's caches, as CPUID or the kernel has them.

/// Bytes of the last cache that a core shares with no other package; `None` where nobody says.
pub(super) fn last_level() -> Option<usize> {
    let of_kernel = || {
        let read = |name: &str| std::fs::read_to_string(format!("/sys/devices/system/cpu/cpu0/cache/index3/{name}"));
        let size = read("size").ok()?;
        size.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
    };
    // The kernel's answer, since a hypervisor's CPUID may be that of another machine; both are guesses there.
    of_kernel()
}
