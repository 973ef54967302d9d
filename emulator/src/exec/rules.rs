//! Checks of typed, scatter-gather and inter-domain descriptors (specification sections 5.3 to 5.5, 8.1.9 to 8.1.14 and
//! 8.3.19 to 8.3.31). What the entries of the permissions table say is checked when they are looked up.

use idxd_sys::compute::{compute_flag, data_type, dsacap0, dsacap1, dsacap2, sgl_format};
use idxd_sys::{CompletionRecord, Descriptor, flag, idpt, opcode, status};

use super::Exec;
use super::typed::Fields;
use super::validate::{CACHE, fail, regions_overlap};
use crate::config::gencap;
use crate::numeric;
use crate::permissions::ends_in_time;

const BOTH_ALTERNATES: u32 = flag::ALTERNATE_SOURCE | flag::ALTERNATE_DESTINATION;

/// Whether the rules for an operation stand here.
pub(super) fn covers(code: u8) -> bool {
    matches!(
        code,
        opcode::TYPE_CONV..=opcode::SCATTER_FILL
            | opcode::UPDATE_WINDOW
            | opcode::INTER_DOMAIN_COPY..=opcode::INTER_DOMAIN_COMPVAL
    )
}

fn is_inter_domain(code: u8) -> bool {
    matches!(code, opcode::INTER_DOMAIN_COPY..=opcode::INTER_DOMAIN_COMPVAL)
}

/// Flags of an operation besides the common ones (tables 5-3 and 5-4).
pub(super) fn allowed(x: &Exec<'_>, code: u8) -> u32 {
    let when = |condition: bool, bits: u32| if condition { bits } else { 0 };
    let offers = |bit: u64| x.has(gencap::INTER_DOMAIN) && x.shared.config.dsacap[0] & bit != 0;
    let write = flag::BLOCK_ON_FAULT | CACHE | flag::STRICT_ORDER;
    let (tc1, tc2, tc3) = (flag::ADDR1_TC, flag::ADDR2_TC, flag::ADDR3_TC);
    let two = tc1 | tc2;
    let fill_16 = when(x.has(gencap::FILL_16), flag::FILL_16);
    match code {
        opcode::TYPE_CONV => {
            write | flag::CHECK_RESULT | two | when(offers(dsacap0::INTER_DOMAIN_TYPE_CONV), BOTH_ALTERNATES)
        }
        opcode::REDUCE => {
            let selector = when(offers(dsacap0::INTER_DOMAIN_REDUCE), flag::INTER_DOMAIN_SELECTOR);
            write | flag::CHECK_RESULT | two | tc3 | selector
        }
        opcode::REDUCE_DUALCAST => {
            let selector = when(offers(dsacap0::INTER_DOMAIN_REDUCE_DUALCAST), flag::INTER_DOMAIN_SELECTOR);
            write | flag::CHECK_RESULT | two | tc3 | flag::REDUCE_DEST2_TC | selector
        }
        opcode::GATHER_REDUCE => write | flag::CHECK_RESULT | two | tc3,
        opcode::GATHER_COPY => write | two | tc3 | when(offers(dsacap0::INTER_DOMAIN_GATHER_COPY), BOTH_ALTERNATES),
        opcode::SCATTER_COPY => write | two | tc3 | when(offers(dsacap0::INTER_DOMAIN_SCATTER_COPY), BOTH_ALTERNATES),
        opcode::SCATTER_FILL => {
            write | tc2 | tc3 | when(offers(dsacap0::INTER_DOMAIN_SCATTER_FILL), flag::ALTERNATE_DESTINATION)
        }
        opcode::UPDATE_WINDOW => when(x.shared.config.inter_domain.suppress_drain, flag::SUPPRESS_DRAIN),
        opcode::INTER_DOMAIN_COPY => write | two | BOTH_ALTERNATES,
        opcode::INTER_DOMAIN_FILL => write | tc2 | flag::ALTERNATE_DESTINATION | fill_16,
        opcode::INTER_DOMAIN_COMPARE => flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | two | BOTH_ALTERNATES,
        opcode::INTER_DOMAIN_COMPVAL => flag::BLOCK_ON_FAULT | flag::CHECK_RESULT | tc1 | flag::ALTERNATE_SOURCE,
        _ => 0,
    }
}

/// Flags that must be set (table 5-5). Comparisons have a result and need a record for it, as all others do; the results
/// of computations lie in memory.
pub(super) fn needed(code: u8, flags: u32) -> u32 {
    let compared = flag::CRAV | flag::RCR;
    let either = if flags & BOTH_ALTERNATES == 0 { BOTH_ALTERNATES } else { 0 };
    match code {
        opcode::INTER_DOMAIN_COPY => either,
        opcode::INTER_DOMAIN_FILL => flag::ALTERNATE_DESTINATION,
        opcode::INTER_DOMAIN_COMPARE => compared | either,
        opcode::INTER_DOMAIN_COMPVAL => compared | flag::ALTERNATE_SOURCE,
        _ => 0,
    }
}

/// Whether the bytes that an operation must leave 0 are 0 (tables 5-3 and 5-4).
pub(super) fn reserved_bytes_clear(d: &Descriptor) -> bool {
    let fields = Fields(d);
    let flags = d.flags();
    let [w40, w48, _] = d.op_specific;
    let handles = [d.op_u16(60), d.op_u16(62)];
    // A handle without its flag.
    let idle = |bit: u32, handle: u16| flags & bit != 0 || handle == 0;
    let alternates = || idle(flag::ALTERNATE_SOURCE, handles[0]) && idle(flag::ALTERNATE_DESTINATION, handles[1]);
    let zero = |bytes: std::ops::Range<usize>| bytes.into_iter().all(|at| d.op_u8(at) == 0);
    d.reserved == 0
        && match d.opcode() {
            opcode::TYPE_CONV => w40 == 0 && w48 == 0 && fields.compute_type() == 0 && zero(59..60) && alternates(),
            opcode::REDUCE => w48 == 0 && selected(fields),
            opcode::REDUCE_DUALCAST => selected(fields),
            opcode::GATHER_REDUCE => zero(40..44) && zero(46..48) && fields.selector() << 4 == 0 && zero(60..64),
            opcode::GATHER_COPY | opcode::SCATTER_COPY => copy_fields_clear(d) && alternates(),
            opcode::SCATTER_FILL => {
                copy_fields_clear(d) && handles[0] == 0 && idle(flag::ALTERNATE_DESTINATION, handles[1])
            }
            opcode::UPDATE_WINDOW => {
                let window = d.op_u8(61) & idpt::UPDATE_ENABLE != 0 || d.src_addr == 0 && d.dst_addr == 0;
                d.xfer_size == 0 && zero(40..61) && d.op_u8(61) >> 4 == 0 && window
            }
            opcode::INTER_DOMAIN_COPY => zero(40..60) && alternates(),
            opcode::INTER_DOMAIN_FILL => (w40 == 0 || flags & flag::FILL_16 != 0) && zero(48..62),
            // Byte 40 holds the expected result.
            opcode::INTER_DOMAIN_COMPARE => zero(41..60) && alternates(),
            _ => zero(41..60) && handles[1] == 0,
        }
}

/// What gather copy, scatter copy and scatter fill leave 0 alike.
fn copy_fields_clear(d: &Descriptor) -> bool {
    let unused = [d.op_u8(46), d.op_u8(47), d.op_u8(56) >> 4, d.op_u8(57), d.op_u8(58), d.op_u8(59) & 0xf];
    unused == [0; 6]
}

/// Whether a reduce has no selector and no handles without their flag, and with it no handle that nothing selects.
fn selected(fields: Fields<'_>) -> bool {
    let d = fields.0;
    let handles = [d.op_u16(60), d.op_u16(62)];
    if d.flags() & flag::INTER_DOMAIN_SELECTOR == 0 {
        return fields.selector() == 0 && handles == [0; 2];
    }
    let selects = |number: u8| (0..4).any(|operand| fields.selector() >> (2 * operand) & 3 == number);
    (handles[0] == 0 || selects(1)) && (handles[1] == 0 || selects(2))
}

/// The checks that remain: fields, sizes, addresses.
pub(super) fn check(x: &Exec<'_>, d: &Descriptor) -> Result<(), CompletionRecord> {
    let code = d.opcode();
    let fields = Fields(d);
    let inter_domain = is_inter_domain(code) || code == opcode::UPDATE_WINDOW || fields.handles() != [None; 4];
    fail(inter_domain && x.requester.pasid.is_none(), status::INTER_DOMAIN_NO_PASID)?;
    match code {
        opcode::UPDATE_WINDOW => fail(!window_is_good(x, d), status::WINDOW_FIELDS),
        opcode::TYPE_CONV | opcode::REDUCE | opcode::REDUCE_DUALCAST => {
            fail(!computation_is_offered(x, fields) || !selector_is_good(fields), status::BAD_FIELD_VALUE)?;
            let most = x.queue.setup.max_transfer_size();
            let (input, output) = (fields.input_size(), fields.output_size());
            fail(fields.element_count() == 0 || input.max(output) > most, status::BAD_SIZE)?;
            elementwise(fields)
        }
        opcode::GATHER_REDUCE => {
            let offered = computation_is_offered(x, fields) && list_is_offered(x, fields);
            fail(!offered, status::BAD_FIELD_VALUE)?;
            fail(!list_size_is_good(x, fields), status::BAD_COUNT)?;
            let (input, output) = (fields.input_size(), fields.output_size());
            let block = u64::from(dsacap0::max_gather_reduce_block(x.shared.config.dsacap[0]));
            let total = input * fields.list_entries();
            let wrong = fields.element_count() == 0 || input.max(output) > block;
            fail(wrong || total > x.queue.setup.max_transfer_size(), status::BAD_SIZE)?;
            fail(!d.dst_addr.is_multiple_of(numeric::size(fields.output_type())), status::ADDR_ALIGN)?;
            fail(meets_list(fields, output), status::OVERLAP)
        }
        opcode::GATHER_COPY | opcode::SCATTER_COPY | opcode::SCATTER_FILL => {
            let offered = dsacap1::has_data_type(x.shared.config.dsacap[1], fields.input_type());
            fail(!offered || numeric::size(fields.input_type()) == 0, status::BAD_FIELD_VALUE)?;
            fail(!list_is_offered(x, fields), status::BAD_FIELD_VALUE)?;
            fail(!list_size_is_good(x, fields), status::BAD_COUNT)?;
            fail(
                size_is_bad(x, d) || fields.input_size() * fields.list_entries() != u64::from(d.xfer_size),
                status::BAD_SIZE,
            )?;
            let own = code == opcode::GATHER_COPY && d.flags() & flag::ALTERNATE_DESTINATION == 0;
            fail(own && meets_list(fields, u64::from(d.xfer_size)), status::OVERLAP)
        }
        _ => fail(size_is_bad(x, d), status::BAD_SIZE),
    }
}

fn size_is_bad(x: &Exec<'_>, d: &Descriptor) -> bool {
    d.xfer_size == 0 || u64::from(d.xfer_size) > x.queue.setup.max_transfer_size()
}

/// Whether the window of an update is free of contradictions (status 0x2d).
fn window_is_good(x: &Exec<'_>, d: &Descriptor) -> bool {
    let set = |bit: u8| d.op_u8(61) & bit != 0;
    let offset = set(idpt::UPDATE_OFFSET);
    if set(idpt::UPDATE_ENABLE) {
        (x.shared.config.inter_domain.offset_mode || !offset) && ends_in_time(d.src_addr, d.dst_addr)
    } else {
        !offset
    }
}

/// Whether the device computes what the fields ask for: types, conversion, function and flags.
fn computation_is_offered(x: &Exec<'_>, fields: Fields<'_>) -> bool {
    let [_, types, flags] = x.shared.config.dsacap;
    let (from, to, chosen) = (fields.input_type(), fields.output_type(), fields.compute_flags());
    let code = fields.0.opcode();
    let needs = [
        (compute_flag::NEGATE_1 | compute_flag::NEGATE_2, dsacap2::NEGATE),
        (compute_flag::FLUSH_TO_ZERO, dsacap2::FLUSH_TO_ZERO),
        (compute_flag::DENORMALS_ARE_ZERO, dsacap2::DENORMALS_ARE_ZERO),
        (compute_flag::SIGNED, dsacap2::SIGNED),
        (compute_flag::SATURATE, dsacap2::SATURATE),
    ];
    let rounding = (chosen & compute_flag::ROUNDING) >> compute_flag::ROUNDING.trailing_zeros();
    // Only with two operands that have flags of their own there is a second one.
    let second = matches!(code, opcode::REDUCE | opcode::REDUCE_DUALCAST) || chosen & compute_flag::NEGATE_2 == 0;
    let function = code == opcode::TYPE_CONV || dsacap1::has_compute_type(types, fields.compute_type());
    fields.plan(false).is_some()
        && dsacap1::has_conversion(types, from, to)
        && (data_type::is_integer(from) || dsacap2::has_rounding(flags, rounding as u8))
        && needs.into_iter().all(|(flag, capability)| chosen & flag == 0 || flags & capability != 0)
        && second
        && function
}

fn list_is_offered(x: &Exec<'_>, fields: Fields<'_>) -> bool {
    let format = fields.list_format();
    sgl_format::entry_size(format).is_some() && dsacap0::has_sgl_format(x.shared.config.dsacap[0], format)
}

fn list_size_is_good(x: &Exec<'_>, fields: Fields<'_>) -> bool {
    (1..=u64::from(x.queue.setup.max_sgl_size())).contains(&fields.list_entries())
}

/// Whether the selector of a reduce that has one names handles for operands that exist.
fn selector_is_good(fields: Fields<'_>) -> bool {
    let (d, selector) = (fields.0, fields.selector());
    if d.opcode() == opcode::TYPE_CONV || d.flags() & flag::INTER_DOMAIN_SELECTOR == 0 {
        return true;
    }
    let operands = if d.opcode() == opcode::REDUCE { 3 } else { 4 };
    let choices = [0, 2, 4, 6].map(|shift| selector >> shift & 3);
    selector != 0 && choices.iter().all(|choice| *choice != 3) && choices[operands..].iter().all(|choice| *choice == 0)
}

/// Alignment and overlap of the operands of conversions and reduces. Operands with a handle may lie anywhere.
fn elementwise(fields: Fields<'_>) -> Result<(), CompletionRecord> {
    let d = fields.0;
    let (input, output) = (numeric::size(fields.input_type()), numeric::size(fields.output_type()));
    let ranges = fields.ranges();
    let misaligned = |i: usize| !ranges[i].0.is_multiple_of(if i < 2 { input } else { output });
    fail((0..4).any(|i| ranges[i].1 != 0 && misaligned(i)), status::ADDR_ALIGN)?;
    if d.opcode() == opcode::REDUCE_DUALCAST {
        fail((ranges[2].0 ^ ranges[3].0) & idxd_sys::limits::DUALCAST_MASK != 0, status::DUALCAST_ALIGN)?;
    }
    let handles = fields.handles();
    let same_type = fields.input_type() == fields.output_type();
    let collide = |source: usize, destination: usize| {
        let (a, b) = (ranges[source], ranges[destination]);
        let in_place = source < 2 && a.0 == b.0 && same_type;
        handles[source].is_none() && handles[destination].is_none() && !in_place && regions_overlap(a, b)
    };
    let pairs = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
    fail(pairs.into_iter().any(|(a, b)| collide(a, b)), status::OVERLAP)
}

/// Whether a destination shares a byte with the list.
fn meets_list(fields: Fields<'_>, destination: u64) -> bool {
    regions_overlap((fields.0.dst_addr, destination), (fields.list(), fields.list_size()))
}
