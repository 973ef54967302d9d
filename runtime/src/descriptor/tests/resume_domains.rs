//! Resume plans of the inter-domain operations: those of the plain operations, with the handles kept.

use proptest::prelude::*;

use super::super::*;
use super::everything;
use super::resumption::{BASE, DST, RECORD, SRC, devices, partial, stops};

const HANDLE: IdptHandle = IdptHandle::new(5);
const OTHER: IdptHandle = IdptHandle::new(9);

proptest! {
    #[test]
    fn copies(mut device in devices(), stops in stops(), len in 1..300_u32) {
        let mut expected = device.clone();
        expected.memory.copy_within(..len as usize, 0x1000);
        let copy = InterDomainCopy::new(SRC, DST, len.into()).record(RECORD);
        let sent = copy.source_handle(HANDLE).destination_handle(OTHER).build(&everything()).unwrap();
        let (completion, _) = device.run(sent, &stops);
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn fills(mut device in devices(), stops in stops(), len in 1..300_u32, pattern in any::<[u64; 2]>(), wide in any::<bool>()) {
        let bytes = [pattern[0].to_le_bytes(), pattern[1].to_le_bytes()].concat();
        let mut expected = device.clone();
        for n in 0..len as usize {
            expected.memory[0x1000 + n] = bytes[n % if wide { 16 } else { 8 }];
        }
        let builder = if wide {
            InterDomainFill::with_wide_pattern(DST, HANDLE, len.into(), pattern)
        } else {
            InterDomainFill::new(DST, HANDLE, len.into(), pattern[0])
        };
        let (completion, _) = device.run(builder.record(RECORD).build(&everything()).unwrap(), &stops);
        prop_assert!(completion.is_success() && device == expected);
    }

    #[test]
    fn compares(
        mut device in devices(),
        stops in stops(),
        len in 1..300_u32,
        differs_at in prop::option::of(0..300_u32),
        expectation in prop::option::of(prop_oneof![Just(Expectation::Equal), Just(Expectation::Different)]),
    ) {
        let differs_at = differs_at.filter(|&at| at < len);
        device.memory.copy_within(..len as usize, 0x1000);
        if let Some(at) = differs_at {
            device.memory[0x1000 + at as usize] ^= 0x10;
        }
        let mut builder = InterDomainCompare::new(SRC, DST, len.into()).record(RECORD).second_source_handle(HANDLE);
        if let Some(expectation) = expectation {
            builder = builder.expect(expectation);
        }
        let (completion, advanced) = device.run(builder.build(&everything()).unwrap(), &stops);
        prop_assert_eq!(completion.is_equal(), Some(differs_at.is_none()));
        prop_assert_eq!(completion.first_difference().map(|found| found.offset + advanced), differs_at);
        let as_expected = expectation.is_none_or(|wanted| (wanted == Expectation::Equal) == differs_at.is_none());
        prop_assert_eq!(completion.status, if as_expected { Status::SUCCESS } else { Status::SUCCESS_FALSE });
    }

    #[test]
    fn pattern_compares(
        mut device in devices(),
        stops in stops(),
        len in 1..300_u32,
        pattern in any::<u64>(),
        differs_at in prop::option::of(0..300_u32),
    ) {
        let differs_at = differs_at.filter(|&at| at < len);
        for n in 0..len as usize {
            device.memory[n] = pattern.to_le_bytes()[n % 8];
        }
        if let Some(at) = differs_at {
            device.memory[at as usize] ^= 1;
        }
        let builder = InterDomainComparePattern::new(SRC, HANDLE, len.into(), pattern).record(RECORD);
        let (completion, advanced) = device.run(builder.build(&everything()).unwrap(), &stops);
        prop_assert_eq!(completion.is_equal(), Some(differs_at.is_none()));
        if let (Some(found), Some(at)) = (completion.first_difference(), differs_at) {
            prop_assert!(!found.is_exact);
            prop_assert!(found.offset + advanced <= at && at - (found.offset + advanced) < 8);
        }
    }
}

#[test]
fn handles_and_flags_are_kept() {
    let caps = everything();
    let copy = |source, target, len| {
        InterDomainCopy::new(source, target, len).destination_handle(HANDLE).record(RECORD).build(&caps).unwrap()
    };
    // Offsets into a window begin at 0.
    let rest = Continuation { descriptor: copy(BASE + 30, 30, 70), advanced: 30 };
    assert_eq!(Resume::plan(&copy(BASE, 0, 100), &partial(0x83, 0, 30), &caps), Resume::Continue(rest));
}

#[test]
fn an_update_of_a_window_does_not_stop_half_way() {
    let caps = everything();
    let sent = UpdateWindow::new(HANDLE).record(RECORD).build(&caps).unwrap();
    for status in [Status::PAGE_FAULT, Status::PAGE_RESPONSE] {
        let expected = Resume::Protocol(ProtocolError::UnexpectedStatus(status));
        assert_eq!(Resume::plan(&sent, &partial(status.code(), 0, 0), &caps), expected);
    }
    assert!(matches!(Resume::plan(&sent, &partial(1, 0, 77), &caps), Resume::Complete(_)));
    assert_eq!(Resume::plan(&sent, &partial(0x2c, 0, 0), &caps), Resume::Fail(Status::IDPT_UPDATE));
}
