//! Programs that drive a device. They run under `dsa emulate`, started by the other modules.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use idxd_sys::{Descriptor, flag, instr, opcode, status};

use crate::queue::{PAGE, Pages, Queue, Record, copy};

/// The programs by their names.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("operations", operations),
    ("faults", faults),
    ("unmapping", unmapping),
    ("writing", writing),
    ("refused", refused),
    ("trouble", trouble),
    ("portals", portals),
    ("stale_portal", stale_portal),
    ("children", children),
    ("handlers", handlers),
    ("closing", closing),
    ("waiting", waiting),
    ("threads", threads),
    ("cost", cost),
    ("exits", exits),
    ("restricted", restricted),
];

/// One that must run on the first thread.
pub(crate) const ON_FIRST_THREAD: (&str, fn()) = ("exits_in_the_allocator", exits_in_the_allocator);

/// Copies, checksums and batches on both kinds of queue.
fn operations() {
    for name in ["wq0.0", "wq0.1"] {
        let queue = Queue::with_portal(name);
        let (from, to) = (Pages::new(20), Pages::new(20).fill(0));
        for offset in 0..20 * PAGE {
            // SAFETY: inside the mapping.
            unsafe { from.at(offset).write((offset * 7 + offset / 251) as u8) };
        }
        let length = 19 * PAGE + 77;
        assert_eq!(queue.run(opcode::MEMMOVE, 0, copy(from, to, length)).status, status::SUCCESS);
        assert!(to.bytes(length) == from.bytes(length) && to.touch(length) == 0);

        let sum = queue.run(opcode::CRCGEN, 0, Descriptor { dst_addr: 0, ..copy(from, to, length) });
        assert_eq!((sum.status, sum.op_specific[0] as u32), (status::SUCCESS, crc32c::crc32c(&from.bytes(length))));
        let equal = queue.run(opcode::COMPARE, 0, copy(from, to, 20 * PAGE));
        assert_eq!((equal.status, equal.result, equal.bytes_completed), (status::SUCCESS, 1, length as u32));

        let records = Pages::new(1).fill(0);
        let list = Pages::new(1).fill(0);
        for member in 0..4 {
            let at = 4 * PAGE * member;
            let mut d = Descriptor { dst_addr: to.address(at), xfer_size: 4096, ..Descriptor::default() };
            d.src_addr = 0x0101_0101_0101_0101 * (member as u64 + 1);
            d.completion_addr = records.address(32 * member);
            d.set_opcode_flags(opcode::FILL, flag::CRAV | flag::RCR);
            // SAFETY: the list has room for 64.
            unsafe { list.place::<Descriptor>(64 * member).write(d) };
        }
        let batch = Descriptor { src_addr: list.address(0), xfer_size: 4, ..Descriptor::default() };
        assert_eq!(queue.run(opcode::BATCH, 0, batch).status, status::SUCCESS);
        for member in 0..4 {
            let filled = [to.touch(4 * PAGE * member), to.touch(4 * PAGE * member + 4095)];
            assert_eq!(filled, [member as u8 + 1; 2]);
            assert_eq!(records.touch(32 * member), status::SUCCESS);
        }
    }
}

/// Missing, forbidden and absent pages, with block on fault and without.
fn faults() {
    const WRITE: u8 = status::FAULT_WRITE;
    let queue = Queue::with_portal("wq0.0");
    let from = Pages::new(4).fill(9);

    // Nobody has touched the destination: it ends at its first page, and goes on when the page is there.
    let to = Pages::new(4);
    let ended = queue.run(opcode::MEMMOVE, 0, copy(from, to, 4 * PAGE));
    assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT | WRITE, 0));
    assert_eq!(ended.fault_addr, to.address(0));
    // SAFETY: the page is ours.
    unsafe { to.at(0).write_volatile(1) };
    let ended = queue.run(opcode::MEMMOVE, 0, copy(from, to, 4 * PAGE));
    assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT | WRITE, PAGE as u32));
    assert_eq!((ended.fault_addr, to.bytes(PAGE)), (to.address(PAGE), vec![9; PAGE]));
    // With block on fault it does not stop.
    let ended = queue.run(opcode::MEMMOVE, flag::BLOCK_ON_FAULT, copy(from, to, 4 * PAGE));
    assert_eq!((ended.status, to.bytes(4 * PAGE)), (status::SUCCESS, vec![9; 4 * PAGE]));

    // A source that nobody has touched is missing too.
    let ended = queue.run(opcode::MEMMOVE, 0, copy(Pages::new(1), to, 64));
    assert_eq!((ended.status, ended.bytes_completed), (status::PAGE_FAULT, 0));
    // The page of zeros, which is there for reading, must be copied before it is written.
    let zeros = Pages::new(1);
    assert_eq!(zeros.touch(0), 0);
    assert_eq!(queue.run(opcode::MEMMOVE, 0, copy(zeros, to, 64)).status, status::SUCCESS);
    assert_eq!(queue.run(opcode::MEMMOVE, 0, copy(from, zeros, 64)).status, status::PAGE_FAULT | WRITE);
    assert_eq!(queue.run(opcode::MEMMOVE, 0, copy(from, zeros, 64)).status, status::SUCCESS, "it has been copied");

    // What may not be written, or read, or is not there at all: nothing helps, and nobody dies.
    let constant = Pages::new(1).fill(1);
    constant.protect(libc::PROT_READ);
    let hidden = Pages::new(1).fill(1);
    hidden.protect(libc::PROT_NONE);
    let nothing = Pages::nowhere();
    for (flags, code) in [(0, status::PAGE_FAULT), (flag::BLOCK_ON_FAULT, status::PAGE_RESPONSE)] {
        assert_eq!(queue.run(opcode::MEMMOVE, flags, copy(constant, to, 64)).status, status::SUCCESS);
        assert_eq!(queue.run(opcode::MEMMOVE, flags, copy(from, constant, 64)).status, code | WRITE);
        for absent in [hidden, nothing] {
            assert_eq!(queue.run(opcode::MEMMOVE, flags, copy(absent, to, 64)).status, code);
            assert_eq!(queue.run(opcode::MEMMOVE, flags, copy(from, absent, 64)).status, code | WRITE);
        }
        let null = Descriptor { src_addr: 8, ..copy(from, to, 64) };
        assert_eq!(queue.run(opcode::MEMMOVE, flags, null).status, code);
    }
    // Records and lists always block, so a record that nobody has touched is brought in.
    let record = Record(Pages::new(1));
    let mut descriptor = Descriptor { completion_addr: record.0.address(0), ..Descriptor::default() };
    descriptor.set_opcode_flags(opcode::NOP, flag::CRAV | flag::RCR);
    while !queue.offer(&descriptor) {}
    assert_eq!(record.wait().status, status::SUCCESS);
}

/// The program takes memory away while the device works on it. Each descriptor ends, with success or with a fault.
fn unmapping() {
    let queue = Queue::with_portal("wq0.0");
    let to = Pages::new(64).fill(0);
    let record = Record::new();
    for round in 0..200u8 {
        let from = Pages::new(64).fill(round);
        let descriptor = record.of(opcode::MEMMOVE, 0, copy(from, to, 64 * PAGE));
        record.0.fill(0);
        while !queue.offer(&descriptor) {}
        from.unmap();
        assert!(matches!(record.wait().status, status::SUCCESS | status::PAGE_FAULT));
    }
}

/// `write(2)`, as the driver has it.
fn writing() {
    for name in ["wq0.0", "wq0.1"] {
        let queue = Queue::open(name);
        let (from, to) = (Pages::new(1).fill(5), Pages::new(1).fill(0));
        let records = [Record::new(), Record::new(), Record::new()];
        let mut all = [0, 1, 2].map(|i| {
            let d = Descriptor { dst_addr: to.address(64 * i), ..copy(from, to, 64) };
            records[i].of(opcode::MEMMOVE, 0, d)
        });
        assert_eq!(queue.write(&all).unwrap(), 192);
        assert!(records.iter().all(|record| record.wait().status == status::SUCCESS));
        assert_eq!(to.bytes(192), [5; 192]);
        // What is wrong with the first is an error; what is wrong later shortens the count.
        all[1].completion_addr += 8;
        assert_eq!(queue.write(&all).unwrap(), 64);
        records[0].wait();
        assert_eq!(queue.write(&all[1..]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        // SAFETY: an address where nothing is, which the call is to find out.
        let lost = unsafe { libc::write(queue.file, std::ptr::without_provenance(64), 64) };
        assert_eq!((lost, std::io::Error::last_os_error().raw_os_error()), (-1, Some(libc::EFAULT)));
        // A rest that is no descriptor is left, and nothing but a rest is nothing.
        // SAFETY: the bytes are there.
        assert_eq!(unsafe { libc::write(queue.file, [0u8; 63].as_ptr().cast(), 63) }, 0);
        let bytes: Vec<u8> = [all[0], all[0]].iter().flat_map(bytes_of).collect();
        // SAFETY: the bytes are there.
        assert_eq!(unsafe { libc::write(queue.file, bytes.as_ptr().cast(), 100) }, 64);
        records[0].wait();
    }
    // Other files are written as ever.
    let text = [b'x'; 128];
    let path = std::env::temp_dir().join(format!("dsa-emulate-{}", std::process::id()));
    std::fs::write(&path, text).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), text);
    std::fs::remove_file(&path).unwrap();
}

fn bytes_of(descriptor: &Descriptor) -> [u8; 64] {
    // SAFETY: a descriptor is 64 bytes without holes.
    unsafe { std::ptr::from_ref(descriptor).cast::<[u8; 64]>().read() }
}

/// A queue that refuses everything.
fn refused() {
    let queue = Queue::with_portal("wq0.0");
    let record = Record::new();
    let descriptor = record.of(opcode::NOP, 0, Descriptor::default());
    assert!(!queue.offer(&descriptor));
    assert_eq!(queue.write(&[descriptor]).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
}

/// Injected trouble: the second move ends with 0x22, and every fill is lost.
fn trouble() {
    let queue = Queue::with_portal("wq0.0");
    let (from, to) = (Pages::new(1).fill(5), Pages::new(1).fill(0));
    let statuses = [0; 3].map(|_| queue.run(opcode::MEMMOVE, 0, copy(from, to, 64)).status);
    assert_eq!(statuses, [status::SUCCESS, 0x22, status::SUCCESS]);
    let record = Record::new();
    while !queue.offer(&record.of(opcode::FILL, 0, copy(from, to, 64))) {}
    // A drain ends behind it.
    assert_eq!(queue.run(opcode::DRAIN, 0, Descriptor::default()).status, status::SUCCESS);
    assert_eq!(record.status(), 0);
}

/// The rules of `mmap(2)`, and what becomes of a portal.
fn portals() {
    let queue = Queue::open("wq0.1");
    let refused = |length, flags| queue.map(length, flags).unwrap_err().raw_os_error();
    assert_eq!(refused(2 * PAGE, libc::MAP_SHARED), Some(libc::EINVAL));
    assert_eq!(refused(0, libc::MAP_SHARED), Some(libc::EINVAL));
    // As many as there may be at a time, and again after they have been given up.
    for _ in 0..2 {
        let pages: Vec<_> = (0..64).map(|_| queue.map(PAGE, libc::MAP_SHARED).unwrap()).collect();
        assert_eq!(refused(PAGE, libc::MAP_SHARED), Some(libc::ENOMEM));
        for page in pages {
            // SAFETY: our own mapping, not used any more.
            assert_eq!(unsafe { libc::munmap(page.cast(), PAGE) }, 0);
        }
    }
    // What the kernel refuses takes no portal away, and a mapping may take a portal's place.
    let queue = Queue::with_portal("wq0.1");
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the first address is none of a page; the page is our own, and not used as a portal any more.
    unsafe {
        assert_eq!(libc::munmap(queue.portal.wrapping_sub(64).cast(), PAGE), -1);
        assert_eq!(queue.run(opcode::NOP, 0, Descriptor::default()).status, status::SUCCESS);
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        assert_eq!(libc::mmap(queue.portal.cast(), PAGE, access, kind, -1, 0), queue.portal.cast());
        assert_eq!(queue.portal.read_volatile(), 0);
        assert_eq!(libc::munmap(queue.portal.cast(), PAGE), 0);
    }
    // Each slot of the page leads to the queue, and a file that is closed leaves its portal.
    let mut queue = Queue::with_portal("wq0.1");
    // SAFETY: our own file.
    assert_eq!(unsafe { libc::close(queue.file) }, 0);
    let page = queue.portal;
    for slot in 0..64 {
        queue.portal = page.wrapping_add(64 * slot);
        assert_eq!(queue.run(opcode::NOP, 0, Descriptor::default()).status, status::SUCCESS);
    }
}

/// A submission through a portal that was unmapped: SIGSEGV.
fn stale_portal() {
    let queue = Queue::with_portal("wq0.1");
    // SAFETY: our own mapping. What uses it next is to be killed.
    unsafe { libc::munmap(queue.portal.cast(), PAGE) };
    queue.offer(&Descriptor::default());
}

/// A child has a device of its own, and nothing of its parent's.
fn children() {
    let queue = Queue::with_portal("wq0.0");
    assert_eq!(queue.run(opcode::NOP, 0, Descriptor::default()).status, status::SUCCESS);
    let child = |f: &dyn Fn()| {
        // SAFETY: the child does what a program may do, and ends.
        unsafe {
            let process = libc::fork();
            if process == 0 {
                // Not for ever, and not back into what runs the tests.
                libc::alarm(60);
                let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
                libc::_exit(i32::from(ended.is_err()));
            }
            let mut state = 0;
            assert_eq!(libc::waitpid(process, &raw mut state, 0), process);
            std::process::ExitStatus::from_raw(state)
        }
    };
    // A page that parent and child share is a write fault once, in the child, which looks at its own page tables.
    let shared = Pages::new(1).fill(1);
    let from = Pages::new(1).fill(2);
    let own = || {
        let queue = Queue::with_portal("wq0.0");
        let statuses = [0; 2].map(|_| queue.run(opcode::MEMMOVE, 0, copy(from, shared, 64)).status);
        assert_eq!(statuses, [status::PAGE_FAULT | status::FAULT_WRITE, status::SUCCESS]);
        assert_eq!(shared.touch(0), 2);
    };
    assert!(child(&own).success());
    assert_eq!(shared.touch(0), 1);
    assert_eq!(child(&|| assert!(queue.offer(&Descriptor::default()))).signal(), Some(libc::SIGSEGV));
    // One that becomes another program needs nothing.
    assert!(Command::new("true").status().unwrap().success());
    assert_eq!(queue.run(opcode::NOP, 0, Descriptor::default()).status, status::SUCCESS);
}

static SEEN: AtomicU64 = AtomicU64::new(0);

/// A program with handlers of its own, installed when it has its portal already.
fn handlers() {
    extern "C" fn step_over(_: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the arguments of a handler with SA_SIGINFO. The instruction is the one of two bytes below.
        unsafe {
            SEEN.fetch_add((*info).si_addr().addr() as u64, Ordering::Relaxed);
            (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
        }
    }
    let queue = Queue::with_portal("wq0.1");
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: all zero is a valid value; the handler has three arguments, as its flags say. What is read was filled in.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = step_over as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, null_mut()), 0);
        assert_eq!(libc::sigaction(libc::SIGSEGV, std::ptr::null(), old.as_mut_ptr()), 0);
        assert_eq!(old.assume_init().sa_sigaction, action.sa_sigaction, "the program sees its own");
        assert_eq!(libc::signal(libc::SIGILL, libc::SIG_IGN), libc::SIG_DFL);
        assert_eq!(libc::signal(libc::SIGILL, libc::SIG_DFL), libc::SIG_IGN);
    }
    for _ in 0..3 {
        // 8A 07: a load from address 64, which faults.
        // SAFETY: the handler steps over it.
        unsafe { std::arch::asm!(".byte 0x8a, 0x07", in("rdi") 64, out("al") _) };
        assert_eq!(queue.run(opcode::NOP, 0, Descriptor::default()).status, status::SUCCESS);
    }
    assert_eq!(SEEN.load(Ordering::Relaxed), 3 * 64);
}

/// A program that closes every file that it has not opened itself.
fn closing() {
    let queue = Queue::with_portal("wq0.0");
    let from = Pages::new(1).fill(1);
    let fails = || {
        let ended = queue.run(opcode::MEMMOVE, 0, copy(from, Pages::new(1), 64));
        assert_eq!(ended.status, status::PAGE_FAULT | status::FAULT_WRITE);
    };
    fails();
    // SAFETY: nobody in this process has a file that is used later.
    unsafe {
        for file in 3..70_000 {
            libc::close(file);
        }
        fails();
        assert_eq!(libc::close_range(3, u32::MAX, 0), 0);
    }
    fails();
}

/// The waiting instructions of both vendors.
fn waiting() {
    static LINE: AtomicU64 = AtomicU64::new(0);
    let _queue = Queue::with_portal("wq0.0");
    // SAFETY: something emulates the instructions; the line is there.
    unsafe {
        instr::umonitor(LINE.as_ptr().cast());
        instr::umwait(0, instr::rdtsc() + 1000);
        instr::tpause(0, instr::rdtsc() + 1000);
        instr::monitorx(LINE.as_ptr().cast());
        instr::mwaitx(1000);
    }
}

/// Several threads, each with descriptors of its own.
fn threads() {
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let failed = &failed;
            scope.spawn(move || {
                let queue = Queue::with_portal("wq0.0");
                let (from, to) = (Pages::new(2).fill(thread), Pages::new(2).fill(0xff));
                for _ in 0..100 {
                    let ended = queue.run(opcode::MEMMOVE, 0, copy(from, to, 5000));
                    let right = ended.status == status::SUCCESS && to.touch(0) == thread && to.touch(4999) == thread;
                    failed.fetch_or(!right, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(!failed.load(Ordering::Relaxed));
}

/// How long things take, for a person.
fn cost() {
    let queue = Queue::with_portal("wq0.0");
    let (from, to) = (Pages::new(512).fill(1), Pages::new(512).fill(0));
    for (name, length, count) in [("64 B", 64u32, 5_000), ("64 KiB", 64 << 10, 2_000), ("2 MiB", 2 << 20, 100)] {
        let begun = std::time::Instant::now();
        for _ in 0..count {
            assert_eq!(queue.run(opcode::MEMMOVE, 0, copy(from, to, length as usize)).status, status::SUCCESS);
        }
        let each = begun.elapsed().as_secs_f64() / f64::from(count);
        println!("\ncopy of {name}: {:.1} us, {:.2} GB/s", each * 1e6, f64::from(length) / each / 1e9);
    }
}

/// Ends by `_exit`, past everything that runs at the end of a program.
fn exits() {
    let queue = Queue::with_portal("wq0.0");
    queue.run(opcode::NOP, 0, Descriptor::default());
    // SAFETY: ends the process.
    unsafe { libc::_exit(7) };
}

/// Ends by `_exit` in a signal handler that has interrupted the allocator, which holds the lock of this thread's part of
/// the heap.
fn exits_in_the_allocator() {
    extern "C" fn leave(_: i32) {
        // SAFETY: ends the process.
        unsafe { libc::_exit(7) }
    }
    unsafe extern "C" {
        fn malloc_stats();
    }
    let queue = Queue::with_portal("wq0.0");
    queue.run(opcode::NOP, 0, Descriptor::default());
    let mut ends = [0; 2];
    // The call at the end prints something of each part of the heap, whose lock it holds. It begins with the first thread's.
    // It goes to a pipe that nobody reads, and so raises a signal.
    // SAFETY: the handler has one argument; the files are our own.
    unsafe {
        // Not for ever.
        libc::alarm(60);
        assert_ne!(libc::signal(libc::SIGPIPE, leave as *const () as usize), libc::SIG_ERR);
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        assert_eq!(libc::close(ends[0]), 0);
        assert_eq!(libc::dup2(ends[1], libc::STDERR_FILENO), libc::STDERR_FILENO);
        malloc_stats();
    }
}

/// Finds a device that the kernel would restrict, as the superuser or as a user.
fn restricted() {
    let queue = Queue::open("wq0.0");
    // SAFETY: a question about this process.
    let is_root = unsafe { libc::geteuid() } == 0;
    match queue.map(PAGE, libc::MAP_SHARED) {
        Ok(_) => assert!(is_root),
        Err(error) => assert!(!is_root && error.raw_os_error() == Some(libc::EPERM), "{error}"),
    }
    let record = Record::new();
    let batch = record.of(opcode::BATCH, 0, Descriptor { xfer_size: 2, ..Descriptor::default() });
    assert_eq!(queue.write(&[batch]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    assert_eq!(queue.write(&[record.of(opcode::NOP, 0, Descriptor::default())]).unwrap(), 64);
    assert_eq!(record.wait().status, status::SUCCESS);
    let operations = std::fs::read_to_string("/sys/bus/dsa/devices/dsa0/op_cap").unwrap();
    let lowest = u32::from_str_radix(operations.trim().rsplit(',').next().unwrap(), 16).unwrap();
    assert_eq!(lowest >> opcode::BATCH & 1, 0, "{operations}");
    assert_eq!(lowest >> opcode::MEMMOVE & 1, 1, "{operations}");
}
