//! Running a campaign beside a device.
//!
//! Rules are injected where the trigger is met, on the engine or submitter that met it. Commands wait for descriptors, which
//! engines must not; so a thread of the campaign gives them, or on a device without threads whoever calls
//! [`Campaign::run_one`]. The campaign does not keep the device alive, and the device does not keep the campaign going.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;

use super::script::{Command, Script};
use super::trace::CampaignReport;
use super::watch::{Over, State};
use crate::command::CommandError;
use crate::device::Device;
use crate::shared::Handle;

/// What counts as a tick when nothing else happens.
const IDLE: Duration = Duration::from_millis(1);

/// Why a campaign could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// There is one on this device.
    #[error("the device has a campaign already")]
    Busy,
    /// Its thread could not be started.
    #[error("the thread of the campaign could not be started")]
    Thread,
}

/// A script that is being carried out. Dropping it ends it: its rules are removed, its thread is gone, and the device is
/// left in the state that it has.
///
/// The end waits for a command that is under way, and so for the descriptors that the command waits for.
pub struct Campaign {
    state: Arc<State>,
    device: Weak<Handle>,
    thread: Option<JoinHandle<()>>,
}

impl Campaign {
    /// Begins. Steps without a trigger are taken before this returns, except for commands.
    pub fn start(device: &Device, script: Script) -> Result<Self, CampaignError> {
        let handle = device.handle();
        let faults = &handle.shared.faults;
        let seed = script.seed;
        let state = Arc::new(State::new(script));
        if !handle.shared.watch(Arc::<State>::clone(&state), seed) {
            return Err(CampaignError::Busy);
        }
        let mut campaign = Self { state, device: Arc::downgrade(handle), thread: None };
        campaign.state.begin(faults);
        if !handle.shared.config.manual {
            let (state, device) = (Arc::clone(&campaign.state), Weak::clone(&campaign.device));
            let thread = std::thread::Builder::new().name("dsa-campaign".into());
            // If it fails, the drop of the campaign undoes what has begun.
            let thread = thread.spawn(move || run(&state, &device)).map_err(|_| CampaignError::Thread)?;
            campaign.thread = Some(thread);
        }
        Ok(campaign)
    }

    /// Begins one of random steps; see [`Script::random`].
    pub fn random(device: &Device, seed: u64, intensity: f64) -> Result<Self, CampaignError> {
        Self::start(device, Script::random(seed, intensity))
    }

    /// On a device without threads: gives the command that is due, if there is one, then executes a descriptor. Returns
    /// whether there was anything to do; if not, a tick passes.
    ///
    /// On a device with threads it returns `false`.
    pub fn run_one(&self) -> bool {
        let Some(device) = self.manual() else { return false };
        let commanded = self.give(&device);
        let ran = device.run_one();
        if !commanded && !ran {
            self.state.idle(&device.shared().faults);
        }
        self.give(&device) || commanded || ran
    }

    /// [`run_one`](Self::run_one) until there is nothing to do; returns how often there was.
    pub fn run_until_idle(&self) -> usize {
        std::iter::repeat_with(|| self.run_one()).take_while(|ran| *ran).count()
    }

    /// Whether every step has been taken and its command is done. Rules may still be in force.
    pub fn is_finished(&self) -> bool {
        self.state.is_finished()
    }

    /// What has been done so far.
    pub fn report(&self) -> CampaignReport {
        self.state.report()
    }

    /// Ends it, whether it is finished or not, and says what it has done.
    pub fn finish(self) -> CampaignReport {
        let state = Arc::clone(&self.state);
        drop(self);
        state.report()
    }

    fn manual(&self) -> Option<Device> {
        let device = Device::of(self.device.upgrade()?);
        device.config().manual.then_some(device)
    }

    /// Carries out the commands that are due; whether there was one.
    fn give(&self, device: &Device) -> bool {
        let mut any = false;
        while let Some((step, command)) = self.state.take_command() {
            any = true;
            let result = carry_out(&self.state, device, command);
            self.state.done(&device.shared().faults, step, result);
        }
        any
    }
}

impl Drop for Campaign {
    fn drop(&mut self) {
        self.state.stop();
        if let Some(thread) = self.thread.take() {
            // A campaign dropped by its own thread, by way of an address space, does not wait for itself. One that has
            // panicked has printed its message.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        if let Some(handle) = self.device.upgrade() {
            handle.shared.unwatch();
            self.state.clear(&handle.shared.faults);
            // The rules that were cleared just now.
            handle.shared.set_gates();
        }
    }
}

impl std::fmt::Debug for Campaign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Campaign").field("report", &self.report()).finish_non_exhaustive()
    }
}

/// The campaign's thread.
fn run(state: &State, device: &Weak<Handle>) {
    let mut ticks = state.ticks();
    loop {
        let command = match state.wait_command(IDLE) {
            Ok(command) => command,
            Err(Over) => return,
        };
        let Some(handle) = device.upgrade() else { return };
        let device = Device::of(handle);
        match command {
            Some((step, command)) => {
                let result = carry_out(state, &device, command);
                state.done(&device.shared().faults, step, result);
            }
            None if state.ticks() == ticks => state.idle(&device.shared().faults),
            None => {}
        }
        ticks = state.ticks();
    }
}

fn carry_out(state: &State, device: &Device, command: Command) -> Result<(), CommandError> {
    match command {
        Command::Halt => device.halt(),
        Command::Reset => device.reset(),
        Command::Enable => device.enable()?,
        Command::Disable => device.disable()?,
        Command::Recover => {
            device.reset();
            device.enable()?;
            for queue in 0..device.work_queues() {
                device.enable_wq(queue)?;
            }
        }
        Command::Clear => state.clear(&device.shared().faults),
        Command::AbortAll => device.abort_all()?,
        Command::DrainAll => device.drain_all(),
        Command::AbortPasid(pasid) => device.abort_pasid(pasid),
        Command::DrainPasid(pasid) => device.drain_pasid(pasid),
        Command::EnableWq(queue) => device.enable_wq(queue)?,
        Command::DisableWq(queue) => device.disable_wq(queue)?,
        Command::AbortWq(queue) => device.abort_wq(queue)?,
        Command::DrainWq(queue) => device.drain_wq(queue)?,
    }
    Ok(())
}
