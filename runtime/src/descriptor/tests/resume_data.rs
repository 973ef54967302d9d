//! Resume plans of delta operations and translation fetch, against plain models that stop at every possible point.

use idxd_sys::{CompletionRecord, Descriptor};

use super::super::*;
use super::everything;
use super::machine::{BASE, Memory, RECORD, all_stops, fault, run};

const FIRST: u64 = BASE;
const SECOND: u64 = BASE + 0x1000;
const DELTA: u64 = BASE + 0x2001;

/// Two regions of `words` words that differ in those of `different`.
fn regions(words: u64, different: &[u64]) -> Memory {
    let mut memory = Memory::new(0x3000);
    for word in 0..words {
        let bytes = memory.get(FIRST + 8 * word, 8).to_vec();
        memory.put(SECOND + 8 * word, &bytes);
    }
    for word in different {
        let byte = !memory.get(SECOND + 8 * word + word % 8, 1)[0];
        memory.put(SECOND + 8 * word + word % 8, &[byte]);
    }
    memory
}

/// Create delta as section 8.3.8 describes it. Stop 2n is before word n is read, stop 2n+1 before its entry is written.
fn create(memory: &mut Memory, d: &Descriptor, stop: Option<u64>) -> CompletionRecord {
    let words = u64::from(d.xfer_size) / 8;
    let room = d.op_specific[1];
    let mut written = 0;
    let record = |status, result, completed: u64, written| CompletionRecord {
        status,
        result,
        bytes_completed: completed as u32,
        op_specific: [written, 0],
        ..Default::default()
    };
    let faulted = |word: u64, written| record(3, u8::from(written > 0), 8 * word, written);
    for word in 0..words {
        if stop == Some(2 * word) {
            return faulted(word, written);
        }
        let offset = 8 * word;
        if memory.get(d.src_addr + offset, 8) == memory.get(d.dst_addr + offset, 8) {
            continue;
        }
        if written + 10 > room {
            return record(1, 2, offset, written);
        }
        if stop == Some(2 * word + 1) {
            return faulted(word, written);
        }
        let mut entry = (word as u16).to_le_bytes().to_vec();
        entry.extend(memory.get(d.dst_addr + offset, 8));
        memory.put(d.op_specific[0] + written, &entry);
        written += 10;
    }
    if stop == Some(2 * words) {
        return faulted(words, written);
    }
    let result = u8::from(written > 0);
    let status = if d.flags() >> 7 & 1 == 1 && d.op_specific[2] >> result & 1 == 0 { 2 } else { 1 };
    record(status, result, 0, written)
}

#[test]
fn create_delta_ends_with_the_record_of_an_uninterrupted_run() {
    for (words, different) in
        [(12, &[][..]), (12, &[0, 1, 5, 11]), (12, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), (1, &[0])]
    {
        for results in [None, Some(DeltaResults::EQUAL), Some(DeltaResults::COMPLETE), Some(DeltaResults::OVERFLOWED)] {
            let builder = CreateDelta::new(FIRST, SECOND, 8 * words, DELTA, 80).record(RECORD);
            let builder = results.map_or(builder, |results| builder.expect(results));
            let sent = builder.build(&everything()).unwrap();
            let mut expected = regions(words, different);
            let whole = run(&mut expected, sent, &[], create)[0];
            for stops in all_stops(2 * words) {
                let mut memory = regions(words, different);
                let said = run(&mut memory, sent, &stops, create);
                let last = said.last().unwrap();
                assert_eq!((last.delta(), last.status), (whole.delta(), whole.status), "{stops:?}");
                assert!(memory == expected, "{stops:?}");
            }
        }
    }
}

#[test]
fn create_delta_starts_again_as_it_was() {
    let caps = everything();
    let sent = CreateDelta::new(FIRST, SECOND, 64, DELTA, 80).record(RECORD).fence(true).build_member(&caps).unwrap();
    let record = CompletionRecord { result: 1, op_specific: [20, 0], ..fault(32) };
    let again = CreateDelta::new(FIRST, SECOND, 64, DELTA, 80).record(RECORD).build(&caps).unwrap();
    let rest = Continuation { descriptor: again, advanced: 0 };
    assert_eq!(Resume::plan(&sent, &record, &caps), Resume::Continue(rest));
}

/// Apply delta as section 8.3.9 describes it. Stop n is before entry n.
fn apply(memory: &mut Memory, d: &Descriptor, stop: Option<u64>) -> CompletionRecord {
    let entries = d.op_specific[0] / 10;
    let mut last = None;
    for entry in 0..entries {
        if stop == Some(entry) {
            return fault(10 * entry);
        }
        let at = d.src_addr + 10 * entry;
        let offset = memory.number(at, 2);
        assert!(last.is_none_or(|last| last < offset) && 8 * offset < u64::from(d.xfer_size));
        last = Some(offset);
        let data = memory.get(at + 2, 8).to_vec();
        memory.put(d.dst_addr + 8 * offset, &data);
    }
    if stop.is_some_and(|stop| stop >= entries) {
        return fault(10 * entries);
    }
    CompletionRecord { status: 1, ..Default::default() }
}

#[test]
fn apply_delta_goes_on_with_the_next_entry() {
    let caps = everything();
    let mut start = regions(16, &[0, 1, 6, 7, 15]);
    let made = CreateDelta::new(FIRST, SECOND, 128, DELTA, 160).record(RECORD).build(&caps).unwrap();
    let whole = run(&mut start, made, &[], create);
    assert_eq!(whole[0].delta(), Some(Delta::Complete { size: 50 }));
    let sent = ApplyDelta::new(DELTA, 50, FIRST, 128).record(RECORD).build(&caps).unwrap();
    for stops in all_stops(5) {
        let mut memory = start.clone();
        run(&mut memory, sent, &stops, apply);
        assert_eq!(memory.get(FIRST, 128), memory.get(SECOND, 128), "{stops:?}");
        memory.put(FIRST, start.get(FIRST, 128));
        assert!(memory == start, "nothing else changes");
    }
    let rest = ApplyDelta::new(DELTA + 20, 30, FIRST, 128).record(RECORD).build(&caps).unwrap();
    let rest = Continuation { descriptor: rest, advanced: 20 };
    assert_eq!(Resume::plan(&sent, &fault(20), &caps), Resume::Continue(rest));
}

#[test]
fn translation_fetch_starts_again_whatever_the_record_says() {
    let caps = everything();
    let sent = TranslationFetch::new(0x1000, 0x10_0000).stride(0x2000).record(RECORD).build(&caps).unwrap();
    let rest = Continuation { descriptor: sent, advanced: 0 };
    for completed in [0, 0x2000, 0x10_0000, u64::from(u32::MAX)] {
        assert_eq!(Resume::plan(&sent, &fault(completed), &caps), Resume::Continue(rest));
    }
    let record = CompletionRecord { status: 1, bytes_completed: u32::MAX, ..Default::default() };
    assert!(matches!(Resume::plan(&sent, &record, &caps), Resume::Complete(_)));
}
