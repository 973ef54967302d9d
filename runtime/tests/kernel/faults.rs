//! Pages that are not there: partial completions are resumed, and block on fault has the kernel bring the page in.

use dsa::descriptor::{Completion, Move};
use dsa::device::QueueMode;
use dsa::stats::{Event, Path};
use idxd_sys::status;

use crate::rig::{self, ALL, Control, Fresh, Queue, Record};
use crate::support::{assert_same, block_on, quiet, within};

const PAGE: usize = 4096;

const LARGE: usize = 256 << 10;

#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn copies_into_missing_pages_are_resumed() {
    let _turn = rig::turn();
    for (mode, by) in ALL {
        let what = format!("{mode:?}, {by:?}");
        let acc = Queue::find(mode).accelerator(by);
        let before = acc.stats();
        let source: Vec<u8> = (0..LARGE).map(|i| (i / 7) as u8).collect();
        block_on(&what, async {
            let (source, mut copy) = within(&what, acc.copy(source, Fresh::new(LARGE, 0))).await.unwrap();
            assert_same(copy.bytes(), &source, &what);
            let mut filled = within(&what, acc.fill(Fresh::new(LARGE, 0), LARGE, 0xa5u8)).await.unwrap();
            assert!(filled.bytes().iter().all(|&byte| byte == 0xa5), "{what}");
        });
        quiet(&acc);
        let done = acc.stats().since(&before);
        assert_eq!((done.total_operations(Path::Device), done.total_operations(Path::Cpu)), (2, 0), "{what}: {done}");
        assert!(done.event(Event::PageFaults) >= 2 && done.event(Event::Resumes) >= 2, "{what}: {done}");
        assert_eq!((acc.recoveries(), acc.leaked()), (0, 0), "{what}");
    }
}

/// Without the flag the device stops at the page and names it; with it the page comes, by way of a page request.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn block_on_fault_brings_the_page_in() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    let file = queue.open();
    assert!(queue.capabilities.may_block_on_fault(), "the queue is to be configured with block_on_fault=1");
    let source = vec![0x5au8; 4 * PAGE];
    let mut control = Control::open();
    for block in [false, true] {
        let mut target = Fresh::new(4 * PAGE, 0);
        let mut record = Record::new();
        let descriptor = Move::new(source.as_ptr().expose_provenance() as u64, target.address(), 4 * PAGE as u64)
            .record(record.address())
            .block_on_fault(block)
            .build(&queue.capabilities)
            .unwrap();
        let faults = control.counter("faults");
        assert_eq!(rig::write_one(&file, &descriptor).unwrap(), 64);
        let ended = record.wait();
        assert!(control.counter("faults") > faults, "the device has seen no fault");
        if block {
            assert_eq!(ended.status, status::SUCCESS);
            assert_same(target.bytes(), &source, "blocked until the pages were there");
        } else {
            let completion = Completion::decode(descriptor.opcode(), &ended);
            assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT | status::FAULT_WRITE, 0));
            assert_eq!(completion.fault.unwrap().address, descriptor.dst_addr);
        }
    }
}

/// A source that is not mapped at all: block on fault cannot help, the CPU would die of it, the device says where.
#[test]
#[ignore = "needs work queues of the idxd driver: vm/run has some"]
fn a_hole_is_reported_whether_or_not_the_device_may_block() {
    let _turn = rig::turn();
    let queue = Queue::find(QueueMode::Shared);
    let file = queue.open();
    let mut target = vec![0u8; 2 * PAGE];
    // The second page is given back.
    let mapping = Fresh::new(2 * PAGE, 0);
    let hole = mapping.address() + PAGE as u64;
    // SAFETY: a page of our own mapping that nobody uses; unmapping it again later does nothing.
    unsafe { libc::munmap(std::ptr::with_exposed_provenance_mut(hole as usize), PAGE) };
    // SAFETY: the first page is still there.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(mapping.address() as usize).write(1) };
    for (block, expected) in [(false, status::PAGE_FAULT), (true, status::PAGE_RESPONSE)] {
        let mut record = Record::new();
        let target = target.as_mut_ptr().expose_provenance() as u64;
        let descriptor = Move::new(mapping.address(), target, 2 * PAGE as u64)
            .record(record.address())
            .block_on_fault(block)
            .build(&queue.capabilities)
            .unwrap();
        assert_eq!(rig::write_one(&file, &descriptor).unwrap(), 64);
        let ended = record.wait();
        assert_eq!(ended.status & status::CODE_MASK, expected, "block {block}: {ended:?}");
        assert_eq!((ended.bytes_completed, ended.fault_addr & !0xfff), (PAGE as u32, hole), "block {block}");
    }
}
