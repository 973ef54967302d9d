//! Whether every byte and every answer is right.
//!
//! Nothing of the runtime takes part: bytes are compared as slices, and checksums come from another implementation. The
//! source is held against the CRC that it had when it was read, so that a device that writes the wrong way is found too.

use std::fmt;

use super::args::Recipe;
use super::work::{Answer, Finished, Place};

/// What is wrong with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The source does not have the CRC any more that it was read with.
    SourceChanged,
    /// A destination has another length than the source.
    Length { buffer: &'static str, expected: usize, found: usize },
    /// The first wrong byte of a destination.
    Byte { buffer: &'static str, at: usize, expected: u8, found: u8 },
    /// The CRC that an operation returned.
    Crc { expected: u32, found: u32 },
    /// The offset at which a comparison saw the first difference.
    Difference { expected: Option<usize>, found: Option<usize> },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SourceChanged => f.write_str("the source was changed"),
            Self::Length { buffer, expected, found } => {
                write!(f, "the {buffer} has {found} bytes instead of {expected}")
            }
            Self::Byte { buffer, at, expected, found } => {
                write!(f, "byte {at} of the {buffer} is {found:#04x} instead of {expected:#04x}")
            }
            Self::Crc { expected, found } => write!(f, "the CRC-32C is {found:#010x} instead of {expected:#010x}"),
            Self::Difference { expected, found } => {
                let place = |offset: Option<usize>| offset.map_or("nowhere".to_owned(), |at| format!("at byte {at}"));
                write!(f, "the first difference was seen {} instead of {}", place(found), place(expected))
            }
        }
    }
}

/// A piece that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) place: Place,
    pub(crate) recipe: Recipe,
    pub(crate) wrong: Wrong,
}

/// The judgement on a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Pieces that were looked at.
    pub(crate) pieces: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Pieces that are wrong.
    pub(crate) mismatches: u64,
    /// The first few of them.
    pub(crate) examples: Vec<Mismatch>,
}

impl Verdict {
    /// Mismatches that are kept to be shown.
    const EXAMPLES: usize = 8;

    /// Looks at a piece.
    pub(crate) fn judge(&mut self, piece: &Finished) {
        self.pieces += 1;
        self.bytes += piece.src.len() as u64;
        if let Err(wrong) = check(piece) {
            self.mismatches += 1;
            if self.examples.len() < Self::EXAMPLES {
                self.examples.push(Mismatch { place: piece.place, recipe: piece.recipe, wrong });
            }
        }
    }
}

/// Checks one piece.
fn check(piece: &Finished) -> Result<(), Wrong> {
    let src = &piece.src[..];
    if crc32c::crc32c(src) != piece.crc {
        return Err(Wrong::SourceChanged);
    }
    same("copy", src, &piece.dst)?;
    match (&piece.second, piece.recipe) {
        (Some(second), Recipe::Fill) => filled(second, src.len(), piece.pattern)?,
        (Some(second), _) => same("second copy", src, second)?,
        (None, _) => {}
    }
    match piece.answer {
        Answer::Nothing => Ok(()),
        Answer::Crc(crc) if crc == piece.crc => Ok(()),
        Answer::Crc(found) => Err(Wrong::Crc { expected: piece.crc, found }),
        Answer::Compared { clean: None, planted, found } if found == Some(planted) => Ok(()),
        Answer::Compared { clean: None, planted, found } => Err(Wrong::Difference { expected: Some(planted), found }),
        Answer::Compared { clean, .. } => Err(Wrong::Difference { expected: None, found: clean }),
    }
}

/// A destination must be the source.
fn same(buffer: &'static str, expected: &[u8], found: &[u8]) -> Result<(), Wrong> {
    if expected == found {
        return Ok(());
    }
    if expected.len() != found.len() {
        return Err(Wrong::Length { buffer, expected: expected.len(), found: found.len() });
    }
    match expected.iter().zip(found).enumerate().find(|(_, (a, b))| a != b) {
        Some((at, (&expected, &found))) => Err(Wrong::Byte { buffer, at, expected, found }),
        None => Ok(()),
    }
}

/// A buffer must be full of a pattern.
fn filled(found: &[u8], len: usize, pattern: [u8; 8]) -> Result<(), Wrong> {
    if found.len() != len {
        return Err(Wrong::Length { buffer: "filled buffer", expected: len, found: found.len() });
    }
    let wrong = found.chunks(8).position(|chunk| chunk != &pattern[..chunk.len()]);
    let Some(begin) = wrong.map(|chunk| chunk * 8) else { return Ok(()) };
    let rest = &found[begin..];
    let expected = &pattern[..rest.len().min(8)];
    same("filled buffer", expected, &rest[..expected.len()]).map_err(|wrong| match wrong {
        Wrong::Byte { buffer, at, expected, found } => Wrong::Byte { buffer, at: begin + at, expected, found },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use dsa::buf::{Pool, PoolBuf};

    use super::*;

    const LEN: usize = 1003;

    fn buffer(pool: &Pool, bytes: impl Iterator<Item = u8>) -> PoolBuf {
        let mut buf = pool.try_get().unwrap();
        buf.extend_from_slice(&bytes.collect::<Vec<_>>());
        buf
    }

    /// A piece on which everything is right.
    fn right(recipe: Recipe, answer: fn(u32) -> Answer) -> Finished {
        let pool = Pool::builder().buffers(3).size(LEN).build().unwrap();
        let data = || (0..LEN).map(|i| (i * 7) as u8);
        let pattern = [1, 2, 3, 4, 5, 6, 7, 8];
        let second = match recipe {
            Recipe::Fill => Some(buffer(&pool, pattern.into_iter().cycle().take(LEN))),
            Recipe::Dualcast => Some(buffer(&pool, data())),
            _ => None,
        };
        let (src, dst) = (buffer(&pool, data()), buffer(&pool, data()));
        let crc = crc32c::crc32c(&src);
        let place = Place { file: 0, offset: 4096 };
        Finished { place, recipe, src, dst, second, pattern, crc, answer: answer(crc) }
    }

    fn all_right() -> Vec<Finished> {
        vec![
            right(Recipe::CopyCrc32c, Answer::Crc),
            right(Recipe::Crc32c, Answer::Crc),
            right(Recipe::CopyCompare, |_| Answer::Compared { clean: None, planted: 17, found: Some(17) }),
            right(Recipe::Fill, |_| Answer::Nothing),
            right(Recipe::Dualcast, |_| Answer::Nothing),
        ]
    }

    #[test]
    fn the_second_opinion_is_crc32c() {
        assert_eq!(crc32c::crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c::crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62A8_AB43);
    }

    #[test]
    fn what_is_right_passes() {
        let mut verdict = Verdict::default();
        for piece in all_right() {
            assert_eq!(check(&piece), Ok(()), "{}", piece.recipe);
            verdict.judge(&piece);
        }
        assert_eq!((verdict.pieces, verdict.bytes, verdict.mismatches), (5, 5 * LEN as u64, 0));
    }

    #[test]
    fn a_single_wrong_bit_is_found_in_every_byte_of_every_buffer() {
        for mut piece in all_right() {
            for at in 0..LEN {
                piece.src[at] ^= 1;
                assert_eq!(check(&piece), Err(Wrong::SourceChanged));
                piece.src[at] ^= 1;
                let good = piece.dst[at];
                piece.dst[at] ^= 0x80;
                let found = piece.dst[at];
                assert_eq!(check(&piece), Err(Wrong::Byte { buffer: "copy", at, expected: good, found }));
                piece.dst[at] = good;
                if let Some(second) = &mut piece.second {
                    second[at] ^= 1;
                    let Err(Wrong::Byte { at: seen, .. }) = check(&piece) else { panic!("byte {at} passed") };
                    assert_eq!(seen, at);
                    piece.second.as_mut().unwrap()[at] ^= 1;
                }
            }
        }
    }

    #[test]
    fn a_short_destination_is_found() {
        for mut piece in all_right() {
            if let Some(second) = &mut piece.second {
                second.set_len(LEN - 1);
                assert!(matches!(check(&piece), Err(Wrong::Length { expected: LEN, .. })));
            }
            piece.dst.clear();
            assert_eq!(check(&piece), Err(Wrong::Length { buffer: "copy", expected: LEN, found: 0 }));
        }
    }

    #[test]
    fn wrong_answers_are_found() {
        let crc = right(Recipe::Crc32c, |crc| Answer::Crc(!crc));
        assert_eq!(check(&crc), Err(Wrong::Crc { expected: crc.crc, found: !crc.crc }));
        let compared = |answer| check(&right(Recipe::CopyCompare, answer));
        let saw_ghost = compared(|_| Answer::Compared { clean: Some(3), planted: 5, found: Some(5) });
        assert_eq!(saw_ghost, Err(Wrong::Difference { expected: None, found: Some(3) }));
        let missed = compared(|_| Answer::Compared { clean: None, planted: 5, found: None });
        assert_eq!(missed, Err(Wrong::Difference { expected: Some(5), found: None }));
        let elsewhere = compared(|_| Answer::Compared { clean: None, planted: 5, found: Some(4) });
        assert_eq!(elsewhere, Err(Wrong::Difference { expected: Some(5), found: Some(4) }));
    }

    #[test]
    fn mismatches_are_counted_and_the_first_ones_kept() {
        let mut verdict = Verdict::default();
        let mut piece = right(Recipe::CopyCrc32c, Answer::Crc);
        verdict.judge(&piece);
        piece.dst[9] ^= 1;
        for offset in 0..20 {
            piece.place.offset = offset;
            verdict.judge(&piece);
        }
        assert_eq!((verdict.pieces, verdict.mismatches, verdict.examples.len()), (21, 20, Verdict::EXAMPLES));
        let first = verdict.examples[0];
        assert_eq!((first.place.offset, first.recipe), (0, Recipe::CopyCrc32c));
        assert_eq!(first.wrong.to_string(), "byte 9 of the copy is 0x3e instead of 0x3f");
    }
}
