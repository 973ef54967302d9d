//! A device whose completion records contradict what it was asked, or each other: nothing of that reaches the caller, and
//! the CPU gives the right answer.
//!
//! The software device does not lie, so these tests bring a queue of their own: it does nothing with a descriptor but to
//! write the record that the test wants.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use idxd_sys::{CompletionRecord, Descriptor, opcode, status};

use crate::accelerator::Accelerator;
use crate::descriptor::{
    Capabilities, ComputeType, DataType, DifBlock, DifDestination, DifSource, DifStatus, DifTags, NumericExceptions,
};
use crate::dispatch::{DeltaResult, Policy};
use crate::op::{BatchValue, BlockList, Conversion, Reduction};
use crate::stats::{Event, Path, Reason};
use crate::submit::{SubmissionPath, Submitter, Verdict};

/// What the device says to a descriptor.
type Answer = fn(&Descriptor) -> CompletionRecord;

#[derive(Clone)]
struct Liar(Answer);

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("liar")
    }
}

impl Submitter for Liar {
    unsafe fn submit(&self, descriptors: &[Descriptor]) -> Verdict {
        for descriptor in descriptors {
            if descriptor.opcode() == opcode::BATCH {
                let list = std::ptr::with_exposed_provenance::<Descriptor>(descriptor.src_addr as usize);
                for member in 0..descriptor.xfer_size as usize {
                    // SAFETY: the list has so many descriptors, and nobody writes to it.
                    let sent = unsafe { list.add(member).read() };
                    self.answer(&sent);
                }
            }
            self.answer(descriptor);
        }
        Verdict::Accepted
    }

    fn name(&self) -> String {
        "liar".to_owned()
    }

    fn path(&self) -> SubmissionPath {
        SubmissionPath::Model
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::diamond_rapids()
    }

    fn credits(&self) -> Option<usize> {
        None
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn quiesce(&self) -> bool {
        true
    }
}

impl Liar {
    fn answer(&self, descriptor: &Descriptor) {
        let record = (self.0)(descriptor);
        let place = std::ptr::with_exposed_provenance_mut::<CompletionRecord>(descriptor.completion_addr as usize);
        // SAFETY: the record of a descriptor that is out is the device's. All but the status goes first, and that as an
        // atomic, as the reader has it.
        unsafe {
            place.write(CompletionRecord { status: 0, ..record });
            AtomicU8::from_ptr(place.cast()).store(record.status, Ordering::Release);
        }
    }
}

fn accelerator(answer: Answer) -> Accelerator {
    let policy = Policy { min_device_size: Some(0), ..Policy::default() };
    Accelerator::builder().policy(policy).submitter(Liar(answer)).build().unwrap()
}

/// Polls until it is done, which takes no waiting.
fn finish<F: Future + Unpin>(mut future: F) -> F::Output {
    for _ in 0..10_000 {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("nothing is out, and it does not end");
}

/// The CPU has done everything, because the device has failed.
#[track_caller]
fn not_believed(acc: &Accelerator, what: &str) {
    let stats = acc.stats();
    assert_eq!(stats.total_operations(Path::Device), 0, "{what}\n{stats}");
    let operations = stats.total_operations(Path::Cpu);
    let reasons = stats.reason(Reason::DeviceError) + stats.reason(Reason::PageFault) + stats.reason(Reason::Abandoned);
    assert!(operations > 0 && reasons == operations, "{what}\n{stats}");
    assert_eq!((acc.in_flight(), acc.leaked()), (0, 0));
}

macro_rules! record {
    ($($field:ident: $value:expr),+) => {
        CompletionRecord { $($field: $value,)+ ..CompletionRecord::default() }
    };
}

#[test]
fn differences_beyond_the_region() {
    let answers: [Answer; 3] = [
        |d| record!(status: status::SUCCESS, result: 1, bytes_completed: d.xfer_size),
        |_| record!(status: status::SUCCESS, result: 1, bytes_completed: u32::MAX),
        |_| record!(status: status::SUCCESS_FALSE, result: 1),
    ];
    for answer in answers {
        let acc = accelerator(answer);
        let mut data = vec![1; 5000];
        data[4321] = 2;
        let (difference, data) = finish(acc.compare_pattern(data, 1u8)).unwrap();
        assert_eq!(difference, Some(4321));
        assert_eq!(finish(acc.compare(data.clone(), data)).unwrap().0, None);
        not_believed(&acc, "compare");
    }
}

/// The device says that there is a difference, and there is none: the CPU looks, and finds nothing.
#[test]
fn differences_that_are_not_there() {
    let acc = accelerator(|_| record!(status: status::SUCCESS, result: 1, bytes_completed: 100));
    let (difference, _) = finish(acc.compare_pattern(vec![1; 1 << 20], 1u8)).unwrap();
    assert_eq!(difference, None);
    assert_eq!(acc.stats().total_operations(Path::Device), 1);
}

#[test]
fn delta_records_of_impossible_sizes() {
    let answers: [Answer; 7] = [
        |_| record!(status: status::SUCCESS, result: 1, op_specific: [0, 0]),
        |_| record!(status: status::SUCCESS, result: 1, op_specific: [15, 0]),
        |d| record!(status: status::SUCCESS, result: 1, op_specific: [u64::from(d.op_u32(48)) + 10, 0]),
        |_| record!(status: status::SUCCESS, result: 1, op_specific: [0xffff_fffa, 0]),
        |_| record!(status: status::SUCCESS, result: 0, op_specific: [10, 0]),
        |_| record!(status: status::SUCCESS, result: 3, op_specific: [10, 0]),
        |d| record!(status: status::SUCCESS, result: 2, bytes_completed: d.xfer_size + 8, op_specific: [10, 0]),
    ];
    for answer in answers {
        let acc = accelerator(answer);
        let (first, mut second) = (vec![0; 800], vec![0; 800]);
        second[0] = 1;
        second[799] = 2;
        let (result, (_, _, record)) = finish(acc.create_delta(first, second, Vec::with_capacity(200))).unwrap();
        assert_eq!((result, record.len()), (DeltaResult::Record { size: 20 }, 20));
        not_believed(&acc, "create delta");
    }
}

/// What was looked at before it was sent is not wrong because a device says so.
#[test]
fn a_delta_record_that_is_said_to_be_wrong() {
    for code in [status::DELTA_OFFSET_ORDER, status::DELTA_OFFSET_RANGE] {
        // The code is the test's, and a function has no captures.
        let answer: Answer = if code == status::DELTA_OFFSET_ORDER {
            |_| record!(status: status::DELTA_OFFSET_ORDER)
        } else {
            |_| record!(status: status::DELTA_OFFSET_RANGE)
        };
        let acc = accelerator(answer);
        let record = vec![0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        let (_, target) = finish(acc.apply_delta(record, vec![0; 16])).unwrap();
        assert_eq!(target[..9], [1, 2, 3, 4, 5, 6, 7, 8, 0]);
        not_believed(&acc, "apply delta");
    }
}

#[test]
fn integrity_errors_that_cannot_be() {
    let answers: [Answer; 5] = [
        |_| record!(status: status::DIF_ERROR, result: 0),
        |_| record!(status: status::DIF_ERROR, result: 0x11),
        |_| record!(status: status::DIF_ERROR, result: 1, bytes_completed: 1),
        |d| record!(status: status::DIF_ERROR, result: 1, bytes_completed: d.xfer_size),
        |_| record!(status: status::DIF_ERROR, result: 1, bytes_completed: 520_000),
    ];
    for answer in answers {
        let acc = accelerator(answer);
        let (block, tags) = (DifBlock::Bytes512, DifDestination::new(3, 4));
        let data = vec![9; 2048];
        // An operation that checks nothing cannot find anything.
        let (_, (data, mut protected)) = finish(acc.dif_insert(data, Vec::with_capacity(2080), block, tags)).unwrap();
        let source = DifSource::new(3, 4);
        let (checked, _) = finish(acc.dif_check(protected.clone(), block, source)).unwrap();
        assert_eq!(checked.unwrap().reference, 7);
        protected[1040 + 519] ^= 1;
        let room = Vec::with_capacity(2048);
        let (stripped, (_, found)) = finish(acc.dif_strip(protected, room, block, source)).unwrap();
        let mismatch = stripped.unwrap_err();
        assert_eq!((mismatch.block, mismatch.completed, mismatch.fields), (2, 1040, DifStatus::REFERENCE));
        assert_eq!(found, data[..1024]);
        not_believed(&acc, "integrity");
    }
}

#[test]
fn exceptions_that_do_not_exist() {
    let answers: [Answer; 3] = [
        |_| record!(status: status::SUCCESS, result: 0x10),
        |_| record!(status: status::SUCCESS, result: 0xff),
        |_| record!(status: status::SUCCESS_FALSE, result: 1),
    ];
    for answer in answers {
        let acc = accelerator(answer);
        let widen = Conversion::new(DataType::Int8, DataType::Int16);
        let (exceptions, (_, dst)) = finish(acc.type_convert(vec![7; 100], Vec::with_capacity(200), widen)).unwrap();
        assert_eq!((exceptions, &dst[..4]), (NumericExceptions::empty(), &[7, 0, 7, 0][..]));
        let add = Reduction::new(ComputeType::Add, DataType::Int8);
        let (exceptions, (_, _, dst)) = finish(acc.reduce(vec![200; 64], vec![100; 64], vec![0; 64], add)).unwrap();
        assert_eq!((exceptions, dst), (NumericExceptions::OVERFLOW, vec![44; 64]));
        not_believed(&acc, "exceptions");
    }
}

/// Partial completions whose numbers contradict the descriptor: each is tried again from its beginning, a few times.
#[test]
fn progress_that_cannot_be() {
    let answers: [Answer; 4] = [
        |_| record!(status: status::PAGE_FAULT, bytes_completed: u32::MAX),
        |_| record!(status: status::PAGE_FAULT, bytes_completed: 3, op_specific: [7 << 32, 0]),
        |d| record!(status: status::PAGE_FAULT, result: 0x77, bytes_completed: d.xfer_size, op_specific: [0; 2]),
        |_| record!(status: status::PAGE_RESPONSE | 0x80, fault_addr: u64::MAX, bytes_completed: 519),
    ];
    for answer in answers {
        let acc = accelerator(answer);
        let list = || BlockList::indices(vec![3, 1], 64);
        let base: Vec<u8> = (0..=255).collect();
        let (_, _, gathered) = finish(acc.gather_copy(base.clone(), list(), Vec::with_capacity(128))).unwrap();
        assert_eq!(gathered, [&base[192..], &base[64..128]].concat());
        let (src, scattered, _) = finish(acc.scatter_copy(gathered, vec![0; 256], list())).unwrap();
        assert_eq!((&scattered[192..], &scattered[64..128]), (&src[..64], &src[64..]));
        let min = Reduction::new(ComputeType::Min, DataType::Int8);
        let (_, (_, _, least)) = finish(acc.gather_reduce(base.clone(), list(), Vec::with_capacity(64), min)).unwrap();
        assert_eq!(least, base[64..128]);
        let (_, (_, _, less)) = finish(acc.reduce(base.clone(), vec![100; 256], vec![0; 256], min)).unwrap();
        assert_eq!((less[99], less[101]), (99, 100));
        let (first, second) = (vec![0; 64], vec![1; 64]);
        let (result, _) = finish(acc.create_delta(first, second, Vec::with_capacity(80))).unwrap();
        assert_eq!(result, DeltaResult::Record { size: 80 });
        let (block, tags) = (DifBlock::Bytes512, DifDestination::new(3, 4));
        let (_, (data, protected)) =
            finish(acc.dif_insert(vec![9; 1024], Vec::with_capacity(1040), block, tags)).unwrap();
        let (checked, protected) = finish(acc.dif_check(protected, block, DifSource::new(3, 4))).unwrap();
        assert_eq!(checked.unwrap().reference, 5);
        let (_, (_, updated)) =
            finish(acc.dif_update(protected, vec![0; 1040], block, DifSource::new(3, 4), tags)).unwrap();
        let (stripped, (_, found)) =
            finish(acc.dif_strip(updated, vec![0; 1024], block, DifSource::new(3, 4))).unwrap();
        assert_eq!((stripped.is_ok(), found), (true, data));
        not_believed(&acc, "progress");
    }
}

/// A page fault behind the first block, whose record lies about the tags of the next one: the rest is sent with the right
/// ones, so that correct blocks are not called wrong, and no wrong tags are written.
#[test]
fn tags_of_a_partial_record() {
    let acc = accelerator(|d| {
        let block = if d.opcode() == opcode::DIF_INS { 512 } else { 520 };
        if d.xfer_size == 3 * block {
            return record!(status: status::PAGE_FAULT, bytes_completed: block, op_specific: [77, 78]);
        }
        // From here on it is honest, and says so if it is asked for other tags than those of the second block.
        let expected = DifTags { reference: 8, application_mask: 2, application: 4 };
        let made = DifTags { reference: 1, application_mask: 0, application: 10 };
        let (expected, made) = match d.opcode() {
            opcode::DIF_INS => (DifTags::default(), made),
            opcode::DIF_CHECK => (expected, DifTags::default()),
            _ => (expected, made),
        };
        if d.op_specific[1..] == [expected.word(), made.word()] {
            record!(status: status::SUCCESS, bytes_completed: d.xfer_size)
        } else {
            record!(status: status::DIF_ERROR, result: DifStatus::REFERENCE.bits())
        }
    });
    let block = DifBlock::Bytes512;
    let expected = DifSource::new(7, 4).application_mask(2);
    let made = DifDestination::new(1, 9).fixed_reference(true).counting_application(true);
    let (checked, _) = finish(acc.dif_check(vec![0; 1560], block, expected)).unwrap();
    assert_eq!(checked.unwrap().reference, 10);
    let (tags, _) = finish(acc.dif_insert(vec![0; 1536], vec![0; 1560], block, made)).unwrap();
    assert_eq!((tags.reference, tags.application), (1, 12));
    let (updated, _) = finish(acc.dif_update(vec![0; 1560], vec![0; 1560], block, expected, made)).unwrap();
    assert_eq!(updated.map(|(source, made)| (source.reference, made.application)), Ok((10, 12)));
    let stats = acc.stats();
    assert_eq!((stats.total_operations(Path::Device), stats.event(Event::Resumes)), (3, 3), "{stats}");
}

/// The same inside of a batch, whose own record says that all is well.
#[test]
fn members_with_impossible_records() {
    let acc = accelerator(|d| match d.opcode() {
        opcode::BATCH => record!(status: status::SUCCESS, bytes_completed: d.xfer_size),
        opcode::CR_DELTA => record!(status: status::SUCCESS, result: 1, op_specific: [1, 0]),
        opcode::DIF_CHECK => record!(status: status::DIF_ERROR, result: 0x80),
        opcode::REDUCE => record!(status: status::SUCCESS, result: 0x20),
        _ => record!(status: status::SUCCESS, result: 1, bytes_completed: u32::MAX),
    });
    let mut batch = acc.batch::<Vec<u8>, Vec<u8>>();
    batch.create_delta(vec![0; 80], vec![0; 80], Vec::with_capacity(100)).compare_pattern(vec![1; 99], 1u8);
    let max = Reduction::new(ComputeType::Max, DataType::Int8);
    batch.dif_check(vec![0xff; 520], DifBlock::Bytes512, DifSource::new(0, 0).pass_all_ones(true));
    batch.reduce(vec![1; 8], vec![2; 8], vec![0; 8], max);
    let values: Vec<_> = finish(batch.submit()).into_iter().map(|item| item.result.unwrap()).collect();
    assert_eq!(values[..2], [BatchValue::Delta(DeltaResult::Equal), BatchValue::Difference(None)]);
    assert!(matches!(values[2], BatchValue::Tags { .. }), "{values:?}");
    assert_eq!(values[3], BatchValue::Exceptions(NumericExceptions::empty()));
    not_believed(&acc, "batch");
}

/// A DRAIN that ends with an error leaves the waiting to the accelerator.
#[test]
fn a_drain_that_fails() {
    let acc = accelerator(|d| match d.opcode() {
        opcode::DRAIN => record!(status: 0x1f),
        _ => record!(status: status::SUCCESS),
    });
    finish(acc.drain()).unwrap();
    acc.blocking().drain();
    let stats = acc.stats();
    assert_eq!((stats.reason(Reason::DeviceError), stats.total_operations(Path::Cpu)), (2, 2), "{stats}");
    assert_eq!(acc.in_flight(), 0);
}
