//! Typed elements: converted, combined, reduced (DSA 3.0).

use super::arithmetic::{Conversion, Reduction};
use super::batch::{Batch, BatchBuffers, Task};
use super::block_list::BlockList;
use super::check;
use super::future::{Operation, operation_future};
use super::lists;
use super::operand::{In, Out};
use crate::accelerator::Accelerator;
use crate::buf::{StableBuf, StableBufMut};
use crate::descriptor::NumericExceptions;
use crate::dispatch::{Arithmetic, Job};
use crate::error::Error;

operation_future! {
    /// A type conversion, made by [`Accelerator::type_convert`]. Gives the numeric exceptions and both buffers.
    TypeConvert<S: StableBuf, D: StableBufMut>((S, D)) -> (NumericExceptions, (S, D)), by Job,
    |done, (src, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (done.outcome.exceptions(), (src, dst))
    }
}

operation_future! {
    /// A reduce, made by [`Accelerator::reduce`]. Gives the numeric exceptions and all three buffers.
    Reduce<A: StableBuf, B: StableBuf, D: StableBufMut>((A, B, D)) -> (NumericExceptions, (A, B, D)), by Job,
    |done, (first, second, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (done.outcome.exceptions(), (first, second, dst))
    }
}

operation_future! {
    /// A reduce into its first source, made by [`Accelerator::reduce_in_place`]. Gives the numeric exceptions and both
    /// buffers.
    ReduceInPlace<A: StableBufMut, B: StableBuf>((A, B)) -> (NumericExceptions, (A, B)), by Job,
    |done, buffers| (done.outcome.exceptions(), buffers)
}

operation_future! {
    /// A reduce to two destinations, made by [`Accelerator::reduce_dualcast`]. Gives the numeric exceptions and all four
    /// buffers.
    ReduceDualcast<A: StableBuf, B: StableBuf, D: StableBufMut, E: StableBufMut>((A, B, D, E))
        -> (NumericExceptions, (A, B, D, E)), by Job,
    |done, (first, second, mut one, mut other)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of both destinations.
        unsafe {
            one.set_init(len);
            other.set_init(len);
        }
        (done.outcome.exceptions(), (first, second, one, other))
    }
}

operation_future! {
    /// A gather-reduce, made by [`Accelerator::gather_reduce`]. Gives the numeric exceptions, and base buffer, list and
    /// destination.
    GatherReduce<B: StableBuf, D: StableBufMut>((B, BlockList, D)) -> (NumericExceptions, (B, BlockList, D)), by Job,
    |done, (base, blocks, mut dst)| {
        let len = done.written;
        // SAFETY: the operation has written the first `len` bytes of the destination.
        unsafe { dst.set_init(len) };
        (done.outcome.exceptions(), (base, blocks, dst))
    }
}

impl Accelerator {
    /// Converts the elements of `src` to another type, or to the same one with options such as negation, and writes them to
    /// the start of `dst`, which need not be initialised. Elements are little endian.
    ///
    /// Numeric exceptions are a result, and no error: what is written is defined all the same (specification section
    /// 8.2.2). A device wants both addresses aligned to their elements; otherwise the CPU does it.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use dsa::{Conversion, DataType, NumericExceptions};
    ///
    /// let numbers: Vec<u8> = [1.5f32, -2.0, 1e-30].iter().flat_map(|number| number.to_le_bytes()).collect();
    /// let narrow = Conversion::new(DataType::Fp32, DataType::Fp16);
    /// let (exceptions, (_, halves)) = dsa::type_convert(numbers, Vec::with_capacity(6), narrow).await?;
    /// assert_eq!(halves, [0x00, 0x3e, 0x00, 0xc0, 0x00, 0x00]);
    /// assert_eq!(exceptions, NumericExceptions::UNDERFLOW);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoConversion`]; [`Error::SizeNotMultiple`] if the source is not whole elements;
    /// [`Error::CapacityTooSmall`]; [`Error::Overlap`].
    pub fn type_convert<S: StableBuf, D: StableBufMut>(
        &self,
        src: S,
        dst: D,
        conversion: Conversion,
    ) -> TypeConvert<S, D> {
        TypeConvert(Operation::new(self, (src, dst), |(src, dst)| plan_convert(conversion, In::of(src), Out::of(dst))))
    }

    /// Combines two buffers element by element and writes the results to the start of `dst`, which need not be initialised.
    ///
    /// Numeric exceptions and alignment are as for [`type_convert`](Self::type_convert).
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// use dsa::{ComputeType, DataType, Reduction};
    ///
    /// let parity = Reduction::new(ComputeType::Xor, DataType::Int64);
    /// let (_, (_, _, parity)) = dsa::reduce(vec![0x0f; 4096], vec![0xaa; 4096], Vec::with_capacity(4096), parity).await?;
    /// assert_eq!(parity, [0xa5; 4096]);
    /// # Ok::<(), std::io::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NoConversion`]; [`Error::NotBitwise`]; [`Error::LengthMismatch`]; [`Error::SizeNotMultiple`] if the sources
    /// are not whole elements; [`Error::CapacityTooSmall`]; [`Error::Overlap`].
    pub fn reduce<A: StableBuf, B: StableBuf, D: StableBufMut>(
        &self,
        first: A,
        second: B,
        dst: D,
        reduction: Reduction,
    ) -> Reduce<A, B, D> {
        Reduce(Operation::new(self, (first, second, dst), |(first, second, dst)| {
            plan_reduce(reduction, In::of(first), In::of(second), Out::of(dst))
        }))
    }

    /// Combines two buffers element by element and writes the results over the first one.
    ///
    /// What a device has been given must be safe to do over, should the device be lost. A result that is combined with the
    /// second operand once more stays the same for minimum, maximum, and, or of integers, without negation and conversion:
    /// these may go to a device. Everything else is done by the CPU.
    ///
    /// # Errors
    ///
    /// As for [`reduce`](Self::reduce), and [`Error::NotInPlace`] if results have another size than operands.
    pub fn reduce_in_place<A: StableBufMut, B: StableBuf>(
        &self,
        first: A,
        second: B,
        reduction: Reduction,
    ) -> ReduceInPlace<A, B> {
        ReduceInPlace(Operation::new(self, (first, second), |(first, second)| {
            plan_reduce_in_place(reduction, Out::of(first), In::of(second))
        }))
    }

    /// Combines two buffers element by element and writes the results to the starts of two destinations.
    ///
    /// A device does this in one pass if both destinations have the same offset in their 4 KiB page; otherwise the CPU does
    /// it.
    ///
    /// # Errors
    ///
    /// As for [`reduce`](Self::reduce), for either destination, and if the destinations overlap each other.
    pub fn reduce_dualcast<A: StableBuf, B: StableBuf, D: StableBufMut, E: StableBufMut>(
        &self,
        first: A,
        second: B,
        one: D,
        other: E,
        reduction: Reduction,
    ) -> ReduceDualcast<A, B, D, E> {
        ReduceDualcast(Operation::new(self, (first, second, one, other), |(first, second, one, other)| {
            let sources = [In::of(first), In::of(second)];
            plan_reduce_dualcast(reduction, sources, [Out::of(one), Out::of(other)])
        }))
    }

    /// Combines the blocks of `base` that a list names, element by element and in the order of the list, and writes the
    /// results, one block of them, to the start of `dst`, which need not be initialised.
    ///
    /// Every block after the first is one operation, which rounds, wraps around or saturates: to the wider one of the two
    /// types, and at the last block to the type of the results. A single block is converted; without one, nothing is
    /// written. A device does it for lists up to its limit, and blocks up to another (DSACAP0); longer ones are the CPU's.
    /// Alignment is as for [`type_convert`](Self::type_convert), of every block.
    ///
    /// # Errors
    ///
    /// As for [`reduce`](Self::reduce), and [`Error::BlockOutOfBounds`] if a block does not lie inside the initialised bytes
    /// of `base`.
    pub fn gather_reduce<B: StableBuf, D: StableBufMut>(
        &self,
        base: B,
        blocks: BlockList,
        dst: D,
        reduction: Reduction,
    ) -> GatherReduce<B, D> {
        GatherReduce(Operation::new(self, (base, blocks, dst), |(base, blocks, dst)| {
            plan_gather_reduce(reduction, In::of(base), blocks, Out::of(dst))
        }))
    }
}

impl<S: StableBuf, D: StableBufMut> Batch<S, D> {
    /// Adds a type conversion, as [`Accelerator::type_convert`].
    pub fn type_convert(&mut self, src: S, dst: D, conversion: Conversion) -> &mut Self {
        self.push(BatchBuffers::TypeConvert(src, dst), Task::TypeConvert(conversion))
    }

    /// Adds a reduce, as [`Accelerator::reduce`].
    pub fn reduce(&mut self, first: S, second: S, dst: D, reduction: Reduction) -> &mut Self {
        self.push(BatchBuffers::Reduce(first, second, dst), Task::Reduce(reduction))
    }

    /// Adds a reduce in place, as [`Accelerator::reduce_in_place`].
    pub fn reduce_in_place(&mut self, first: D, second: S, reduction: Reduction) -> &mut Self {
        self.push(BatchBuffers::ReduceInPlace(first, second), Task::ReduceInPlace(reduction))
    }

    /// Adds a reduce to two destinations, as [`Accelerator::reduce_dualcast`].
    pub fn reduce_dualcast(&mut self, first: S, second: S, one: D, other: D, reduction: Reduction) -> &mut Self {
        self.push(BatchBuffers::ReduceDualcast(first, second, one, other), Task::ReduceDualcast(reduction))
    }

    /// Adds a gather-reduce, as [`Accelerator::gather_reduce`].
    pub fn gather_reduce(&mut self, base: S, blocks: BlockList, dst: D, reduction: Reduction) -> &mut Self {
        self.push(BatchBuffers::Gather(base, blocks, dst), Task::GatherReduce(reduction))
    }
}

/// [`Accelerator::type_convert`] on the process-wide accelerator.
pub fn type_convert<S: StableBuf, D: StableBufMut>(src: S, dst: D, conversion: Conversion) -> TypeConvert<S, D> {
    Accelerator::global().type_convert(src, dst, conversion)
}

/// [`Accelerator::reduce`] on the process-wide accelerator.
pub fn reduce<A: StableBuf, B: StableBuf, D: StableBufMut>(
    first: A,
    second: B,
    dst: D,
    reduction: Reduction,
) -> Reduce<A, B, D> {
    Accelerator::global().reduce(first, second, dst, reduction)
}

/// [`Accelerator::reduce_in_place`] on the process-wide accelerator.
pub fn reduce_in_place<A: StableBufMut, B: StableBuf>(
    first: A,
    second: B,
    reduction: Reduction,
) -> ReduceInPlace<A, B> {
    Accelerator::global().reduce_in_place(first, second, reduction)
}

/// [`Accelerator::reduce_dualcast`] on the process-wide accelerator.
pub fn reduce_dualcast<A: StableBuf, B: StableBuf, D: StableBufMut, E: StableBufMut>(
    first: A,
    second: B,
    one: D,
    other: E,
    reduction: Reduction,
) -> ReduceDualcast<A, B, D, E> {
    Accelerator::global().reduce_dualcast(first, second, one, other, reduction)
}

/// [`Accelerator::gather_reduce`] on the process-wide accelerator.
pub fn gather_reduce<B: StableBuf, D: StableBufMut>(
    base: B,
    blocks: BlockList,
    dst: D,
    reduction: Reduction,
) -> GatherReduce<B, D> {
    Accelerator::global().gather_reduce(base, blocks, dst, reduction)
}

/// Checks a conversion.
pub(super) fn plan_convert(conversion: Conversion, src: In, dst: Out) -> Result<Job, Error> {
    let arithmetic = conversion.check()?;
    let count = elements(arithmetic, src.len)?;
    let (to, size) = results(arithmetic, count, dst)?;
    check::apart(src.region(), dst.region(size))?;
    Ok(Job::convert(arithmetic, src.ptr, to, count))
}

/// Checks a reduce.
pub(super) fn plan_reduce(reduction: Reduction, first: In, second: In, dst: Out) -> Result<Job, Error> {
    let (arithmetic, count) = sources(reduction, first, second)?;
    let (to, size) = results(arithmetic, count, dst)?;
    for source in [first, second] {
        check::apart(source.region(), dst.region(size))?;
    }
    Ok(Job::reduce(arithmetic, [first.ptr, second.ptr], to, count))
}

/// Checks a reduce into the first source.
pub(super) fn plan_reduce_in_place(reduction: Reduction, first: Out, second: In) -> Result<Job, Error> {
    let (arithmetic, count) = sources(reduction, first.read(), second)?;
    let (from, to) = (arithmetic.from, arithmetic.to);
    if from.size() != to.size() {
        return Err(Error::NotInPlace { from, to });
    }
    check::apart(first.region(first.len), second.region())?;
    Ok(Job::reduce(arithmetic, [first.ptr.cast_const(), second.ptr], first.ptr, count))
}

/// Checks a reduce to two destinations.
pub(super) fn plan_reduce_dualcast(
    reduction: Reduction,
    operands: [In; 2],
    destinations: [Out; 2],
) -> Result<Job, Error> {
    let [first, second] = operands;
    let (arithmetic, count) = sources(reduction, first, second)?;
    let mut to = [std::ptr::null_mut(); 2];
    let mut size = 0;
    for (to, dst) in to.iter_mut().zip(destinations) {
        (*to, size) = results(arithmetic, count, dst)?;
        for source in operands {
            check::apart(source.region(), dst.region(size))?;
        }
    }
    check::apart(destinations[0].region(size), destinations[1].region(size))?;
    Ok(Job::reduce_dualcast(arithmetic, [first.ptr, second.ptr], to, count))
}

/// Checks a gather-reduce.
pub(super) fn plan_gather_reduce(reduction: Reduction, base: In, blocks: &BlockList, dst: Out) -> Result<Job, Error> {
    let arithmetic = reduction.check_of_list()?;
    let unit = arithmetic.from.size() as usize;
    let count = blocks.elements(unit)?;
    let places = lists::places(base, blocks)?;
    let (to, size) = if blocks.is_empty() { (dst.ptr, 0) } else { results(arithmetic, count, dst)? };
    check::apart(base.region(), dst.region(size))?;
    let is_aligned = base.ptr.addr().is_multiple_of(unit) && blocks.is_aligned(unit);
    Ok(Job::gather_reduce(arithmetic, places, is_aligned, to, count))
}

/// Two sources of the same number of whole elements.
fn sources(reduction: Reduction, first: In, second: In) -> Result<(Arithmetic, usize), Error> {
    let arithmetic = reduction.check()?;
    check::same_length(first.len, second.len)?;
    Ok((arithmetic, elements(arithmetic, first.len)?))
}

fn elements(arithmetic: Arithmetic, size: usize) -> Result<usize, Error> {
    let unit = arithmetic.from.size() as usize;
    check::multiple(size, unit)?;
    Ok(size / unit)
}

/// The destination, and the bytes of all results.
fn results(arithmetic: Arithmetic, count: usize, dst: Out) -> Result<(*mut u8, usize), Error> {
    let size = count.saturating_mul(arithmetic.to.size() as usize);
    Ok((dst.take(size)?, size))
}
