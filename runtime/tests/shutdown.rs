//! The end of an accelerator, awaited.

mod support;

use std::task::Poll;

use dsa::{Accelerator, Ending};
use dsa_emulator::{Config, Device, WqConfig};
use support::late::{copy, held_with_all, launch};
use support::tracked::Ledger;
use support::{Watchdog, block_on, poll_once, within};

#[test]
fn the_last_handle_waits_for_operations_that_nobody_waits_for() {
    let _watchdog = Watchdog::start("shutdown");
    let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
    for _ in 0..3 {
        launch(&mut copy(&accelerator, &ledger));
    }
    assert_eq!((accelerator.in_flight(), ledger.alive()), (3, 6));
    let mut shutdown = accelerator.shutdown();
    // It may have ended by itself on a machine that stood still for long.
    let early = poll_once(&mut shutdown);
    device.run_until_idle();
    let ending = match early {
        Poll::Ready(ending) => ending,
        Poll::Pending => block_on("shutdown", within("shutdown", shutdown)),
    };
    assert_eq!((ending, ledger.alive()), (Ending::Closed, 0), "all is freed when it ends");
}

/// The device never gets to it: the queues are quiesced.
#[test]
fn what_does_not_end_is_made_to() {
    let _watchdog = Watchdog::start("shutdown");
    let ((_device, accelerator), ledger) = (held_with_all(), Ledger::new());
    launch(&mut copy(&accelerator, &ledger));
    assert_eq!(block_on("shutdown", within("shutdown", accelerator.shutdown())), Ending::Closed);
    assert_eq!(ledger.alive(), 0);
}

#[test]
fn queues_can_be_opened_again_at_once() {
    let _watchdog = Watchdog::start("shutdown");
    let device = Device::new(Config::sapphire_rapids().queue(WqConfig::dedicated(16))).unwrap();
    block_on("rounds", async {
        for round in 0..20 {
            let accelerator = Accelerator::builder().min_device_size(0).emulator(&device).build().expect("it is free");
            let (source, target) = accelerator.copy(vec![round; 5000], vec![0; 5000]).await.expect("valid arguments");
            assert_eq!(source, target);
            Accelerator::builder().emulator(&device).build().expect_err("it is dedicated");
            assert_eq!(within("shutdown", accelerator.shutdown()).await, Ending::Closed);
        }
    });
}

#[test]
fn other_handles_keep_working() {
    let _watchdog = Watchdog::start("shutdown");
    let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
    let other = accelerator.clone();
    launch(&mut copy(&accelerator, &ledger));
    let mut shutdown = accelerator.shutdown();
    launch(&mut shutdown);
    // Not waited for.
    let mut later = copy(&other, &ledger);
    launch(&mut later);
    device.run_until_idle();
    let mut last = copy(&other, &ledger);
    launch(&mut last);
    block_on("the rest", async {
        assert_eq!(within("shutdown", shutdown).await, Ending::Kept);
        let (_source, target) = within("copy", later).await.expect("valid arguments");
        assert!(target.bytes().iter().all(|&byte| byte == 7));
        device.run_until_idle();
        within("copy", last).await.expect("valid arguments");
        assert_eq!(within("shutdown", other.shutdown()).await, Ending::Closed);
    });
}

/// A future that is not finished holds a handle, whoever has dropped the others.
#[test]
fn a_future_that_is_out_is_a_handle() {
    let _watchdog = Watchdog::start("shutdown");
    let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
    let mut operation = copy(&accelerator, &ledger);
    launch(&mut operation);
    let mut shutdown = accelerator.shutdown();
    launch(&mut shutdown);
    device.run_until_idle();
    block_on("the rest", async {
        assert_eq!(within("shutdown", shutdown).await, Ending::Kept);
        let (source, target) = within("copy", operation).await.expect("valid arguments");
        assert_eq!(source.bytes(), target.bytes());
    });
}

#[test]
fn of_several_shutdowns_one_is_the_last() {
    let _watchdog = Watchdog::start("shutdown");
    for _ in 0..20 {
        let (device, accelerator) = held_with_all();
        let mut others = [(); 3].map(|()| accelerator.clone().shutdown());
        others.iter_mut().for_each(launch);
        drop(accelerator);
        device.run_until_idle();
        let mut endings = std::thread::scope(|scope| {
            let threads = others.map(|shutdown| scope.spawn(|| futures_executor::block_on(shutdown)));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        endings.sort_unstable_by_key(|&ending| ending == Ending::Closed);
        assert_eq!(endings, [Ending::Kept, Ending::Kept, Ending::Closed]);
    }
}

#[test]
fn a_shutdown_that_is_dropped_drops_the_handle() {
    let _watchdog = Watchdog::start("shutdown");
    let ((device, accelerator), ledger) = (held_with_all(), Ledger::new());
    launch(&mut copy(&accelerator, &ledger));
    let other = accelerator.clone();
    let mut shutdown = accelerator.shutdown();
    launch(&mut shutdown);
    drop(shutdown);
    device.run_until_idle();
    assert_eq!(block_on("shutdown", within("shutdown", other.shutdown())), Ending::Closed);
    assert_eq!(ledger.alive(), 0);
}

#[test]
fn without_queues_there_is_nothing_to_wait_for() {
    assert_eq!(poll_once(&mut Accelerator::cpu().shutdown()), Poll::Ready(Ending::Closed));
    let accelerator = Accelerator::cpu();
    assert_eq!(poll_once(&mut accelerator.clone().shutdown()), Poll::Ready(Ending::Kept));
}
