//! A machine's devices as text: what `dsa emulate` tells the library that it loads into a program.

use std::collections::BTreeSet;

use super::{Queue, TextError, number, parsed, preset};
use crate::campaign::Script;
use crate::config::{Checks, Config, WqConfig};

/// The first line; the number changes with the meaning of the others.
const TITLE: &str = "dsa-emulator settings 1";

/// Identical devices, and how they are configured. All strings are what a user would write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Which device, see [`preset`].
    pub preset: String,
    /// How many of them.
    pub devices: usize,
    /// Engines of each; as many as the device has without.
    pub engines: Option<usize>,
    /// Seed of everything that is chosen at random. Each device adds its number.
    pub seed: u64,
    /// Whether reserved bytes of descriptors are ignored.
    pub lenient: bool,
    /// Whether the kernel treats the device as one whose portals are not safe in a user's hands: mapping one needs
    /// `CAP_SYS_RAWIO`, and a first-generation device has no batches.
    pub restricted: bool,
    /// Whether the program's memory counts as locked: there are no page faults for what an access would bring in.
    pub locked: bool,
    /// Work queues, see [`Queue`]. Without any: a shared and a dedicated one that allow block on fault.
    pub queues: Vec<String>,
    /// Lines of a script of trouble, see [`campaign`](crate::campaign). Each device has a campaign of its own.
    pub script: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: "sapphire-rapids".to_owned(),
            devices: 1,
            engines: None,
            seed: 0,
            lenient: false,
            restricted: false,
            locked: false,
            queues: Vec::new(),
            script: Vec::new(),
        }
    }
}

impl Settings {
    /// The file in which a program's devices are described, as long as it runs under `dsa emulate`.
    pub const FILE: &'static str = "/sys/module/idxd/emulated/settings";
    /// The folder into which each process of the program puts what its devices have done, see
    /// [`Report`](super::Report).
    pub const REPORTS: &'static str = "/sys/module/idxd/emulated/reports";
    /// The folder of the device nodes.
    pub const NODES: &'static str = "/dev/dsa";
    /// Major and minor number of what stands in for a device node: `/dev/full`. It cannot be mapped, and a write to it
    /// fails, so whoever gets past the library notices.
    pub const NODE: (u32, u32) = (1, 7);

    /// The work queues, each with the name that it was given or one of the form `emulatedN`.
    ///
    /// # Errors
    ///
    /// A queue's text means nothing.
    pub fn queues(&self) -> Result<Vec<(String, WqConfig)>, TextError> {
        let (shared, dedicated) = (WqConfig::shared(64).threshold(60), WqConfig::dedicated(32));
        let standard = [shared, dedicated].map(|config| Queue { config: config.block_on_fault(true), name: None });
        let queues = match &self.queues[..] {
            [] => standard.into(),
            texts => texts.iter().map(|text| parsed("queue", text)).collect::<Result<Vec<Queue>, _>>()?,
        };
        let named =
            |(index, queue): (usize, Queue)| (queue.name.unwrap_or_else(|| format!("emulated{index}")), queue.config);
        Ok(queues.into_iter().enumerate().map(named).collect())
    }

    /// The configuration of device number `number`. Engines are dealt out to the groups that have a queue.
    ///
    /// # Errors
    ///
    /// A text means nothing, or there are fewer engines than groups. What else does not fit together, the device tells
    /// when it is made.
    pub fn config(&self, device: usize) -> Result<Config, TextError> {
        let mut config = preset(&self.preset)?.seed(self.seed.wrapping_add(device as u64));
        let queues = self.queues()?;
        let groups: BTreeSet<_> = queues.iter().map(|(_, queue)| queue.group).collect();
        let engines = self.engines.unwrap_or(config.limits.engines);
        if engines < groups.len() {
            return Err(TextError(format!("{engines} engines for {} groups: each group needs one", groups.len())));
        }
        config.engines = groups.iter().copied().cycle().take(engines).collect();
        config.queues = queues.into_iter().map(|(_, queue)| queue).collect();
        if self.lenient {
            config.checks = Checks::Lenient;
        }
        Ok(config)
    }

    /// What is to go wrong with device number `device`. A script without a seed of its own has that of the device.
    ///
    /// # Errors
    ///
    /// A line means nothing.
    pub fn script(&self, device: usize) -> Result<Script, TextError> {
        let mut lines = self.script.clone();
        if !lines.iter().any(|line| line.trim_start().starts_with("seed")) {
            // Behind the others, whose numbers an error tells.
            lines.push(format!("seed {}", self.seed.wrapping_add(device as u64)));
        }
        lines.join("\n").parse().map_err(|error| TextError(format!("script: {error}")))
    }

    /// The text that [`read`](Self::read) understands. No string may hold a line feed.
    pub fn write(&self) -> String {
        let mut lines = vec![
            TITLE.to_owned(),
            format!("preset {}", self.preset),
            format!("devices {}", self.devices),
            format!("seed {}", self.seed),
            format!("lenient {}", self.lenient),
            format!("restricted {}", self.restricted),
            format!("locked {}", self.locked),
        ];
        lines.extend(self.engines.map(|engines| format!("engines {engines}")));
        lines.extend(self.queues.iter().map(|text| format!("queue {text}")));
        lines.extend(self.script.iter().map(|text| format!("script {text}")));
        lines.push(String::new());
        lines.join("\n")
    }

    /// Settings out of their text.
    ///
    /// # Errors
    ///
    /// The text is of another version, or a line means nothing.
    pub fn read(text: &str) -> Result<Self, TextError> {
        let mut lines = text.lines();
        match lines.next() {
            Some(TITLE) => {}
            other => return Err(TextError(format!("{:?} instead of {TITLE:?}", other.unwrap_or_default()))),
        }
        let mut settings = Self::default();
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "preset" => value.clone_into(&mut settings.preset),
                "devices" => settings.devices = parsed(name, value)?,
                "engines" => settings.engines = Some(parsed(name, value)?),
                "seed" => {
                    settings.seed = number(value).ok_or_else(|| TextError(format!("seed {value:?} is no number")))?;
                }
                "lenient" => settings.lenient = parsed(name, value)?,
                "restricted" => settings.restricted = parsed(name, value)?,
                "locked" => settings.locked = parsed(name, value)?,
                "queue" => settings.queues.push(value.to_owned()),
                "script" => settings.script.push(value.to_owned()),
                _ => return Err(TextError(format!("{line:?} is no setting"))),
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;
    use crate::config::Mode;

    fn made(settings: &Settings) -> Config {
        Device::new(settings.config(0).unwrap().manual()).unwrap().config().clone()
    }

    #[test]
    fn what_is_written_is_read() {
        let all = Settings {
            preset: "gnr".to_owned(),
            devices: 2,
            engines: Some(3),
            seed: u64::MAX,
            lenient: true,
            restricted: true,
            locked: true,
            queues: vec!["shared:64".to_owned(), "dedicated:16:name=app one".to_owned()],
            script: vec!["lose probability 0.5".to_owned()],
        };
        for settings in [all, Settings::default()] {
            assert_eq!(Settings::read(&settings.write()), Ok(settings));
        }
    }

    #[test]
    fn other_versions_and_unknown_lines_are_refused() {
        let text = Settings::default().write();
        for wrong in ["", "dsa-emulator settings 2\n", &format!("{text}colour red\n"), &format!("{text}seed red\n")] {
            assert!(Settings::read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_word_there_are_two_queues_and_all_engines() {
        let config = made(&Settings::default());
        let modes: Vec<_> = config.queues.iter().map(|queue| (queue.mode, queue.block_on_fault)).collect();
        assert_eq!(modes, [(Mode::Shared, true), (Mode::Dedicated, true)]);
        assert_eq!(config.engines, [0; 4]);
    }

    #[test]
    fn engines_are_dealt_out_to_the_groups() {
        let queues = ["shared:8:group=2", "dedicated:8", "dedicated:8:group=2"].map(str::to_owned).into();
        let settings = Settings { queues, engines: Some(3), ..Settings::default() };
        assert_eq!(made(&settings).engines, [0, 2, 0]);
        let few = Settings { engines: Some(1), ..settings };
        assert!(few.config(0).unwrap_err().to_string().contains("1 engines for 2 groups"));
    }

    #[test]
    fn devices_differ_in_their_seeds() {
        let settings = Settings { seed: 7, ..Settings::default() };
        assert_eq!([0, 1].map(|device| settings.config(device).unwrap().seed), [7, 8]);
    }

    #[test]
    fn a_script_has_the_devices_seed_or_its_own() {
        let of = |lines: &[&str], device| {
            let script = lines.iter().map(|line| (*line).to_owned()).collect();
            Settings { seed: 5, script, ..Settings::default() }.script(device).unwrap()
        };
        assert_eq!((of(&["retry every 3", "after 5: halt"], 1).seed, of(&[" seed 9", "halt"], 1).seed), (6, 9));
        assert_eq!(of(&["retry every 3", "after 5: halt"], 0).steps.len(), 2);
        assert!(of(&[], 0).steps.is_empty());
    }

    #[test]
    fn a_wrong_text_is_named() {
        let queues = Settings { queues: vec!["big".to_owned()], ..Settings::default() };
        assert!(queues.config(0).unwrap_err().to_string().contains("queue \"big\""));
        let script = Settings { script: vec!["lose".to_owned(), "explode".to_owned()], ..Settings::default() };
        let error = script.script(0).unwrap_err().to_string();
        assert!(error.contains("explode") && error.contains("line 2"), "{error}");
    }
}
