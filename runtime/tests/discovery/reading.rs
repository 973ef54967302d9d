//! What is read of a tree, and what becomes of things that are absent, unreadable or nonsense.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use dsa::descriptor::{Capabilities, InterDomainCapabilities};
use dsa::device::{
    Absence, CommandStatus, DeviceState, NodeAccess, OpcodeSet, Problem, ProblemKind, QueueMode, QueueState, QueueType,
    Roots, Support, Topology, Via,
};
use idxd_sys::{gencap, opcode, swerr};

use crate::tree::{SPR_OPS, SPR_OPS_HIDDEN, Tree};

#[test]
fn a_sapphire_rapids_machine_is_read_in_full() {
    let tree = Tree::sapphire_rapids();
    let topology = tree.read();
    assert_eq!((topology.problems.as_slice(), &topology.absence, topology.devices.len()), (&[][..], &None, 1));

    let device = &topology.devices[0];
    assert_eq!(device.id.to_string(), "dsa0");
    assert_eq!(device.path, tree.bus().join("dsa0"));
    assert_eq!(device.pci_address.as_deref(), Some("0000:6a:01.0"));
    assert_eq!((device.version, device.state), (Some(0x100), Some(DeviceState::Enabled)));
    assert_eq!((device.pasid_enabled, device.configurable), (Some(true), Some(true)));
    assert_eq!(device.gen_cap, Some(0x40_915f_0107));
    assert_eq!(device.op_cap, Some(OpcodeSet::from_words([0x1_003f_03fd, 0, 0, 0])));
    assert_eq!((device.max_transfer_size, device.max_batch_size), (Some(1 << 31), Some(1024)));
    assert_eq!((device.max_groups, device.max_engines, device.max_work_queues), (Some(4), Some(4), Some(8)));
    assert_eq!((device.max_work_queues_size, device.max_read_buffers), (Some(128), Some(96)));
    assert_eq!((device.read_buffer_limit, device.numa_node, device.clients), (Some(0), Some(0), Some(0)));
    assert_eq!((device.last_command, device.cdev_major), (Some(CommandStatus(0)), Some(237)));
    assert_eq!((device.errors, device.software_error()), (Some([0; 4]), None));
    // The hardware has neither.
    assert_eq!((device.event_log_size, device.dsa_caps), (None, None));

    let [first, second] = device.groups.as_slice() else { panic!("two groups") };
    assert_eq!(first.id.to_string(), "group0.0");
    assert_eq!(
        first.engines.as_ref().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["engine0.0", "engine0.1"]
    );
    assert_eq!(
        first.work_queues.as_ref().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["wq0.0", "wq0.1"]
    );
    assert_eq!((first.traffic_class_a, first.traffic_class_b), (Some(1), None));
    assert_eq!((first.read_buffers_allowed, first.read_buffers_reserved), (Some(96), Some(8)));
    assert_eq!((first.use_read_buffer_limit, first.desc_progress_limit), (Some(false), None));
    assert_eq!((second.engines.as_deref(), second.work_queues.as_deref()), (Some(&[][..]), Some(&[][..])));
    assert_eq!(device.engines.iter().map(|engine| engine.group).collect::<Vec<_>>(), [Some(0), None]);

    let [shared, dedicated] = device.work_queues.as_slice() else { panic!("two queues") };
    assert_eq!(
        (shared.id.to_string(), shared.device, &shared.path),
        ("wq0.0".into(), device.id, &tree.bus().join("wq0.0"))
    );
    assert_eq!((&shared.node, shared.access), (&tree.roots().dev.join("dsa/wq0.0"), NodeAccess::Granted));
    assert_eq!((shared.state, shared.mode), (Some(QueueState::Enabled), Some(QueueMode::Shared)));
    assert_eq!((shared.queue_type, shared.name.as_deref()), (Some(QueueType::User), Some("app")));
    assert_eq!((shared.driver_name.as_deref(), shared.bound_driver.as_deref()), (Some("user"), Some("user")));
    assert_eq!((shared.group, shared.size, shared.threshold, shared.depth()), (Some(0), Some(16), Some(12), Some(12)));
    assert_eq!((shared.priority, shared.occupancy, shared.clients), (Some(10), Some(3), Some(0)));
    assert_eq!((shared.block_on_fault, shared.ats_disable, shared.prs_disable), (Some(true), Some(false), None));
    assert_eq!((shared.max_transfer_size, shared.max_batch_size), (Some(2 << 20), Some(32)));
    assert_eq!((shared.enqcmds_retries, shared.op_config, shared.cdev_minor), (Some(32), None, Some(0)));
    assert_eq!((dedicated.mode, dedicated.depth()), (Some(QueueMode::Dedicated), Some(32)));
    assert_eq!((dedicated.enqcmds_retries, dedicated.cdev_minor), (None, Some(1)));
}

#[test]
fn capabilities_are_those_of_queue_and_device_together() {
    let tree = Tree::sapphire_rapids();
    let topology = tree.read();
    let (device, queue) = topology.work_queue("wq0.0".parse().unwrap()).unwrap();
    let expected = Capabilities::new(0x100, 0x40_915f_0107, [0x1_003f_03fd, 0, 0, 0])
        .with_max_transfer_size(2 << 20)
        .with_max_batch_size(32)
        .with_block_on_fault(true);
    assert_eq!(queue.capabilities(device, Via::Write), Some(expected));
    let (_, queue) = topology.work_queue("wq0.1".parse().unwrap()).unwrap();
    assert!(!queue.capabilities(device, Via::Write).unwrap().may_block_on_fault());
    // A limit of the device holds even if the queue's is not known.
    tree.set("wq0.0", &[("max_transfer_size", "-"), ("max_batch_size", "-")]);
    tree.set("dsa0", &[("max_transfer_size", "4096"), ("max_batch_size", "16")]);
    let topology = tree.read();
    let (device, queue) = topology.work_queue("wq0.0".parse().unwrap()).unwrap();
    let capabilities = queue.capabilities(device, Via::Write).unwrap();
    assert_eq!((capabilities.max_transfer_size(), capabilities.max_batch_size()), (4096, 16));
}

#[test]
fn prs_disable_overrides_block_on_fault() {
    let tree = Tree::sapphire_rapids();
    for (disabled, expected) in [("0", true), ("1", false)] {
        tree.set("wq0.0", &[("prs_disable", disabled)]);
        let topology = tree.read();
        let (device, queue) = topology.work_queue("wq0.0".parse().unwrap()).unwrap();
        assert_eq!(queue.capabilities(device, Via::Portal).unwrap().may_block_on_fault(), expected);
    }
}

#[test]
fn batch_is_offered_only_where_it_is_certain() {
    use Support::{No, Unknown, Yes};
    const WITHOUT: &str = SPR_OPS_HIDDEN;
    let cases = [
        // op_cap, op_config, through the portal, through write(2)
        (SPR_OPS, "-", Yes, Yes),
        (SPR_OPS, SPR_OPS, Yes, Yes),
        (SPR_OPS, WITHOUT, No, No),
        (WITHOUT, SPR_OPS, Yes, No),
        (WITHOUT, "-", Unknown, No),
        (WITHOUT, WITHOUT, Unknown, No),
        ("-", "-", Unknown, Unknown),
    ];
    for (op_cap, op_config, portal, write) in cases {
        let tree = Tree::new();
        tree.device("dsa0", "0000:6a:01.0", &[("op_cap", op_cap)]);
        tree.queue("dsa0", "wq0.0", &[("op_config", op_config)]);
        let topology = tree.read();
        let (device, queue) = topology.work_queues().next().unwrap();
        for (via, expected) in [(Via::Portal, portal), (Via::Write, write)] {
            assert_eq!(queue.batch(device, via), expected, "{via:?}, {op_cap}, {op_config}");
            let operations = queue.operations(device, via);
            assert_eq!(operations.is_none(), op_cap == "-");
            if let Some(operations) = operations {
                assert_eq!(operations.contains(opcode::BATCH), expected == Yes, "{via:?}, {op_cap}, {op_config}");
                assert!(operations.contains(opcode::MEMMOVE) && operations.contains(opcode::CFLUSH));
                let tried = queue.capabilities_for(device, operations.with(opcode::BATCH)).unwrap();
                assert!(tried.supports(opcode::BATCH));
            }
        }
    }
}

#[test]
fn operations_must_be_in_op_cap_and_op_config() {
    let tree = Tree::new();
    tree.device("dsa0", "0000:6a:01.0", &[]);
    tree.queue(
        "dsa0",
        "wq0.0",
        &[("op_config", "ffffffff,00000000,00000000,00000000,00000000,00000000,00000000,00000018")],
    );
    let topology = tree.read();
    let (device, queue) = topology.work_queues().next().unwrap();
    assert_eq!(queue.operations(device, Via::Write), Some(OpcodeSet::from([opcode::MEMMOVE, opcode::FILL])));
}

#[test]
fn an_old_kernel_has_fewer_attributes_and_other_formats() {
    let tree = Tree::new();
    let old = [
        ("op_cap", "0x1003f03ff 0x0 0x0 0x0"),
        ("errors", "0x0000000000000000 0x0000000000000000 0x0000000000000000 0x0000000000000000"),
        ("max_read_buffers", "-"),
        ("read_buffer_limit", "-"),
        ("max_tokens", "96"),
        ("token_limit", "7"),
        ("numa_node", "-"),
        ("clients", "-"),
    ];
    tree.device("dsa0", "0000:6a:01.0", &old);
    tree.group(
        "dsa0",
        "group0.0",
        &[
            ("read_buffers_allowed", "-"),
            ("read_buffers_reserved", "-"),
            ("use_read_buffer_limit", "-"),
            ("tokens_allowed", "8"),
            ("tokens_reserved", "4"),
            ("use_token_limit", "1"),
        ],
    );
    let absent = ["ats_disable", "driver_name", "enqcmds_retries", "max_batch_size", "max_transfer_size", "occupancy"];
    tree.queue("dsa0", "wq0.0", &absent.map(|name| (name, "-")));
    tree.queue("dsa0", "wq0.1", &[("type", "mdev"), ("cdev_minor", "-1")]);
    let topology = tree.read();
    assert_eq!(topology.problems, []);
    let device = &topology.devices[0];
    assert_eq!(device.op_cap, Some(OpcodeSet::from_words([0x1_003f_03ff, 0, 0, 0])));
    assert_eq!((device.max_read_buffers, device.read_buffer_limit), (Some(96), Some(7)));
    assert_eq!((device.numa_node, device.clients), (Some(0), None), "the node is that of the PCI function");
    let group = &device.groups[0];
    assert_eq!((group.read_buffers_allowed, group.read_buffers_reserved), (Some(8), Some(4)));
    assert_eq!(group.use_read_buffer_limit, Some(true));
    let [queue, virtual_queue] = device.work_queues.as_slice() else { panic!("two queues") };
    assert_eq!((queue.ats_disable, queue.driver_name.as_deref(), queue.enqcmds_retries), (None, None, None));
    assert_eq!((queue.max_batch_size, queue.max_transfer_size, queue.occupancy), (None, None, None));
    let capabilities = queue.capabilities(device, Via::Write).unwrap();
    assert_eq!((capabilities.max_transfer_size(), capabilities.max_batch_size()), (1 << 31, 1024));
    assert!(capabilities.supports(opcode::BATCH), "these kernels hide nothing");
    assert_eq!((virtual_queue.queue_type, virtual_queue.cdev_minor), (Some(QueueType::Mdev), None));
}

#[test]
fn a_granite_rapids_machine_has_an_event_log() {
    let tree = Tree::new();
    let gen_cap = 0x40_915f_0107 | gencap::CRC_64 | 1 << 13;
    let changes = [
        ("version", "0x200"),
        ("gen_cap", &format!("{gen_cap:#x}")),
        ("op_cap", "00000000,00000000,00000000,00000000,00000000,00000000,00000001,00bf07ff"),
        ("event_log_size", "64"),
        ("numa_node", "-1"),
    ];
    tree.device("dsa0", "0000:6a:01.0", &changes);
    tree.group("dsa0", "group0.0", &[("desc_progress_limit", "2"), ("batch_progress_limit", "0")]);
    tree.queue("dsa0", "wq0.0", &[("op_config", SPR_OPS), ("prs_disable", "0")]);
    let topology = tree.read();
    assert_eq!(topology.problems, []);
    let device = &topology.devices[0];
    assert_eq!((device.version, device.event_log_size, device.numa_node), (Some(0x200), Some(64), None));
    assert_eq!((device.groups[0].desc_progress_limit, device.groups[0].batch_progress_limit), (Some(2), Some(0)));
    let queue = &device.work_queues[0];
    assert_eq!(
        (queue.prs_disable, queue.op_config),
        (Some(false), Some(OpcodeSet::from_words([0x1_003f_03ff, 0, 0, 0])))
    );
    let capabilities = queue.capabilities(device, Via::Write).unwrap();
    assert!(capabilities.crc64() && capabilities.event_log() == 1 && capabilities.supports(opcode::BATCH));
    assert!(!capabilities.supports(opcode::DIX_GEN), "the queue's owner does not allow it");
}

#[test]
fn a_third_generation_device_lists_its_capabilities() {
    let tree = Tree::new();
    let caps = "0000000000000003,0000000000000002,8000000000000001";
    tree.device("dsa0", "0000:6a:01.0", &[("version", "0x300"), ("dsacaps", caps)]);
    assert_eq!(tree.read().devices[0].dsa_caps, Some([0x8000_0000_0000_0001, 2, 3]));
}

#[test]
fn typed_operations_and_lists_follow_the_dsacaps() {
    let tree = Tree::new();
    let expected = Capabilities::diamond_rapids();
    let [zero, one, two] = expected.dsa_caps();
    let dsacaps = format!("{two:016x},{one:016x},{zero:016x}");
    let word = expected.op_cap()[0];
    let ops = format!("{}{:08x},{:08x}", "00000000,".repeat(6), word >> 32, word & 0xffff_ffff);
    let gen_cap = format!("{:#x}", expected.gen_cap());
    let changes = [("version", "0x300"), ("gen_cap", &gen_cap), ("op_cap", &ops), ("dsacaps", &dsacaps)];
    tree.device("dsa0", "0000:6a:01.0", &changes);
    tree.queue("dsa0", "wq0.0", &[("max_batch_size", "1024"), ("max_transfer_size", "2147483648")]);
    let topology = tree.read();
    assert_eq!(topology.problems, []);
    let (device, queue) = topology.work_queues().next().unwrap();
    let capabilities = queue.capabilities(device, Via::Write).unwrap();
    assert_eq!(capabilities, expected.with_block_on_fault(true));
    assert_eq!((capabilities.max_sgl_size(), capabilities.max_gather_reduce_block()), (1024, 16384));
    assert!(capabilities.may_name_handles(opcode::REDUCE));
    // What no kernel shows.
    assert_eq!(capabilities.inter_domain_capabilities(), InterDomainCapabilities::default());

    // Without the attribute there is nothing to work with, whatever op_cap shows.
    tree.set("dsa0", &[("dsacaps", "-")]);
    let topology = tree.read();
    let (device, queue) = topology.work_queues().next().unwrap();
    let capabilities = queue.capabilities(device, Via::Write).unwrap();
    assert!(capabilities.supports(opcode::REDUCE));
    assert_eq!((capabilities.dsa_caps(), capabilities.max_sgl_size()), ([0; 3], 0));
}

#[test]
fn a_queue_that_does_not_translate_fetches_no_translations() {
    let tree = Tree::new();
    tree.device("dsa0", "0000:6a:01.0", &[("op_cap", &SPR_OPS.replace("03ff", "07ff"))]);
    for (disabled, expected) in [("0", true), ("1", false), ("-", true)] {
        tree.queue("dsa0", "wq0.0", &[("ats_disable", "0")]);
        tree.set("wq0.0", &[("ats_disable", disabled)]);
        let topology = tree.read();
        let (device, queue) = topology.work_queues().next().unwrap();
        for via in [Via::Portal, Via::Write] {
            assert_eq!(queue.operations(device, via).unwrap().contains(opcode::TRANSL_FETCH), expected, "{disabled}");
            assert_eq!(queue.capabilities(device, via).unwrap().supports(opcode::TRANSL_FETCH), expected);
        }
    }
}

#[test]
fn a_software_error_is_taken_apart() {
    let tree = Tree::sapphire_rapids();
    let mut error = swerr::SwError::default();
    (error.flags, error.error, error.wq, error.fault_addr) = (swerr::WQ_VALID, 0x51, 3, 0x7f00_1234_5000);
    let [head, batch, address, _] = error.encode();
    assert_eq!(batch, 0);
    let text = format!(
        "00000000,00000000,{:08x},{:08x},00000000,00000000,{:08x},{:08x}",
        address >> 32,
        address & 0xffff_ffff,
        head >> 32,
        head & 0xffff_ffff
    );
    tree.set("dsa0", &[("errors", &text)]);
    let error = tree.read().devices[0].software_error().expect("an error");
    assert_eq!((error.wq, error.error, error.fault_addr), (3, 0x51, 0x7f00_1234_5000));
}

#[test]
fn garbage_is_kept_as_a_problem_and_the_rest_is_read() {
    let tree = Tree::sapphire_rapids();
    let garbage = [
        ("version", "one", "a number of its range"),
        ("gen_cap", "0x", "a number of its range"),
        ("max_batch_size", "4294967296", "a number of its range"),
        ("numa_node", "-2", "a number, or -1"),
        ("op_cap", "00000000;", "256 bits in hexadecimal"),
        ("pasid_enabled", "yes", "0 or 1"),
        ("state", "on fire", "enabled, disabled, halted or unknown"),
        ("dsacaps", "1,2", "three 64-bit numbers in hexadecimal"),
    ];
    for (name, text, _) in garbage {
        tree.set("dsa0", &[(name, text)]);
    }
    tree.set("group0.0", &[("work_queues", "wq0.0 dsa0"), ("engines", "1")]);
    let topology = tree.read();
    for (name, text, expected) in garbage {
        let path = tree.bus().join("dsa0").join(name);
        let problem = topology.problems.iter().find(|problem| problem.path == path).expect(name);
        assert_eq!(problem.kind, ProblemKind::Malformed { text: text.into(), expected });
        assert!(problem.to_string().ends_with(&format!("holds {text:?} instead of {expected}")));
    }
    assert_eq!(topology.problems.len(), garbage.len() + 2);
    let device = &topology.devices[0];
    assert_eq!((device.version, device.state, device.max_batch_size, device.op_cap), (None, None, None, None));
    assert_eq!((device.max_groups, device.work_queues.len()), (Some(4), 2));
    assert_eq!((&device.groups[0].work_queues, &device.groups[0].engines), (&None, &None));
    assert_eq!(device.work_queues[0].capabilities(device, Via::Write), None);
}

#[test]
fn texts_that_are_no_text_are_problems_too() {
    let tree = Tree::sapphire_rapids();
    fs::write(tree.bus().join("dsa0/version"), b"0x1\xff00\n").unwrap();
    fs::write(tree.bus().join("dsa0/clients"), [b'1'; 5000]).unwrap();
    fs::write(tree.bus().join("dsa0/max_groups"), format!("4{:5000}", "")).unwrap();
    fs::write(tree.bus().join("wq0.0/name"), b"caf\xe9\n").unwrap();
    let topology = tree.read();
    let [version, groups, clients] = topology.problems.as_slice() else { panic!("{:?}", topology.problems) };
    assert!(matches!(&version.kind, ProblemKind::Malformed { text, .. } if text == "0x1\u{fffd}00"));
    assert!(matches!(&clients.kind, ProblemKind::Malformed { text, .. } if text.len() == 128), "cut");
    assert!(
        matches!(&groups.kind, ProblemKind::Malformed { text, .. } if text == "4"),
        "who knows what comes after it"
    );
    assert_eq!(topology.devices[0].work_queues[0].name.as_deref(), Some("caf\u{fffd}"), "a name is any text");
}

#[test]
fn an_unreadable_attribute_is_a_problem() {
    let tree = Tree::sapphire_rapids();
    tree.set("dsa0", &[("version", "-")]);
    fs::create_dir(tree.bus().join("dsa0/version")).unwrap();
    let topology = tree.read();
    let path = tree.bus().join("dsa0/version");
    let [Problem { path: found, kind, .. }] = topology.problems.as_slice() else { panic!("one problem") };
    assert_eq!((found, kind), (&path, &ProblemKind::Unreadable(io::ErrorKind::IsADirectory)));
    assert_eq!((topology.devices[0].version, topology.devices[0].max_groups), (None, Some(4)));
}

#[test]
fn a_part_without_its_device_is_a_problem() {
    let tree = Tree::sapphire_rapids();
    for name in ["wq7.0", "group7.0", "engine7.0"] {
        tree.part("dsa0", name, &[]);
    }
    let topology = tree.read();
    let kinds: Vec<_> = topology.problems.iter().map(|problem| problem.kind.clone()).collect();
    assert_eq!(kinds, [ProblemKind::NoDevice(7), ProblemKind::NoDevice(7), ProblemKind::NoDevice(7)]);
    assert_eq!(topology.work_queues().count(), 2);
}

#[test]
fn other_objects_on_the_bus_are_passed_over() {
    let tree = Tree::sapphire_rapids();
    tree.open_file("wq0.0", "file0", &[("pid", "17")]);
    fs::create_dir(tree.bus().join(std::ffi::OsStr::from_bytes(b"dsa\xff"))).unwrap();
    fs::create_dir(tree.bus().join("dsa00")).unwrap();
    let topology = tree.read();
    assert_eq!((topology.problems.as_slice(), topology.devices.len(), topology.work_queues().count()), (&[][..], 1, 2));
}

#[test]
fn everything_is_in_the_order_of_numbers() {
    let tree = Tree::new();
    for (number, function) in [(10, 1), (2, 2), (0, 3)] {
        let device = format!("dsa{number}");
        tree.device(&device, &format!("0000:0{function}:01.0"), &[]);
        for queue in [10, 9, 0] {
            tree.queue(&device, &format!("wq{number}.{queue}"), &[]);
        }
    }
    let topology = tree.read();
    let names: Vec<_> = topology.work_queues().map(|(_, queue)| queue.id.to_string()).collect();
    assert_eq!(names, ["wq0.0", "wq0.9", "wq0.10", "wq2.0", "wq2.9", "wq2.10", "wq10.0", "wq10.9", "wq10.10"]);
}

#[test]
fn a_tree_without_links_is_read_as_well() {
    // A container may copy the tree.
    let tree = Tree::new();
    for (folder, state) in [("dsa0", "enabled"), ("wq0.0", "enabled")] {
        fs::create_dir(tree.bus().join(folder)).unwrap();
        fs::write(tree.bus().join(folder).join("state"), state).unwrap();
    }
    let topology = tree.read();
    assert_eq!((topology.problems.as_slice(), topology.devices[0].pci_address.as_deref()), (&[][..], None));
    assert_eq!(topology.devices[0].work_queues[0].state, Some(QueueState::Enabled));
    assert_eq!(topology.devices[0].work_queues[0].access, NodeAccess::Missing);
}

#[test]
fn an_empty_tree_says_why() {
    let addresses = |absence: &Option<Absence>| match absence {
        Some(Absence::NoDriver { functions }) => ("driver", functions.clone()),
        Some(Absence::NoDevice { functions }) => ("device", functions.clone()),
        other => panic!("{other:?}"),
    };
    for (tree, what) in [(Tree::without_driver(), "driver"), (Tree::new(), "device")] {
        let absence = tree.read().absence;
        assert_eq!(addresses(&absence), (what, vec![]));
        let text = absence.unwrap().to_string();
        assert!(text.contains("no DSA device on the PCI bus"), "{text}");
        // Two DSA devices, and something else of the same vendor.
        tree.function("0000:e7:01.0", "0x1212");
        tree.function("0000:6a:01.0", "0x0b25");
        tree.function("0000:6a:02.0", "0x0cfe");
        let absence = tree.read().absence;
        assert_eq!(addresses(&absence), (what, vec!["0000:6a:01.0".into(), "0000:e7:01.0".into()]));
        assert!(absence.unwrap().to_string().contains("0000:6a:01.0, 0000:e7:01.0"));
    }
    let tree = Tree::without_driver();
    let roots = Roots { sysfs: "/dev/null".into(), ..tree.roots() };
    assert!(matches!(Topology::read_from(&roots).absence, Some(Absence::NoDriver { .. })));
    let path = tree.bus();
    let texts = [
        (Absence::NoPermission { path: path.clone() }, "cannot be listed: allow this user to read it"),
        (
            Absence::Unreadable { path, kind: io::ErrorKind::TimedOut },
            "cannot be listed (timed out): check what is mounted",
        ),
    ];
    for (absence, text) in texts {
        assert!(absence.to_string().contains(text), "{absence}");
    }
}

#[test]
fn the_machine_at_hand_is_read_without_trouble() {
    let topology = Topology::read();
    assert_eq!(topology.devices.is_empty(), topology.absence.is_some());
}
