//! What programs get: devices, portals, their memory, trouble; and what is told of them.

use crate::rig::{client, emulate, is_possible, ran};

#[test]
fn both_kinds_of_queue_work_and_every_descriptor_is_counted() {
    if !is_possible() {
        return;
    }
    let ran = client("--queue shared:16:threshold=8 --queue dedicated:16", "operations").success();
    for queue in ["wq0.0", "wq0.1"] {
        let of = |operation| ran.of_queue(queue, operation);
        assert_eq!((of("memmove"), of("crc"), of("compare"), of("batch"), of("fill")), (1, 1, 1, 1, 4), "{}", ran.err);
    }
    assert_eq!((ran.counter("executed"), ran.counter("processes"), ran.counter("failed")), (16, 1, 0));
    assert_eq!(ran.counter("records"), 16);
    assert!(ran.counter("trapped.enqcmd") >= 4 && ran.counter("trapped.movdir64b") >= 4, "{}", ran.err);
}

#[test]
fn pages_that_are_not_there_are_faults_of_the_device() {
    if !is_possible() {
        return;
    }
    let ran = client("--queue shared:16:block-on-fault", "faults").success();
    assert!(ran.counter("page-faults") > 15, "{}", ran.err);
}

#[test]
fn memory_that_is_unmapped_in_flight_harms_nobody() {
    if !is_possible() {
        return;
    }
    let ran = client("", "unmapping").success();
    assert_eq!(ran.of_queue("wq0.0", "memmove"), 200);
}

#[test]
fn writes_to_the_node_submit_as_the_driver_does() {
    if !is_possible() {
        return;
    }
    let ran = client("", "writing").success();
    assert_eq!(
        (ran.counter("written"), ran.of_queue("wq0.0", "memmove"), ran.of_queue("wq0.1", "memmove")),
        (10, 5, 5)
    );
}

#[test]
fn a_queue_can_be_made_to_refuse() {
    if !is_possible() {
        return;
    }
    let ran = client("--fault retry", "refused").success();
    // One by the portal; 33 by the driver, which repeats 32 times.
    assert_eq!((ran.counter("retries"), ran.counter("executed")), (34, 0));
}

#[test]
fn trouble_comes_as_it_was_ordered() {
    if !is_possible() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("dsa-emulate-script-{}", std::process::id()));
    std::fs::write(&folder, "# The second move.\nerror 0x22 opcode memmove nth 2\nlose opcode fill\n").unwrap();
    let ran = client(&format!("--script {}", folder.display()), "trouble");
    std::fs::remove_file(&folder).unwrap();
    let ran = ran.success();
    assert_eq!((ran.counter("lost"), ran.counter("failed"), ran.counter("executed")), (1, 1, 5));
    assert_eq!((ran.counter("trouble.lose"), ran.counter("trouble.error")), (1, 1));
}

#[test]
fn locked_memory_has_no_faults() {
    if !is_possible() {
        return;
    }
    // The first thing that this client wants is a fault.
    let ran = client("--queue shared:16:block-on-fault --locked-memory", "faults");
    assert_eq!((ran.code, ran.counter("page-faults")), (101, 0), "{}\n{}", ran.out, ran.err);
}

#[test]
fn portals_follow_the_drivers_rules() {
    if !is_possible() {
        return;
    }
    assert_eq!(client("", "portals").success().of_queue("wq0.1", "nop"), 65);
    let ran = client("", "stale_portal");
    assert_eq!((ran.code, ran.counter("processes")), (128 + 11, 0), "{}\n{}", ran.out, ran.err);
}

#[test]
fn children_have_devices_of_their_own() {
    if !is_possible() {
        return;
    }
    let ran = client("", "children").success();
    assert_eq!((ran.counter("processes"), ran.of_queue("wq0.0", "nop"), ran.of_queue("wq0.0", "memmove")), (2, 2, 2));
}

#[test]
fn the_programs_own_handlers_live_beside_the_traps() {
    if !is_possible() {
        return;
    }
    assert_eq!(client("", "handlers").success().of_queue("wq0.1", "nop"), 3);
}

#[test]
fn a_program_may_close_all_files() {
    if !is_possible() {
        return;
    }
    assert_eq!(client("", "closing").success().counter("page-faults"), 3);
}

#[test]
fn waiting_instructions_are_carried_out() {
    if !is_possible() {
        return;
    }
    // Carried out by the CPU, if it has them, whatever it says of itself; else by the handler. Otherwise the client dies.
    let ran = client("", "waiting").success();
    for instruction in ["umonitor", "umwait", "tpause", "monitorx", "mwaitx"] {
        assert!(ran.counter(&format!("trapped.{instruction}")) <= 1, "{instruction}");
    }
}

#[test]
fn threads_share_a_queue() {
    if !is_possible() {
        return;
    }
    assert_eq!(client("--queue shared:4", "threads").success().of_queue("wq0.0", "memmove"), 400);
}

#[test]
fn counters_survive_an_exit_past_everything() {
    if !is_possible() {
        return;
    }
    let ran = client("--check-used", "exits");
    assert_eq!((ran.code, ran.counter("executed"), ran.counter("status")), (7, 1, 7), "{}", ran.err);
}

#[test]
fn counters_survive_an_exit_out_of_the_allocator() {
    if !is_possible() {
        return;
    }
    let ran = client("--check-used", "exits_in_the_allocator");
    assert_eq!((ran.code, ran.counter("executed"), ran.counter("processes")), (7, 1, 1), "{}", ran.err);
}

#[test]
fn a_restricted_device_takes_what_the_kernel_lets_through() {
    if !is_possible() {
        return;
    }
    client("--restricted", "restricted").success();
}

/// Prints what it costs: `cargo test -p dsa-cli --test emulate -- --nocapture cost`.
#[test]
fn cost() {
    if !is_possible() {
        return;
    }
    let ran = client("", "cost").success();
    for line in ran.out.lines().filter(|line| line.starts_with("copy of")) {
        println!("{line}");
    }
}

/// This project's own runtime, in its own command: by `write(2)` where the CPU has no portal instructions.
#[test]
fn the_projects_own_runtime_finds_the_queues() {
    if !is_possible() {
        return;
    }
    for (queue, options) in [("wq0.0", "--check-used=10"), ("wq0.1", "--preset granite-rapids --check-used=10")] {
        let mut command = emulate(&format!("--counters {options}"));
        command.args([env!("CARGO_BIN_EXE_dsa"), "demo", "--limit", "256KiB", "--queue", queue]);
        let ran = ran(command.arg(env!("CARGO_BIN_EXE_dsa")));
        assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
        assert!(ran.out.contains("every byte and every CRC is right") && ran.out.contains(queue), "{}", ran.out);
    }
}
