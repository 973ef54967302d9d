//! GRPCFG: which queues and engines a group has, and whether the device can be enabled like that (specification section
//! 9.2).
#![forbid(unsafe_code)]

use idxd_sys::cmd_status;

use super::layout::{Layout, READ_BUFFERS};

/// A group's words: 256 bits for queues, 64 for engines, 64 with flags.
pub(super) type GroupWords = [u32; 16];

const ENGINES: usize = 8;
const FLAGS: usize = 10;

/// Bits of a word that exist.
pub(super) fn writable(word: usize, layout: &Layout) -> u32 {
    let below = |count: usize, first: usize| match count.saturating_sub(first) {
        32.. => u32::MAX,
        n => (1 << n) - 1,
    };
    match word {
        0..ENGINES => below(layout.queues, 32 * word),
        ENGINES..FLAGS => below(layout.engines, 32 * (word - ENGINES)),
        // Traffic classes, use of the limit, buffers reserved and allowed; progress limits.
        FLAGS => 0x0ff0_ffbf,
        11 => 0x33,
        _ => 0,
    }
}

/// The group of a queue.
pub(super) fn group_of_queue(groups: &[GroupWords], queue: usize) -> Option<usize> {
    groups.iter().position(|words| has_queue(words, queue))
}

/// The two traffic classes of a group: TC-A, and TC-B for what a descriptor's flags select.
pub(super) fn traffic_classes(words: &GroupWords) -> [u32; 2] {
    [words[FLAGS] & 7, words[FLAGS] >> 3 & 7]
}

/// Checks the groups of a device about to be enabled, and returns the group of each engine. The error is the code that the
/// command ends with.
///
/// The specification's four group errors are told apart like this: 0x15 queues without engines, 0x16 a queue in two groups,
/// 0x17 an engine in two groups, 0x18 read buffers.
pub(super) fn check(groups: &[GroupWords], layout: &Layout) -> Result<Vec<Option<usize>>, u32> {
    for queue in 0..layout.queues {
        if groups.iter().filter(|words| has_queue(words, queue)).count() > 1 {
            return Err(cmd_status::HW_GRP_CONFIG2);
        }
    }
    let group_of_engine = |engine| {
        let mut of = (0..groups.len()).filter(|g| engines(&groups[*g]) >> engine & 1 != 0);
        let group = of.next();
        if of.next().is_some() { Err(cmd_status::HW_GRP_CONFIG3) } else { Ok(group) }
    };
    let groups_of_engines = (0..layout.engines).map(group_of_engine).collect::<Result<_, _>>()?;
    let used = || groups.iter().filter(|words| words[..ENGINES] != [0; ENGINES]);
    if used().any(|words| engines(words) == 0) {
        return Err(cmd_status::HW_GRP_CONFIG);
    }
    let mut reserved_in_all = 0;
    for words in used() {
        let (reserved, allowed) = (words[FLAGS] >> 8 & 0xff, words[FLAGS] >> 20 & 0xff);
        reserved_in_all += reserved;
        if allowed == 0 || allowed > READ_BUFFERS || reserved > allowed {
            return Err(cmd_status::HW_GRP_CONFIG4);
        }
    }
    if reserved_in_all > READ_BUFFERS { Err(cmd_status::HW_GRP_CONFIG4) } else { Ok(groups_of_engines) }
}

fn has_queue(words: &GroupWords, queue: usize) -> bool {
    words[queue / 32] >> (queue % 32) & 1 != 0
}

fn engines(words: &GroupWords) -> u64 {
    u64::from(words[ENGINES]) | u64::from(words[ENGINES + 1]) << 32
}
