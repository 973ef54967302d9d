//! Arbitrary texts as sysfs attributes and names: nothing panics, and what is understood means the same when it is
//! printed in the kernel's form and read again.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dsa::device::{
    DeviceId, DeviceState, EngineId, GroupId, OpcodeSet, QueueMode, QueueState, QueueType, WorkQueueId, parse,
};
use libfuzzer_sys::fuzz_target;

/// Names and words have exactly one form.
fn check_word<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
        assert_eq!(parse::word::<T>(&format!(" {text}\n")), Some(value));
    }
}

fn check_bits(words: [u64; 4]) {
    let old: Vec<String> = words.iter().map(|word| format!("{word:#x}")).collect();
    assert_eq!(parse::bits_256(&format!("{}\n", old.join(" "))), Some(words));
    let halves = words.iter().rev().flat_map(|word| [word >> 32, word & 0xffff_ffff]);
    let new: Vec<String> = halves.map(|half| format!("{half:08x}")).collect();
    assert_eq!(parse::bits_256(&format!("{}\n", new.join(","))), Some(words));
    let set = OpcodeSet::from_words(words);
    assert_eq!((set.iter().collect::<OpcodeSet>(), set.iter().count()), (set, set.len()));
    assert_eq!(set.to_string().is_empty(), set.is_empty());
}

fuzz_target!(|text: &str| {
    if let Some(value) = parse::number(text) {
        assert_eq!(parse::number(&format!("{value}\n")), Some(value));
        assert_eq!(parse::number(&format!("{value:#x}\n")), Some(value));
    }
    if let Some(value) = parse::index(text) {
        assert!((-1..=i64::from(u32::MAX)).contains(&value));
        assert_eq!(parse::index(&format!("{value}\n")), Some(value));
    }
    if let Some(value) = parse::boolean(text) {
        assert_eq!(parse::number(text), Some(u64::from(value)));
    }
    if let Some(words) = parse::bits_256(text) {
        check_bits(words);
    }
    if let Some(caps @ [zero, one, two]) = parse::dsa_capabilities(text) {
        assert_eq!(parse::dsa_capabilities(&format!("{two:016x},{one:016x},{zero:016x}\n")), Some(caps));
    }
    if let Some(all) = parse::ranges(text, 4096) {
        assert!(!all.is_empty() && all.is_sorted_by(|a, b| a < b) && all.iter().all(|&number| number < 4096));
    }
    if let Some(all) = parse::numbers(text) {
        assert_eq!(parse::list::<u32>(&all.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")), Some(all));
    }
    if let Some(all) = parse::list::<WorkQueueId>(text) {
        assert_eq!(all.len(), text.split_ascii_whitespace().count());
    }
    check_word::<DeviceId>(text);
    check_word::<WorkQueueId>(text);
    check_word::<GroupId>(text);
    check_word::<EngineId>(text);
    check_word::<DeviceState>(text);
    check_word::<QueueState>(text);
    check_word::<QueueMode>(text);
    check_word::<QueueType>(text);
});
