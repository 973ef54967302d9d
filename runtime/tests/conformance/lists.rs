//! Blocks whose places a list names.

use dsa::BlockList;
use dsa::buf::{StableBuf, StableBufMut};
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::support::{Rng, assert_same, fill_oracle, oracle, seed};

/// Who is to do it.
fn by(backend: &Backend, opcode: u8, list: &BlockList) -> By {
    let block = list.block() as u64;
    backend.by(list.total(), |caps| caps.supports(opcode) && block <= caps.max_transfer_size())
}

/// Numbers of blocks as lists of every kind.
pub(crate) fn lists(numbers: &[usize], block: usize) -> [BlockList; 3] {
    [
        BlockList::offsets(numbers.iter().map(|&number| (number * block) as u64).collect(), block),
        BlockList::indices(numbers.iter().map(|&number| number as u32).collect(), block),
        BlockList::wide_indices(numbers.iter().map(|&number| number as u64).collect(), block),
    ]
}

/// All three operations with one list, against copies block by block.
async fn check(backend: &Backend, base: &[u8], list: BlockList, rng: &mut Rng) {
    let (acc, block) = (&backend.accelerator, list.block());
    let places: Vec<usize> = list.places().map(|place| place as usize).collect();
    let what = format!("{} blocks of {block}", list.len());
    let total = list.total();
    let fixed = list.clone();

    let operation = acc.gather_copy(base.to_vec(), list, Vec::with_capacity(total));
    let who = by(backend, opcode::GATHER_COPY, &fixed);
    let (back, list, gathered) = backend.run_as(opcode::GATHER_COPY, who, &what, operation).await.unwrap();
    assert_same(&gathered, &oracle::gather(base, &places, block), &what);
    assert_same(&back, base, &what);
    assert_eq!(list, fixed);

    let source = rng.bytes(total);
    let operation = acc.scatter_copy(source.clone(), back, list);
    let who = by(backend, opcode::SCATTER_COPY, &fixed);
    let (_, scattered, list) = backend.run_as(opcode::SCATTER_COPY, who, &what, operation).await.unwrap();
    assert_same(&scattered, &oracle::scatter(base, &places, block, &source), &what);

    let pattern = [1, 2, 3, 4, 5, 6, 7, 8];
    let operation = acc.scatter_fill(base.to_vec(), list, pattern);
    let who = by(backend, opcode::SCATTER_FILL, &fixed);
    let (filled, list) = backend.run_as(opcode::SCATTER_FILL, who, &what, operation).await.unwrap();
    let source = fill_oracle(pattern, block).repeat(places.len());
    assert_same(&filled, &oracle::scatter(base, &places, block, &source), &what);
    assert_eq!(list, fixed);
}

pub(crate) async fn every_format_and_block(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for block in [1, 2, 3, 4, 6, 8, 24, 64, 100, 512, 4096, 4097, 70_000] {
        let numbers = [5, 0, 3, 9, 1];
        let base = rng.bytes(10 * block + 7);
        for list in lists(&numbers, block) {
            check(backend, &base, list, &mut rng).await;
        }
    }
    // Nothing to do.
    for list in lists(&[], 8).into_iter().chain(lists(&[3, 1], 0)) {
        check(backend, &[1, 2, 3], list, &mut rng).await;
    }
}

/// Longer than what any queue takes at once.
pub(crate) async fn lists_of_every_length(backend: &Backend) {
    let mut rng = Rng::new(seed());
    for (len, block) in [(1, 8), (7, 64), (8, 64), (9, 64), (100, 40), (1024, 16), (1025, 16), (3000, 7)] {
        let mut numbers: Vec<usize> = (0..len).map(|at| at * 2 + at % 2).collect();
        for at in (1..len).rev() {
            numbers.swap(at, rng.below(at + 1));
        }
        let base = rng.bytes((2 * len + 1) * block);
        for list in lists(&numbers, block) {
            check(backend, &base, list, &mut rng).await;
        }
    }
}

/// Neither blocks nor anything else need an alignment, and a gather may name a block twice.
pub(crate) async fn blocks_at_every_alignment(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    for (block, from, to) in [(8, 0, 1), (64, 3, 0), (100, 1, 7), (333, 5, 5)] {
        let whole = rng.bytes(from + 4000);
        let offsets = vec![0, 1, 3001, 3000, 1, 777];
        let places: Vec<usize> = offsets.iter().map(|&offset| offset as usize).collect();
        let list = BlockList::offsets(offsets, block);
        let who = by(backend, opcode::GATHER_COPY, &list);
        let total = list.total();
        let dst = vec![0xaa; to + total + 5].slice_mut(to..to + total);
        let operation = acc.gather_copy(whole.clone().slice(from..), list, dst);
        let (_, _, dst) = backend.run_as(opcode::GATHER_COPY, who, "gather", operation).await.unwrap();
        let dst = dst.into_inner();
        assert_same(&dst[to..to + total], &oracle::gather(&whole[from..], &places, block), "gather");
        assert!(dst[..to].iter().chain(&dst[to + total..]).all(|&byte| byte == 0xaa), "out of bounds");

        // Blocks that do not overlap, in no order.
        let places = [3, 0, 5, 1].map(|number| number * (block + 1) + number % 3);
        let list = BlockList::offsets(places.iter().map(|&place| place as u64).collect(), block);
        let who = by(backend, opcode::SCATTER_COPY, &list);
        let source = rng.bytes(to + list.total());
        let operation = acc.scatter_copy(source.clone().slice(to..), whole.clone().slice_mut(from..), list);
        let (_, base, _) = backend.run_as(opcode::SCATTER_COPY, who, "scatter", operation).await.unwrap();
        let base = base.into_inner();
        assert_same(&base[from..], &oracle::scatter(&whole[from..], &places, block, &source[to..]), "scatter");
        assert_same(&base[..from], &whole[..from], "before the base");
    }
}
