//! Every reason not to use a queue: when it is given, and what it says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use dsa::device::{Criteria, NodeAccess, QueueMode, Rejection, Topology, Via};
use idxd_sys::opcode;

use crate::tree::{Attributes, SPR_OPS_HIDDEN, Tree};

/// The reasons against wq0.0.
fn reasons(topology: &Topology, criteria: &Criteria) -> Vec<Rejection> {
    let selection = topology.select(criteria);
    selection.rejected.into_iter().find(|rejected| rejected.queue.id.queue == 0).map_or(vec![], |found| found.reasons)
}

/// What is said against wq0.0 of a Sapphire Rapids machine with these attributes.
fn said(device: Attributes, queue: Attributes, criteria: &Criteria) -> Vec<String> {
    let tree = Tree::sapphire_rapids();
    tree.set("dsa0", device);
    tree.set("wq0.0", queue);
    reasons(&tree.read(), criteria).iter().map(ToString::to_string).collect()
}

/// Attributes of the device and of the queue, criteria, and the one thing that is said against the queue.
type Case<'a> = (Attributes<'a>, Attributes<'a>, Criteria, &'a str);

#[track_caller]
fn check(cases: &[Case]) {
    for (device, queue, criteria, expected) in cases {
        assert_eq!(said(device, queue, criteria), [*expected], "{device:?}, {queue:?}");
    }
}

fn base() -> Criteria {
    Criteria::new()
}

#[test]
fn queues_and_devices_that_were_not_named_or_do_not_work() {
    check(&[
        (&[], &[], base().queue("wq0.1"), "wq0.0: not among the queues that were named: name it, or none"),
        (
            &[],
            &[],
            base().device("dsa7".parse().unwrap()),
            "wq0.0: dsa0 is not among the devices that were named: name it, or none",
        ),
        (
            &[("state", "disabled")],
            &[],
            base(),
            "wq0.0: the state of dsa0 is disabled: configure its queues, then enable it (accel-config enable-device \
             dsa0)",
        ),
        (
            &[("state", "disabled"), ("cmd_status", "0x18")],
            &[],
            base(),
            "wq0.0: the state of dsa0 is disabled; its last command ended with 0x18 (the read buffers of a group are \
             configured wrongly): reserve fewer read buffers, and allow each group at least as many as it reserves",
        ),
        (
            &[("state", "halted"), ("cmd_status", "0x3")],
            &[],
            base(),
            "wq0.0: the state of dsa0 is halted; its last command ended with 0x3 (hardware error): read the kernel \
             log, then reset it (accel-config disable-device dsa0, enable-device)",
        ),
        (&[("state", "unknown")], &[], base(), "wq0.0: the state of dsa0 is unknown: read the kernel log"),
        (&[("state", "-")], &[], base(), "wq0.0: the state of dsa0 is not known: read the kernel log"),
    ]);
}

#[test]
fn queues_that_do_not_work_or_reach_no_process() {
    check(&[
        (
            &[],
            &[("state", "disabled")],
            base(),
            "wq0.0: its state is disabled: configure and enable it (accel-config enable-wq dsa0/wq0.0)",
        ),
        (
            &[("cmd_status", "0x80110000")],
            &[("state", "disabled")],
            base(),
            "wq0.0: its state is disabled; the last command of dsa0 ended with 0x80110000 (a user queue needs an IOMMU \
             with shared virtual addressing): boot with intel_iommu=on,sm_on, with VT-d and PASID enabled in the \
             firmware",
        ),
        (
            &[("cmd_status", "0x99")],
            &[("state", "disabled")],
            base(),
            "wq0.0: its state is disabled; the last command of dsa0 ended with 0x99 (unknown): configure and enable it \
             (accel-config enable-wq dsa0/wq0.0)",
        ),
        (
            &[("cmd_status", "-")],
            &[("state", "-")],
            base(),
            "wq0.0: its state is not known: configure and enable it (accel-config enable-wq dsa0/wq0.0)",
        ),
        (
            &[("pasid_enabled", "0")],
            &[],
            base(),
            "wq0.0: shared virtual addressing is off for dsa0: boot with intel_iommu=on,sm_on, with VT-d and PASID \
             enabled in the firmware, and load idxd with sva=1",
        ),
        (
            &[("pasid_enabled", "-")],
            &[],
            base(),
            "wq0.0: shared virtual addressing is not known to be on for dsa0: boot with intel_iommu=on,sm_on, with \
             VT-d and PASID enabled in the firmware, and load idxd with sva=1",
        ),
    ]);
}

#[test]
fn queues_that_are_for_something_else() {
    check(&[
        (
            &[],
            &[("type", "kernel")],
            base(),
            "wq0.0: its type is kernel, not user: disable it, set type to user, then its name, and enable it",
        ),
        (
            &[],
            &[("type", "none")],
            base(),
            "wq0.0: its type is none, not user: set type to user, then its name, and enable it",
        ),
        (
            &[],
            &[("type", "mdev")],
            base(),
            "wq0.0: its type is mdev, not user: disable it, set type to user, then its name, and enable it",
        ),
        (
            &[],
            &[("type", "-")],
            base(),
            "wq0.0: its type is not known, not user: disable it, set type to user, then its name, and enable it",
        ),
        (
            &[],
            &[],
            base().driver("dmaengine"),
            "wq0.0: its driver is \"user\", not \"dmaengine\": disable it, set driver_name to dmaengine, and enable it \
             again",
        ),
        (
            &[],
            &[],
            base().mode(QueueMode::Dedicated),
            "wq0.0: its mode is shared, not dedicated: take another queue, or disable it and set mode",
        ),
        (
            &[],
            &[("mode", "-")],
            base().mode(QueueMode::Shared),
            "wq0.0: its mode is not known, not shared: take another queue, or disable it and set mode",
        ),
        (&[], &[("mode", "-")], base(), "wq0.0: its mode is not known: see the problems that reading found"),
        (
            &[],
            &[("mode", "dedicated"), ("clients", "1")],
            base(),
            "wq0.0: it is dedicated and already open (clients: 1): take another queue, or a shared one",
        ),
    ]);
}

#[test]
fn queues_that_are_too_far_too_small_or_cannot_do_it() {
    check(&[
        (
            &[("numa_node", "1")],
            &[],
            base().require_numa_node(0),
            "wq0.0: the NUMA node of dsa0 is 1, not 0: take a queue of a device there, or prefer the node instead of \
             requiring it",
        ),
        (
            &[("numa_node", "-1")],
            &[],
            base().require_numa_node(0),
            "wq0.0: the NUMA node of dsa0 is not known, not 0: take a queue of a device there, or prefer the node \
             instead of requiring it",
        ),
        (
            &[],
            &[],
            base().min_depth(13),
            "wq0.0: its depth is 12, and at least 13 was asked for: disable it, set its size and threshold, and enable \
             it again",
        ),
        (
            &[],
            &[("size", "-"), ("threshold", "-")],
            base(),
            "wq0.0: its depth is not known, and at least 1 was asked for: disable it, set its size and threshold, and \
             enable it again",
        ),
        (
            &[],
            &[("op_config", "0")],
            base().operations([opcode::FILL, opcode::CRCGEN]),
            "wq0.0: it does not offer fill, crc: take another queue",
        ),
        (
            &[],
            &[],
            base().operations([opcode::BATCH]),
            "wq0.0: it does not offer batch: take another queue, or do without batch, which the driver may refuse \
             through write(2) only",
        ),
        (
            &[],
            &[],
            base().via(Via::Portal).operations([opcode::BATCH]),
            "wq0.0: it does not offer batch: take another queue, or try whether the device executes batch, which the \
             driver hides",
        ),
    ]);
}

#[test]
fn analytics_accelerators_have_other_operations() {
    let tree = Tree::new();
    tree.device("iax1", "0000:6a:02.0", &[]);
    tree.queue("iax1", "wq1.0", &[]);
    assert_eq!(
        reasons(&tree.read(), &Criteria::new()).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["wq1.0: iax1 is an analytics accelerator (IAA), which has other operations: use a queue of a DSA device"]
    );
}

#[test]
fn a_device_that_does_not_say_what_it_can_do_is_not_used() {
    for attribute in ["version", "gen_cap", "op_cap"] {
        let expected = format!("wq0.0: {attribute} of dsa0 is not known: see the problems that reading found");
        // Operations that were asked for are not missing as well: nobody knows.
        let criteria = Criteria::new().operations([opcode::MEMMOVE]);
        assert_eq!(said(&[(attribute, "-")], &[], &criteria), [expected.as_str()]);
        assert_eq!(said(&[(attribute, "?")], &[], &criteria), [expected]);
    }
}

#[test]
fn the_last_command_is_told_once() {
    let found = said(&[("state", "disabled"), ("cmd_status", "0x3")], &[("state", "disabled")], &Criteria::new());
    let [device, queue] = found.as_slice() else { panic!("{found:?}") };
    assert!(device.contains("ended with 0x3 (hardware error)") && !queue.contains("0x3"), "{found:?}");
}

#[test]
fn all_reasons_are_collected() {
    let tree = Tree::sapphire_rapids();
    tree.set("dsa0", &[("state", "disabled"), ("pasid_enabled", "0"), ("numa_node", "1"), ("op_cap", SPR_OPS_HIDDEN)]);
    tree.set("wq0.0", &[("state", "disabled"), ("type", "none"), ("threshold", "0"), ("cdev_minor", "-")]);
    fs::remove_file(tree.roots().dev.join("dsa/wq0.0")).unwrap();
    let criteria = Criteria::new()
        .queue("nobody")
        .device("dsa1".parse().unwrap())
        .mode(QueueMode::Dedicated)
        .driver("other")
        .require_numa_node(0)
        .operations([opcode::BATCH]);
    let topology = tree.read();
    let found = reasons(&topology, &criteria);
    assert!(
        matches!(
            found.as_slice(),
            [
                Rejection::NotNamed { .. },
                Rejection::DeviceNotNamed { .. },
                Rejection::DeviceNotEnabled { .. },
                Rejection::NoPasid { .. },
                Rejection::WrongNumaNode { .. },
                Rejection::MissingOperations { .. },
                Rejection::NotEnabled { .. },
                Rejection::WrongType { .. },
                Rejection::WrongDriver { .. },
                Rejection::WrongMode { .. },
                Rejection::TooSmall { .. },
                Rejection::NoNode { .. },
            ]
        ),
        "{found:#?}"
    );
    assert_eq!(topology.select(&criteria).to_string().lines().filter(|line| line.starts_with("wq0.0")).count(), 12);
}

#[test]
fn a_node_that_is_not_there() {
    let tree = Tree::sapphire_rapids();
    let node = tree.roots().dev.join("dsa/wq0.0");
    fs::remove_file(&node).unwrap();
    let found = reasons(&tree.read(), &Criteria::new());
    let expected = format!(
        "wq0.0: {} does not exist: enable the queue, let udev make the node, and pass it into the container",
        node.display()
    );
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert_eq!(reasons(&tree.read(), &Criteria::new().ignore_node()), []);
}

#[test]
fn a_node_of_another_device() {
    let tree = Tree::sapphire_rapids();
    let node = tree.roots().dev.join("dsa/wq0.0");
    fs::remove_file(&node).unwrap();
    symlink("/dev/null", &node).unwrap();
    let topology = tree.read();
    assert_eq!(topology.devices[0].work_queues[0].access, NodeAccess::Stale { found: (1, 3), expected: (237, 0) });
    let expected = format!(
        "wq0.0: {} is device 1:3, but the queue is 237:0: make the node anew (the container has an old one)",
        node.display()
    );
    assert_eq!(reasons(&topology, &Criteria::new()).iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    // The same node is right if these are its numbers, or if they are not known.
    tree.set("dsa0", &[("cdev_major", "1")]);
    tree.set("wq0.0", &[("cdev_minor", "3")]);
    assert_eq!(reasons(&tree.read(), &Criteria::new()), []);
    tree.set("dsa0", &[("cdev_major", "-")]);
    assert_eq!(reasons(&tree.read(), &Criteria::new()), []);
}

#[test]
fn a_node_that_cannot_be_looked_at() {
    let tree = Tree::sapphire_rapids();
    let node = tree.roots().dev.join("dsa/wq0.0");
    fs::remove_file(&node).unwrap();
    symlink("wq0.0", &node).unwrap();
    let [Rejection::NodeFailed { path, .. }] = &reasons(&tree.read(), &Criteria::new())[..] else { panic!("a loop") };
    assert_eq!(path, &node);
    let text = reasons(&tree.read(), &Criteria::new())[0].to_string();
    assert!(text.ends_with("): check what is mounted there") && text.contains("could not be looked at ("), "{text}");
}

#[test]
fn a_node_that_is_kept_from_the_container() {
    let tree = Tree::sapphire_rapids();
    let mut topology = tree.read();
    topology.devices[0].work_queues[0].access = NodeAccess::Barred;
    let found = reasons(&topology, &Criteria::new());
    let expected = format!(
        "wq0.0: the device cgroup of this container forbids {}: allow the container its major number, for reading and \
         writing (podman and docker: --device)",
        tree.roots().dev.join("dsa/wq0.0").display()
    );
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

/// Runs a closure in a thread that acts as an ordinary user, whoever runs the tests. If that is root, it is only the
/// effective user that changes, which is the one that counts when a file is opened.
fn as_ordinary_user<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let become_nobody = || {
        let (nobody, unchanged): (libc::c_long, libc::c_long) = (65534, -1);
        // SAFETY: the system call by itself, unlike the C library's function, changes the calling thread alone; that
        // thread is one of ours and ends after `run`. It takes numbers and touches no memory.
        let result = unsafe {
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>());
            libc::syscall(libc::SYS_setresgid, unchanged, nobody, nobody);
            libc::syscall(libc::SYS_setresuid, unchanged, nobody, nobody)
        };
        assert_eq!(result, 0);
    };
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                // SAFETY: it has no preconditions.
                if unsafe { libc::geteuid() } == 0 {
                    become_nobody();
                }
                run()
            })
            .join()
            .expect("the thread has not panicked")
    })
}

#[test]
fn a_node_that_this_user_may_not_open() {
    let tree = Tree::sapphire_rapids();
    let node = tree.roots().dev.join("dsa/wq0.0");
    // Read alone is not enough.
    for mode in [0o000, 0o444] {
        fs::set_permissions(&node, fs::Permissions::from_mode(mode)).unwrap();
        let found = as_ordinary_user(|| reasons(&tree.read(), &Criteria::new()));
        let [Rejection::NoPermission { path, owner: Some(owner), user, .. }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((path, owner.mode), (&node, mode));
        assert_ne!(*user, 0);
        let expected = format!(
            "wq0.0: user {user} may not read and write {} (owner {}, group {}, mode {mode:03o}): add the user to the \
             node's group, or change the node by a udev rule",
            node.display(),
            owner.user,
            owner.group
        );
        assert_eq!(found[0].to_string(), expected);
    }
    fs::set_permissions(&node, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(as_ordinary_user(|| reasons(&tree.read(), &Criteria::new())), []);
}

#[test]
fn a_folder_that_this_user_may_not_enter() {
    let tree = Tree::sapphire_rapids();
    let folder = tree.roots().dev.join("dsa");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    let found = as_ordinary_user(|| reasons(&tree.read(), &Criteria::new()));
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let [reason @ Rejection::NoPermission { owner: None, .. }] = found.as_slice() else { panic!("{found:?}") };
    assert!(reason.to_string().contains("dsa/wq0.0 (a folder above it cannot be entered): add the user"), "{reason}");
}

#[test]
fn attributes_that_this_user_may_not_read() {
    let tree = Tree::sapphire_rapids();
    fs::set_permissions(tree.bus().join("dsa0/version"), fs::Permissions::from_mode(0o000)).unwrap();
    let topology = as_ordinary_user(|| tree.read());
    assert_eq!(topology.problems.len(), 1);
    assert!(topology.problems[0].to_string().ends_with("dsa0/version could not be read: permission denied"));
    assert!(matches!(
        reasons(&topology, &Criteria::new().ignore_node())[..],
        [Rejection::UnknownCapabilities { attribute: "version", .. }]
    ));
    // Nor the whole bus.
    fs::set_permissions(tree.bus(), fs::Permissions::from_mode(0o000)).unwrap();
    let topology = as_ordinary_user(|| tree.read());
    fs::set_permissions(tree.bus(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = tree.bus();
    assert_eq!(topology.absence, Some(dsa::device::Absence::NoPermission { path }));
}
