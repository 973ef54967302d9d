//! What does the work: the software model of a device, or the CPU.

use std::path::Path;
use std::time::Duration;

use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};

use super::Error;
use super::args::{Args, Preset};

/// An accelerator, and what it is.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) accelerator: Accelerator,
    /// For people; says whether timings mean anything.
    pub(crate) description: String,
    /// Whether timings are those of the software model.
    pub(crate) is_model: bool,
}

impl Target {
    /// Opens what the command line asks for.
    pub(crate) fn open(args: &Args) -> Result<Self, Error> {
        if args.cpu {
            let description = "none: the CPU does everything, as asked with --cpu".to_owned();
            return Ok(Self { accelerator: Accelerator::cpu(), description, is_model: false });
        }
        let device = Device::new(config(args))?;
        let mut policy = Policy::default();
        policy.min_device_size = usize::try_from(args.threshold.0).unwrap_or(usize::MAX);
        if args.trouble.lose.0 > 0.0 {
            // A lost descriptor holds its piece up for so long. The model is never this late by itself, and were it, the
            // queue would be quiesced for nothing.
            policy.lost_after = Duration::from_millis(500);
        }
        let accelerator = Accelerator::builder().policy(policy).emulator(&device).build()?;
        Ok(Self { accelerator, description: describe(args, &device), is_model: true })
    }
}

/// The model that the command line asks for.
fn config(args: &Args) -> Config {
    let model = &args.model;
    let base = match model.preset {
        Preset::Spr => Config::sapphire_rapids(),
        Preset::Gnr => Config::granite_rapids(),
    };
    let size = (base.total_entries / model.queues).min(64);
    let engines = usize::from(model.queues).min(base.limits.engines);
    let mut config = base.seed(args.seed).engines(engines);
    for _ in 0..model.queues {
        config = config.queue(if model.dedicated { WqConfig::dedicated(size) } else { WqConfig::shared(size) });
    }
    let trouble = &args.trouble;
    let rules = [
        (Effect::PageFault { resolvable: false }, trouble.page_faults()),
        (Effect::Retry, trouble.refusals()),
        (Effect::Lose, trouble.lose.0),
    ];
    for (effect, probability) in rules {
        if probability > 0.0 {
            config = config.fault(FaultRule::new(effect).probability(probability));
        }
    }
    config
}

fn describe(args: &Args, device: &Device) -> String {
    let config = device.config();
    let kind = if args.model.dedicated { "dedicated" } else { "shared" };
    let mut text = format!(
        "software model ({} preset), {} of {} entries, {}: timings say nothing about hardware",
        args.model.preset.name(),
        counted(config.queues.len() as u64, &format!("{kind} queue")),
        config.queues[0].size,
        counted(config.engines.len() as u64, "engine"),
    );
    if Path::new("/dev/dsa").is_dir() {
        text.push_str("\n           (this machine has /dev/dsa; this version of the demo does not use it)");
    }
    text
}

/// A number and its noun, which is given in the singular.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
