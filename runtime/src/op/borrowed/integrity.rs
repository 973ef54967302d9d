//! Data integrity on borrowed memory.

use super::{borrowed, borrowed_operand, borrowed_type};
use crate::descriptor::{DifDestination, DifSource, DifTags};
use crate::dispatch::{Checked, DifMismatch, Outcome};
use crate::op::integrity::{DifFormat, plan, plan_check};

borrowed! {
    /// Checks the data-integrity fields behind the blocks of `src`.
    fn dif_check(
        read src;
        format: impl Into<DifFormat>,
        expected: DifSource
    ) -> Result<Result<DifTags, DifMismatch>> {
        plan_check(format.into(), expected, src) => Outcome::checked
    }

    /// Copies the blocks of `src` to the start of `dst`, and puts a data-integrity field behind each.
    fn dif_insert(
        write dst, read src;
        format: impl Into<DifFormat>,
        made: DifDestination
    ) -> Result<DifTags> {
        plan(format.into(), Checked::Inserted(made), src, dst) => Outcome::made
    }

    /// Copies the blocks of `src` to the start of `dst` without their data-integrity fields, which are checked.
    fn dif_strip(
        write dst, read src;
        format: impl Into<DifFormat>,
        expected: DifSource
    ) -> Result<Result<DifTags, DifMismatch>> {
        plan(format.into(), Checked::Stripped(expected), src, dst) => Outcome::checked
    }

    /// Copies the blocks of `src` to the start of `dst`, checks their data-integrity fields and writes others.
    fn dif_update(
        write dst, read src;
        format: impl Into<DifFormat>,
        expected: DifSource,
        made: DifDestination
    ) -> Result<Result<(DifTags, DifTags), DifMismatch>> {
        plan(format.into(), Checked::Updated(expected, made), src, dst) => Outcome::updated
    }

    /// Writes the data-integrity fields of the blocks of `src` to the start of `dst`.
    fn dix_generate(
        write dst, read src;
        format: impl Into<DifFormat>,
        made: DifDestination
    ) -> Result<DifTags> {
        plan(format.into(), Checked::Apart(made), src, dst) => Outcome::made
    }
}
