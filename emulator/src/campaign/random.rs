//! Random scripts, for soak tests.

use std::time::Duration;

use idxd_sys::{opcode, status};

use super::script::{Action, Command, Script, Trigger};
use crate::fault::{Effect, FaultRule};
use crate::memory::Access;
use crate::prng::Prng;

/// Steps of a random script, without those that undo others.
const STEPS: usize = 24;

impl Script {
    /// A script of random steps that ends with a device in order: no rules, enabled, all queues enabled.
    ///
    /// `intensity` goes from 0, where rules hit one descriptor in a thousand and steps are thousands of ticks apart, to 1,
    /// where they hit one in three and steps are tens of ticks apart. Values outside count as the nearest inside, NaN
    /// as 0. Everything that a script can do occurs, on queue 0 where a command needs one; a halted, reset or disabled
    /// device and a disabled queue are brought back a few steps later. Delays are below a millisecond.
    pub fn random(seed: u64, intensity: f64) -> Self {
        let intensity = if intensity >= 0.0 { intensity.min(1.0) } else { 0.0 };
        let mut draw = Draw { rng: Prng::new(seed ^ 0x736f_616b), intensity };
        let mut script = Self::new(seed);
        for _ in 0..STEPS {
            let trigger = draw.trigger();
            if draw.rng.below(4) == 0 {
                script = draw.outage(script, trigger);
            } else {
                let ticks = draw.spacing() * 4;
                script = script.step(trigger, Action::lasting(draw.rule(), ticks));
            }
        }
        let spacing = draw.spacing();
        script.step(Trigger::After(spacing), Command::Clear).step(Trigger::Now, Command::Recover)
    }
}

struct Draw {
    rng: Prng,
    intensity: f64,
}

impl Draw {
    /// Ticks between two steps.
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
    fn spacing(&mut self) -> u64 {
        // From 10 to 10,000.
        let mean = 10f64.powf(4.0 - 3.0 * self.intensity) as u64;
        1 + self.rng.below(2 * mean)
    }

    fn trigger(&mut self) -> Trigger {
        match self.rng.below(4) {
            0 => Trigger::Chance(self.probability()),
            _ => Trigger::After(self.spacing()),
        }
    }

    /// From a thousandth to a third, and different each time.
    #[allow(clippy::cast_precision_loss)]
    fn probability(&mut self) -> f64 {
        let base = 10f64.powf(-3.0 + 2.5 * self.intensity);
        base * (0.5 + self.rng.below(64) as f64 / 128.0)
    }

    fn rule(&mut self) -> FaultRule {
        let errors = [status::HW_READ, status::HW_WRITE, status::TRANSLATION];
        let effect = match self.rng.below(10) {
            0..=2 => Effect::PageFault { resolvable: false },
            3 => Effect::PageFault { resolvable: true },
            4 => Effect::RecordFault,
            5 => Effect::HardwareError(errors[self.rng.below(3) as usize]),
            6 => Effect::HardwareError(0),
            7 => Effect::Lose,
            8 => Effect::Retry,
            _ => Effect::Delay(Duration::from_micros(1 + self.rng.below(900))),
        };
        // What no record tells of, software finds out by waiting; a few are enough.
        let quiet = matches!(effect, Effect::RecordFault | Effect::HardwareError(0) | Effect::Lose);
        let mut rule = FaultRule::new(effect).probability(self.probability());
        if quiet {
            rule = rule.limit(1 + self.rng.below(2));
        }
        if self.rng.below(3) == 0 {
            let codes = [opcode::MEMMOVE, opcode::FILL, opcode::COMPARE, opcode::CRCGEN, opcode::BATCH];
            rule = rule.opcode(codes[self.rng.below(5) as usize]);
        }
        if matches!(effect, Effect::PageFault { .. }) && self.rng.below(2) == 0 {
            rule = rule.access(if self.rng.below(2) == 0 { Access::Read } else { Access::Write });
        }
        rule
    }

    /// A command, and what undoes it.
    fn outage(&mut self, script: Script, trigger: Trigger) -> Script {
        let (command, undo) = match self.rng.below(8) {
            0 => (Command::Halt, Some(Command::Recover)),
            1 => (Command::Reset, Some(Command::Recover)),
            2 => (Command::Disable, Some(Command::Recover)),
            3 => (Command::DisableWq(0), Some(Command::EnableWq(0))),
            4 => (Command::AbortWq(0), None),
            5 => (Command::AbortAll, None),
            6 => (Command::DrainWq(0), None),
            _ => (Command::DrainAll, None),
        };
        let script = script.step(trigger, command);
        let back = Trigger::After(1 + self.rng.below(30));
        undo.map_or(script.clone(), |undo| script.step(back, undo))
    }
}
