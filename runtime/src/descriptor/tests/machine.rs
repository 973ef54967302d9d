//! A small memory, and a loop that executes a descriptor and all its continuations on a model of the operation.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::everything;

/// Addresses start here, so that an address of zero is out of bounds.
pub(super) const BASE: u64 = 0x1_0000;
/// A record address that no model looks at.
pub(super) const RECORD: u64 = 0x40;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Memory(Vec<u8>);

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} bytes)", self.0.len())
    }
}

impl Memory {
    /// Memory full of bytes that differ.
    pub(super) fn new(len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        Self(std::iter::repeat_with(next).take(len).collect())
    }

    fn range(address: u64, len: u64) -> std::ops::Range<usize> {
        let start = usize::try_from(address - BASE).expect("an address of the test");
        start..start + len as usize
    }

    pub(super) fn get(&self, address: u64, len: u64) -> &[u8] {
        &self.0[Self::range(address, len)]
    }

    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
        self.0[Self::range(address, bytes.len() as u64)].copy_from_slice(bytes);
    }

    /// An unsigned number, little endian.
    pub(super) fn number(&self, address: u64, len: u64) -> u64 {
        let mut bytes = [0; 8];
        bytes[..len as usize].copy_from_slice(self.get(address, len));
        u64::from_le_bytes(bytes)
    }
}

/// A page fault on a write after some bytes.
pub(super) fn fault(bytes_completed: u64) -> CompletionRecord {
    CompletionRecord { status: 0x83, bytes_completed: bytes_completed as u32, ..Default::default() }
}

/// Executes a descriptor and its continuations. Execution n stops at `stops[n]`, in units of the model; the one after
/// the last stop runs to its end. Returns what each of them said; the last one is what the plan made of it.
pub(super) fn run(
    memory: &mut Memory,
    sent: Descriptor,
    stops: &[u64],
    execute: impl Fn(&mut Memory, &Descriptor, Option<u64>) -> CompletionRecord,
) -> Vec<Completion> {
    let caps = everything();
    let mut said = Vec::new();
    let mut next = sent;
    for stop in stops.iter().copied().map(Some).chain([None]) {
        assert_eq!(validate(&next, &caps, Position::Queue), Ok(()), "{next:?}");
        let record = execute(memory, &next, stop);
        match Resume::plan(&next, &record, &caps) {
            Resume::Complete(completion) => {
                said.push(completion);
                return said;
            }
            Resume::Continue(rest) => {
                said.push(Completion::decode(next.opcode(), &record));
                next = rest.descriptor;
            }
            other => panic!("{other:?} for {record:?}"),
        }
    }
    panic!("an execution without a fault did not complete");
}

/// Every way to stop an operation of `size` units up to three times. A stop at or beyond what is left is one after the
/// last unit.
pub(super) fn all_stops(size: u64) -> Vec<Vec<u64>> {
    let mut all = vec![vec![]];
    for first in 0..=size {
        all.push(vec![first]);
        for second in 0..=size - first {
            all.push(vec![first, second]);
            all.push(vec![first, second, 1]);
        }
    }
    all
}
