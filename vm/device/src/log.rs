//! The device's log: lines of text with the seconds since its start.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A log that several threads write.
pub(crate) struct Log {
    start: Instant,
    file: Mutex<File>,
}

impl Log {
    pub(crate) fn create(path: &Path) -> std::io::Result<Self> {
        Ok(Self { start: Instant::now(), file: Mutex::new(File::create(path)?) })
    }

    /// Writes a line. A log that cannot be written does not stop the device.
    pub(crate) fn line(&self, text: &str) {
        let line = format!("[{:10.6}] {text}\n", self.start.elapsed().as_secs_f64());
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}
