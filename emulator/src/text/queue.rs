//! A work queue as text.

use std::str::FromStr;

use super::{Part, TextError, number, split};
use crate::config::WqConfig;

/// Entries of a queue whose text says nothing of them.
const SIZE: u16 = 16;

/// The longest name that the driver keeps, in bytes.
const LONGEST_NAME: usize = 1023;

/// A work queue, and the name that an administrator would give it.
///
/// As text: `shared` or `dedicated`, then in any order, separated by colons: a number (entries; 16 without), `threshold=N`,
/// `priority=N`, `group=N`, `block-on-fault`, `ats=off`, `page-requests=off`, `max-transfer=SIZE`, `max-batch=N`,
/// `max-list=N` (entries of a scatter-gather list), `without=OPERATION` (may be repeated) and `name=NAME`. Switches take `=on` and `=off`. A shared queue's threshold is its size, unless it is
/// given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// What the device has to know.
    pub config: WqConfig,
    /// By which clients may choose among queues.
    pub name: Option<String>,
}

const KNOWN: &str = "a number of entries, threshold, priority, group, block-on-fault, ats, page-requests, max-transfer, \
                     max-batch, max-list, without and name";

impl FromStr for Queue {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let (kind, parts) = split(text);
        let mut config = match kind {
            "shared" => WqConfig::shared(SIZE),
            "dedicated" => WqConfig::dedicated(SIZE),
            _ => return Err(TextError(format!("{kind:?}: a queue is shared or dedicated"))),
        };
        let (mut name, mut threshold) = (None, None);
        for part in parts {
            match part.key {
                "threshold" => threshold = Some(part.number()?),
                "priority" => config.priority = part.number()?,
                "group" => config.group = part.number()?,
                "block-on-fault" => config.block_on_fault = part.switch()?,
                "ats" => config.ats = part.switch()?,
                "page-requests" => config.page_requests = part.switch()?,
                "max-transfer" => config.max_transfer_size = part.size()?,
                "max-batch" => config.max_batch_size = part.number()?,
                "max-list" => config.max_sgl_size = part.number()?,
                "without" => config = config.without(part.opcode()?),
                "name" => name = Some(checked(part)?),
                key if part.value.is_none() && number(key).is_some() => {
                    let entries = Part { key: "entries", value: Some(key) };
                    config.size = entries.number()?;
                }
                _ => return Err(part.unknown("a queue", KNOWN)),
            }
        }
        config.threshold = threshold.unwrap_or(config.size);
        Ok(Self { config, name })
    }
}

/// A name that fits into one line of an attribute.
fn checked(part: Part<'_>) -> Result<String, TextError> {
    let name = part.required()?;
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(part.wrong(name, "one line of at most 1023 bytes"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use idxd_sys::opcode;

    fn queue(text: &str) -> Queue {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_part_is_understood() {
        let all = "shared:64:threshold=60:priority=3:group=1:block-on-fault:ats=off:page-requests=off:\
                   max-transfer=2MiB:max-batch=32:max-list=8:without=memmove:without=0x4:name=app one";
        let Queue { config, name } = queue(all);
        let expected = WqConfig::shared(64)
            .threshold(60)
            .priority(3)
            .group(1)
            .block_on_fault(true)
            .ats(false)
            .page_requests(false)
            .max_transfer_size(2 << 20)
            .max_batch_size(32)
            .max_sgl_size(8)
            .without(opcode::MEMMOVE)
            .without(opcode::FILL);
        assert_eq!((config, name.as_deref()), (expected, Some("app one")));
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let Queue { config, name } = queue("dedicated");
        assert_eq!((config.mode, config.size, config.block_on_fault, name), (Mode::Dedicated, 16, false, None));
        assert_eq!(queue("shared:8").config.threshold, 8, "the threshold follows the size");
        assert_eq!(queue("shared:threshold=4:8").config.threshold, 4, "in whichever order");
        assert!(!queue("shared:block-on-fault=off").config.block_on_fault);
    }

    #[test]
    fn what_means_nothing_is_refused_and_named() {
        for (text, named) in [
            ("", "shared or dedicated"),
            ("kernel:16", "kernel"),
            ("shared:70000", "entries=70000"),
            ("shared:16:size=3", "size"),
            ("shared:threshold", "threshold=..."),
            ("shared:priority=high", "high"),
            ("shared:block-on-fault=maybe", "on or off"),
            ("shared:max-transfer=2MB", "2MB"),
            ("shared:without=magic", "magic"),
            ("shared:name=", "name"),
            ("shared:name=a\nb", "one line"),
        ] {
            let error = text.parse::<Queue>().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
