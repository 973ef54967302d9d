//! Names of the driver's objects: `dsa0`, `wq0.1`, `group0.2`, `engine0.3`.
//!
//! Numbers of devices are unique across DSA and IAA, so that a work queue needs no kind in its name. A name is accepted
//! in exactly the form in which the driver prints it: no sign, no leading zero, nothing around it.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

/// What a device of the `idxd` driver is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// Data Streaming Accelerator, `dsa0`.
    Dsa,
    /// In-Memory Analytics Accelerator, `iax1`. It has the same driver and other operations.
    Iaa,
}

impl DeviceKind {
    /// What the driver puts before the number of a device, and the folder of its nodes below `/dev`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Dsa => "dsa",
            Self::Iaa => "iax",
        }
    }
}

/// Names a device: `dsa0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId {
    /// The number, unique among all devices of the driver.
    pub number: u32,
    /// DSA or IAA.
    pub kind: DeviceKind,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.prefix(), self.number)
    }
}

impl FromStr for DeviceId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        [DeviceKind::Dsa, DeviceKind::Iaa]
            .into_iter()
            .find_map(|kind| Some(Self { number: number(text.strip_prefix(kind.prefix())?)?, kind }))
            .ok_or(ParseIdError { expected: "a device, such as dsa0" })
    }
}

/// A name that does not have the driver's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of {expected}")]
pub struct ParseIdError {
    expected: &'static str,
}

macro_rules! parts_of_a_device {
    ($($(#[$doc:meta])* $type:ident, $prefix:literal, $member:ident, $what:literal, $expected:literal;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $type {
                /// The number of the device.
                pub device: u32,
                #[doc = concat!("The number of the ", $what, " on its device.")]
                pub $member: u32,
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, concat!($prefix, "{}.{}"), self.device, self.$member)
                }
            }

            impl FromStr for $type {
                type Err = ParseIdError;

                fn from_str(text: &str) -> Result<Self, ParseIdError> {
                    text.strip_prefix($prefix)
                        .and_then(|rest| rest.split_once('.'))
                        .and_then(|(device, member)| Some(Self { device: number(device)?, $member: number(member)? }))
                        .ok_or(ParseIdError { expected: $expected })
                }
            }
        )*
    };
}

parts_of_a_device! {
    /// Names a work queue: `wq0.1`.
    WorkQueueId, "wq", queue, "queue", "a work queue, such as wq0.1";
    /// Names a group: `group0.1`.
    GroupId, "group", group, "group", "a group, such as group0.1";
    /// Names an engine: `engine0.1`.
    EngineId, "engine", engine, "engine", "an engine, such as engine0.1";
}

/// A decimal number as the kernel prints it.
fn number(text: &str) -> Option<u32> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    canonical.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["dsa0", "iax12", "dsa4294967295"] {
            assert_eq!(name.parse::<DeviceId>().unwrap().to_string(), name);
        }
        let queue: WorkQueueId = "wq3.7".parse().unwrap();
        assert_eq!((queue, queue.to_string().as_str()), (WorkQueueId { device: 3, queue: 7 }, "wq3.7"));
        assert_eq!("group0.1".parse(), Ok(GroupId { device: 0, group: 1 }));
        assert_eq!("engine10.3".parse(), Ok(EngineId { device: 10, engine: 3 }));
    }

    #[test]
    fn nothing_but_the_drivers_form_is_a_name() {
        for name in
            ["", "dsa", "dsa-1", "dsa+1", "dsa00", "dsa01", " dsa0", "dsa0\n", "dsa4294967296", "dsa!wq0.0", "DSA0"]
        {
            assert!(name.parse::<DeviceId>().is_err(), "{name:?}");
        }
        for name in ["wq0", "wq0.", "wq.0", "wq0.0.0", "wq0.00", "wq-1.0", "dsa!wq0.0", "file0", "queue0.0", "wq0.x"] {
            let error = name.parse::<WorkQueueId>().unwrap_err();
            assert_eq!(error.to_string(), "not the name of a work queue, such as wq0.1", "{name:?}");
        }
    }
}
