//! The settings that `dsa emulate` leaves behind, read once when the library is loaded.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use dsa_emulator::text::Settings;

use crate::complain;

/// Null: there are none, or they are of no use. Otherwise never freed.
static SETTINGS: AtomicPtr<Settings> = AtomicPtr::new(null_mut());

/// Reads them. False if this process is not emulated for.
pub(crate) fn begin() -> bool {
    // Whoever loads the library by hand, elsewhere, gets nothing, and is not told.
    let Ok(text) = std::fs::read_to_string(Settings::FILE) else { return false };
    match Settings::read(&text) {
        Ok(settings) => {
            SETTINGS.store(Box::into_raw(Box::new(settings)), Ordering::Release);
            true
        }
        Err(error) => {
            complain(&format!("the library and the command are of different versions ({error}); no device"));
            false
        }
    }
}

/// The settings of this process.
pub(crate) fn settings() -> Option<&'static Settings> {
    // SAFETY: null, or leaked by `begin`.
    unsafe { SETTINGS.load(Ordering::Acquire).as_ref() }
}
