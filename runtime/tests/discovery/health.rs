//! Queues in use: do they work, and who has them open.

use std::fs;

use dsa::device::{DeviceState, QueueState, WorkQueueId, health, open_files};

use crate::tree::Tree;

const WQ: WorkQueueId = WorkQueueId { device: 0, queue: 0 };

#[test]
fn health_is_that_of_queue_and_device() {
    let tree = Tree::sapphire_rapids();
    let probe = tree.read().work_queue(WQ).unwrap().1.health_probe();
    let cases = [
        ("enabled", "enabled", Some(DeviceState::Enabled), Some(QueueState::Enabled), true),
        ("enabled", "disabled", Some(DeviceState::Enabled), Some(QueueState::Disabled), false),
        ("halted", "enabled", Some(DeviceState::Halted), Some(QueueState::Enabled), false),
        ("disabled", "disabled", Some(DeviceState::Disabled), Some(QueueState::Disabled), false),
        ("unknown", "enabled", Some(DeviceState::Unknown), Some(QueueState::Enabled), false),
        ("enabled", "halted", Some(DeviceState::Enabled), None, false),
        ("enabled, or so, but the word is too long", "enabled", None, Some(QueueState::Enabled), false),
    ];
    for (device, queue, expected_device, expected_queue, alive) in cases {
        tree.set("dsa0", &[("state", device)]);
        tree.set("wq0.0", &[("state", queue)]);
        let found = health(&tree.roots(), WQ).unwrap();
        assert_eq!((found.device, found.queue, found.is_alive()), (expected_device, expected_queue, alive));
        assert_eq!(probe.read().unwrap(), found);
    }
}

#[test]
fn a_device_that_is_gone_is_not_alive() {
    let tree = Tree::sapphire_rapids();
    let probe = tree.read().work_queue(WQ).unwrap().1.health_probe();
    assert!(probe.read().unwrap().is_alive());
    fs::remove_dir_all(tree.roots().sysfs.join("devices")).unwrap();
    let found = probe.read().unwrap();
    assert_eq!((found.device, found.queue, found.is_alive()), (None, None, false));
    assert_eq!(health(&tree.roots(), WQ).unwrap(), found);
    assert_eq!(open_files(&tree.roots(), WQ).unwrap(), None);
}

#[test]
fn queues_of_analytics_accelerators_have_their_own_device() {
    let tree = Tree::new();
    tree.device("iax0", "0000:6a:02.0", &[]);
    tree.queue("iax0", "wq0.0", &[]);
    assert!(health(&tree.roots(), WQ).unwrap().is_alive());
}

#[test]
fn a_state_that_cannot_be_read_is_an_error() {
    let tree = Tree::sapphire_rapids();
    tree.set("wq0.0", &[("state", "-")]);
    fs::create_dir(tree.bus().join("wq0.0/state")).unwrap();
    assert_eq!(health(&tree.roots(), WQ).unwrap_err().kind(), std::io::ErrorKind::IsADirectory);
}

#[test]
fn open_files_are_listed_with_their_openers() {
    let tree = Tree::sapphire_rapids();
    let none = open_files(&tree.roots(), WQ).unwrap();
    assert_eq!(none.as_deref(), Some(&[][..]), "there are no clients");
    tree.set("wq0.0", &[("clients", "3")]);
    tree.open_file("wq0.0", "file10", &[("pid", "4711"), ("cr_faults", "5"), ("cr_fault_failures", "1")]);
    tree.open_file("wq0.0", "file9", &[("pid", "17")]);
    tree.open_file("wq0.0", "file11", &[]);
    tree.open_file("wq0.1", "file0", &[("pid", "1")]);
    let files = tree.read().work_queue(WQ).unwrap().1.open_files().unwrap().expect("this kernel tells");
    let names: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.pid)).collect();
    assert_eq!(names, [("file9", Some(17)), ("file10", Some(4711)), ("file11", None)]);
    assert_eq!((files[1].faults, files[1].fault_failures), (Some(5), Some(1)));
    assert_eq!(open_files(&tree.roots(), WQ).unwrap(), Some(files));
}

#[test]
fn an_old_kernel_does_not_tell_who_has_a_queue_open() {
    let tree = Tree::sapphire_rapids();
    tree.set("wq0.0", &[("clients", "2")]);
    assert_eq!(open_files(&tree.roots(), WQ).unwrap(), None);
    tree.set("wq0.0", &[("clients", "-")]);
    assert_eq!(open_files(&tree.roots(), WQ).unwrap(), None);
}
