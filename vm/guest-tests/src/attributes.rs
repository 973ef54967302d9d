//! What the driver says about a queue in sysfs, as the conformance suite wants it.

use std::error::Error;
use std::fs;
use std::path::Path;

use dsa_conformance::{Capabilities, behind_driver};

/// Whether a queue is shared, and what it can do, by its attributes under `/sys/bus/dsa/devices`.
///
/// `portal`: descriptors go to a mapped portal, and not through the driver, which refuses some.
pub fn read(devices: &Path, queue: &str, portal: bool) -> Result<(bool, Capabilities), Box<dyn Error>> {
    let number = queue.strip_prefix("wq").and_then(|rest| rest.split('.').next()).ok_or("not the name of a queue")?;
    let of_queue = |name: &str| attribute(&devices.join(queue).join(name));
    let of_device = |name: &str| attribute(&devices.join(format!("dsa{number}")).join(name));
    let mut c = Capabilities::default();
    c.version = of_device("version").and_then(|text| Ok(hexadecimal(&text)? as u32))?;
    c.gen_cap = of_device("gen_cap").and_then(|text| hexadecimal(&text))?;
    c.op_config = of_queue("op_config").or_else(|_| of_device("op_cap")).and_then(|text| bitmap(&text))?;
    if let Ok(text) = of_device("dsacaps") {
        // The last one first.
        let words: Vec<u64> = text.split(',').map(hexadecimal).collect::<Result<_, _>>()?;
        c.dsacap = words.iter().rev().copied().collect::<Vec<_>>().try_into().map_err(|_| "three registers wanted")?;
    }
    c.max_transfer_size = of_queue("max_transfer_size")?.parse()?;
    c.max_batch_size = of_queue("max_batch_size")?.parse()?;
    c.max_sgl_size = idxd_sys::compute::dsacap0::max_sgl_size(c.dsacap[0]);
    c.block_on_fault = of_queue("block_on_fault")? == "1";
    // Without this attribute nobody can switch them off.
    c.page_requests = of_queue("prs_disable").map_or(true, |text| text == "0");
    c.fault_addresses = true;
    behind_driver(&mut c, portal);
    Ok((of_queue("mode")? == "shared", c))
}

fn attribute(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(text.trim().into())
}

fn hexadecimal(text: &str) -> Result<u64, Box<dyn Error>> {
    let text = text.trim();
    Ok(u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16)?)
}

/// Words of 32 bits, the most significant first.
fn bitmap(text: &str) -> Result<[u64; 4], Box<dyn Error>> {
    let mut bits = [0; 4];
    for (i, word) in text.rsplit(',').enumerate() {
        let place = bits.get_mut(i / 2).ok_or("more than 256 bits")?;
        *place |= hexadecimal(word)? << (32 * (i % 2));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use idxd_sys::opcode;

    use super::*;

    /// A folder with the attributes of one queue, which goes with it.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str, version: &str, op_config: &str) -> Self {
            let root = std::env::temp_dir().join(format!("dsa-attributes-{name}-{}", std::process::id()));
            for (file, text) in [
                ("dsa0/version", version),
                ("dsa0/gen_cap", "0x40915f0107"),
                ("dsa0/dsacaps", "000000000000f18d,00fa01ff01ff03ff,0010000e000077ea"),
                ("wq0.1/op_config", op_config),
                ("wq0.1/mode", "shared"),
                ("wq0.1/max_transfer_size", "2147483648"),
                ("wq0.1/max_batch_size", "32"),
                ("wq0.1/block_on_fault", "1"),
                ("wq0.1/prs_disable", "1"),
            ] {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, format!("{text}\n")).unwrap();
            }
            Self(root)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const OPERATIONS: &str = "00000000,00000000,00000000,00000000,00000000,00000000,00000001,003f027d";

    #[test]
    fn attributes_become_capabilities() {
        let folder = Folder::new("all", "0x300", OPERATIONS);
        let (shared, c) = read(&folder.0, "wq0.1", false).unwrap();
        assert!(shared && c.block_on_fault && !c.page_requests);
        assert_eq!((c.version, c.gen_cap, c.op_config), (0x300, 0x40_915f_0107, [0x1_003f_027d, 0, 0, 0]));
        assert_eq!(c.dsacap, [0x0010_000e_0000_77ea, 0x00fa_01ff_01ff_03ff, 0xf18d]);
        assert_eq!((c.max_transfer_size, c.max_batch_size, c.max_sgl_size), (1 << 31, 32, 1024));
        assert!(!c.offers(opcode::BATCH) && !c.refuses(opcode::BATCH));
    }

    #[test]
    fn batches_that_the_driver_hides_are_there_through_a_portal() {
        let folder = Folder::new("batches", "0x100", OPERATIONS);
        let refuses = |portal| {
            let (_, c) = read(&folder.0, "wq0.1", portal).unwrap();
            assert!(c.offers(opcode::BATCH));
            c.refuses(opcode::BATCH)
        };
        assert!(!refuses(true) && refuses(false));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = Folder::new("missing", "0x100", "x");
        assert!(read(&folder.0, "wq0.1", true).is_err());
        let error = read(&folder.0, "wq0.2", true).unwrap_err().to_string();
        assert!(error.contains("op_cap"), "{error}");
        assert!(read(&folder.0, "dsa0", true).is_err());
    }
}
