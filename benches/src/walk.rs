//! The order in which slots of a large memory are visited: without a pattern that a prefetcher could see, and each once before
//! any comes again. It takes no memory itself, so that it does not disturb the caches.

/// Visits the numbers below a count in an order that looks random.
#[derive(Clone, Debug)]
pub struct Walk {
    count: usize,
    bits: u32,
    next: usize,
}

impl Walk {
    /// A walk over the numbers from 0 on, below `count`, from place `start` of the order on.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn new(count: usize, start: usize) -> Self {
        assert!(count > 0, "a walk over nothing");
        Self { count, bits: count.next_power_of_two().trailing_zeros(), next: start }
    }

    /// The next number.
    pub fn step(&mut self) -> usize {
        loop {
            let place = self.next & self.mask();
            self.next = self.next.wrapping_add(1);
            let number = self.mixed(place);
            // Fewer than half of the numbers are beyond the count.
            if number < self.count {
                return number;
            }
        }
    }

    fn mask(&self) -> usize {
        (1 << self.bits) - 1
    }

    /// A one-to-one mapping of the numbers of `bits` bits: odd factors and shifts to the right can be undone.
    fn mixed(&self, place: usize) -> usize {
        let (shift, mask) = ((self.bits / 2).max(1), self.mask());
        let mut value = place;
        for factor in [0x9e37_79b9_7f4a_7c15_u64, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            value = (value as u64).wrapping_mul(factor) as usize & mask;
            value ^= value >> shift;
            value = value.wrapping_add(factor as usize >> 32) & mask;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_visited_once_before_any_comes_again() {
        for count in [1, 2, 3, 7, 8, 31, 64, 1000, 1024, 4097] {
            // A multiple of the power of two, so that a whole turn is seen.
            let mut walk = Walk::new(count, 3 * count.next_power_of_two());
            for turn in 0..2 {
                let mut seen = vec![false; count];
                for _ in 0..count {
                    let number = walk.step();
                    assert!(!seen[number], "{number} of {count} twice in turn {turn}");
                    seen[number] = true;
                }
            }
        }
    }

    #[test]
    fn steps_have_no_favourite_length() {
        let mut walk = Walk::new(1 << 14, 0);
        let mut last = walk.step();
        let mut lengths = std::collections::HashMap::new();
        for _ in 1..1 << 14 {
            let next = walk.step();
            *lengths.entry(next.abs_diff(last)).or_insert(0) += 1;
            last = next;
        }
        let most = lengths.values().copied().max().unwrap_or(0);
        assert!(most < 1 << 10, "{most} of {} steps are of one length", 1 << 14);
    }

    #[test]
    fn another_start_is_another_place_of_the_same_order() {
        let (mut first, mut second) = (Walk::new(100, 0), Walk::new(100, 5));
        let of_first: Vec<usize> = (0..200).map(|_| first.step()).collect();
        let of_second: Vec<usize> = (0..50).map(|_| second.step()).collect();
        assert!(of_first.windows(50).any(|window| window == of_second));
    }
}
