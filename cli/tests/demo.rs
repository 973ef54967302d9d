//! The command itself: what it prints, and its exit status.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a few files, deleted at the end of the test.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("demo-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("deeper")).unwrap();
        let data: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(path.join("large"), &data).unwrap();
        fs::write(path.join("zeros"), [0; 5_000]).unwrap();
        fs::write(path.join("deeper/tiny"), b"1").unwrap();
        fs::write(path.join("empty"), b"").unwrap();
        Self(path)
    }

    /// Runs `dsa demo` on the folder.
    fn demo(&self, options: &str) -> Output {
        dsa(&format!("demo {options}"), Some(&self.0))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn dsa(options: &str, path: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsa"));
    command.args(options.split_whitespace()).args(path).output().unwrap()
}

/// What a successful run has printed.
#[track_caller]
fn success(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(err.is_empty(), "no progress without a terminal: {err}");
    assert!(out.contains("every byte and every CRC is right"), "{out}");
    out.into_owned()
}

/// The number behind a word.
#[track_caller]
fn count(text: &str, word: &str) -> u64 {
    let behind = text.split(&format!("{word} ")).nth(1).unwrap_or_else(|| panic!("no {word} in\n{text}"));
    behind.trim_start().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn everything_is_verified_and_the_model_says_what_it_is() {
    let files = Files::new("plain");
    let text = success(&files.demo(""));
    assert!(text.starts_with("device:    software model (Sapphire Rapids preset)"), "{text}");
    assert!(text.lines().next().unwrap().ends_with("timings say nothing about hardware"), "{text}");
    assert!(text.contains("those of the device are the software model's"), "{text}");
    assert!(text.contains("in 3 files"), "{text}");
    // 300000 bytes in pieces of 64 KiB, and two small files.
    assert!(text.contains("verified:   7 pieces"), "{text}");
    assert!(count(&text, "device model") > 0, "{text}");
    for event in ["retries", "page-faults", "resumes"] {
        assert_eq!(count(&text, event), 0, "{text}");
    }
}

#[test]
fn injected_faults_and_refusals_change_the_way_but_not_the_result() {
    let files = Files::new("faults");
    let text = success(&files.demo("--fail-rate 0.3 --size 4KiB"));
    assert!(text.contains("injected:  page faults 30 %, refusals 30 %"), "{text}");
    for event in ["retries", "page-faults", "resumes"] {
        assert!(count(&text, event) > 0, "{text}");
    }
}

#[test]
fn when_every_descriptor_faults_the_cpu_finishes() {
    let files = Files::new("always");
    let text = success(&files.demo("--faults 1 --ops copy-crc32c,fill"));
    assert!(count(&text, "page-fault") > 0 && count(&text, "page-faults") > 0, "{text}");
    assert_eq!(count(&text, "device model"), 0, "{text}");
    let text = success(&files.demo("--retries 1"));
    assert!(count(&text, "queue-full") > 0, "{text}");
}

#[test]
fn lost_descriptors_are_recovered() {
    let files = Files::new("lost");
    let text = success(&files.demo("--lose 0.3 --size 16KiB --depth 64"));
    assert!(count(&text, "device-lost") > 0 && count(&text, "quiesces") > 0, "{text}");
}

#[test]
fn cancelled_operations_leave_nothing_behind() {
    let files = Files::new("cancel");
    // How many of these are in flight when they are dropped is up to the device.
    let text = success(&files.demo("--cancel 1 --size 32KiB --queues 2 --depth 100"));
    assert!(text.contains("injected:  cancelled operations 100 %"), "{text}");
    // What is lost is in flight, however fast the device is.
    let text = success(&files.demo("--cancel 1 --lose 0.5 --size 32KiB --queues 2 --depth 100"));
    assert!(text.contains("injected:  lost descriptors 50 %, cancelled operations 100 %"), "{text}");
    let events = text.lines().find(|line| line.starts_with("events:")).unwrap();
    assert!(count(events, "cancelled") > 0, "{text}");
}

#[test]
fn other_devices_and_none_give_the_same_answer() {
    let files = Files::new("devices");
    for options in ["--preset gnr", "--dedicated --queues 4", "--size mixed --threshold 1", "--depth 1 --seed 9"] {
        assert!(count(&success(&files.demo(options)), "device model") > 0, "{options}");
    }
    let text = success(&files.demo("--cpu"));
    assert!(text.starts_with("device:    none"), "{text}");
    assert!(count(&text, "no-device") > 0 && !text.contains("model"), "{text}");
}

#[test]
fn each_operation_can_be_asked_for_alone() {
    let files = Files::new("ops");
    let kinds = [
        ("copy-crc32c", "copy-crc32c"),
        ("copy-compare", "compare"),
        ("crc32c", "crc32c"),
        ("fill", "fill"),
        ("dualcast", "dualcast"),
    ];
    for (option, operation) in kinds {
        let text = success(&files.demo(&format!("--ops {option}")));
        let row = text.lines().find(|line| line.starts_with(operation)).unwrap_or_else(|| panic!("{text}"));
        assert!(count(row, operation) > 0, "{text}");
    }
}

#[test]
fn the_limit_ends_the_run() {
    let files = Files::new("limit");
    assert!(success(&files.demo("--limit 100000 --size 1000")).contains("verified:   101 pieces"));
    // 300000 + 5000 + 1 bytes, and no piece spans two files.
    assert!(success(&files.demo("--size 1000000")).contains("verified:   3 pieces, 297.8 KiB"));
}

#[test]
fn what_cannot_be_done_is_said_and_is_no_success() {
    let files = Files::new("wrong");
    let fails = |output: Output, code: i32, message: &str| {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(message), "{text}");
    };
    fails(dsa("demo", Some(&files.0.join("missing"))), 1, "No such file");
    fails(dsa("demo", Some(&files.0.join("empty"))), 1, "no bytes to work on");
    fails(files.demo("--size 1GiB --depth 4096"), 1, "lower --depth or --size");
    fails(files.demo("--cpu --dedicated"), 2, "cannot be used with");
    fails(dsa("", None), 2, "Usage: dsa <COMMAND>");
}
