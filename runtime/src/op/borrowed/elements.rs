//! Lists of blocks and typed elements, on borrowed memory.

use super::{borrowed, borrowed_operand, borrowed_type, nothing};
use crate::descriptor::NumericExceptions;
use crate::dispatch::Outcome;
use crate::op::arithmetic::{Conversion, Reduction};
use crate::op::fill::Pattern;
use crate::op::{lists, typed};

borrowed! {
    /// Copies the blocks of `base` that a list names, one behind the other, to the start of `dst`.
    fn gather_copy(write dst, read base, list blocks) -> Result<()> {
        lists::gather(base, blocks, dst) => nothing
    }

    /// Copies `src` block by block to the places in `base` that a list names.
    fn scatter_copy(write base, list blocks, read src) -> Result<()> {
        lists::scatter(src, base, blocks) => nothing
    }

    /// Fills the blocks of `base` that a list names with a repeated pattern.
    fn scatter_fill(write base, list blocks; pattern: impl Into<Pattern>) -> Result<()> {
        lists::fill(base, blocks, pattern.into()) => nothing
    }

    /// Converts the elements of `src` and writes them to the start of `dst`.
    fn type_convert(write dst, read src; conversion: Conversion) -> Result<NumericExceptions> {
        typed::plan_convert(conversion, src, dst) => Outcome::exceptions
    }

    /// Combines two slices element by element, and writes the results to the start of `dst`.
    fn reduce(write dst, read first, read second; reduction: Reduction) -> Result<NumericExceptions> {
        typed::plan_reduce(reduction, first, second, dst) => Outcome::exceptions
    }

    /// Combines two slices element by element, and writes the results over the first one.
    fn reduce_in_place(write first, read second; reduction: Reduction) -> Result<NumericExceptions> {
        typed::plan_reduce_in_place(reduction, first, second) => Outcome::exceptions
    }

    /// Combines two slices element by element, and writes the results to the starts of two others.
    fn reduce_dualcast(
        write one, write other, read first, read second;
        reduction: Reduction
    ) -> Result<NumericExceptions> {
        typed::plan_reduce_dualcast(reduction, [first, second], [one, other]) => Outcome::exceptions
    }

    /// Combines the blocks of `base` that a list names, element by element, and writes the results to the start of `dst`.
    fn gather_reduce(write dst, read base, list blocks; reduction: Reduction) -> Result<NumericExceptions> {
        typed::plan_gather_reduce(reduction, base, blocks, dst) => Outcome::exceptions
    }
}
