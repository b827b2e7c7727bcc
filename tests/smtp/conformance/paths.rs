//! Every form of a path, in MAIL and in RCPT (RFC 5321 §4.1.2, §4.1.3).

use ringpost::smtp::server::{Policy, Syntax};

use super::harness::{EHLO, MAIL, check, policy};

const GOOD: [&str; 33] = [
    "<a@b>",
    "<A@B>",
    "<a.b@c.d>",
    "<a+b@c>",
    "<!#$%&'*+-/=?^_`{|}~@x>",
    "<1@2>",
    "<a@1.2-3.x>",
    "<a@xn--bcher-kva.example>",
    "<a@under_score.example>",
    "<Postmaster@d>",
    "<\"\"@b>",
    "<\"a b\"@c>",
    "<\"a@b\"@c>",
    "<\"a>b\"@c>",
    "<\"<\"@c>",
    "<\"a\\\"b\"@c>",
    "<\"a\\\\\"@c>",
    "<\"\\ \"@c>",
    "<\".\"@c>",
    "<a@[192.0.2.1]>",
    "<a@[0.0.0.0]>",
    "<a@[255.255.255.255]>",
    "<a@[010.001.000.1]>",
    "<a@[IPv6:::]>",
    "<a@[IPv6:::1]>",
    "<a@[ipv6:2001:db8::1]>",
    "<a@[IPv6:::ffff:192.0.2.1]>",
    "<a@[tag:content]>",
    "<a@[x-y:!Z^~]>",
    "<@x:a@b>",
    "<@x,@y.z:a@b>",
    "<@[192.0.2.1]:a@b>",
    " <a@b>",
];

const BAD: [&str; 62] = [
    "",
    "a@b",
    "<",
    ">",
    "<a@b",
    "a@b>",
    "<a@b>>",
    "<<a@b>>",
    "<a@b>x",
    "<a@b>,<c@d>",
    "<a@b><c@d>",
    "<a>",
    "<@>",
    "<a@>",
    "<@b>",
    "<a@@b>",
    "<a@b@c>",
    "< a@b>",
    "<a@b >",
    "<a @b>",
    "<a@ b>",
    "<a b@c>",
    "<.a@b>",
    "<a.@b>",
    "<a..b@c>",
    "<.@b>",
    "<a(b)@c>",
    "<a,b@c>",
    "<a:b@c>",
    "<a;b@c>",
    "<a[b@c>",
    "<a\\b@c>",
    "<a\"b@c>",
    "<\"a@b>",
    "<\"a\"b@c>",
    "<b\"a\"@c>",
    "<\"a\".b@c>",
    "<\"a\\\"@c>",
    "<\"\"\"@c>",
    "<a@.b>",
    "<a@b.>",
    "<a@b..c>",
    "<a@-b>",
    "<a@b->",
    "<a@b.-c>",
    "<a@b,c>",
    "<a@b!c>",
    "<a@[]>",
    "<a@[1.2.3]>",
    "<a@[1.2.3.4.5]>",
    "<a@[256.0.0.1]>",
    "<a@[1.2.3.0004]>",
    "<a@[1.2.3.4>",
    "<a@[1.2.3.4]x>",
    "<a@[IPv6:]>",
    "<a@[IPv6:1::2::3]>",
    "<a@[IPv6:g::]>",
    "<a@[tag:]>",
    "<a@[:x]>",
    "<@x a@b>",
    "<@x,:a@b>",
    "<@:a@b>",
];

#[test]
fn every_good_path_is_taken_by_both_commands() {
    for path in GOOD {
        check(&policy(), EHLO, &[(&format!("MAIL FROM:{path}\r\n"), "250/2.1.0")]);
        let lead = format!("{EHLO}{MAIL}");
        check(&policy(), &lead, &[(&format!("RCPT TO:{path}\r\n"), "250/2.1.5")]);
    }
}

#[test]
fn every_bad_path_is_refused_by_both_commands() {
    for path in BAD {
        check(&policy(), EHLO, &[(&format!("MAIL FROM:{path}\r\n"), "501/5.1.7")]);
        let lead = format!("{EHLO}{MAIL}");
        check(&policy(), &lead, &[(&format!("RCPT TO:{path}\r\n"), "501/5.1.3")]);
    }
}

#[test]
fn the_empty_path_and_the_bare_postmaster_each_have_their_one_place() {
    let rcpt = format!("{EHLO}{MAIL}");
    for (path, mail, forward) in [
        ("<>", "250/2.1.0", "501/5.1.3"),
        ("<Postmaster>", "501/5.1.7", "250/2.1.5"),
        ("<POSTMASTER>", "501/5.1.7", "250/2.1.5"),
        ("<@x:postmaster>", "501/5.1.7", "501/5.1.3"),
        ("<postmasters>", "501/5.1.7", "501/5.1.3"),
        ("<@x:>", "501/5.1.7", "501/5.1.3"),
    ] {
        check(&policy(), EHLO, &[(&format!("MAIL FROM:{path}\r\n"), mail)]);
        check(&policy(), &rcpt, &[(&format!("RCPT TO:{path}\r\n"), forward)]);
    }
}

#[test]
fn octets_beyond_ascii_need_smtputf8_in_each_part_of_a_path() {
    for path in ["<\u{fc}@b>", "<a@\u{fc}.b>", "<\"\u{fc}\"@b>", "<@\u{fc}:a@b>"] {
        let utf8 = format!("{EHLO}MAIL FROM:<> SMTPUTF8\r\n");
        let plain = format!("{EHLO}{MAIL}");
        let mail = format!("MAIL FROM:{path}\r\n");
        let rcpt = format!("RCPT TO:{path}\r\n");
        check(&policy(), EHLO, &[(&mail, "550/5.6.7")]);
        check(&policy(), EHLO, &[(&mail.replace("\r\n", " SMTPUTF8\r\n"), "250/2.1.0")]);
        check(&policy(), &plain, &[(&rcpt, "553/5.6.7")]);
        check(&policy(), &utf8, &[(&rcpt, "250/2.1.5")]);
    }
}

#[test]
fn no_path_holds_a_control_of_unicode_either() {
    for control in ['\u{80}', '\u{85}', '\u{9b}', '\u{9f}'] {
        for path in
            [format!("<a{control}@b>"), format!("<\"{control}\"@b>"), format!("<a@{control}b>")]
        {
            let utf8 = format!("{EHLO}MAIL FROM:<> SMTPUTF8\r\n");
            let mail = format!("MAIL FROM:{path} SMTPUTF8\r\n");
            let rcpt = format!("RCPT TO:{path}\r\n");
            for policy in [policy(), Policy { syntax: Syntax::Lenient, ..policy() }] {
                check(&policy, EHLO, &[(&mail, "501/5.5.2")]);
                check(&policy, &utf8, &[(&rcpt, "501/5.5.2")]);
            }
        }
    }
    // The next one is none.
    check(&policy(), EHLO, &[("MAIL FROM:<a\u{a0}@b> SMTPUTF8\r\n", "250/2.1.0")]);
}
