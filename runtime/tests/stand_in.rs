//! Queues whose nodes lead to character devices that every machine has: what the runtime makes of a queue that swallows
//! descriptors (`/dev/null`), of one that refuses them (`/dev/full`), and of a driver that changes its mind. The real
//! driver is in `kernel`.

mod support;
#[allow(dead_code, reason = "written for another program")]
#[path = "discovery/tree.rs"]
mod tree;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dsa::device::{QueueErrorKind as Kind, Roots};
use dsa::stats::{Path as By, Reason};
use dsa::{Accelerator, BuildError, Builder, Policy, SubmissionPath, SubmitBy, Unused};
use support::{Watchdog, assert_same, eventually, quiet};
use tree::Tree;

const LEN: usize = 10_000;

/// A machine with one queue, whose node leads to `target`.
fn machine(target: &str, changes: tree::Attributes) -> Tree {
    let tree = Tree::new();
    tree.device("dsa0", "0000:6a:01.0", &[("cdev_major", "-")]);
    tree.group("dsa0", "group0.0", &[]);
    tree.queue("dsa0", "wq0.0", changes);
    let node = tree.roots().dev.join("dsa/wq0.0");
    fs::remove_file(&node).unwrap();
    symlink(target, &node).unwrap();
    tree
}

fn builder(roots: Roots) -> Builder {
    let mut policy = Policy::default();
    policy.min_device_size = Some(0);
    policy.dead_after = Duration::from_millis(5);
    policy.lost_after = Duration::from_millis(50);
    policy.lanes = 1;
    Accelerator::builder().policy(policy).roots(roots).work_queue("wq0.0")
}

/// A copy that is right, whoever did it.
fn copy(acc: &Accelerator) -> By {
    let mut target = vec![0; LEN];
    let path = acc.blocking().memcpy(&mut target, &vec![7; LEN]).unwrap();
    assert_same(&target, &vec![7; LEN], "copy");
    path
}

fn failure(built: Result<Accelerator, BuildError>) -> Kind {
    match built {
        Err(BuildError::WorkQueue(unused)) => match &unused[..] {
            [Unused::Failed(error)] => {
                assert!(error.to_string().contains("wq0.0"), "{error}");
                error.kind()
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn set(tree: &Tree, object: &str, attribute: &str, value: &str) {
    fs::write(tree.bus().join(object).join(attribute), format!("{value}\n")).unwrap();
}

#[test]
fn descriptors_that_are_swallowed_are_given_up_after_the_file_was_closed() {
    let _watchdog = Watchdog::start("swallowed");
    for mode in ["shared", "dedicated"] {
        let tree = machine("/dev/null", &[("mode", mode)]);
        let acc = builder(tree.roots()).build().unwrap();
        let info = acc.work_queues().next().unwrap();
        assert_eq!((info.path, info.is_dedicated), (SubmissionPath::Write, mode == "dedicated"));
        for round in 1..=3 {
            assert_eq!(copy(&acc), By::Cpu);
            // It has been opened again, and is tried again.
            assert!(acc.recoveries() >= round, "{mode}");
            eventually("it is open again", || acc.work_queues().next().unwrap().is_open);
        }
        assert_eq!(acc.stats().reason(Reason::DeviceLost), 3);
        quiet(&acc);
        assert_eq!(acc.leaked(), 0);
    }
}

#[test]
fn a_queue_that_refuses_is_left_alone_for_a_while() {
    let _watchdog = Watchdog::start("refused");
    let tree = machine("/dev/full", &[]);
    let acc = builder(tree.roots()).build().unwrap();
    for _ in 0..200 {
        assert_eq!(copy(&acc), By::Cpu);
    }
    eventually("the trouble is told", || acc.work_queues().next().unwrap().trouble.is_some());
    let portal = acc.work_queues().next().unwrap().no_portal.expect("tried, and refused");
    assert!(matches!(portal.kind(), Kind::NoInstruction | Kind::PortalFailed), "{portal}");
    let trouble = acc.work_queues().next().unwrap().trouble.unwrap();
    assert_eq!((trouble.kind(), trouble.queue()), (Kind::WriteFailed, "wq0.0"));
    eventually("it is closed", || !acc.work_queues().next().unwrap().is_open);
    let recoveries = acc.recoveries();
    for _ in 0..200 {
        assert_eq!(copy(&acc), By::Cpu);
    }
    // Once a second at most; these copies take milliseconds.
    assert!(acc.recoveries() <= recoveries + 2, "opened again and again: {}", acc.recoveries());
    quiet(&acc);
}

#[test]
fn a_process_has_a_queue_open_once() {
    let tree = machine("/dev/null", &[]);
    let acc = builder(tree.roots()).build().unwrap();
    assert_eq!(failure(builder(tree.roots()).build()), Kind::OpenHere);
    drop(acc);
    // Whoever opens it now waits until the other one has closed it.
    builder(tree.roots()).build().unwrap();
}

#[test]
fn what_cannot_be_opened_or_mapped_says_why() {
    let tree = machine("/dev/null", &[]);
    // `/dev/null` cannot be mapped as a portal, on a CPU that has the instruction.
    idxd_sys::set_override(Some({
        let mut claimed = idxd_sys::CpuFeatures::NONE;
        (claimed.enqcmd, claimed.movdir64b) = (true, true);
        claimed
    }));
    let built = builder(tree.roots()).submit_by(SubmitBy::Portal).build();
    idxd_sys::set_override(Some(idxd_sys::CpuFeatures::NONE));
    assert_eq!(failure(built), Kind::PortalFailed);
    assert_eq!(failure(builder(tree.roots()).submit_by(SubmitBy::Portal).build()), Kind::NoInstruction);
    idxd_sys::set_override(None);

    let tree = machine("/proc/version", &[]);
    let kind = failure(builder(tree.roots()).build());
    assert!(matches!(kind, Kind::NotADevice | Kind::NoPermission), "{kind:?}");
}

#[test]
fn a_queue_is_followed_through_disable_and_enable() {
    let _watchdog = Watchdog::start("disable and enable");
    let tree = machine("/dev/null", &[]);
    let acc = builder(tree.roots()).build().unwrap();
    set(&tree, "wq0.0", "state", "disabled");
    assert_eq!(copy(&acc), By::Cpu);
    eventually("the reason is told", || {
        let info = acc.work_queues().next().unwrap();
        !info.is_open && info.trouble.is_some_and(|trouble| trouble.kind() == Kind::Disabled)
    });
    set(&tree, "wq0.0", "state", "enabled");
    eventually("it is in use again", || acc.work_queues().next().unwrap().is_open);
    // Another size: another queue.
    set(&tree, "wq0.0", "state", "disabled");
    assert_eq!(copy(&acc), By::Cpu);
    set(&tree, "wq0.0", "size", "8");
    set(&tree, "wq0.0", "state", "enabled");
    eventually("the reason is told", || {
        let info = acc.work_queues().next().unwrap();
        !info.is_open && info.trouble.is_some_and(|trouble| trouble.kind() == Kind::Reconfigured)
    });
    quiet(&acc);
    assert_eq!(acc.leaked(), 0);
}

#[test]
fn a_device_that_is_gone_is_no_error() {
    let tree = machine("/dev/null", &[]);
    let acc = builder(tree.roots()).build().unwrap();
    fs::remove_dir_all(tree.roots().sysfs).unwrap();
    fs::remove_file(tree.roots().dev.join("dsa/wq0.0")).unwrap();
    for _ in 0..3 {
        assert_eq!(copy(&acc), By::Cpu);
    }
    eventually("the reason is told", || {
        acc.work_queues().next().unwrap().trouble.is_some_and(|trouble| trouble.kind() == Kind::NoNode)
    });
    quiet(&acc);
}

/// With nothing to be had the process-wide accelerator works, and says what it lacks. In processes of their own, since it
/// is made once.
#[test]
fn the_environment_chooses_the_queues_of_the_process_wide_accelerator() {
    if std::env::var_os("DSA_TEST_PART").is_some() {
        let acc = Accelerator::global();
        assert_eq!(copy(acc), By::Cpu);
        for reason in acc.unused() {
            println!("unused: {reason}");
        }
        return;
    }
    if Path::new("/sys/bus/dsa").exists() {
        // What this machine's queues would do is not what this test is about.
        return;
    }
    let run = |queues: &str, submit: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["the_environment_chooses_the_queues_of_the_process_wide_accelerator", "--exact", "--nocapture"])
            .envs([("DSA_TEST_PART", "child"), ("DSA_QUEUES", queues), ("DSA_SUBMIT", submit)])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| Some(line.split_once("unused: ")?.1.to_owned())).collect::<Vec<_>>()
    };
    let default = run("", "");
    assert!(default.len() == 1 && default[0].contains("idxd driver is not loaded"), "{default:?}");
    assert_eq!(run("none", "portal"), Vec::<String>::new());
    assert!(run(" ,", "")[0].contains("DSA_QUEUES is \",\""));
    let named = run("wq7.1, wq7.2", "portal");
    assert!(named.iter().any(|reason| reason.starts_with("wq7.1: there is no such work queue")), "{named:?}");
    assert!(named.iter().any(|reason| reason.starts_with("wq7.2: ")), "{named:?}");
    let wrong = run("", "telepathy");
    assert!(wrong.iter().any(|reason| reason.contains("DSA_SUBMIT is \"telepathy\"")), "{wrong:?}");
}
