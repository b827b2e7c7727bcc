use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Params, ParamFault> {
    parse_params(text.as_bytes(), On::Mail, Extensions::ALL, Syntax::Strict)
}

#[test]
fn good_parameters_are_read_in_any_case_and_order() {
    let params = parse("smtputf8 body=8bitmime SIZE=1000").unwrap();
    assert_eq!(params.size, Some(1000));
    assert_eq!((params.body, params.smtputf8), (BodyKind::EightBit, true));
    assert_eq!(parse(""), Ok(Params::default()));
    assert_eq!(parse("BODY=BINARYMIME").unwrap().body, BodyKind::Binary);
    assert_eq!(parse("BODY=7BIT").unwrap().body, BodyKind::SevenBit);
    assert_eq!(parse("SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
    assert_eq!(parse("SIZE=00000000000000000007").unwrap().size, Some(7));
}

#[test]
fn bad_values_and_repetitions_are_malformed() {
    let bad = [
        "SIZE",
        "SIZE=",
        "SIZE=x",
        "SIZE=-1",
        "SIZE=000000000000000000001",
        "SIZE=1 SIZE=1",
        "BODY",
        "BODY=",
        "BODY=9BIT",
        "BODY=7BIT BODY=7BIT",
        "SMTPUTF8=1",
        "=1",
        "-X=1",
        "X_Y=1",
        "X=a=b",
        "X=\x01",
    ];
    for text in bad {
        assert_eq!(parse(text), Err(ParamFault::Malformed), "{text}");
    }
    assert!(parse("SMTPUTF8 SMTPUTF8").unwrap().smtputf8, "smtplib says it twice");
}

#[test]
fn auth_names_a_mailbox_in_xtext_or_nobody() {
    let long = format!("AUTH={}", "x".repeat(AUTH_PARAM_BYTES_MAX));
    for good in ["AUTH=<>", "AUTH=e+3Dmc2@example.com", "auth=a@b", &long] {
        assert_eq!(parse(good), Ok(Params::default()), "{good}");
    }
    let longer = format!("{long}x");
    for bad in
        ["AUTH", "AUTH=", "AUTH=a+3dc", "AUTH=a+", "AUTH=a+3", "AUTH=é", "AUTH=<> AUTH=<>", &longer]
    {
        assert_eq!(parse(bad), Err(ParamFault::Malformed), "{bad}");
    }
    let without = Extensions::ALL.difference(Extensions::AUTH);
    assert_eq!(
        parse_params(b"AUTH=<>", On::Mail, without, Syntax::Strict),
        Err(ParamFault::Unknown)
    );
}

#[test]
fn the_last_of_a_repeated_parameter_counts_where_syntax_is_lenient() {
    let read =
        |text: &str, syntax| parse_params(text.as_bytes(), On::Mail, Extensions::ALL, syntax);
    for text in ["SIZE=1 SIZE=7", "BODY=7BIT BODY=8BITMIME", "AUTH=<> AUTH=<>"] {
        assert_eq!(read(text, Syntax::Strict), Err(ParamFault::Malformed), "{text}");
        let params = read(text, Syntax::Lenient).unwrap();
        assert_eq!(params.odd, Deviations::REPEATED_PARAMETER, "{text}");
    }
    assert_eq!(read("SIZE=1 SIZE=7", Syntax::Lenient).unwrap().size, Some(7));
    assert_eq!(read("SMTPUTF8 SMTPUTF8", Syntax::Lenient).unwrap().odd, Deviations::empty());
    for text in
        ["RET=FULL RET=FULL", "ENVID=a ENVID=b", "SIZE=1 SIZE=x", "MT-PRIORITY=1 MT-PRIORITY=1"]
    {
        assert_eq!(read(text, Syntax::Lenient), Err(ParamFault::Malformed), "{text}");
    }
}

#[test]
fn tabs_part_parameters_where_syntax_is_lenient() {
    let text = b"SIZE=7\t\tBODY=8BITMIME";
    let read = |syntax| parse_params(text, On::Mail, Extensions::ALL, syntax);
    assert_eq!(read(Syntax::Lenient).unwrap().size, Some(7));
    assert_eq!(read(Syntax::Strict), Err(ParamFault::Malformed));
}

proptest! {
    /// Strict syntax is held by the slow receiver of `tests/smtp`, and lenient syntax here by the strict one.
    #[test]
    fn tabs_are_spaces_where_syntax_is_lenient_and_odd_blanks_are_seen(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                " ", " ", " ", "\t", "SIZE=7", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "-", "=", "X", "\u{1}", "é",
            ]),
            0..12,
        ),
    ) {
        let text = pieces.concat();
        let text = text.trim_end();
        let read = |text: &str, syntax| parse_params(text.as_bytes(), On::Mail, Extensions::ALL, syntax);
        let lenient = read(text, Syntax::Lenient);
        let spaces = text.replace('\t', " ");
        let strict = read(&spaces, Syntax::Strict);
        let odd = spaces != text || spaces.starts_with(' ') || spaces.contains("  ");
        let seen = if odd { Deviations::EXTRA_WHITESPACE } else { Deviations::empty() };
        match lenient {
            // Only repetitions are taken besides.
            Ok(params) if params.odd.contains(Deviations::REPEATED_PARAMETER) => {
                prop_assert_eq!(strict, Err(ParamFault::Malformed));
                prop_assert_eq!(params.odd, seen | Deviations::REPEATED_PARAMETER);
            }
            _ => prop_assert_eq!(lenient, strict.map(|params| Params { odd: seen, ..params })),
        }
    }
}

#[test]
fn what_is_not_offered_is_unknown() {
    for text in ["XFOO", "XFOO=1", "NOTIFY=NEVER", "ORCPT=rfc822;a"] {
        assert_eq!(parse(text), Err(ParamFault::Unknown), "{text}");
    }
    let offered = Extensions::ALL
        .difference(Extensions::SIZE)
        .difference(Extensions::SMTPUTF8)
        .difference(Extensions::BINARYMIME);
    for text in ["SIZE=1", "SMTPUTF8", "BODY=BINARYMIME"] {
        let fault = parse_params(text.as_bytes(), On::Mail, offered, Syntax::Strict);
        assert_eq!(fault, Err(ParamFault::Unknown), "{text}");
    }
    let fault = parse_params(b"SIZE=1", On::Rcpt, Extensions::ALL, Syntax::Strict);
    assert_eq!(fault, Err(ParamFault::Unknown), "SIZE is not for RCPT");
}
