//! Scripts as texts: what is written is read again, and what is wrong is found where it is.

use std::time::Duration;

use dsa_emulator::campaign::{Action, Command, Filter, ParseError, ParseErrorKind as Kind, Script, Trigger};
use dsa_emulator::{Access, Effect, FaultRule};
use proptest::prelude::*;

fn error(text: &str) -> ParseError {
    text.parse::<Script>().expect_err(text)
}

#[test]
fn comments_space_and_empty_lines_do_not_count() {
    let plain: Script = "seed 5\nafter 3: lose limit 1\nhalt".parse().unwrap();
    let spaced = "\n  # what this is\n\tseed   0x5 # five\n\n after 3 :lose   limit 1#once\n   halt\n# end";
    assert_eq!(spaced.parse::<Script>().unwrap(), plain);
    assert_eq!("now: halt".parse::<Script>().unwrap(), "halt".parse().unwrap());
    assert_eq!("".parse::<Script>().unwrap(), Script::new(0));
    assert_eq!("when: halt".parse::<Script>().unwrap().steps[0].trigger, Trigger::When(Filter::new()));
}

#[test]
fn mistakes_are_found_where_they_are() {
    let number = |found: &str, least, most| Kind::Number { found: found.into(), least, most };
    for (text, line, column, kind) in [
        ("halt\nlose limit x", 2, 12, number("x", 0, u64::MAX)),
        ("seed -1", 1, 6, number("-1", 0, u64::MAX)),
        ("seed 0x1_0", 1, 6, number("0x1_0", 0, u64::MAX)),
        ("seed 18446744073709551616", 1, 6, number("18446744073709551616", 0, u64::MAX)),
        ("rounds 0", 1, 8, number("0", 1, u64::MAX)),
        ("error 256", 1, 7, number("256", 1, 255)),
        ("error 0", 1, 7, number("0", 1, 255)),
        ("enable-wq 256", 1, 11, number("256", 0, 255)),
        ("abort-pasid 0x100000", 1, 13, number("0x100000", 0, 0xf_ffff)),
        ("lose limit", 1, 11, Kind::Missing("a number")),
        ("after 3", 1, 8, Kind::Missing("a colon")),
        ("after 3:", 1, 9, Kind::Missing("an effect or a command")),
        ("  delay", 1, 8, Kind::Missing("a time such as 10us")),
        ("page-fault address", 1, 19, Kind::Missing("a range of addresses")),
        ("seed 1\nseed 2", 2, 1, Kind::Twice("seed")),
        ("lose limit 1 limit 2", 1, 14, Kind::Twice("limit")),
        ("lose read write", 1, 11, Kind::Twice("read` or `write")),
        ("lose opcode nop opcode fill", 1, 17, Kind::Twice("opcode")),
        ("chance 1.5: halt", 1, 8, Kind::Probability("1.5".into())),
        ("chance NaN: halt", 1, 8, Kind::Probability("NaN".into())),
        ("lose probability -0.1", 1, 18, Kind::Probability("-0.1".into())),
        ("when address 5..5: halt", 1, 14, Kind::Range("5..5".into())),
        ("when address 0x10: halt", 1, 14, Kind::Range("0x10".into())),
        ("lose address 9..8", 1, 14, Kind::Range("9..8".into())),
    ] {
        assert_eq!(error(text), ParseError { line, column, kind }, "{text}");
    }
    for (text, column, found) in [
        ("loose", 1, "loose"),
        ("halt now", 6, "now"),
        ("recover 0", 9, "0"),
        ("after 3 lose", 9, "lose"),
        ("when size 3: lose", 6, "size"),
        ("lose often", 6, "often"),
        ("delay 5", 7, "5"),
        ("delay 5m", 7, "5m"),
        ("delay us", 7, "us"),
        ("lose opcode memcpy", 13, "memcpy"),
        ("lose opcode 256", 13, "256"),
        (": halt", 1, ":"),
        ("after 1: after 2: halt", 10, "after"),
        ("error 0x20 # \u{e9}\nh\u{e9} halt", 1, "h\u{e9}"),
    ] {
        let error = error(text);
        let Kind::Unexpected { found: got, .. } = &error.kind else { panic!("{text}: {error}") };
        assert_eq!((error.column, got.as_str()), (column, found), "{text}");
        assert!(error.to_string().contains(&format!("column {column}: `{found}`")), "{error}");
    }
}

fn filter() -> impl Strategy<Value = Filter> {
    let range = (any::<u64>(), 1..=u64::MAX).prop_map(|(start, len)| start..start.saturating_add(len).max(1));
    let range = range.prop_filter("an empty range is none", |range| !range.is_empty());
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    (proptest::option::of(any::<u8>()), proptest::option::of(range), proptest::option::of(access)).prop_map(|parts| {
        let mut filter = Filter::new();
        (filter.opcode, filter.range, filter.access) = parts;
        filter
    })
}

fn rule() -> impl Strategy<Value = FaultRule> {
    let time = prop_oneof![any::<u32>().prop_map(u64::from), any::<u64>()].prop_map(Duration::from_nanos);
    let effect = prop_oneof![
        any::<bool>().prop_map(|resolvable| Effect::PageFault { resolvable }),
        Just(Effect::RecordFault),
        any::<u8>().prop_map(Effect::HardwareError),
        Just(Effect::Lose),
        Just(Effect::Retry),
        time.prop_map(Effect::Delay),
    ];
    let number = || proptest::option::of(any::<u64>());
    (effect, filter(), number(), number(), number(), proptest::option::of(0.0..=1.0f64)).prop_map(
        |(effect, filter, nth, every, limit, probability)| {
            let mut rule = FaultRule::new(effect);
            if let Some(opcode) = filter.opcode {
                rule = rule.opcode(opcode);
            }
            if let Some(range) = filter.range {
                rule = rule.at(range);
            }
            if let Some(access) = filter.access {
                rule = rule.access(access);
            }
            rule = nth.map_or(rule.clone(), |n| rule.nth(n));
            rule = every.map_or(rule.clone(), |n| rule.every(n));
            rule = limit.map_or(rule.clone(), |n| rule.limit(n));
            probability.map_or(rule.clone(), |p| rule.probability(p))
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let queue = || any::<u8>().prop_map(usize::from);
    let command = prop_oneof![
        Just(Command::Halt),
        Just(Command::Reset),
        Just(Command::Enable),
        Just(Command::Disable),
        Just(Command::Recover),
        Just(Command::Clear),
        Just(Command::AbortAll),
        Just(Command::DrainAll),
        (0..1u32 << 20).prop_map(Command::AbortPasid),
        (0..1u32 << 20).prop_map(Command::DrainPasid),
        queue().prop_map(Command::EnableWq),
        queue().prop_map(Command::DisableWq),
        queue().prop_map(Command::AbortWq),
        queue().prop_map(Command::DrainWq),
    ];
    prop_oneof![
        command.prop_map(Action::from),
        rule().prop_map(Action::from),
        (rule(), any::<u64>()).prop_map(|(rule, ticks)| Action::lasting(rule, ticks)),
    ]
}

fn trigger() -> impl Strategy<Value = Trigger> {
    prop_oneof![
        Just(Trigger::Now),
        any::<u64>().prop_map(Trigger::After),
        any::<u64>().prop_map(Trigger::At),
        filter().prop_map(Trigger::When),
        (0.0..=1.0f64).prop_map(Trigger::Chance),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let steps = proptest::collection::vec((trigger(), action()), 0..20);
    (any::<u64>(), 1..=u64::MAX, steps).prop_map(|(seed, rounds, steps)| {
        let script = Script::new(seed).rounds(rounds);
        steps.into_iter().fold(script, |script, (trigger, action)| script.step(trigger, action))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_script(script in script()) {
        let text = script.to_string();
        prop_assert_eq!(text.parse::<Script>().map_err(|e| format!("{e}\n{text}")), Ok(script));
    }

    #[test]
    fn any_text_is_a_script_or_an_error_with_a_place(text in "[ -~\n\u{e9}]{0,200}") {
        if let Err(error) = text.parse::<Script>() {
            let line = text.lines().nth(error.line - 1).unwrap();
            prop_assert!(error.column >= 1 && error.column <= line.chars().count() + 1, "{}", error);
        }
    }

    #[test]
    fn scripts_of_words_do_not_panic(words in proptest::collection::vec("(after|at|when|chance|opcode|memmove|lose|retry|error|delay|5us|0x20|1\\.\\.2|0\\.5|:|for|limit|halt|seed|\n|write)", 0..30)) {
        let text = words.join(" ");
        if let Ok(script) = text.parse::<Script>() {
            prop_assert_eq!(script.to_string().parse::<Script>(), Ok(script));
        }
    }

    #[test]
    fn random_scripts_are_texts_too(seed: u64, intensity in 0.0..=1.0f64) {
        let script = Script::random(seed, intensity);
        prop_assert_eq!(script.to_string().parse::<Script>(), Ok(script));
    }
}
