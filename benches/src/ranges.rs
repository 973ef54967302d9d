//! Many cells of the grid in few words.

use crate::cell::Bytes;
use crate::grid::{Alignment, Place, Residency};

/// Cells in few words: those of one residency and alignment together, and neighbours in size, of those that were measured, as
/// a range. `hot 64B to 1KiB, 16KiB; cold mis 4KiB`.
pub fn ranges(some: &[Place], measured: &[Place]) -> String {
    let mut groups: Vec<String> = Vec::new();
    for residency in Residency::ALL {
        for alignment in Alignment::ALL {
            let of = |places: &[Place]| -> Vec<usize> {
                let here = places.iter().filter(|p| (p.residency, p.alignment) == (residency, alignment));
                let mut sizes: Vec<usize> = here.map(|place| place.size).collect();
                sizes.sort_unstable();
                sizes.dedup();
                sizes
            };
            let (wanted, all) = (of(some), of(measured));
            let mut runs: Vec<(usize, usize)> = Vec::new();
            let mut goes_on = false;
            for size in all {
                let is_in = wanted.contains(&size);
                match runs.last_mut() {
                    Some(run) if is_in && goes_on => run.1 = size,
                    _ if is_in => runs.push((size, size)),
                    _ => {}
                }
                goes_on = is_in;
            }
            if !runs.is_empty() {
                let text = |(first, last): &(usize, usize)| {
                    let range = format!("{} to {}", Bytes(*first), Bytes(*last));
                    if first == last { Bytes(*first).to_string() } else { range }
                };
                let sizes = runs.iter().map(text).collect::<Vec<_>>().join(", ");
                let mis = if alignment == Alignment::Mis { " mis" } else { "" };
                groups.push(format!("{}{mis} {sizes}", residency.name()));
            }
        }
    }
    groups.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Operation;

    fn place(residency: Residency, alignment: Alignment, size: usize) -> Place {
        Place { operation: Operation::Copy, residency, alignment, size }
    }

    #[test]
    fn neighbours_among_the_measured_sizes_are_ranges() {
        use Alignment::{Aligned, Mis};
        use Residency::{Cold, Hot};
        let measured: Vec<Place> = [64, 256, 1024, 4096, 16384].map(|size| place(Hot, Aligned, size)).to_vec();
        let mut some: Vec<Place> = [64, 256, 1024, 16384].map(|size| place(Hot, Aligned, size)).to_vec();
        assert_eq!(ranges(&some, &measured), "hot 64B to 1KiB, 16KiB");
        assert_eq!(ranges(&[], &measured), "");
        // 256 bytes and 4 KiB were not measured there, so that 64 bytes, 1 KiB and 16 KiB are neighbours.
        let both: Vec<Place> =
            measured.iter().copied().chain([64, 1024, 16384].map(|size| place(Cold, Mis, size))).collect();
        some.extend([1024, 16384].map(|size| place(Cold, Mis, size)));
        assert_eq!(ranges(&some, &both), "hot 64B to 1KiB, 16KiB; cold mis 1KiB to 16KiB");
    }
}
