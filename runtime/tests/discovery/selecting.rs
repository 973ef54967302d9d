//! Which queues are chosen, and in which order.

use dsa::device::{Criteria, QueueMode, QueueType, Rejection, Topology, Via};
use idxd_sys::opcode;

use crate::tree::{SPR_OPS, Tree};

/// Three devices on three nodes, four queues; node 0 is nearer to 2 than to 1. No queue is like another.
fn machine() -> Tree {
    let tree = Tree::new();
    tree.distances("0-2", &[("node0", "10 32 21"), ("node1", "32 10 32"), ("node2", "21 32 10")]);
    for (device, address, node) in
        [("dsa0", "0000:6a:01.0", "0"), ("dsa2", "0000:a1:01.0", "1"), ("dsa4", "0000:e7:01.0", "2")]
    {
        tree.device(device, address, &[("numa_node", node)]);
    }
    tree.queue("dsa0", "wq0.0", &[("size", "32"), ("threshold", "8")]);
    tree.queue("dsa0", "wq0.1", &[("mode", "dedicated"), ("size", "16"), ("name", "mine")]);
    tree.queue("dsa2", "wq2.0", &[("size", "64"), ("threshold", "64"), ("op_config", SPR_OPS)]);
    tree.queue("dsa4", "wq4.0", &[("size", "16"), ("threshold", "8")]);
    tree
}

fn chosen(topology: &Topology, criteria: &Criteria) -> Vec<String> {
    topology.select(criteria).chosen.iter().map(|choice| choice.queue.id.to_string()).collect()
}

#[test]
fn criteria_and_what_they_choose() {
    let tree = machine();
    let topology = tree.read();
    assert_eq!(topology.problems, []);
    let base = Criteria::new;
    let cases: [(&str, Criteria, &[&str]); 20] = [
        ("the deepest first", base(), &["wq2.0", "wq0.1", "wq0.0", "wq4.0"]),
        ("shared", base().mode(QueueMode::Shared), &["wq2.0", "wq0.0", "wq4.0"]),
        ("dedicated", base().mode(QueueMode::Dedicated), &["wq0.1"]),
        ("near node 0", base().prefer_numa_node(0), &["wq0.1", "wq0.0", "wq4.0", "wq2.0"]),
        ("near node 2", base().prefer_numa_node(2), &["wq4.0", "wq0.1", "wq0.0", "wq2.0"]),
        ("near a node that is not there", base().prefer_numa_node(9), &["wq2.0", "wq0.1", "wq0.0", "wq4.0"]),
        ("on node 1", base().require_numa_node(1), &["wq2.0"]),
        ("on node 3", base().require_numa_node(3), &[]),
        ("at least 9 deep", base().min_depth(9), &["wq2.0", "wq0.1"]),
        ("at least 64 deep", base().min_depth(64), &["wq2.0"]),
        ("at least 65 deep", base().min_depth(65), &[]),
        ("by id", base().queue("wq0.0").queue("dsa4/wq4.0"), &["wq0.0", "wq4.0"]),
        ("by name", base().queue("mine"), &["wq0.1"]),
        ("by device", base().device("dsa4".parse().unwrap()).device("dsa2".parse().unwrap()), &["wq2.0", "wq4.0"]),
        ("by name and device", base().queue("mine").device("dsa2".parse().unwrap()), &[]),
        ("for copies", base().operations([opcode::MEMMOVE, opcode::COPY_CRC]), &["wq2.0", "wq0.1", "wq0.0", "wq4.0"]),
        ("for inter-domain copies", base().operations([opcode::INTER_DOMAIN_COPY]), &[]),
        ("for batches by write(2)", base().operations([opcode::BATCH]), &[]),
        ("for batches through the portal", base().via(Via::Portal).operations([opcode::BATCH]), &["wq2.0"]),
        ("for the kernel", base().queue_type(QueueType::Kernel).driver("dmaengine"), &[]),
    ];
    for (what, criteria, expected) in cases {
        assert_eq!(chosen(&topology, &criteria), expected, "{what}");
        let selection = topology.select(&criteria);
        assert_eq!(selection.chosen.len() + selection.rejected.len(), 4, "{what}: each queue is judged");
        assert!(selection.rejected.iter().all(|rejected| !rejected.reasons.is_empty()), "{what}");
        assert!(selection.rejected.is_sorted_by_key(|rejected| rejected.queue.id), "{what}");
        let lines = selection.to_string();
        assert_eq!(lines.matches(": chosen\n").count(), expected.len(), "{lines}");
    }
}

#[test]
fn operations_add_up() {
    let tree = machine();
    let topology = tree.read();
    let criteria = Criteria::new().operations([opcode::INTER_DOMAIN_COPY]).operations([opcode::TYPE_CONV]);
    let selection = topology.select(&criteria);
    let Rejection::MissingOperations { missing, .. } = &selection.rejected[0].reasons[0] else { panic!() };
    assert_eq!(missing.to_string(), "type-convert, inter-domain-copy");
}

#[test]
fn kernel_queues_need_no_node_and_no_pasid() {
    let tree = Tree::new();
    tree.device("dsa0", "0000:6a:01.0", &[("pasid_enabled", "0")]);
    tree.queue_without_node("dsa0", "wq0.0", &[("type", "kernel"), ("driver_name", "dmaengine"), ("cdev_minor", "-")]);
    let topology = tree.read();
    assert_eq!(chosen(&topology, &Criteria::new()), [""; 0]);
    assert_eq!(chosen(&topology, &Criteria::new().queue_type(QueueType::Kernel).driver("dmaengine")), ["wq0.0"]);
}

#[test]
fn the_driver_that_a_queue_is_bound_to_counts_most() {
    let tree = Tree::new();
    tree.device("dsa0", "0000:6a:01.0", &[]);
    tree.queue("dsa0", "wq0.0", &[("driver_name", "-")]);
    assert_eq!(chosen(&tree.read(), &Criteria::new()), ["wq0.0"], "an old kernel");
    tree.bind("wq0.0", "crypto");
    assert_eq!(chosen(&tree.read(), &Criteria::new()), [""; 0]);
    tree.set("wq0.0", &[("driver_name", "user")]);
    assert_eq!(chosen(&tree.read(), &Criteria::new()), [""; 0]);
    assert_eq!(chosen(&tree.read(), &Criteria::new().driver("crypto")), ["wq0.0"]);
}

#[test]
fn analytics_accelerators_are_listed_and_never_chosen() {
    let tree = Tree::sapphire_rapids();
    let absent = ["max_batch_size", "max_read_buffers", "read_buffer_limit"].map(|name| (name, "-"));
    tree.device("iax1", "0000:6a:02.0", &absent);
    tree.queue("iax1", "wq1.0", &[("max_batch_size", "-"), ("size", "128"), ("threshold", "128")]);
    let topology = tree.read();
    assert_eq!(topology.problems, []);
    let (device, queue) = topology.work_queue("wq1.0".parse().unwrap()).unwrap();
    assert_eq!((device.id.to_string(), &queue.node), ("iax1".into(), &tree.roots().dev.join("iax/wq1.0")));
    let selection = topology.select(&Criteria::new());
    assert_eq!(chosen(&topology, &Criteria::new()), ["wq0.1", "wq0.0"]);
    assert!(matches!(selection.rejected[0].reasons.as_slice(), [Rejection::Iaa { .. }]));
}

#[test]
fn names_that_nothing_answers_to_are_reported() {
    let tree = machine();
    let topology = tree.read();
    let criteria = Criteria::new().queue("mine").queue("yours").queue("wq0.7").device("dsa8".parse().unwrap());
    let selection = topology.select(&criteria);
    assert_eq!(selection.unknown_queues, ["yours", "wq0.7"]);
    assert_eq!(selection.unknown_devices, ["dsa8".parse().unwrap()]);
    let text = selection.to_string();
    assert!(text.contains("yours: there is no such work queue\n") && text.contains("dsa8: there is no such device\n"));
}

#[test]
fn a_queue_answers_to_its_names_only() {
    let tree = machine();
    let topology = tree.read();
    let (_, queue) = topology.work_queue("wq0.1".parse().unwrap()).unwrap();
    let node = tree.roots().dev.join("dsa/wq0.1");
    for name in ["wq0.1", "dsa0/wq0.1", "mine", node.to_str().unwrap()] {
        assert!(queue.answers_to(name), "{name}");
    }
    for name in ["", "wq0.10", "dsa1/wq0.1", "/wq0.1", "dsa0wq0.1", "0.1", "Mine", "dsa0"] {
        assert!(!queue.answers_to(name), "{name}");
    }
    // A queue without a name does not answer to the lack of one.
    tree.set("wq0.1", &[("name", "")]);
    let topology = tree.read();
    assert!(!topology.work_queue("wq0.1".parse().unwrap()).unwrap().1.answers_to(""));
}

#[test]
fn distances_that_make_no_sense_change_only_the_order() {
    let tree = machine();
    tree.distances("0-2", &[("node0", "near far"), ("node1", "10"), ("node2", "21 32 10 11")]);
    let topology = tree.read();
    assert_eq!(topology.problems.len(), 1);
    assert_eq!(
        (topology.numa_distance(0, 0), topology.numa_distance(1, 2), topology.numa_distance(2, 1)),
        (None, None, Some(32))
    );
    assert_eq!(chosen(&topology, &Criteria::new().prefer_numa_node(0)), ["wq0.1", "wq0.0", "wq2.0", "wq4.0"]);
}
