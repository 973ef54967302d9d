//! Threads that read and write the same bytes of checked memory, and a device that works on them: every access is safe
//! code's right, so none may be a data race. A thread sanitizer has something to look at here; without one the values are
//! checked as far as words are whole.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::*;
use dsa_emulator::{Config, Device, Enqcmd, FaultRule};
use idxd_sys::{Descriptor, flag, status};

#[test]
fn two_threads_may_read_and_write_the_same_bytes() {
    let memory = memory();
    std::thread::scope(|s| {
        for t in 1..=2u8 {
            let memory = &memory;
            s.spawn(move || {
                for _ in 0..1000 {
                    memory.write(SRC, &[t; 64]).unwrap();
                    let mut back = [0; 64];
                    memory.read(SRC, &mut back).unwrap();
                    for word in back.chunks(8) {
                        assert!(word == [1; 8] || word == [2; 8], "half a word: {word:?}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_device_may_work_on_bytes_that_a_thread_reads_and_writes() {
    let memory = memory();
    let device = Device::with_memory(Config::granite_rapids().engines(2), memory.clone()).unwrap();
    device.inject(
        FaultRule::new(dsa_emulator::Effect::PageFault { resolvable: false }).at(SRC + 900..SRC + 901).every(5),
    );
    let client = device.open(0).unwrap();
    let stop = AtomicBool::new(false);
    let seeded = Descriptor { op_specific: [0, SRC, 0], ..crc(SRC + 4, 1000, 0, flag::CRC_READ_SEED) };
    rig_list(&memory);
    let all = [
        memmove(SRC + 3, DST + 5, 1000),
        memmove(SRC, SRC + 100, 1000),
        fill(SRC + 1, 0x0102_0304_0506_0708, 999),
        compare(SRC, DST, 1000),
        compare_pattern(SRC, 0, 1000),
        dualcast(SRC, DST, DST2, 1000),
        seeded,
        copy_crc(SRC, DST, 1000, 0, 0),
        Descriptor { src_addr: LIST, xfer_size: 2, ..desc(idxd_sys::opcode::BATCH, 0) },
    ];
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut bytes = vec![0; 1200];
            let mut round = 0u8;
            while !stop.load(Ordering::Relaxed) {
                round = round.wrapping_add(1);
                for base in [SRC, DST, DST2] {
                    memory.write(base + u64::from(round % 16), &[round; 900]).unwrap();
                    memory.read(base, &mut bytes).unwrap();
                }
                memory.write(LIST + 63, &[0]).unwrap();
                memory.read(RECORDS, &mut bytes[..32]).unwrap();
            }
        });
        for round in 0..300 {
            memory.write(RECORDS, &[0; 32]).unwrap();
            // SAFETY: checked memory.
            assert_eq!(unsafe { client.enqcmd(&all[round % all.len()]) }, Enqcmd::Accepted);
            while memory.status(RECORDS).unwrap() == status::NONE {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn rig_list(memory: &dsa_emulator::CheckedMemory) {
    use zerocopy::IntoBytes;
    let members = [with_record(fill(DST, 7, 100), 1), with_record(memmove(SRC, DST, 100), 2)];
    memory.write(LIST, members.as_bytes()).unwrap();
}

/// Both destinations of a dualcast get the same bytes, also while the source changes.
#[test]
fn a_dualcast_reads_its_source_once() {
    let memory = memory();
    let device = Device::with_memory(Config::granite_rapids(), memory.clone()).unwrap();
    let client = device.open(0).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        s.spawn(|| {
            let mut round = 0u8;
            while !stop.load(Ordering::Relaxed) {
                round = round.wrapping_add(1);
                memory.write(SRC, &vec![round; LEN as usize]).unwrap();
            }
        });
        let mut different = 0;
        for _ in 0..100 {
            // SAFETY: checked memory.
            assert_eq!(unsafe { client.enqcmd(&dualcast(SRC, DST, DST2, LEN as u32)) }, Enqcmd::Accepted);
            client.quiesce();
            let (mut one, mut two) = (vec![0; LEN as usize], vec![0; LEN as usize]);
            memory.read(DST, &mut one).unwrap();
            memory.read(DST2, &mut two).unwrap();
            different += u32::from(one != two);
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(different, 0);
    });
}
