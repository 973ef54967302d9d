//! What the decisions of one lane remember.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::KINDS;
use super::place::CLASSES;

/// The first decisions of a lane, all of which are samples.
const EAGER: u32 = 64;

/// What has been found out about a size class holds for so many samples of the lane.
pub(super) const RENEWAL: u32 = 4;

/// Standings of a kind of operation, those that no size class has included: one for each that [`Place::class_of`](super::place::Place::class_of) gives.
const ROW: usize = 64;
const _: () = assert!(CLASSES <= ROW);

/// The distance between explorations is doubled so often at most.
pub(super) const MOST_DOUBLINGS: u32 = 5;

/// The state of one lane. Only threads of that lane write it, mostly one; what is lost if two do so at the same moment is a
/// sample, or a turn of a side that is turned again.
#[derive(Debug)]
pub(super) struct LaneState {
    /// Decisions until the next that is a sample.
    countdown: AtomicU32,
    /// Number of decisions, up to and with that one.
    turns: AtomicU32,
    /// In which turn the other side is tried next.
    explore_at: AtomicU32,
    /// For distances between explorations.
    random: AtomicU32,
    /// Number of explorations.
    explorations: AtomicU32,
    /// How often the distance between two has been doubled.
    doublings: AtomicU32,
    /// Number of samples.
    samples: AtomicU32,
    /// The queue to begin with.
    pub(super) home: u32,
    /// For each kind of operation: for each size class, in the lower half whether it has been decided for before, in
    /// the upper half whether it was the device's then.
    sides: [AtomicU64; KINDS],
    /// The node of the callers that the standings hold for.
    node: AtomicU32,
    /// For each kind of operation and size class, a [`Standing`].
    standings: [AtomicU32; KINDS * ROW],
}

/// What the last sample of a size class has found out about the next ones, until another sample does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing: costs are compared.
    Open,
    /// They are the CPU's, whatever the queues and the company.
    Cpu,
    /// They are the device's, through the lane's own queue, while the [pressure](super::queue::QueueState::pressure) there is
    /// below this, whatever the company.
    Device(u32),
}

impl Standing {
    /// As a word: 0 and 1 for the first two.
    const fn word(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Cpu => 1,
            // Nobody says 0 or 1: that would allow for less than a queue ever has in it.
            Self::Device(limit) => limit,
        }
    }

    #[inline]
    const fn of(word: u32) -> Self {
        match word {
            0 => Self::Open,
            1 => Self::Cpu,
            limit => Self::Device(limit),
        }
    }
}

/// What one decision is besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Its completion is a sample.
    pub(super) sample: bool,
    /// The other side's turn.
    pub(super) explore: bool,
}

impl LaneState {
    pub(super) fn new(number: usize, queues: usize, explore_every: u32) -> Self {
        let number = number as u32;
        let state = Self {
            countdown: AtomicU32::new(0),
            turns: AtomicU32::new(0),
            explore_at: AtomicU32::new(0),
            random: AtomicU32::new(number.wrapping_mul(0x9e37_79b9) | 1),
            explorations: AtomicU32::new(0),
            doublings: AtomicU32::new(0),
            samples: AtomicU32::new(0),
            home: if queues == 0 { 0 } else { number % queues as u32 },
            sides: [const { AtomicU64::new(0) }; KINDS],
            node: AtomicU32::new(u32::MAX),
            standings: [const { AtomicU32::new(0) }; KINDS * ROW],
        };
        state.postpone(0, explore_every);
        state
    }

    /// Counts a decision if it is nothing but that.
    #[inline]
    pub(super) fn passes(&self) -> bool {
        let left = self.countdown.load(Relaxed);
        if left != 0 {
            self.countdown.store(left - 1, Relaxed);
        }
        left != 0
    }

    /// Counts a decision.
    #[inline]
    pub(super) fn turn(&self, sample_every: u32, explore_every: u32) -> Turn {
        if self.passes() { Turn { sample: false, explore: false } } else { self.special(sample_every, explore_every) }
    }

    /// A decision that is a sample, and maybe an exploration. Samples are up to two times `sample_every` apart, at random, so that they
    /// do not always hit the same place of a load that repeats itself.
    #[cold]
    fn special(&self, sample_every: u32, explore_every: u32) -> Turn {
        let turn = self.turns.load(Relaxed);
        let explore = explore_every != 0 && turn.wrapping_sub(self.explore_at.load(Relaxed)) < 1 << 31;
        if explore {
            self.postpone(turn, explore_every);
        }
        let random = self.random();
        let more = (u64::from(random) * u64::from(2 * sample_every - 1)) >> 32;
        let mut gap = if turn < EAGER { 0 } else { more as u32 };
        if explore_every != 0 {
            // The next exploration is not slept through.
            gap = gap.min(self.explore_at.load(Relaxed).wrapping_sub(turn).saturating_sub(1));
        }
        self.countdown.store(gap, Relaxed);
        self.turns.store(turn.wrapping_add(gap).wrapping_add(1), Relaxed);
        Turn { sample: true, explore }
    }

    fn random(&self) -> u32 {
        let random = self.random.load(Relaxed).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.random.store(random, Relaxed);
        random
    }

    /// Counts a sample of a size class. Says whether its standing is to be found out: while it is open, and with every
    /// [`RENEWAL`]th sample of the lane.
    pub(super) fn is_to_be_settled(&self, kind: usize, class: usize) -> bool {
        let number = self.samples.load(Relaxed).wrapping_add(1);
        self.samples.store(number, Relaxed);
        number.is_multiple_of(RENEWAL) || self.standing(kind, class) == Standing::Open
    }

    /// Whether the standings hold for callers on this node.
    #[inline]
    pub(super) fn is_of(&self, node: u32) -> bool {
        self.node.load(Relaxed) == node
    }

    /// Forgets all standings if the node is another one.
    pub(super) fn move_to(&self, node: u32) {
        if !self.is_of(node) {
            self.standings.iter().for_each(|standing| standing.store(Standing::Open.word(), Relaxed));
            self.node.store(node, Relaxed);
        }
    }

    /// What is known of a size class by the last sample of it.
    #[inline]
    pub(super) fn standing(&self, kind: usize, class: usize) -> Standing {
        Standing::of(self.standings[kind * ROW + class].load(Relaxed))
    }

    pub(super) fn set_standing(&self, kind: usize, class: usize, standing: Standing) {
        let (place, word) = (&self.standings[kind * ROW + class], standing.word());
        if place.load(Relaxed) != word {
            place.store(word, Relaxed);
        }
    }

    /// Counts an exploration; says whether it is one of those, one in `every`, that may cost whatever they cost.
    #[cold]
    pub(super) fn is_free_exploration(&self, every: u32) -> bool {
        let number = self.explorations.load(Relaxed).wrapping_add(1);
        self.explorations.store(number, Relaxed);
        number.is_multiple_of(every)
    }

    /// How an exploration went: it took `took`, and the usual side takes `usual`. After one that took much longer the next
    /// ones are farther away, after one that was shorter they are as near as can be.
    pub(super) fn explored(&self, took: u64, usual: u64) {
        let doublings = self.doublings.load(Relaxed);
        let doublings = match took {
            _ if took > usual.saturating_mul(2) => (doublings + 2).min(MOST_DOUBLINGS),
            _ if took < usual => 0,
            _ => doublings.saturating_sub(1),
        };
        self.doublings.store(doublings, Relaxed);
    }

    /// Explorations are between one and two times `explore_every` decisions apart, or that doubled, at random, so that they do not always
    /// hit the same place of a load that repeats itself.
    #[cold]
    fn postpone(&self, turn: u32, explore_every: u32) {
        let random = self.random();
        let explore_every = explore_every << self.doublings.load(Relaxed);
        let more = (u64::from(random) * u64::from(explore_every)) >> 32;
        self.explore_at.store(turn.wrapping_add(explore_every).wrapping_add(more as u32), Relaxed);
    }

    /// Whether the device does it, at these costs: the cheaper one, or the one that did it before unless the other is cheaper by more
    /// than one part in `2^band` of its own cost.
    #[inline]
    pub(super) fn side(&self, kind: usize, class: usize, device: u64, cpu: u64, band: u32) -> bool {
        let sides = self.sides[kind].load(Relaxed);
        let cheaper = device <= cpu;
        let (known, was) = ((sides >> class) & 1 != 0, (sides >> (class + 32)) & 1 != 0);
        if known {
            if was == cheaper {
                return cheaper;
            }
            let (low, high) = if cheaper { (device, cpu) } else { (cpu, device) };
            if high - low <= low >> band {
                return was;
            }
        }
        let bits = (1 << class) | (1 << (class + 32));
        self.sides[kind].store((sides & !bits) | (1 << class) | (u64::from(cheaper) << (class + 32)), Relaxed);
        cheaper
    }
}
