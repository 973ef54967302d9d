//! What does the work: the software model of a device, or the CPU.

use std::fmt;
use std::time::Duration;

use dsa::device::{Criteria, QueueMode};
use dsa::{Accelerator, Policy};
use dsa_emulator::{Config, Device, Effect, FaultRule, WqConfig};

use super::Error;
use super::args::{Args, On, Preset};

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
        match args.on() {
            On::Cpu => {
                let description = "none: the CPU does everything, as asked".to_owned();
                Ok(Self { accelerator: Accelerator::cpu(), description, is_model: false })
            }
            On::Model => Self::model(args, ""),
            On::Device => {
                let accelerator = machine(args)?;
                if accelerator.queues() == 0 {
                    return Err(Error::NoQueue(Reasons(&accelerator).to_string()));
                }
                Ok(Self::of_machine(accelerator))
            }
            On::Auto => {
                let accelerator = machine(args)?;
                if accelerator.queues() == 0 {
                    return Self::model(args, &Reasons(&accelerator).to_string());
                }
                Ok(Self::of_machine(accelerator))
            }
        }
    }

    fn of_machine(accelerator: Accelerator) -> Self {
        let queues: Vec<_> = accelerator.work_queues().map(|queue| queue.to_string()).collect();
        Self { description: queues.join("\n           "), accelerator, is_model: false }
    }

    /// `why`: the reasons for which no queue of the machine is used; empty if none was wanted.
    fn model(args: &Args, why: &str) -> Result<Self, Error> {
        let device = Device::new(config(args))?;
        let mut policy = policy(args);
        if args.trouble.lose.0 > 0.0 {
            // A lost descriptor holds its piece up for so long. The model is never this late by itself, and were it, the
            // queue would be quiesced for nothing.
            policy.lost_after = Duration::from_millis(500);
        }
        let accelerator = Accelerator::builder().policy(policy).emulator(&device).build()?;
        let description = describe(args, &device) + &why.replace('\n', "\n           ");
        Ok(Self { accelerator, description, is_model: true })
    }
}

fn policy(args: &Args) -> Policy {
    let mut policy = Policy::default();
    policy.min_device_size = Some(usize::try_from(args.threshold.0).unwrap_or(usize::MAX));
    policy
}

/// The machine's queues, which may be none.
fn machine(args: &Args) -> Result<Accelerator, Error> {
    let mut builder = Accelerator::builder().policy(policy(args)).submit_by(args.machine.submit.into());
    if args.machine.queue.is_empty() {
        builder = builder.hardware(Criteria::new().mode(QueueMode::Shared));
    }
    for name in &args.machine.queue {
        builder = builder.work_queue(name);
    }
    Ok(builder.build()?)
}

/// Why no queue of the machine is used, a line each.
struct Reasons<'a>(&'a Accelerator);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.unused().iter().try_for_each(|reason| write!(f, "\nnot used: {reason}"))
    }
}

/// The model that the command line asks for.
fn config(args: &Args) -> Config {
    let model = &args.model;
    let queues = model.queues.unwrap_or(1);
    let base = match model.preset.unwrap_or(Preset::Spr) {
        Preset::Spr => Config::sapphire_rapids(),
        Preset::Gnr => Config::granite_rapids(),
    };
    let size = (base.total_entries / queues).min(64);
    let engines = usize::from(queues).min(base.limits.engines);
    let mut config = base.seed(args.seed).engines(engines);
    for _ in 0..queues {
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
    format!(
        "software model ({} preset), {} of {} entries, {}: timings say nothing about hardware",
        args.model.preset.unwrap_or(Preset::Spr).name(),
        counted(config.queues.len() as u64, &format!("{kind} queue")),
        config.queues[0].size,
        counted(config.engines.len() as u64, "engine"),
    )
}

/// A number and its noun, which is given in the singular.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
