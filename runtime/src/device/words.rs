//! Attributes that are one of a few words. The words are the driver's; `Display` gives them back.

#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

/// A word that is none of those that its attribute can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of the words {expected}")]
pub struct UnknownWord {
    expected: &'static str,
}

macro_rules! words {
    ($(
        $(#[$doc:meta])* $type:ident, $expected:literal {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*
        }
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
            #[non_exhaustive]
            pub enum $type {
                $($(#[$variant_doc])* $variant,)*
            }

            impl $type {
                /// The words that the driver may write.
                pub(super) const EXPECTED: &str = $expected;
            }

            impl fmt::Display for $type {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(match self { $(Self::$variant => $word,)* })
                }
            }

            impl FromStr for $type {
                type Err = UnknownWord;

                fn from_str(text: &str) -> Result<Self, UnknownWord> {
                    match text {
                        $($word => Ok(Self::$variant),)*
                        _ => Err(UnknownWord { expected: $expected }),
                    }
                }
            }
        )*
    };
}

words! {
    /// Whether a device works.
    DeviceState, "enabled, disabled, halted or unknown" {
        /// It works.
        Enabled = "enabled",
        /// It is not enabled.
        Disabled = "disabled",
        /// It has met an error that only a reset ends.
        Halted = "halted",
        /// The driver itself does not know.
        Unknown = "unknown",
    }
    /// Whether a work queue takes descriptors.
    QueueState, "enabled, disabled or unknown" {
        /// It works, as long as its device does.
        Enabled = "enabled",
        /// It is not enabled.
        Disabled = "disabled",
        /// The driver itself does not know.
        Unknown = "unknown",
    }
    /// How descriptors get into a work queue.
    QueueMode, "shared or dedicated" {
        /// By ENQCMD, from any number of processes.
        Shared = "shared",
        /// By MOVDIR64B, from the one process that has opened it.
        Dedicated = "dedicated",
    }
    /// What a work queue is for.
    QueueType, "none, kernel, user or mdev" {
        /// Nothing yet: it is not configured.
        None = "none",
        /// The kernel's own use.
        Kernel = "kernel",
        /// Processes, through a device node.
        User = "user",
        /// A virtual machine; old kernels only.
        Mdev = "mdev",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in DeviceState::EXPECTED.replace(" or ", ", ").split(", ") {
            assert_eq!(word.parse::<DeviceState>().unwrap().to_string(), word);
        }
        for word in QueueState::EXPECTED.replace(" or ", ", ").split(", ") {
            assert_eq!(word.parse::<QueueState>().unwrap().to_string(), word);
        }
        for word in QueueMode::EXPECTED.replace(" or ", ", ").split(", ") {
            assert_eq!(word.parse::<QueueMode>().unwrap().to_string(), word);
        }
        for word in QueueType::EXPECTED.replace(" or ", ", ").split(", ") {
            assert_eq!(word.parse::<QueueType>().unwrap().to_string(), word);
        }
    }

    #[test]
    fn other_words_are_refused() {
        let error = "Enabled".parse::<QueueState>().unwrap_err();
        assert_eq!(error.to_string(), "none of the words enabled, disabled or unknown");
        assert!("halted".parse::<QueueState>().is_err() && "".parse::<QueueMode>().is_err());
    }
}
