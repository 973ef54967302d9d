//! A cell of the comparison: how many bytes, how many operations in flight.

use std::fmt;
use std::str::FromStr;

/// One cell; written as `64B/QD1`, `4KiB/QD64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// Bytes of an operation.
    pub size: usize,
    /// Operations in flight.
    pub depth: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/QD{}", Bytes(self.size), self.depth)
    }
}

/// A size with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0B"),
            bytes if bytes.is_multiple_of(1 << 20) => write!(f, "{}MiB", bytes >> 20),
            bytes if bytes.is_multiple_of(1 << 10) => write!(f, "{}KiB", bytes >> 10),
            bytes => write!(f, "{bytes}B"),
        }
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no cell: it should look like 64B/QD1 or 4KiB/QD64");
        let (size, depth) = text.trim().split_once("/QD").ok_or_else(wrong)?;
        let (number, unit) = if let Some(number) = size.strip_suffix("KiB") {
            (number, 1 << 10)
        } else if let Some(number) = size.strip_suffix("MiB") {
            (number, 1 << 20)
        } else {
            (size.strip_suffix('B').ok_or_else(wrong)?, 1)
        };
        let number: usize = number.parse().map_err(|_| wrong())?;
        let depth: usize = depth.parse().map_err(|_| wrong())?;
        let size = number.checked_mul(unit).ok_or_else(wrong)?;
        if size == 0 || depth == 0 { Err(wrong()) } else { Ok(Self { size, depth }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_read_as_it_is_written() {
        for (text, size, depth) in [("64B/QD1", 64, 1), ("4KiB/QD64", 4 << 10, 64), ("1MiB/QD8", 1 << 20, 8)] {
            let cell: Cell = text.parse().expect("a cell");
            assert_eq!(cell, Cell { size, depth });
            assert_eq!(cell.to_string(), text);
        }
        assert_eq!("96B/QD512".parse::<Cell>().map(|cell| cell.to_string()).as_deref(), Ok("96B/QD512"));
    }

    #[test]
    fn what_is_no_cell_is_refused() {
        for text in
            ["", "64B", "64/QD1", "QD1", "0B/QD1", "64B/QD0", "64B/QDx", "x64B/QD1", "99999999999999999999B/QD1"]
        {
            let error = text.parse::<Cell>().expect_err(text);
            assert!(error.contains("64B/QD1"), "{error}");
        }
    }
}
