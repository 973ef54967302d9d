//! What the command does around a program: its exit status, its errors, and what others see of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rig::{CLIENT, PROGRAM, VARIABLE, client, copy_program, emulate, is_possible, library, note, ran, skip};

/// A user, and a group, without privilege.
const NOBODY: u32 = 65534;

/// A folder that is deleted at the end of the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emulate-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_programs_exit_status_is_passed_on() {
    if !is_possible() {
        return;
    }
    let shell = |script: &str| ran(emulate("").args(["sh", "-c", script])).code;
    assert_eq!((shell("exit 0"), shell("exit 3"), shell("exit 255")), (0, 3, 255));
    assert_eq!((shell("kill -9 $$"), shell("kill -TERM $$")), (128 + 9, 128 + 15));
}

#[test]
fn arguments_environment_and_name_are_passed_on() {
    if !is_possible() {
        return;
    }
    let mut command = emulate("");
    command.args(["sh", "-c", "echo $0-$1-$DSA_TEST_WORD; echo $LD_PRELOAD", "name", "--counters"]);
    let ran = ran(command.env("DSA_TEST_WORD", "word").env("LD_PRELOAD", "libc.so.6"));
    let library = library().canonicalize().unwrap();
    assert_eq!(ran.out, format!("name---counters-word\n{}:libc.so.6\n", library.display()), "{}", ran.err);
}

#[test]
fn a_signal_for_the_command_reaches_the_program() {
    if !is_possible() {
        return;
    }
    // Ends by itself some time, should nothing reach it.
    let mut command = emulate("");
    command.args(["sh", "-c", "echo ready; exec sleep 60"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

#[test]
fn nobody_else_sees_the_devices() {
    if !is_possible() {
        return;
    }
    let list = |command: &mut Command| ran(command.args(["-c", "ls -d /sys/bus/dsa /dev/dsa; ls /sys/bus /dev"])).out;
    let before = list(&mut Command::new("sh"));
    let inside = list(emulate("").arg("sh"));
    assert!(inside.contains("/sys/bus/dsa\n"), "{inside}");
    for entry in before.lines() {
        assert!(inside.lines().any(|line| line == entry), "{entry} is missing inside");
    }
    assert_eq!(list(&mut Command::new("sh")), before);
}

#[test]
fn the_tree_is_that_of_the_driver_and_cannot_be_written() {
    if !is_possible() {
        return;
    }
    let script = "cd /sys/bus/dsa/devices; cat dsa0/version dsa1/state wq1.0/mode wq1.0/name wq1.2/state wq0.1/group_id \
                  group0.3/work_queues; cat /sys/module/idxd/parameters/sva; test -c /dev/dsa/wq1.1 && echo node; \
                  echo 0 2>/dev/null > dsa0/state || echo read-only";
    let options = "--preset granite-rapids --devices 2 --queue shared:8:name=app --queue dedicated:8:group=3";
    let ran = ran(emulate(options).args(["sh", "-c", script]));
    let expected = "0x200\nenabled\nshared\napp\ndisabled\n3\nwq0.1\nY\nnode\nread-only\n";
    assert_eq!((ran.out.as_str(), ran.code), (expected, 0), "{}", ran.err);
}

#[test]
fn a_program_that_uses_no_device_is_found_out() {
    if !is_possible() {
        return;
    }
    let ran = ran(emulate("--check-used").arg("true"));
    assert_eq!(ran.code, 125);
    assert!(ran.err.contains("executed 0 descriptors, fewer than 1: no process"), "{}", ran.err);
    assert_eq!(client("--check-used=16", "operations").success().counter("executed"), 16);
    let fewer = client("--check-used=17", "operations");
    assert_eq!(fewer.code, 125);
    assert!(fewer.err.contains("executed 16 descriptors, fewer than 17: the program did"), "{}", fewer.err);
}

#[test]
fn counters_go_to_a_file() {
    if !is_possible() {
        return;
    }
    let folder = Folder::new("counters");
    let path = folder.0.join("file");
    let mut command = emulate(&format!("--counters={}", path.display()));
    let told = ran(command.args(["sh", "-c", "exit 4"]));
    assert_eq!((told.code, told.err.as_str()), (4, ""));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{\"status\": 4, \"processes\": 0, \"executed\": 0, \"devices\": []}\n");
    let told = ran(emulate("--counters=/nonexistent/file").arg("true"));
    assert_eq!(told.code, 125);
    assert!(told.err.contains("/nonexistent/file"), "{}", told.err);
}

/// A reason may have lines, and what was skipped before stays.
#[test]
fn what_is_skipped_is_one_line_each() {
    let folder = Folder::new("skips");
    let path = folder.0.join("skips");
    note(&path, "first: told by\nthe command\n");
    note(&path, "second");
    assert_eq!(fs::read_to_string(&path).unwrap(), "first: told by the command\nsecond\n");
}

/// Found out before a namespace is needed.
#[test]
fn programs_that_cannot_be_emulated_for_are_told_apart() {
    let folder = Folder::new("programs");
    // A program's header, and nothing that would say which dynamic linker it wants.
    let mut header = [0; 64];
    header[..5].copy_from_slice(b"\x7fELF\x02");
    header[18] = 62;
    let r#static = folder.file("static", &header, 0o755);
    header[18] = 183;
    let foreign = folder.file("foreign", &header, 0o755);
    let script = folder.file("script", b"#!/nonexistent/interpreter\n", 0o755);
    let of_static = folder.file("of-static", format!("#!{}\n", r#static.display()).as_bytes(), 0o755);
    let data = folder.file("data", b"hello\n", 0o755);
    let plain = folder.file("plain", b"#!/bin/sh\n", 0o644);
    for (program, code, told) in [
        (r#static.as_path(), 126, "linked statically"),
        (&foreign, 126, "another processor"),
        (&script, 127, "the interpreter of"),
        (&of_static, 126, "linked statically"),
        (&data, 126, "neither a program nor a script"),
        (&plain, 126, "its mode does not allow it"),
        (&folder.0, 126, "it is no file"),
        (Path::new("/nonexistent/program"), 127, "not found"),
        (Path::new("no-such-program-anywhere"), 127, "not found"),
    ] {
        let ran = ran(emulate("").arg(program));
        assert_eq!(ran.code, code, "{}: {}", program.display(), ran.err);
        assert!(ran.err.contains(told), "{}: {}", program.display(), ran.err);
    }
}

#[test]
fn a_setuid_program_is_refused() {
    // SAFETY: questions about this process.
    if unsafe { libc::geteuid() } != 0 {
        skip("dsa emulate with a setuid program: only the superuser can make one of somebody else");
        return;
    }
    let folder = Folder::new("setuid");
    let program = folder.file("program", &fs::read("/bin/true").unwrap(), 0o755);
    if let Err(error) = std::os::unix::fs::chown(&program, Some(NOBODY), Some(NOBODY)) {
        skip(&format!("dsa emulate with a setuid program: none can be made of somebody else: {error}"));
        return;
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let ran = ran(emulate("").arg(&program));
    assert_eq!(ran.code, 126);
    assert!(ran.err.contains("ignores LD_PRELOAD"), "{}", ran.err);
}

#[test]
fn the_library_is_looked_for_beside_the_command_and_in_lib() {
    let folder = Folder::new("library");
    fs::create_dir_all(folder.0.join("bin")).unwrap();
    fs::create_dir_all(folder.0.join("lib")).unwrap();
    let command = folder.0.join("bin/dsa");
    copy_program(Path::new(env!("CARGO_BIN_EXE_dsa")), &command);
    let mut alone = Command::new(&command);
    alone.args(["emulate", "--", "true"]).env_remove(VARIABLE);
    let told = ran(&mut alone);
    assert_eq!(told.code, 125);
    assert!(told.err.contains("cargo build -p dsa-emulator-preload") && told.err.contains(VARIABLE), "{}", told.err);
    let named = ran(Command::new(&command).args(["emulate", "--", "true"]).env(VARIABLE, "/nonexistent.so"));
    assert_eq!(named.code, 125);
    assert!(named.err.contains("/nonexistent.so"), "{}", named.err);
    if !is_possible() {
        return;
    }
    for place in ["lib/libdsa_emulator_preload.so", "bin/libdsa_emulator_preload.so"] {
        let place = folder.0.join(place);
        fs::copy(library(), &place).unwrap();
        let told = ran(&mut alone);
        assert_eq!(told.code, 0, "{}: {}", place.display(), told.err);
        fs::remove_file(&place).unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_an_error_of_the_command_line() {
    for (options, told) in [
        ("--queue big:3", "shared or dedicated"),
        ("--fault explode", "explode"),
        ("--preset pentium", "sapphire-rapids"),
    ] {
        let ran = ran(emulate(options).arg("true"));
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    // Each part makes sense, and the whole does not.
    let ran = ran(emulate("--queue shared:100 --queue shared:100").arg("true"));
    assert_eq!(ran.code, 125);
    assert!(ran.err.contains("no such device can be made"), "{}", ran.err);
}

/// A user namespace that allows no other inside, to somebody who may not mount there.
#[test]
fn without_namespaces_the_way_out_is_told() {
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-sys_admin \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-Ur", "sh", "-c", script, "sh", env!("CARGO_BIN_EXE_dsa"), "emulate", "--", "true"]);
    let Ok(output) = command.env(VARIABLE, library()).output() else {
        skip("dsa emulate where namespaces are switched off: there is no unshare(1)");
        return;
    };
    let told = String::from_utf8_lossy(&output.stderr);
    if !told.starts_with("dsa: ") {
        skip(&format!("dsa emulate where namespaces are switched off: such a place cannot be made: {told}"));
        return;
    }
    assert_eq!(output.status.code(), Some(125), "{told}");
    assert!(told.contains("user namespaces are switched off: sysctl -w user.max_user_namespaces"), "{told}");
}

#[test]
fn a_user_without_privilege_has_devices_too() {
    // SAFETY: a question about this process.
    if unsafe { libc::geteuid() } != 0 {
        skip("dsa emulate for a user without privilege: this is one, so the other tests are about that");
        return;
    }
    // The superuser of a user namespace need not know anybody else.
    if let Err(error) = Command::new("true").uid(NOBODY).gid(NOBODY).status() {
        skip(&format!("dsa emulate for a user without privilege: nothing can be run for one: {error}"));
        return;
    }
    // Where everybody may look.
    let folder = std::env::temp_dir().join(format!("dsa-emulate-user-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.join("client");
    copy_program(Path::new(env!("CARGO_BIN_EXE_dsa")), &folder.join("dsa"));
    copy_program(library(), &folder.join("libdsa_emulator_preload.so"));
    copy_program(&std::env::current_exe().unwrap(), &program);
    let run = |options: &[&str], name: &str| {
        let mut command = Command::new(folder.join("dsa"));
        command.arg("emulate").arg("--counters").args(options).arg("--").arg(&program);
        ran(command.args(PROGRAM).env(CLIENT, name).env_remove(VARIABLE).current_dir("/").uid(NOBODY).gid(NOBODY))
    };
    let first = run(&[], "operations");
    if first.err.contains("a private view of /sys and /dev cannot be had") {
        skip(&format!("dsa emulate for a user without privilege: {}", first.err));
    } else {
        assert_eq!(first.success().counter("executed"), 16);
        assert!(run(&["--queue", "shared:16:block-on-fault"], "faults").success().counter("page-faults") > 15);
        run(&["--restricted"], "restricted").success();
    }
    fs::remove_dir_all(&folder).unwrap();
}
