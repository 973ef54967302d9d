//! Devices and counters as text: for command lines, configuration files, and between processes. (Trouble has a language
//! of its own, see [`campaign`](crate::campaign).)
//!
//! What a user writes of a queue is a kind, then parts behind colons, in any order, each a word or `KEY=VALUE`.
//!
//! ```
//! use dsa_emulator::text;
//!
//! let queue: text::Queue = "dedicated:16:block-on-fault:name=app".parse()?;
//! assert_eq!((queue.config.size, queue.config.block_on_fault), (16, true));
//! let device = text::preset("granite-rapids")?.queue(queue.config);
//! # Ok::<(), text::TextError>(())
//! ```

#![forbid(unsafe_code)]

mod counters;
mod queue;
mod settings;

use std::fmt::Display;
use std::str::FromStr;

use idxd_sys::opcode;
use thiserror::Error;

pub use self::counters::Report;
pub use self::queue::Queue;
pub use self::settings::Settings;
use crate::config::Config;

/// Text that means nothing: what was found, and what could be there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct TextError(String);

/// The devices that [`preset`] knows: name, short name, configuration.
type Preset = (&'static str, &'static str, fn() -> Config);

const ALL: [Preset; 2] =
    [("sapphire-rapids", "spr", Config::sapphire_rapids), ("granite-rapids", "gnr", Config::granite_rapids)];

/// The names that [`preset`] takes, short ones not included.
pub fn presets() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(name, ..)| *name)
}

/// A device by the name of the processor that has it, or by three letters of that name.
///
/// # Errors
///
/// There is no such preset; the message names those that there are.
pub fn preset(name: &str) -> Result<Config, TextError> {
    let known = ALL.iter().find(|(long, short, _)| name == *long || name == *short);
    known.map(|(.., config)| config()).ok_or_else(|| {
        let names: Vec<_> = presets().collect();
        TextError(format!("there is no device {name:?}: known are {}", names.join(", ")))
    })
}

/// A part of a text behind a colon: a key, and what follows its equals sign.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    key: &'a str,
    value: Option<&'a str>,
}

/// Splits a text at its colons; the first word is the kind.
fn split(text: &str) -> (&str, impl Iterator<Item = Part<'_>>) {
    let mut words = text.split(':').map(str::trim);
    let kind = words.next().unwrap_or_default();
    let parts = words.map(|word| match word.split_once('=') {
        Some((key, value)) => Part { key: key.trim(), value: Some(value.trim()) },
        None => Part { key: word, value: None },
    });
    (kind, parts)
}

impl<'a> Part<'a> {
    /// The value, which must be there.
    fn required(self) -> Result<&'a str, TextError> {
        self.value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| TextError(format!("{key} needs a value: {key}=...", key = self.key)))
    }

    /// A whole number, decimal or hexadecimal, in the range of its type.
    fn number<T: TryFrom<u64>>(self) -> Result<T, TextError> {
        let value = self.required()?;
        number(value).and_then(|n| n.try_into().ok()).ok_or_else(|| self.wrong(value, "a whole number in its range"))
    }

    /// A number of bytes, with a unit.
    fn size(self) -> Result<u64, TextError> {
        let value = self.required()?;
        size(value).ok_or_else(|| self.wrong(value, "a size such as 65536 or 64KiB"))
    }

    /// On, off, or nothing, which is on.
    fn switch(self) -> Result<bool, TextError> {
        match self.value {
            None | Some("on" | "yes" | "1") => Ok(true),
            Some("off" | "no" | "0") => Ok(false),
            Some(value) => Err(self.wrong(value, "on or off")),
        }
    }

    fn opcode(self) -> Result<u8, TextError> {
        let value = self.required()?;
        let named = opcode::ALL.iter().copied().find(|code| opcode::name(*code) == Some(value));
        named
            .or_else(|| number(value)?.try_into().ok())
            .ok_or_else(|| self.wrong(value, "an operation such as memmove, or its code"))
    }

    fn wrong(self, value: &str, expected: &str) -> TextError {
        TextError(format!("{}={value}: {expected} is expected", self.key))
    }

    fn unknown(self, of: &str, known: &str) -> TextError {
        TextError(format!("{of} has no {:?}: known are {known}", self.key))
    }
}

/// A whole number, decimal or hexadecimal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number of bytes with a binary unit; a hexadecimal number has none.
fn size(text: &str) -> Option<u64> {
    if text.starts_with("0x") {
        return number(text);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (value, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return None,
    };
    number(value)?.checked_mul(1 << shift)
}

/// A line's value, behind its name.
fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, TextError>
where
    T::Err: Display,
{
    value.parse().map_err(|error| TextError(format!("{name} {value:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_go_by_both_names() {
        for name in presets() {
            let config = preset(name).unwrap();
            let short = ALL.iter().find(|(long, ..)| *long == name).unwrap().1;
            assert_eq!(preset(short).unwrap().version, config.version);
        }
        let error = preset("pentium").unwrap_err().to_string();
        assert!(presets().all(|name| error.contains(name)), "{error}");
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 1 << 16), ("2 MiB", 2 << 20), ("1g", 1 << 30)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        assert_eq!(size("0x1000"), Some(4096));
        for wrong in ["", "KiB", "1.5MiB", "-1", "4KB", "0xk", "18446744073709551615KiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }
}
