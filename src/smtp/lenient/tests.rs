use super::*;

/// The names of what is odd in an argument.
fn names((read, mut seen): (PathArgument<'_>, Deviations)) -> String {
    seen.set(
        Deviations::EXTRA_WHITESPACE,
        seen.contains(Deviations::EXTRA_WHITESPACE) || read.extra_blanks,
    );
    seen.join()
}

/// The address and the deviations of a RCPT, or nothing where it is refused.
fn rcpt(argument: &str) -> Option<(&str, String)> {
    let read = parse_rcpt(argument.as_bytes()).ok()?;
    Some((str::from_utf8(read.0.path.mailbox).unwrap(), names(read)))
}

#[test]
fn what_is_odd_is_taken_as_sent_and_named() {
    let long = format!("{}@x", "l".repeat(3000));
    for (path, mailbox, seen) in [
        ("<a@b>", "a@b", ""),
        ("<postmaster>", "postmaster", ""),
        ("<@h:postmaster>", "postmaster", "no-domain"),
        ("<@h:u@d>", "u@d", ""),
        ("a@b", "a@b", "path-without-brackets"),
        ("\"a b\"@c", "\"a b\"@c", "path-without-brackets"),
        ("root", "root", "path-without-brackets,no-domain"),
        ("<root>", "root", "no-domain"),
        ("<\"a\">", "\"a\"", "no-domain"),
        ("<a.@b>", "a.@b", "dots-in-local-part"),
        ("<.a@b>", ".a@b", "dots-in-local-part"),
        ("<a..b@c>", "a..b@c", "dots-in-local-part"),
        ("<.@c>", ".@c", "dots-in-local-part"),
        ("<a@b.>", "a@b.", "trailing-dot-in-domain"),
        ("<@h:a..b@c.>", "a..b@c.", "trailing-dot-in-domain,dots-in-local-part"),
        ("< a@b >", "a@b", "extra-whitespace"),
        (" \t<a@b>", "a@b", "extra-whitespace"),
        ("<a@b@c>", "a@b@c", "special-in-local-part"),
        ("<mailto:a@b>", "mailto:a@b", "special-in-local-part"),
        ("<a\\>b@c>", "a\\>b@c", "special-in-local-part"),
        ("<a]b@c>", "a]b@c", "special-in-local-part"),
        ("<@c>", "@c", "no-local-part"),
        ("<c @ d>", "c @ d", "extra-whitespace"),
        ("<\"c\" @d>", "\"c\" @d", "extra-whitespace"),
        ("<<a@b>>", "a@b", "stray-brackets"),
        ("< <a@b> >", "a@b", "extra-whitespace,stray-brackets"),
        ("<a@b>>", "a@b", "stray-brackets"),
        ("a@b>", "a@b", "stray-brackets"),
        ("<Joe <a@b>>", "a@b", "display-name"),
        ("<\"J<>\" <a@b>>", "a@b", "display-name"),
        ("<=?utf-8?q?J?= <a@b>>", "a@b", "display-name"),
        ("Joe<a@b>", "a@b", "display-name"),
        ("\"J >\"<a@b>", "a@b", "display-name"),
        ("c<root>", "root", "no-domain,display-name"),
        ("(x)<a@b>", "a@b", "comment"),
        ("<a@b>(x)", "a@b", "comment"),
        ("<(x y) a@b(z)>", "a@b", "extra-whitespace,comment"),
        ("(x)a@b", "a@b", "path-without-brackets,comment"),
        ("a\\ b@c", "a\\ b@c", "path-without-brackets,special-in-local-part"),
        (&format!("<{long}>"), &long, "local-part-too-long,path-too-long"),
    ] {
        let argument = format!("TO:{path}");
        assert_eq!(rcpt(&argument), Some((mailbox, seen.to_owned())), "{path}");
    }
}

#[test]
fn what_nobody_understands_is_refused() {
    for path in [
        "",
        "<",
        "<>",
        "< >",
        ">",
        "<a@b",
        "<a@b>x",
        "<a@b>,<c@d>",
        "<a b@c>",
        "<a@b c>",
        "<a;b@c>",
        "<a,b@c>",
        "<a(b)c@d>",
        "<a(b)@d>",
        "<a@(b)d>",
        "<(x)>",
        "(x)",
        "(x",
        "<x)>",
        "<<>>",
        "<<<a@b>>>",
        "<<a@b>",
        "<a@b>Joe",
        "<Joe a@b>",
        "<Joe <>>",
        "<Joe <a@b> Doe>",
        "<@h:>",
        "<a[b@c>",
        "<a<b@c>",
        "<a>b@c>",
        "<a\"b\"@c>",
        "<\"a\"b@c>",
        "<a@>",
        "<a@.>",
        "<a@.b>",
        "<a@b..>",
        "<a@b..c>",
        "<a@-b>",
        "<a@b->",
        "<a@[1.2.3]>",
        "<a@[::1]>",
        "<a@[1.2.3.4].>",
        "<a\tb@c>",
        "<a\u{1}b@c>",
        "<\"a\tb\"@c>",
        "<a\u{7f}@c>",
        "<a\\",
        "<a\\>",
        "<a\\\t@b>",
        "<@h u@d>",
        "\"a b@c",
        "<\"a@c>",
    ] {
        assert_eq!(rcpt(&format!("TO:{path}")), None, "{path:?}");
    }
    for argument in ["", "TO", "TO <a@b>", "TO :<a@b>", "FROM:<a@b>", "<a@b>"] {
        assert_eq!(rcpt(argument), None, "{argument:?}");
    }
    let wide = format!("TO:<a@{}>", "d".repeat(256));
    assert_eq!(parse_rcpt(wide.as_bytes()).err(), Some(PathFault::TooLong));
}

#[test]
fn nobody_can_be_the_sender_in_several_ways() {
    for (text, seen) in [
        ("<>", ""),
        ("< >", "extra-whitespace"),
        ("<<>>", "stray-brackets"),
        (">", "stray-brackets"),
        ("<@h:>", "no-local-part"),
        ("(x)<>", "comment"),
        ("<Joe <>>", "display-name"),
    ] {
        let argument = format!("FROM:{text}");
        let read = parse_mail(argument.as_bytes()).unwrap();
        assert_eq!((read.0.path.mailbox, &*names(read)), (&b""[..], seen), "{text}");
    }
    for text in ["", "<", "(x)", "<>x", "x<"] {
        assert!(parse_mail(format!("FROM:{text}").as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn parameters_follow_blanks_of_any_kind_and_number() {
    for (text, params, seen) in [
        ("FROM:<a@b> SIZE=1 RET=FULL", "SIZE=1 RET=FULL", ""),
        ("FROM:<> SIZE=1", "SIZE=1", ""),
        ("FROM:a@b SIZE=1", "SIZE=1", "path-without-brackets"),
        ("FROM:<a@b>\tSIZE=1", "SIZE=1", "extra-whitespace"),
        ("FROM:<a@b> \tSIZE=1", "SIZE=1", "extra-whitespace"),
        ("FROM:<a@b>  SIZE=1", "SIZE=1", "extra-whitespace"),
        ("FROM: <a@b>", "", "extra-whitespace"),
        ("from:< >", "", "extra-whitespace"),
    ] {
        let read = parse_mail(text.as_bytes()).unwrap();
        assert_eq!((read.0.params, &*names(read)), (params.as_bytes(), seen), "{text}");
        // The grammar's own parser reads alike what it takes, tabs before parameters aside.
        if let Ok(strict) = command::parse_mail(text.as_bytes())
            && !text.contains('\t')
        {
            assert_eq!(strict, read.0, "{text}");
        }
    }
}

#[test]
fn names_of_clients_may_be_anything_without_controls() {
    let odd = Some(Deviations::HELLO_NOT_A_DOMAIN);
    for name in ["client.example", "[127.0.0.1]", "[IPv6:::1]", "under_score"] {
        assert_eq!(read_hello(name.as_bytes()), Some(Deviations::empty()), "{name}");
    }
    for name in [
        "M\u{dc}LLER-PC",
        "[::1]",
        "[2001:db8::19]",
        "(null)",
        "host.example.",
        "two words",
        "-host",
        "host-",
        "a..b",
        "::1",
        "<a>",
        "[fe80::1%eth0]",
    ] {
        assert_eq!(read_hello(name.as_bytes()), odd, "{name}");
    }
    assert_eq!(read_hello(b"M\xdcLLER"), odd, "Latin-1");
    for name in [&b""[..], b"a\tb", b"a\x01b", b"a\x7fb", b"\xff\x1b", "a\u{9b}b".as_bytes()] {
        assert_eq!(read_hello(name), None, "{}", name.escape_ascii());
    }
}

#[test]
fn verbs_stand_among_blanks() {
    for (line, verb, argument, odd) in [
        ("NOOP", Verb::Noop, "", false),
        ("MAIL FROM:<>", Verb::Mail, "FROM:<>", false),
        ("MAIL FROM:<>  ", Verb::Mail, "FROM:<>", false),
        ("MAIL\tFROM:<>", Verb::Mail, "FROM:<>", true),
        ("MAIL\tFROM:<a@b> SIZE=1", Verb::Mail, "FROM:<a@b> SIZE=1", true),
        (" \tMAIL  \t FROM:<>\t", Verb::Mail, "FROM:<>", true),
        ("  QUIT", Verb::Quit, "", true),
        ("NO OP", Verb::Unknown, "OP", true),
        ("", Verb::Unknown, "", true),
    ] {
        let (found, rest, seen) = split(line.as_bytes(), command::split(line.as_bytes()));
        assert_eq!((found, rest), (verb, argument.as_bytes()), "{line:?}");
        assert_eq!(seen.contains(Deviations::EXTRA_WHITESPACE), odd, "{line:?}");
    }
}

#[test]
fn a_blank_before_the_colon_is_refused_in_both_modes() {
    for argument in [&b"FROM :<a@b>"[..], b"FROM : <a@b>", b"FROM\t:<a@b>"] {
        assert!(parse_mail(argument).is_err() && command::parse_mail(argument).is_err());
    }
}
