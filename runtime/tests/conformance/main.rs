//! One suite, every back end: the same bytes, CRCs and offsets whoever does the work, and by whom it should be done.
//!
//! [`backend`] lists what can do the work. A check is a function that takes a [`Backend`]; the list below runs every
//! check on every back end, each pair as a test of its own. To add a back end, make it in [`backend`] and name it at
//! the end of this file; to add a check, name it in `checks!`.

mod backend;
mod batches;
mod blocking;
mod buffers;
mod compare;
mod crc;
mod delta;
mod fill;
mod integrity;
mod later_batches;
mod later_blocking;
mod lists;
mod moves;
mod options;
mod sequences;
mod split;
#[path = "../support/mod.rs"]
mod support;
mod typed;
mod wide;

use backend::Backend;

macro_rules! checks {
    ($attribute:tt $($module:ident: $($check:ident),+;)+) => { $(
        mod $module {
            $(
                #[test]
                #$attribute
                fn $check() {
                    let name = concat!(module_path!(), "::", stringify!($check));
                    let backend = super::backend();
                    crate::support::block_on(name, crate::$module::$check(&backend));
                    backend.finish();
                }
            )+
        }
    )+ };
}

macro_rules! conformance {
    ($($attribute:tt $($backend:ident)+;)+) => { $($(
        mod $backend {
            fn backend() -> crate::Backend {
                crate::Backend::$backend()
            }

            checks! {
                $attribute
                moves: copies_of_every_size, copies_at_every_alignment, copies_leave_the_rest_alone, copies_to_fresh_memory,
                    moves_inside_a_buffer, dualcasts_to_aligned_destinations, dualcasts_to_unaligned_destinations;
                fill: fills_of_every_size, fills_start_with_the_pattern, fills_leave_the_rest_alone;
                crc: check_vectors, checksums_of_every_size, checksums_at_every_alignment, checksums_chain,
                    copies_with_checksum;
                compare: equal_buffers, every_difference_is_found, the_first_difference_counts;
                buffers: every_type_is_a_source, every_type_is_a_destination, shared_sources, slices_of_slices;
                blocking: single_calls, moves_in_place, orderings, scopes, scopes_that_panic;
                options: routes, cache_control, another_accelerator, many_at_once;
                batches: every_kind_of_member, both_destinations_of_a_dualcast, many_members, large_members,
                    mistakes_among_members, nothing_to_do, routes_of_batches, fences_keep_order, fences_between_groups;
                sequences: random_sequences;
                split: shared_copies;
                wide: wide_fills_of_every_size, wide_fills_start_with_the_pattern, regions_of_a_pattern,
                    every_difference_from_a_pattern, crc64_check_vectors, crc64_of_every_size, flushes_and_fetches,
                    drains;
                delta: records_of_every_size, records_that_are_full, records_at_every_alignment;
                integrity: every_block_size_and_option, fields_that_do_not_match, tags_go_on, all_ones;
                lists: every_format_and_block, lists_of_every_length, blocks_at_every_alignment;
                typed: conversions_of_integers, conversions_of_floats, reductions_of_integers, reductions_of_floats,
                    results_in_place, two_destinations, chains, elements_at_odd_addresses;
                later_batches: every_later_kind_of_member, both_destinations_of_a_reduce, mismatches_before_a_fence, mistakes_of_later_members;
                later_blocking: memory_calls, integrity_calls, element_calls, later_scopes;
            }
        }
    )+)+ };
}

conformance! {
    [cfg(all())]
    emulator_shared
    emulator_dedicated
    emulator_second_generation
    emulator_without_batch
    emulator_small_batches
    emulator_shuffled_batches
    emulator_pages_only
    emulator_small_transfers
    emulator_backward_and_faulting
    emulator_masked_faults
    emulator_several_queues
    emulator_third_generation
    emulator_third_generation_small
    emulator_third_generation_faulting
    emulator_third_generation_masked_faults
    emulator_uneven_queues
    trapped_shared
    trapped_dedicated
    trapped_third_generation
    cpu;

    [ignore = "needs work queues of the idxd driver: vm/run has some"]
    kernel_shared_portal
    kernel_dedicated_portal
    kernel_shared_write
    kernel_dedicated_write;
}
