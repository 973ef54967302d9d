//! Data-integrity operations.

use dsa::descriptor::{
    DescriptorError, DifBlock, DifCheck, DifDestination, DifInsert, DifSource, DifStrip, DifUpdate, DixGenerate,
};
use idxd_sys::{Descriptor, dif};

use super::super::case::{Dif, DifKind, Options};
use super::{Target, cache_control};

/// The descriptor of a data-integrity operation.
pub(super) fn build(d: Dif, o: Options, t: Target<'_>) -> Option<Result<Descriptor, DescriptorError>> {
    let block = DifBlock::ALL[if d.block < 224 { usize::from(d.block & 1) } else { usize::from(d.block & 3) }];
    let (data, protected) = (u64::from(block.size()), u64::from(block.protected_size()));
    let (read, written) = match d.kind {
        DifKind::Check => (protected, 0),
        DifKind::Insert => (data, protected),
        DifKind::Strip => (protected, data),
        DifKind::Update => (protected, protected),
        DifKind::Generate => (data, 8),
    };
    let [from, to] = t.extent.halves();
    let most = (from.len / protected).min(12);
    let blocks = 1 + u64::from(d.blocks) % most.max(1);
    let src = from.place(d.places[0], blocks * read, 1)?;
    let align = if d.kind == DifKind::Generate { 8 } else { 1 };
    let dst = to.place(d.places[1], blocks * written, align)?;
    let len = blocks * read;
    let [(reference, mask, application), (made_reference, made_mask, made_application)] = d.tags;
    let set = |bit: u8| d.source_flags & bit != 0;
    let source = DifSource::new(reference, application)
        .application_mask(mask)
        .fixed_reference(set(dif::SOURCE_REF_FIXED))
        .unchecked_reference(set(dif::SOURCE_REF_UNCHECKED))
        .unchecked_guard(set(dif::SOURCE_GUARD_UNCHECKED))
        .counting_application(set(dif::SOURCE_APP_INCREMENTS))
        .pass_all_ones_tags(set(dif::SOURCE_F_APP_REF))
        .pass_all_ones_application(set(dif::SOURCE_F_APP))
        .pass_all_ones(set(dif::SOURCE_F_ALL))
        .refuse_all_ones(set(dif::SOURCE_F_ALL_ERROR));
    let set = |bit: u8| d.destination_flags & bit != 0;
    let made = DifDestination::new(made_reference, made_application)
        .application_mask(made_mask)
        .fixed_reference(set(dif::DEST_REF_FIXED))
        .counting_application(set(dif::DEST_APP_INCREMENTS))
        .pass_reference(set(dif::DEST_REF_PASS))
        .pass_guard(set(dif::DEST_GUARD_PASS))
        .pass_application(set(dif::DEST_APP_PASS));
    let [seed, result] = d.inverted;
    macro_rules! guarded {
        ($builder:expr) => {
            $builder.invert_seed(seed).invert_result(result)
        };
    }
    Some(match d.kind {
        DifKind::Check => accessing!(guarded!(DifCheck::new(src, len, block, source)), o, t),
        DifKind::Insert => quietly!(writing!(guarded!(DifInsert::new(src, dst, len, block, made)), o), o, t),
        DifKind::Strip => quietly!(writing!(guarded!(DifStrip::new(src, dst, len, block, source)), o), o, t),
        DifKind::Update => quietly!(writing!(guarded!(DifUpdate::new(src, dst, len, block, source, made)), o), o, t),
        DifKind::Generate => accessing!(writing!(guarded!(DixGenerate::new(src, dst, len, block, made)), o), o, t),
    })
}
