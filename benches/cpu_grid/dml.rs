//! Intel's Data Mover Library, if the system has it: its software path, through the shim in `dml.c`.
//!
//! The shim is compiled when the program runs, against the installed header, and loaded: what a job looks like is known to
//! nobody else. Each operation is tried once; one that the library refuses is left out, and said so.

use dsa_benches::grid::{Alignment, Operation, Place};

use super::slots::Slot;

/// A function of the shim: source, the other region, room for a delta record, bytes, result. It gives the library's status.
type Run = unsafe extern "C" fn(*const u8, *mut u8, *mut u8, u32, *mut u64) -> u32;

/// The library's status for success.
const OK: u32 = 0;

/// The operations that are compared with. They stay loaded.
pub(crate) struct Dml {
    functions: Vec<(Operation, Function)>,
    /// Operations that the library has refused, with the reason.
    pub(crate) refused: Vec<String>,
}

/// An operation of the library.
#[derive(Clone, Copy)]
pub(crate) struct Function(Run);

impl Dml {
    /// Compiles and loads the shim, or says why not.
    #[cfg(feature = "dml")]
    pub(crate) fn load() -> Result<Self, String> {
        shim::load()
    }

    /// Says why it is absent.
    #[cfg(not(feature = "dml"))]
    pub(crate) fn load() -> Result<Self, String> {
        Err("built without the feature `dml`".to_owned())
    }

    /// What does the operation of a cell, if the library does it there.
    pub(crate) fn of(&self, place: Place) -> Option<Function> {
        // As the device, the library makes delta records of aligned regions only.
        if place.operation.is_delta() && place.alignment == Alignment::Mis {
            return None;
        }
        self.functions.iter().find(|(operation, _)| *operation == place.operation).map(|(_, function)| *function)
    }
}

impl Function {
    /// Does it in a slot, and says what came out.
    ///
    /// # Safety
    ///
    /// The regions are valid for the operation, nobody else uses them, and they do not overlap. The record has room for an entry
    /// for each word, and for 80 bytes. No other thread uses the library through the shim.
    ///
    /// # Panics
    ///
    /// If the library refuses: its time would be that of nothing.
    #[inline(always)]
    pub(crate) unsafe fn run(self, slot: Slot, record: *mut u8) -> u64 {
        // SAFETY: the caller's promise.
        let (status, result) = unsafe { self.call(slot, record) };
        assert!(status == OK, "DML refuses an operation on {} bytes: status {status}", slot.len);
        result
    }

    /// The library's status, and the result.
    ///
    /// # Safety
    ///
    /// As for [`run`](Self::run).
    #[inline(always)]
    unsafe fn call(self, slot: Slot, record: *mut u8) -> (u32, u64) {
        let bytes = u32::try_from(slot.len).expect("an arena has less than 4 GiB");
        let mut result = 0;
        // SAFETY: the caller's promise; the result has a place of its own. The source is only read, which the shim's type hides.
        let status = unsafe { (self.0)(slot.source, slot.target, record, bytes, &raw mut result) };
        (status, result)
    }
}

#[cfg(feature = "dml")]
mod shim {
    use std::path::Path;
    use std::process::Command;

    use libloading::{Library, Symbol};

    use super::super::slots::{PATTERN, Slot};
    use super::{Dml, Function, OK, Operation, Run};

    /// Libraries to link with: the shared one knows what it needs, the static one does not say.
    const LINKED: [&[&str]; 2] = [&["-ldml"], &["-ldml", "-lstdc++", "-ldl"]];
    /// Words of what each operation is tried with: a block with its field, or the delta record of a block, and more.
    const TRIED: usize = 128;

    pub(super) fn load() -> Result<Dml, String> {
        let file = std::env::temp_dir().join(format!("dsa-cpu-grid-dml-{}.so", std::process::id()));
        let library = compile(&file).and_then(|()| {
            // SAFETY: the shim has no initialisers; those of the library behind it choose functions by CPUID.
            unsafe { Library::new(&file) }.map_err(|error| error.to_string())
        });
        // It is mapped now.
        let _ = std::fs::remove_file(file);
        let library: &'static Library = Box::leak(Box::new(library?));
        open(library)?;
        let mut dml = Dml { functions: Vec::new(), refused: Vec::new() };
        for operation in Operation::ALL {
            let Some(symbol) = symbol(operation) else { continue };
            // SAFETY: this is the type that all operations have in `dml.c`.
            let run: Symbol<'_, Run> = unsafe { library.get(symbol.as_bytes()) }.map_err(|error| error.to_string())?;
            let function = Function(*run);
            match try_once(function) {
                OK => dml.functions.push((operation, function)),
                status => dml.refused.push(format!("{} (status {status})", operation.name())),
            }
        }
        Ok(dml)
    }

    /// Makes the job.
    fn open(library: &Library) -> Result<(), String> {
        // SAFETY: this is its type in `dml.c`.
        let open: Symbol<'_, unsafe extern "C" fn(u64) -> u32> =
            unsafe { library.get(b"dsa_dml_open") }.map_err(|error| error.to_string())?;
        // SAFETY: it asks for nothing, and nobody else uses the shim yet.
        match unsafe { open(PATTERN) } {
            OK => Ok(()),
            status => Err(format!("no job can be made: status {status}")),
        }
    }

    /// The status of an operation on a block.
    fn try_once(function: Function) -> u32 {
        let (source, mut target, mut record) = ([0_u64; TRIED], [0_u64; TRIED], [0_u64; TRIED]);
        let target = target.as_mut_ptr().cast();
        let slot = Slot { source: source.as_ptr().cast(), target, second: target, len: dsa_benches::grid::BLOCK };
        // SAFETY: three regions of this function's own, longer than a block with its field and the block's delta record. Nobody
        // else uses the library while it is loaded.
        unsafe { function.call(slot, record.as_mut_ptr().cast()) }.0
    }

    /// What does an operation in the shim, if it has that.
    fn symbol(operation: Operation) -> Option<&'static str> {
        Some(match operation {
            Operation::Copy => "dsa_dml_copy",
            Operation::Fill => "dsa_dml_fill",
            Operation::Crc32c => "dsa_dml_crc32c",
            Operation::CopyCrc32c => "dsa_dml_copy_crc32c",
            Operation::Compare => "dsa_dml_compare",
            Operation::ComparePattern => "dsa_dml_compare_pattern",
            Operation::DeltaEqual | Operation::DeltaSparse | Operation::DeltaDense => "dsa_dml_delta",
            Operation::DifInsert => "dsa_dml_dif_insert",
            Operation::Crc64 | Operation::Dualcast | Operation::DifCheck | Operation::DixGenerate => return None,
        })
    }

    /// Compiles the shim, or gives the first line of what the compiler says.
    fn compile(file: &Path) -> Result<(), String> {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/cpu_grid/dml.c");
        let mut complaint = String::new();
        for libraries in LINKED {
            let mut compiler = Command::new("cc");
            // Without the last one, what is missing would show only when the shim is loaded.
            compiler.args(["-O2", "-shared", "-fPIC", "-Wl,--no-undefined", "-o"]);
            let output = compiler.arg(file).arg(source).args(libraries).output();
            let output = output.map_err(|error| format!("cc: {error}"))?;
            if output.status.success() {
                return Ok(());
            }
            if complaint.is_empty() {
                let text = String::from_utf8_lossy(&output.stderr);
                let line = text.lines().find(|line| line.contains("error") || line.contains("cannot find"));
                line.unwrap_or(text.trim()).clone_into(&mut complaint);
            }
        }
        Err(complaint)
    }
}
