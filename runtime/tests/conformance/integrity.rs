//! Data-integrity fields.

use dsa::buf::StableBufMut;
use dsa::{DifBlock, DifDestination, DifFormat, DifSource, DifStatus, DifTags};
use idxd_sys::opcode;

use crate::backend::{Backend, By};
use crate::support::oracle::{self, Guards, Side};
use crate::support::{Rng, assert_same, seed, within};

/// A side of the oracle as options of the crate.
pub(crate) fn expected(side: &Side) -> DifSource {
    DifSource::new(side.reference, side.application)
        .application_mask(side.mask)
        .fixed_reference(side.fixed_reference)
        .counting_application(side.counting_application)
}

pub(crate) fn made(side: &Side) -> DifDestination {
    DifDestination::new(side.reference, side.application)
        .application_mask(side.mask)
        .fixed_reference(side.fixed_reference)
        .counting_application(side.counting_application)
}

/// The tags of a side after so many blocks.
pub(crate) fn tags(side: &Side, blocks: usize) -> DifTags {
    let (reference, application) = side.next(blocks);
    DifTags { reference, application_mask: side.mask, application }
}

pub(crate) fn format(block: DifBlock, guards: Guards) -> DifFormat {
    DifFormat::new(block).invert_seed(guards.invert_seed).invert_result(guards.invert_result)
}

/// Tags near where they begin anew.
pub(crate) fn side(rng: &mut Rng) -> Side {
    Side {
        reference: [u32::MAX - 1, 0, rng.next() as u32][rng.below(3)],
        application: [u16::MAX - 2, 7, rng.next() as u16][rng.below(3)],
        mask: [0, 0x00f0, 0xffff][rng.below(3)],
        fixed_reference: rng.one_in(3),
        counting_application: rng.one_in(3),
    }
}

/// Who is to do it: a device takes whole blocks of the source only.
fn by(backend: &Backend, opcode: u8, len: usize, unit: usize) -> By {
    backend.by(len, |caps| caps.supports(opcode) && unit as u64 <= caps.max_transfer_size())
}

pub(crate) async fn every_block_size_and_option(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    for &block in DifBlock::ALL {
        let (size, unit) = (block.size() as usize, block.protected_size() as usize);
        for blocks in [0, 1, 2, 9, 30] {
            let guards = Guards { invert_seed: rng.one_in(2), invert_result: rng.one_in(2) };
            let (first, second) = (side(&mut rng), side(&mut rng));
            let data = rng.bytes(blocks * size);
            let (protected, again) =
                (oracle::protect(guards, &first, size, &data), oracle::protect(guards, &second, size, &data));
            let format = format(block, guards);
            let what = format!("{blocks} blocks of {size}, {guards:?}, {first:?}, {second:?}");

            let operation = acc.dif_insert(data.clone(), Vec::with_capacity(blocks * unit), format, made(&first));
            let who = by(backend, opcode::DIF_INS, data.len(), size);
            let (next, (src, found)) = backend.run_as(opcode::DIF_INS, who, &what, operation).await.unwrap();
            assert_eq!(next, tags(&first, blocks), "insert, {what}");
            assert_same(&found, &protected, &what);
            assert_same(&src, &data, &what);

            let who = by(backend, opcode::DIF_CHECK, found.len(), unit);
            let operation = acc.dif_check(found, format, expected(&first));
            let (checked, found) = backend.run_as(opcode::DIF_CHECK, who, &what, operation).await.unwrap();
            assert_eq!(checked, Ok(tags(&first, blocks)), "check, {what}");

            let who = by(backend, opcode::DIF_UPDT, found.len(), unit);
            let room = vec![0x11; blocks * unit + 3];
            let operation = acc.dif_update(found, room, format, expected(&first), made(&second));
            let (updated, (_, mut found)) = backend.run_as(opcode::DIF_UPDT, who, &what, operation).await.unwrap();
            assert_eq!(updated, Ok((tags(&first, blocks), tags(&second, blocks))), "update, {what}");
            assert_same(&found, &[&again[..], &[0x11; 3]].concat(), &what);
            found.truncate(blocks * unit);

            let who = by(backend, opcode::DIF_STRP, found.len(), unit);
            let operation = acc.dif_strip(found, Vec::with_capacity(data.len()), format, expected(&second));
            let (stripped, (_, found)) = backend.run_as(opcode::DIF_STRP, who, &what, operation).await.unwrap();
            assert_eq!(stripped, Ok(tags(&second, blocks)), "strip, {what}");
            assert_same(&found, &data, &what);

            let who = by(backend, opcode::DIX_GEN, found.len(), size);
            let operation = acc.dix_generate(found, Vec::with_capacity(blocks * 8), format, made(&first));
            let (next, (_, found)) = backend.run_as(opcode::DIX_GEN, who, &what, operation).await.unwrap();
            assert_eq!(next, tags(&first, blocks), "generate, {what}");
            assert_same(&found, &oracle::fields(guards, &first, size, &data), &what);
        }
    }
    // A device wants these fields aligned.
    let (plain, unaligned) = (Guards { invert_seed: false, invert_result: false }, vec![0; 100].slice_mut(1..));
    let first = Side { mask: 0, ..side(&mut rng) };
    let data = rng.bytes(2048);
    let operation = acc.dix_generate(data.clone(), unaligned, DifBlock::Bytes512, made(&first));
    let (_, (_, found)) = backend.run_as(opcode::DIX_GEN, By::Cpu, "unaligned", operation).await.unwrap();
    assert_same(&found[..32], &oracle::fields(plain, &first, 512, &data), "unaligned");
}

/// A field that is wrong is a result: which block, what of it, and nothing of the block itself is written.
pub(crate) async fn fields_that_do_not_match(backend: &Backend) {
    const BLOCKS: usize = 40;
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let (block, size, unit) = (DifBlock::Bytes512, 512, 520);
    let guards = Guards { invert_seed: false, invert_result: false };
    for wrong in [0, 1, 6, 7, 8, 21, BLOCKS - 1] {
        for (offset, fields) in [
            (0, DifStatus::GUARD),
            (511, DifStatus::GUARD),
            (513, DifStatus::GUARD),
            (515, DifStatus::APPLICATION),
            (516, DifStatus::REFERENCE),
        ] {
            let first = Side { mask: 0x0f00, ..side(&mut rng) };
            let data = rng.bytes(BLOCKS * size);
            let mut protected = oracle::protect(guards, &first, size, &data);
            protected[wrong * unit + offset] ^= 0x01;
            // Later ones do not matter.
            let later = wrong + 1 + rng.below(BLOCKS);
            if later < BLOCKS {
                protected[later * unit + 512] ^= 0x80;
            }
            let what = format!("block {wrong}, byte {offset}");
            let judge = |mismatch: dsa::DifMismatch| {
                let found = (mismatch.block, mismatch.completed, mismatch.fields);
                assert_eq!(found, (wrong, wrong * unit, fields), "{what}: {mismatch}");
            };
            let who = by(backend, opcode::DIF_CHECK, protected.len(), unit);
            let operation = acc.dif_check(protected, block, expected(&first));
            let (checked, protected) = backend.run_as(opcode::DIF_CHECK, who, &what, operation).await.unwrap();
            judge(checked.unwrap_err());
            let who = by(backend, opcode::DIF_STRP, protected.len(), unit);
            let operation = acc.dif_strip(protected, Vec::with_capacity(BLOCKS * size), block, expected(&first));
            let (stripped, (protected, found)) = backend.run_as(opcode::DIF_STRP, who, &what, operation).await.unwrap();
            judge(stripped.unwrap_err());
            assert_same(&found, &data[..wrong * size], &what);
            let second = side(&mut rng);
            let who = by(backend, opcode::DIF_UPDT, protected.len(), unit);
            let room = Vec::with_capacity(BLOCKS * unit);
            let operation = acc.dif_update(protected, room, block, expected(&first), made(&second));
            let (updated, (_, found)) = backend.run_as(opcode::DIF_UPDT, who, &what, operation).await.unwrap();
            judge(updated.unwrap_err());
            assert_same(&found, &oracle::protect(guards, &second, size, &data[..wrong * size]), &what);
        }
    }
}

/// The tags that one operation ends with are those that the next begins with.
pub(crate) async fn tags_go_on(backend: &Backend) {
    let (acc, mut rng) = (&backend.accelerator, Rng::new(seed()));
    let guards = Guards { invert_seed: true, invert_result: false };
    let format = format(DifBlock::Bytes520, guards);
    for _ in 0..4 {
        let first = side(&mut rng);
        let data = rng.bytes(520 * 12);
        let protected = oracle::protect(guards, &first, 520, &data);
        let at = 528 * (1 + rng.below(10));
        let (left, right) = (protected[..at].to_vec(), protected[at..].to_vec());
        let (next, _) = within("check", acc.dif_check(left, format, expected(&first))).await.unwrap();
        let DifTags { reference, application, .. } = next.unwrap();
        let second = Side { reference, application, ..first };
        let (next, right) = within("check", acc.dif_check(right, format, expected(&second))).await.unwrap();
        assert_eq!(next, Ok(tags(&first, 12)));
        let (next, _) = within("check", acc.dif_check(right, format, expected(&first))).await.unwrap();
        // Where nothing counts there is no difference, and a mask may hide one.
        assert!(next.is_ok() == (first.fixed_reference && (!first.counting_application || first.mask == 0xffff)));
    }
}

/// Tuples of all ones are let through, or are not.
pub(crate) async fn all_ones(backend: &Backend) {
    let acc = &backend.accelerator;
    let mut data = vec![0x33; 3 * 520];
    for block in 0..3 {
        data[block * 520 + 512..(block + 1) * 520].fill(0xff);
    }
    let source = DifSource::new(5, 5);
    let guard_alone = |source: DifSource| source.unchecked_reference(true).application_mask(0xffff);
    let all = DifStatus::GUARD | DifStatus::APPLICATION | DifStatus::REFERENCE;
    for (source, expected) in [
        (source, Some(all)),
        (source.unchecked_guard(true), Some(DifStatus::APPLICATION | DifStatus::REFERENCE)),
        (guard_alone(source), Some(DifStatus::GUARD)),
        (guard_alone(source).unchecked_guard(true), None),
        (source.pass_all_ones(true), None),
        (source.pass_all_ones_application(true), None),
        (source.pass_all_ones_tags(true), None),
        (source.pass_all_ones(true).refuse_all_ones(true), Some(DifStatus::ALL_ONES)),
        (source.refuse_all_ones(true), Some(all)),
    ] {
        let operation = acc.dif_check(data.clone(), DifBlock::Bytes512, source);
        let who = by(backend, opcode::DIF_CHECK, data.len(), 520);
        let (checked, _) = backend.run_as(opcode::DIF_CHECK, who, "all ones", operation).await.unwrap();
        assert_eq!(checked.err().map(|mismatch| (mismatch.block, mismatch.fields)), expected.map(|fields| (0, fields)));
    }
}
