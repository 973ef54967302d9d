//! What the driver shows of its devices: `/sys/bus/dsa`, `/sys/module/idxd` and `/dev/dsa`.
//!
//! Attributes are plain files with the texts that the driver gives (Linux, `drivers/dma/idxd/sysfs.c`) for devices that are
//! enabled with enabled queues of type `user`. They do not change: `clients` and `occupancy` stay 0. Where the driver has
//! an attribute that gives an error, there is no file. Nothing can be written, so devices cannot be configured or disabled.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use dsa_emulator::config::{VERSION_1_0, VERSION_2_0, VERSION_3_0, gencap};
use dsa_emulator::text::Settings;
use dsa_emulator::{Config, Mode, WqConfig};
use idxd_sys::opcode;

use super::{Error, namespace};

/// Read buffers of a device, as the model's registers state them.
const READ_BUFFERS: u32 = 96;
/// Entries of the event log, the driver's default.
const EVENT_LOG: u32 = 64;
/// How often the driver repeats an ENQCMDS that was refused.
const ENQCMDS_RETRIES: u32 = 32;

/// Builds everything, in the namespace that was entered.
pub(super) fn build(settings: &Settings, devices: &[Config], queues: &[(String, WqConfig)]) -> Result<(), Error> {
    let bus = namespace::add(Path::new("/sys/bus"), "dsa")?;
    let module = namespace::add(Path::new("/sys/module"), "idxd")?;
    let nodes = namespace::add(Path::new("/dev"), "dsa")?;
    drivers(&bus)?;
    for (number, config) in devices.iter().enumerate() {
        Tree { bus: &bus, number, config, restricted: settings.restricted }.device(queues)?;
        for queue in 0..queues.len() {
            namespace::stand_in(Path::new("/dev/full"), &nodes.join(format!("wq{number}.{queue}")))?;
        }
    }
    attributes(&module, &[("initstate", &"live"), ("refcnt", &0)])?;
    attributes(&module.join("parameters"), &[("sva", &"Y"), ("tc_override", &"N")])?;
    // For the library in the program, and for what it leaves behind.
    folder(&module.join("emulated"))?;
    namespace::seal(&bus)?;
    namespace::seal(&nodes)?;
    namespace::add(&module, "emulated")?;
    let write = |path: &Path| fs::write(path, settings.write());
    attempt(Path::new(Settings::FILE), write)?;
    folder(Path::new(Settings::REPORTS))?;
    // Whoever the program becomes.
    attempt(Path::new(Settings::REPORTS), |path| fs::set_permissions(path, fs::Permissions::from_mode(0o1777)))?;
    namespace::seal(&module)?;
    Ok(())
}

/// The drivers of the bus: of devices, of user queues, and of both as before Linux 5.15.
fn drivers(bus: &Path) -> Result<(), Error> {
    for driver in ["dsa", "idxd", "user", "dmaengine"] {
        attributes(&bus.join("drivers").join(driver), &[("bind", &""), ("unbind", &""), ("uevent", &"")])?;
    }
    attributes(bus, &[("drivers_autoprobe", &1), ("uevent", &"")])
}

/// One device with its parts.
struct Tree<'a> {
    bus: &'a Path,
    number: usize,
    config: &'a Config,
    restricted: bool,
}

impl Tree<'_> {
    fn device(&self, queues: &[(String, WqConfig)]) -> Result<(), Error> {
        let Self { number, config, .. } = *self;
        let folder = self.folder();
        let limits = config.limits;
        let (major, _) = Settings::NODE;
        attributes(
            &folder,
            &[
                ("cdev_major", &major),
                ("clients", &0),
                ("cmd_status", &"0x0"),
                ("configurable", &u32::from(config.gencap & gencap::CONFIGURABLE != 0)),
                ("errors", &words(&[0; 4])),
                ("gen_cap", &format!("{:#x}", config.gencap)),
                ("max_batch_size", &gencap::max_batch_size(config.gencap)),
                ("max_engines", &limits.engines),
                ("max_groups", &limits.groups),
                ("max_read_buffers", &READ_BUFFERS),
                ("max_tokens", &READ_BUFFERS),
                ("max_transfer_size", &gencap::max_transfer_size(config.gencap)),
                ("max_work_queues", &limits.queues),
                ("max_work_queues_size", &config.total_entries),
                // Clients look for a device on their own node.
                ("numa_node", &0),
                ("op_cap", &words(&self.shown(config.op_cap))),
                ("pasid_enabled", &1),
                ("read_buffer_limit", &0),
                ("state", &"enabled"),
                ("token_limit", &0),
                ("uevent", &"DEVTYPE=dsa"),
                ("version", &format!("{:#x}", config.version)),
            ],
        )?;
        if gencap::event_log(config.gencap) != 0 {
            attributes(&folder, &[("event_log_size", &EVENT_LOG)])?;
        }
        if config.version >= VERSION_3_0 {
            let [lowest, middle, highest] = config.dsacap;
            attributes(&folder, &[("dsacaps", &format!("{highest:016x},{middle:016x},{lowest:016x}"))])?;
        }
        self.register(&folder, "idxd")?;
        for group in 0..limits.groups {
            self.group(group)?;
        }
        for engine in 0..limits.engines {
            let folder = self.part(&format!("engine{number}.{engine}"))?;
            attributes(
                &folder,
                &[("group_id", &id(config.engines.get(engine).copied())), ("uevent", &"DEVTYPE=engine")],
            )?;
        }
        for queue in 0..limits.queues {
            self.queue(queue, queues.get(queue).map(|(name, _)| name.as_str()))?;
        }
        Ok(())
    }

    fn group(&self, group: usize) -> Result<(), Error> {
        let Self { number, config, .. } = *self;
        let members = |kind: &str, groups: &mut dyn Iterator<Item = usize>| {
            let names = groups.enumerate().filter(|(_, of)| *of == group).map(|(i, _)| format!("{kind}{number}.{i}"));
            names.collect::<Vec<_>>().join(" ")
        };
        let folder = self.part(&format!("group{number}.{group}"))?;
        attributes(
            &folder,
            &[
                ("engines", &members("engine", &mut config.engines.iter().copied())),
                ("read_buffers_allowed", &READ_BUFFERS),
                ("read_buffers_reserved", &0),
                ("tokens_allowed", &READ_BUFFERS),
                ("tokens_reserved", &0),
                ("traffic_class_a", &1),
                ("traffic_class_b", &1),
                ("uevent", &"DEVTYPE=group"),
                ("use_read_buffer_limit", &0),
                ("use_token_limit", &0),
                ("work_queues", &members("wq", &mut config.queues.iter().map(|queue| queue.group))),
            ],
        )?;
        if config.version >= VERSION_2_0 {
            attributes(&folder, &[("batch_progress_limit", &0), ("desc_progress_limit", &0)])?;
        }
        Ok(())
    }

    /// A queue, enabled if it has a configuration and with it a name.
    fn queue(&self, queue: usize, name: Option<&str>) -> Result<(), Error> {
        let Self { number, config, .. } = *self;
        let folder = self.part(&format!("wq{number}.{queue}"))?;
        // As the driver has a queue that nobody has configured.
        let idle = WqConfig::shared(0)
            .priority(0)
            .max_transfer_size(gencap::max_transfer_size(config.gencap))
            .max_batch_size(gencap::max_batch_size(config.gencap));
        let settings = config.queues.get(queue).unwrap_or(&idle);
        let is_enabled = name.is_some();
        let is_dedicated = settings.mode == Mode::Dedicated;
        let op_config = if is_enabled { settings.op_config } else { config.op_cap };
        let (kind, driver) = if is_enabled { ("user", &"user") } else { ("none", &"") };
        attributes(
            &folder,
            &[
                ("ats_disable", &u32::from(!settings.ats)),
                ("block_on_fault", &u32::from(settings.block_on_fault)),
                ("clients", &0),
                ("driver_name", &driver),
                ("group_id", &id(is_enabled.then_some(settings.group))),
                ("max_batch_size", &settings.max_batch_size),
                ("max_transfer_size", &settings.max_transfer_size),
                ("mode", &if is_dedicated { "dedicated" } else { "shared" }),
                ("name", &name.unwrap_or_default()),
                ("occupancy", &0),
                ("op_config", &words(&op_config)),
                ("priority", &settings.priority),
                ("size", &settings.size),
                ("state", &if is_enabled { "enabled" } else { "disabled" }),
                ("threshold", &if is_dedicated { 0 } else { settings.threshold }),
                ("type", &kind),
                ("uevent", &"DEVTYPE=wq"),
            ],
        )?;
        if !is_dedicated {
            attributes(&folder, &[("enqcmds_retries", &ENQCMDS_RETRIES)])?;
        }
        if config.version >= VERSION_2_0 {
            attributes(&folder, &[("prs_disable", &u32::from(!settings.page_requests))])?;
        }
        if is_enabled {
            let (major, minor) = Settings::NODE;
            attributes(&folder, &[("cdev_minor", &minor)])?;
            let node = format!("dsa!wq{number}.{queue}");
            attributes(&folder.join(&node), &[("dev", &format!("{major}:{minor}")), ("uevent", &"")])?;
            link(&format!("dsa{number}/wq{number}.{queue}/{node}"), &self.bus.join("devices").join(&node))?;
            self.register(&folder, "user")?;
        }
        Ok(())
    }

    /// The device's operations as the driver shows them: without batches where users must not have them. (Of a queue it
    /// shows all.)
    fn shown(&self, mut operations: [u64; 4]) -> [u64; 4] {
        if self.restricted && self.config.version == VERSION_1_0 {
            operations[usize::from(opcode::BATCH >> 6)] &= !(1 << (opcode::BATCH & 63));
        }
        operations
    }

    fn folder(&self) -> PathBuf {
        self.bus.join("devices").join(format!("dsa{}", self.number))
    }

    /// A folder in that of the device, which is listed on the bus too.
    fn part(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder().join(name);
        folder(&path)?;
        link(&format!("dsa{}/{name}", self.number), &self.bus.join("devices").join(name))?;
        link("/sys/bus/dsa", &path.join("subsystem"))?;
        Ok(path)
    }

    /// Binds an object to its driver.
    fn register(&self, object: &Path, driver: &str) -> Result<(), Error> {
        let drivers = self.bus.join("drivers").join(driver);
        if let Some(name) = object.file_name() {
            let target = Path::new("../../devices").join(name);
            link(&target.to_string_lossy(), &drivers.join(name))?;
        }
        link(&drivers.to_string_lossy(), &object.join("driver"))
    }
}

/// A group's number, or that of none.
fn id(group: Option<usize>) -> String {
    group.map_or_else(|| "-1".to_owned(), |group| group.to_string())
}

/// 256 bits as the kernel prints them: words of 32 bits, highest first.
fn words(bits: &[u64; 4]) -> String {
    let words = bits.iter().rev().flat_map(|long| [long >> 32, long & 0xffff_ffff]);
    words.map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(",")
}

/// Writes files into a folder that need not be there. An attribute without a text is an empty file.
fn attributes(path: &Path, attributes: &[(&str, &dyn Display)]) -> Result<(), Error> {
    folder(path)?;
    for (name, text) in attributes {
        let text = text.to_string();
        let line = if text.is_empty() { text } else { format!("{text}\n") };
        attempt(&path.join(name), |path| fs::write(path, line))?;
    }
    Ok(())
}

fn folder(path: &Path) -> Result<(), Error> {
    attempt(path, |path| fs::create_dir_all(path))
}

fn link(target: &str, at: &Path) -> Result<(), Error> {
    attempt(at, |path| symlink(target, path))
}

fn attempt<T>(path: &Path, f: impl FnOnce(&Path) -> std::io::Result<T>) -> Result<T, Error> {
    f(path).map_err(|source| Error::Tree { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_printed_as_the_kernel_does() {
        let expected = "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f027f";
        assert_eq!(words(&[0x1_003f_027f, 0, 0, 0]), expected);
        assert!(words(&[0, 0, 0, 1 << 63]).starts_with("80000000,00000000,"));
    }
}
