use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::writer::LINE_BYTES;
use super::*;
use crate::blast::content::MESSAGE_BYTES_MIN;
use crate::blast::content::mail::{Mail, MailSource, Mails, Recorded};
use crate::blast::content::spread::Spread;
use crate::blast::content::table::{Table, TableRow};
use crate::blast::content::template::{Scope, Template};
use crate::blast::plan::StopAfter;
use crate::dial::Target;
use crate::engine::EngineKind;
use crate::smtp::body::{Unstuffed, Unstuffer};
use crate::smtp::offered::Offered;
use crate::stamp::{Stamp, body_crc, header_crc};

fn plan(content: Content, chunking: bool) -> Plan {
    let targets = Target::parse("smtp+unix:/x", &[]).unwrap().into();
    let plan = Plan::new(targets, content, vec![0], EngineKind::Epoll);
    let helo = "e.example".to_owned();
    Plan { connections: 1, stop: StopAfter::Messages(1), chunking, helo, ..plan }
}

fn content(size: Spread) -> Content {
    Content { seed: 7, ..Content::plain(size, "a@b.example", "c@d.example") }
}

fn render(content: Content, chunking: bool) -> Corpus {
    Corpus::render(&plan(content, chunking), 0xabc, Timestamp::UNIX_EPOCH).unwrap()
}

fn refused(content: Content) -> String {
    let plan = plan(content, true);
    let refused = plan.check().map_err(|error| error.to_string()).and_then(|()| {
        Corpus::render(&plan, 0xabc, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())
    });
    refused.unwrap_err()
}

fn body_of(message: &[u8]) -> &[u8] {
    &message[memchr::memmem::find(message, b"\r\n\r\n").unwrap() + 4..]
}

fn unstuffed(octets: &[u8]) -> Vec<u8> {
    let wire = [octets, b".\r\n"].concat();
    let (mut unstuffer, mut input, mut message) = (Unstuffer::default(), &wire[..], Vec::new());
    while let Some(piece) = unstuffer.step(&mut input) {
        match piece {
            Unstuffed::Text(octets) => message.extend_from_slice(octets),
            Unstuffed::End => return message,
        }
    }
    panic!("no end of data");
}

/// MAIL, RCPT and the message as one session sends them.
fn sent(corpus: &Corpus, rendered: &Rendered, core: u16, seq: u64) -> (String, Vec<u8>) {
    let filling = corpus.filling(core, seq);
    let outgoing = corpus.outgoing(rendered, filling);
    let mut commands = Vec::new();
    outgoing.write_mail(&mut commands, &Offered::default());
    outgoing.recipients.write_all(&mut commands, filling);
    let mut message = rendered.octets();
    rendered.identify(&mut message, 0, Identity { core, conn: 6, seq, due_unix_ns: 99, filling });
    (String::from_utf8(commands).unwrap(), message)
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

fn template(text: &str, columns: &[&str], scope: Scope) -> Template {
    let columns: Vec<_> = columns.iter().map(|&column| column.to_owned()).collect();
    Template::parse(text.as_bytes(), Some(&columns), scope).unwrap()
}

fn choice(text: &str, weight: u32, scope: Scope) -> Choice {
    Choice { pattern: template(text, &["user", "name"], scope), weight, place: "--x".to_owned() }
}

fn table(rows: &[[&str; 2]]) -> Option<Table> {
    let row = |(line, fields): (u64, &[&str; 2])| TableRow {
        line,
        fields: fields.map(str::to_owned).into(),
    };
    let rows = (2..).zip(rows).map(row).collect();
    Some(Table { path: "who.csv".into(), columns: vec!["user".into(), "name".into()], rows })
}

/// To be sent as they are.
fn kept(mails: Vec<Mail>) -> Bodies {
    Bodies::Kept(Mails {
        path: "kept".into(),
        kind: MailSource::Spool,
        raw: true,
        mails: mails.into(),
    })
}

#[test]
fn bare_messages_have_no_header_but_that_of_the_user_and_exactly_their_size() {
    for size in [2, 3, 80, 81, 700] {
        let corpus = render(Content { bare: true, ..content(Spread::one(size)) }, true);
        let (rendered, filling) = (corpus.pick(0, 1), corpus.filling(0, 1));
        let mut octets = rendered.octets();
        rendered.identify(&mut octets, 0, Identity { filling, ..Identity::default() });
        assert_eq!((octets.len() as u64, rendered.size), (size, size));
        assert_eq!(octets, rendered.octets(), "nothing is patched in");
        assert!(octets.ends_with(b"\r\n") && !octets.contains(&b':'));
    }
    let headers = vec![Template::literal(b"Subject: mine")];
    let given = Content { bare: true, headers: headers.clone(), ..content(Spread::one(100)) };
    let corpus = render(given, true);
    assert!(corpus.pick(0, 1).octets().starts_with(b"Subject: mine\r\n\r\n"));
    assert_eq!(corpus.pick(0, 1).size, 100);
    let mails = vec![Mail::new(b"A: b\r\n\r\nc\r\n".to_vec(), true, None)];
    let corpus =
        render(Content { bare: true, bodies: kept(mails), ..content(Spread::one(1)) }, true);
    assert_eq!(corpus.pick(0, 1).octets(), b"A: b\r\n\r\nc\r\n");
}

#[test]
fn messages_have_the_size_asked_for_and_a_true_stamp() {
    for size in (MESSAGE_BYTES_MIN..700).chain([1024, 4095, 70_000]) {
        let corpus = render(content(Spread::one(size)), true);
        let rendered = &corpus.messages[0];
        assert_eq!(rendered.size, size);
        let message = rendered.octets();
        assert_eq!(message.len() as u64, size);
        assert!(message.ends_with(b"\r\n"));
        let stamp = Stamp::find(&message).unwrap();
        let body = body_of(&message);
        assert_eq!((stamp.size, stamp.crc), (body.len() as u64, body_crc(body)), "{size}");
        assert_eq!(stamp.hcrc, Some(header_crc(&message[STAMP_BYTES..])), "{size}");
        assert!(body.split(|&b| b == b'\n').all(|line| line.len() <= LINE_BYTES + 1));
    }
}

#[test]
fn stuffed_and_raw_forms_are_one_message_and_dots_occur() {
    let raw = render(content(Spread::one(9_000)), true);
    let stuffed = render(content(Spread::one(9_000)), false);
    for (raw, stuffed) in raw.messages.iter().zip(&stuffed.messages) {
        assert_eq!(unstuffed(&stuffed.octets()), raw.octets());
        assert_eq!(raw.size, stuffed.size);
    }
    assert!(stuffed.longest() > 9_000, "no line began with a dot");
}

#[test]
fn the_identity_goes_into_stamp_and_message_id_and_nowhere_else() {
    let corpus = Corpus { cores: 4, ..render(content(Spread::one(1024)), true) };
    let rendered = &corpus.messages[0];
    let (_, message) = sent(&corpus, rendered, 3, 12_345);
    let stamp = Stamp::find(&message).unwrap();
    assert_eq!((stamp.core, stamp.seq, stamp.due_unix_ns), (3, 12_345, 99));
    assert_eq!((stamp.conn, stamp.hcrc), (Some(6), Some(header_crc(&message[STAMP_BYTES..]))));
    // 12,344 rounds of four cores, and the fourth.
    let id = "<0000000000000abc.000000049380@e.example>\r\n";
    assert!(text(&message).contains(id), "{}", text(&message));
    let hcrc = STAMP_BYTES - "00000000\r\n".len()..STAMP_BYTES;
    let octets = rendered.octets();
    let changed = message.iter().zip(&octets).enumerate();
    let changed = changed.filter(|(at, (a, b))| a != b && !hcrc.contains(at)).count();
    assert_eq!(changed, 1 + 1 + 5 + 2 + 4);
}

#[test]
fn numbers_of_all_cores_are_those_from_one_on() {
    let corpus = Corpus { cores: 3, ..render(content(Spread::one(512)), true) };
    let shares = (0..3)
        .flat_map(|core| (1..=crate::blast::plan::share(10, 3, core)).map(move |seq| (core, seq)));
    let mut numbers: Vec<_> =
        shares.map(|(core, seq)| corpus.filling(core as u16, seq).number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
}

#[test]
fn sizes_spread_evenly_from_end_to_end() {
    let corpus = render(content(Spread::Even(1_000, 5_000)), true);
    let mut sizes: Vec<u64> = corpus.messages.iter().map(|rendered| rendered.size).collect();
    assert!(!sizes.is_sorted(), "small messages first, and large ones last");
    sizes.sort_unstable();
    assert_eq!((sizes[0], sizes[sizes.len() - 1]), (1_000, 5_000));
    let mean = sizes.iter().sum::<u64>() / sizes.len() as u64;
    assert!((2_990..=3_010).contains(&mean), "{mean}");
    let picked: HashSet<u64> = (1..=10_000).map(|seq| corpus.pick(0, seq).size).collect();
    assert!(picked.len() > sizes.len() * 9 / 10);
}

#[test]
fn weights_of_sizes_recipients_and_domains_are_met() {
    let corpus = render(
        Content {
            recipients: Spread::List(vec![(1, 3), (5, 1)]),
            to_domains: vec![("one.example".to_owned(), 9), ("two.example".to_owned(), 1)],
            ..content(Spread::List(vec![(512, 70), (2_048, 25), (9_000, 5)]))
        },
        true,
    );
    let count = corpus.messages.len();
    assert_eq!(count % 20, 0);
    for (size, share) in [(512, 14), (2_048, 5), (9_000, 1)] {
        let found = corpus.messages.iter().filter(|rendered| rendered.size == size).count();
        assert_eq!(found, count / 20 * share);
    }
    let several =
        corpus.messages.iter().filter(|rendered| corpus.recipients(rendered) == 5).count();
    assert_eq!(several, count / 4);
    let mut domains: HashMap<String, usize> = HashMap::new();
    for rendered in &corpus.messages {
        for line in sent(&corpus, rendered, 0, 1).0.lines().skip(1) {
            *domains.entry(line.split('@').nth(1).unwrap().to_owned()).or_default() += 1;
        }
    }
    let (one, two) = (domains["one.example>"], domains["two.example>"]);
    assert_eq!(one + two, count / 4 * 3 + count / 4 * 5);
    assert!(one.abs_diff(9 * two) <= 9, "{one} {two}");
}

#[test]
fn a_long_tail_of_recipients_ends_at_what_one_message_may_have() {
    let recipients = Spread::Lognormal { median: 100, sigma: 3.0 };
    let content = Content { recipients, ..content(Spread::one(1_024)) };
    let said = cuts(&content);
    assert!(
        said.len() == 1 && said[0].starts_with("--recipients lognormal:100,3.000 is cut"),
        "{said:?}"
    );
    let corpus = render(content, false);
    let most = corpus.messages().iter().map(|rendered| corpus.recipients(rendered)).max();
    assert_eq!(most, Some(FLIGHT_REPLIES_MAX as u32));
}

#[test]
fn a_long_tail_of_sizes_keeps_its_mean_and_a_cut_is_told() {
    for sigma in [0.5, 1.2, 2.0] {
        let spread = Spread::Lognormal { median: 40_000, sigma };
        let asked = content(spread.clone());
        let corpus = render(asked.clone(), false);
        let sizes = corpus.messages().iter().map(|message| message.size as f64);
        let mean = sizes.sum::<f64>() / corpus.messages().len() as f64;
        assert!((mean / spread.mean() - 1.0).abs() < 0.02, "{sigma}: {mean} of {}", spread.mean());
        assert_eq!(cuts(&asked), [""; 0], "{sigma}");
    }
    let small = cuts(&content(Spread::Lognormal { median: 20, sigma: 1.0 }));
    assert!(small.len() == 1 && small[0].contains("in place of 33"), "{small:?}");
    assert_eq!(cuts(&content(Spread::one(9_000))), [""; 0]);
}

#[test]
fn the_same_seed_makes_the_same_messages() {
    let varied = || Content {
        to: vec![
            choice("{rand}@d.example", 2, Scope::Recipient),
            choice("x@y", 1, Scope::Recipient),
        ],
        recipients: Spread::Even(1, 4),
        ..content(Spread::lognormal_to_p99(512, 4_096))
    };
    let (one, two) = (render(varied(), false), render(varied(), false));
    let other = render(Content { seed: 8, ..varied() }, false);
    for seq in 1..99 {
        let sent = |corpus: &Corpus| sent(corpus, corpus.pick(1, seq), 1, seq);
        assert_eq!(sent(&one), sent(&two));
        assert_ne!(sent(&one), sent(&other));
    }
}

#[test]
fn templates_reach_envelope_header_and_body_and_the_stamp_stays_true() {
    let body = "Subject: of {csv.name}\r\nX-To: {rcpt}\r\n\r\n.{seq:4}\r\n{rand:60} from {from}\r\n{date}\r\n";
    for chunking in [true, false] {
        let corpus = render(
            Content {
                bodies: Bodies::Given(template(body, &["user", "name"], Scope::Message)),
                from: vec![choice("bounce-{seq:6}@b.example", 1, Scope::From)],
                to: vec![choice("{csv.user}+{rand:5}@d.example", 1, Scope::Recipient)],
                headers: vec![template(
                    "X-Who: {csv.user} {rand:3}",
                    &["user", "name"],
                    Scope::Message,
                )],
                table: table(&[["ada", "Ada L."], ["bob", "Bob"], ["cy", "Cy"]]),
                ..content(Spread::one(1))
            },
            chunking,
        );
        assert_eq!(corpus.messages.len() % 3, 0);
        let users = ["ada", "bob", "cy"];
        let mut seen = HashSet::new();
        for (n, rendered) in corpus.messages.iter().enumerate().take(30) {
            let seq = n as u64 + 1;
            let (commands, message) = sent(&corpus, rendered, 0, seq);
            let message = if chunking { message } else { unstuffed(&message) };
            let (from, to) = commands.split_once("\r\n").unwrap();
            assert_eq!(from, format!("MAIL FROM:<bounce-{seq:06}@b.example>"));
            let rcpt = to.trim_end().strip_prefix("RCPT TO:<").unwrap().strip_suffix('>').unwrap();
            assert!(rcpt.starts_with(&format!("{}+", users[n % 3])), "{rcpt}");
            assert!(seen.insert(rcpt.to_owned()));
            let said = text(&message);
            assert!(said.contains(&format!("\r\nX-To: {rcpt}\r\n\r\n.{seq:04}\r\n")), "{said}");
            assert!(said.contains(&format!("\r\nX-Who: {} ", users[n % 3])), "{said}");
            assert!(
                said.contains(&format!(" from bounce-{seq:06}@b.example\r\nThu, 1 Jan 1970")),
                "{said}"
            );
            let stamp = Stamp::find(&message).unwrap();
            let body = body_of(&message);
            assert_eq!((stamp.size, stamp.crc), (body.len() as u64, body_crc(body)));
            assert_eq!(rendered.size, message.len() as u64);
        }
    }
}

#[test]
fn pieces_of_a_message_are_identified_like_the_whole() {
    let body = format!("\r\n{}\r\n{{rand:40}}{{seq}}\r\n", "x".repeat(500));
    let bodies = Bodies::Given(template(&body, &[], Scope::Message));
    let corpus = render(Content { bodies, ..content(Spread::one(1)) }, true);
    let rendered = &corpus.messages[0];
    let (_, whole) = sent(&corpus, rendered, 0, 5);
    let filling = corpus.filling(0, 5);
    let identity = Identity { core: 0, conn: 6, seq: 5, due_unix_ns: 99, filling };
    for piece in [STAMP_BYTES, STAMP_BYTES + 1, 333] {
        let mut copy = Vec::new();
        for (n, octets) in rendered.octets().chunks(piece).enumerate() {
            let start = copy.len();
            copy.extend_from_slice(octets);
            rendered.identify(&mut copy[start..], n * piece, identity);
        }
        assert_eq!(copy, whole);
    }
}

#[test]
fn headers_of_the_user_take_the_place_of_ours() {
    let headers = ["Subject: mine", "X-More: yes", "from: <me@x>"];
    let headers: Vec<_> = headers.iter().map(|line| Template::literal(line.as_bytes())).collect();
    let corpus = render(Content { headers: headers.clone(), ..content(Spread::one(700)) }, true);
    let message = text(&corpus.messages[0].octets()).to_lowercase();
    let count = |what: &str| message.matches(what).count();
    assert_eq!((count("\nsubject: mine\r\n"), count("\nsubject:")), (1, 1));
    assert_eq!((count("\nx-more: yes\r\n"), count("\nfrom:"), count("\nto:")), (1, 1, 1));
    assert_eq!(corpus.messages[0].size, 700);
    let said = refused(Content { headers, ..content(Spread::one(150)) });
    assert!(said.contains("--size 150 is too small"), "{said}");
}

#[test]
fn kept_messages_keep_their_octets_and_may_keep_their_envelopes() {
    let mail = |octets: &[u8], envelope| Mail::new(octets.to_vec(), true, envelope);
    let recorded = Recorded {
        from: b"was@b.example".to_vec(),
        recipients: vec![b"one@d.example".to_vec(), "j\u{fc}rgen@d.example".into()],
        place: "kept message 0-1-64".to_owned(),
    };
    let mails = vec![
        mail(b"Subject: x\r\n\r\n.dot {seq}\r\nlast \xc3\xa9", None),
        mail(b"\r\nno header\r\n", Some(recorded.clone())),
    ];
    let corpus = render(Content { bodies: kept(mails), ..content(Spread::one(1)) }, true);
    assert_eq!(corpus.messages.len(), 2);
    let (first, second) = (&corpus.messages[0], &corpus.messages[1]);
    let whole = b"Subject: x\r\n\r\n.dot {seq}\r\nlast \xc3\xa9\r\n";
    assert_eq!(&first.octets()[STAMP_BYTES..], whole);
    assert!(first.eight_bit && !second.eight_bit);
    assert_eq!(
        Stamp::find(&first.octets()).unwrap().crc,
        body_crc(b".dot {seq}\r\nlast \xc3\xa9\r\n")
    );
    assert!(
        sent(&corpus, first, 0, 1)
            .0
            .starts_with("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n")
    );
    let commands = sent(&corpus, second, 0, 1).0;
    assert!(commands.starts_with("MAIL FROM:<was@b.example>\r\nRCPT TO:<one@"), "{commands}");
    assert!(commands.contains("j\u{fc}rgen") && corpus.needs_smtputf8());
    let forged = Recorded { recipients: vec![b"a b@c".to_vec()], ..recorded };
    let bodies = kept(vec![mail(b"\r\n", Some(forged))]);
    let said = refused(Content { bodies, ..content(Spread::one(1)) });
    assert!(said.starts_with("kept message 0-1-64 gives 'a b@c'"), "{said}");
}

#[test]
fn every_row_and_every_kept_message_has_its_turn() {
    let rows = [["ada", ""], ["bob", ""], ["eve", ""]];
    let from_rows = Content {
        to: vec![choice("{csv.user}@d.example", 1, Scope::Recipient)],
        table: table(&rows),
        ..content(Spread::Even(600, 5_000))
    };
    let corpus = Corpus { cores: 2, ..render(from_rows, true) };
    for number in 0..300u64 {
        let (core, seq) = ((number % 2) as u16, number / 2 + 1);
        let (commands, _) = sent(&corpus, corpus.pick(core, seq), core, seq);
        let user = rows[number as usize % 3][0];
        assert!(commands.contains(&format!("RCPT TO:<{user}@d.example>")), "{number}: {commands}");
    }
    let mails =
        [b"a: 1\r\n\r\n", b"a: 2\r\n\r\n"].map(|octets| Mail::new(octets.to_vec(), true, None));
    let corpus = render(Content { bodies: kept(mails.into()), ..content(Spread::one(1)) }, true);
    let turn = |seq| text(&corpus.pick(0, seq).octets()).contains("a: 1");
    assert_eq!([1, 2, 3, 4].map(turn), [true, false, true, false]);
}

#[test]
fn what_files_would_forge_is_refused_with_file_and_line() {
    let with = |rows: &[[&str; 2]]| Content {
        to: vec![choice("{csv.user}@d.example", 1, Scope::Recipient)],
        table: table(rows),
        ..content(Spread::one(600))
    };
    for bad in ["x\r\nRSET", "x\ny", "x\0"] {
        let said = refused(with(&[["ada", "x"], [bad, "y"]]));
        assert!(said.starts_with("who.csv line 3, column 'user' holds a CR, LF or NUL"), "{said}");
    }
    let said = refused(with(&[["ada", "x"], ["a b", "y"]]));
    assert!(said.starts_with("--x (who.csv line 3) gives 'a b@d.example'"), "{said}");
    // A column that nobody names may hold anything, and so may one that only the body names.
    let lines = with(&[["ada", "x\r\ny"], ["bob", ".\n\n.z\0"]]);
    render(lines.clone(), true);
    let given = |text: &str| Bodies::Given(template(text, &["user", "name"], Scope::Message));
    let in_header = Content { bodies: given("Subject: {csv.name}\r\n\r\nx\r\n"), ..lines.clone() };
    assert!(refused(in_header).contains("column 'name' holds a CR, LF or NUL"));
    for text in ["Subject: {seq}\r\n\r\n{csv.name}!\r\n", "\r\n{csv.name}!\r\n"] {
        let corpus = render(Content { bodies: given(text), ..lines.clone() }, true);
        let ends = [1, 2].map(|seq| corpus.pick(0, seq).octets());
        assert!(ends[0].ends_with(b"\r\n\r\nx\r\ny!\r\n"), "{}", text);
        assert!(ends[1].ends_with(b"\r\n\r\n.\r\n\r\n.z\0!\r\n"), "{}", text);
    }
    let long = "x".repeat(2_000);
    assert!(refused(with(&[[&long, ""]])).contains("at most 1024"));
    let empty = vec![choice("{csv.user}", 1, Scope::Recipient)];
    let said = refused(Content { to: empty, ..with(&[["", "x"]]) });
    assert!(said.contains("(who.csv line 2) gives an empty text"), "{said}");
}

#[test]
fn memory_is_bounded_and_said() {
    let large = Content { memory_max: 1 << 20, ..content(Spread::one(400_000)) };
    assert_eq!(render(large.clone(), true).messages.len(), 1);
    let said = refused(Content { bodies: Bodies::Sizes(Spread::Even(1_000, 400_000)), ..large });
    assert!(said.contains("8 different messages") && said.contains("--corpus-memory"), "{said}");
}

#[test]
fn more_than_one_recipient_are_numbered() {
    let lines = |count, to: &[&str]| {
        let to = to.iter().map(|to| choice(to, 1, Scope::Recipient)).collect();
        let content = Content { recipients: Spread::one(count), to, ..content(Spread::one(512)) };
        let corpus = render(content, true);
        let mut lines: Vec<_> =
            sent(&corpus, &corpus.messages[0], 0, 7).0.lines().skip(1).map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(lines(1, &["c@d"]), ["RCPT TO:<c@d>"]);
    assert_eq!(lines(2, &["c+@d"]), ["RCPT TO:<c+0@d>", "RCPT TO:<c+1@d>"]);
    assert_eq!(lines(2, &["c{seq:2}@d{seq:1}"]), ["RCPT TO:<c070@d7>", "RCPT TO:<c071@d7>"]);
    assert_eq!(
        lines(3, &["a@d", "b@d", "c@d"]),
        ["RCPT TO:<a@d>", "RCPT TO:<b@d>", "RCPT TO:<c@d>"]
    );
    assert_eq!(lines(3, &["a@d", "a@d"]).iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn messages_share_the_octets_of_a_kept_mail_however_many_there_are() {
    let mail = Mail::new([b"A: b\r\n\r\n", &[b'x'; 100_000][..]].concat(), false, None);
    let octets = mail.octets.len();
    let kept =
        Mails { path: "x".into(), kind: MailSource::File, raw: false, mails: vec![mail].into() };
    let bodies = Bodies::Kept(kept.clone());
    // Two senders make at least two messages.
    let from =
        vec![Choice::literal("a@b.example", "--from"), Choice::literal("b@b.example", "--from")];
    let varied = Content { bodies, from, memory_max: 2_000_000, ..content(Spread::one(1)) };
    let corpus = render(varied, false);
    assert!(corpus.messages.len() > 20, "{}", corpus.messages.len());
    for rendered in &corpus.messages {
        assert!(Arc::ptr_eq(rendered.mail.as_ref().unwrap(), &kept.mails[0].octets));
    }
    assert!(corpus.bytes() < octets + corpus.messages.len() * 400, "{}", corpus.bytes());
    assert_eq!(corpus.longest(), STAMP_BYTES + octets);
}
