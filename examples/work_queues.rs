//! Which work queues does this machine have, which of them would be used, how, and why not the others?
//!
//! ```sh
//! cargo run -p dsa-examples --example work_queues
//! ```

use dsa::Accelerator;
use dsa::device::Topology;

fn main() {
    let topology = Topology::read();
    for (device, queue) in topology.work_queues() {
        let size = queue.size.unwrap_or_default();
        println!("{} of {}, {size} entries, NUMA node {:?}", queue.id, device.id, device.numa_node);
    }

    // Shared queues that this process may open. Dedicated ones have to be named: `Accelerator::builder().work_queue(..)`.
    let accelerator = Accelerator::open();
    for queue in accelerator.work_queues() {
        println!("used:     {queue}");
        if let Some(reason) = queue.no_portal {
            println!("          {reason}");
        }
    }
    for reason in accelerator.unused() {
        println!("not used: {reason}");
    }

    // With or without a queue, the same call works.
    let (source, mut target) = (vec![7; 100_000], vec![0; 100_000]);
    let path = accelerator.blocking().memcpy(&mut target, &source).expect("equally long");
    assert_eq!(source, target);
    println!("a copy of 100,000 bytes was done by: {path}");
}
