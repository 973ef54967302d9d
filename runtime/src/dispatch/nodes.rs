//! On which NUMA node the calling thread runs.

#![forbid(unsafe_code)]

use std::path::Path;

/// In place of a node.
const UNKNOWN: u32 = u32::MAX;
/// More CPUs, and nodes, than any kernel is built for.
const MOST: usize = 1 << 14;

/// The nodes of the CPUs; empty where that does not matter.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    by_cpu: Box<[u32]>,
}

impl Nodes {
    /// Those of this machine, as the kernel lists them.
    pub(crate) fn read() -> Self {
        Self::read_from(Path::new("/sys/devices/system/node"))
    }

    fn read_from(folder: &Path) -> Self {
        let mut by_cpu = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let node = name.to_str().and_then(|name| name.strip_prefix("node")?.parse().ok());
            let list = std::fs::read_to_string(entry.path().join("cpulist"));
            let (Some(node), Ok(list)) = (node, list) else { continue };
            for cpu in list.trim().split(',').flat_map(range) {
                if by_cpu.len() <= cpu {
                    by_cpu.resize(cpu + 1, UNKNOWN);
                }
                by_cpu[cpu] = node;
            }
        }
        Self { by_cpu: by_cpu.into() }
    }

    /// The calling thread's node at this moment; [`u32::MAX`] if it is not known. Reads the CPU's number where nodes are known.
    #[inline]
    pub(crate) fn here(&self) -> u32 {
        if self.by_cpu.is_empty() { UNKNOWN } else { self.of(rustix::thread::sched_getcpu()) }
    }

    fn of(&self, cpu: usize) -> u32 {
        self.by_cpu.get(cpu).copied().unwrap_or(UNKNOWN)
    }
}

/// A number, or the first and the last one of several with a dash between them.
fn range(text: &str) -> std::ops::Range<usize> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last && last < MOST => first..last + 1,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_have_the_node_that_lists_them() {
        let folder = tempfile::tempdir().unwrap();
        for (name, cpus) in
            [("node0", "0-1,6\n"), ("node3", "2-3\n"), ("node4", "\n"), ("nodes", "5"), ("node5", "9-7,x,99999")]
        {
            std::fs::create_dir(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("cpulist"), cpus).unwrap();
        }
        std::fs::write(folder.path().join("online"), "0-5").unwrap();
        let nodes = Nodes::read_from(folder.path());
        let of: Vec<_> = (0..9).map(|cpu| nodes.of(cpu)).collect();
        assert_eq!(of, [0, 0, 3, 3, UNKNOWN, UNKNOWN, 0, UNKNOWN, UNKNOWN]);
        assert_eq!(Nodes::read_from(&folder.path().join("none")).here(), UNKNOWN);
        assert_eq!(Nodes::default().here(), UNKNOWN);
    }
}
