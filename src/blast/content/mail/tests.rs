use proptest::prelude::*;

use super::*;

const RAW: MailForm = MailForm { envelopes: false, raw: true, headed: true };

fn octets(mails: &Mails) -> Vec<&[u8]> {
    mails.mails.iter().map(|mail| &mail.octets[..]).collect()
}

#[test]
fn a_spool_of_too_much_is_refused_before_its_octets_are_read() {
    let path = &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spool-2");
    let all = load(path, u64::MAX, RAW).unwrap().mails;
    let found: u64 = all.iter().map(|mail| mail.size).sum();
    let gather = |octets_max, mails_max| {
        let mut some =
            Gathering { path, mails: Vec::new(), octets: 0, octets_max, mails_max, form: RAW };
        (some.spool(false), some.mails.len())
    };
    assert!(matches!(gather(found, all.len()), (Ok(()), read) if read == all.len()));
    assert!(matches!(gather(found, all.len() - 1), (Err(MailError::TooMany(_)), 0)));
    assert!(matches!(gather(found - 1, all.len()), (Err(MailError::TooLarge { .. }), 0)));
}

#[test]
fn every_kind_is_known_by_its_looks() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), text).unwrap();
    };
    write("one.eml", "Subject: 1\n\nx");
    write("box", "From a b\nS: 1\n\nx\n\nFrom c d\nS: 2\n\n>From y\nFrom z\n\n");
    write("dir/b", "S: b\n\n");
    write("dir/a", "S: a\n\n");
    write("dir/.hidden", "S: no\n\n");
    write("maildir/new/3", "S: 3\n\n");
    write("maildir/cur/4:2,S", "S: 4\n\n");
    write("maildir/tmp/5", "S: 5\n\n");
    for (name, kind, expected) in [
        ("one.eml", MailSource::File, vec!["Subject: 1\r\n\r\nx\r\n"]),
        ("box", MailSource::Mbox, vec!["S: 1\r\n\r\nx\r\n", "S: 2\r\n\r\nFrom y\r\nFrom z\r\n"]),
        ("dir", MailSource::Directory, vec!["S: a\r\n\r\n", "S: b\r\n\r\n"]),
        ("maildir", MailSource::Maildir, vec!["S: 4\r\n\r\n", "S: 3\r\n\r\n"]),
    ] {
        let mails = load(&at(name), 1_000, RAW).unwrap();
        let expected: Vec<&[u8]> = expected.iter().map(|text| text.as_bytes()).collect();
        assert_eq!((mails.kind, octets(&mails)), (kind, expected), "{name}");
    }
    let large = load(&at("one.eml"), 4, RAW).unwrap_err();
    assert!(large.to_string().contains("more than 4 octets"), "{large}");
    fs::create_dir(at("empty")).unwrap();
    assert!(matches!(load(&at("empty"), 9, RAW), Err(MailError::Nothing(_))));
    assert!(matches!(load(&at("none"), 9, RAW), Err(MailError::Read { .. })));
    let recorded = load(&at("dir"), 9, MailForm { envelopes: true, ..RAW });
    assert!(matches!(recorded, Err(MailError::NoEnvelopes(_))));
}

#[test]
fn what_does_not_begin_as_a_message_is_sent_only_without_headers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    for (text, is_message) in [
        ("A: b\n\nc", true),
        ("X-Y \t: b\n", true),
        ("\ntext", true),
        ("", true),
        ("just text\n", false),
        ("two words: text\n", false),
        (": a\n", false),
        ("<!doctype html>\nA: b\n", false),
        (" folded: x\n", false),
    ] {
        fs::write(&path, text).unwrap();
        for of in [path.as_path(), dir.path()] {
            let read = load(of, 99, RAW);
            assert_eq!(matches!(read, Err(MailError::NoHeader(_))), !is_message, "{text:?}");
            let bare = load(of, 99, MailForm { headed: false, ..RAW });
            assert_eq!(bare.unwrap().mails.len(), 1, "{text:?}");
        }
    }
    for name in RUN_FILES {
        fs::write(dir.path().join(name), "{}").unwrap();
        assert!(matches!(load(dir.path(), 99, RAW), Err(MailError::RunDirectory(_))));
        fs::remove_file(dir.path().join(name)).unwrap();
    }
}

/// As mboxrd is written: one `>` before each line that is `From ` behind any number of them.
fn quoted(text: &str) -> String {
    let line = |line: &str| {
        let quote = line.trim_start_matches('>').starts_with("From ");
        format!("{}{line}\n", if quote { ">" } else { "" })
    };
    text.lines().map(line).collect()
}

#[test]
fn a_mail_is_kept_as_it_is_sent_and_measured_as_it_was_found() {
    let found = b"A: b\r\n\r\n.x\r\ny";
    for (raw, octets) in
        [(true, &b"A: b\r\n\r\n.x\r\ny\r\n"[..]), (false, b"A: b\r\n\r\n..x\r\ny\r\n")]
    {
        let mail = Mail::new(found.to_vec(), raw, None);
        assert_eq!(&mail.octets[..], octets);
        assert_eq!((mail.size, mail.body_size), (15, 7));
        assert_eq!(mail.body_crc, body_crc(b".x\r\ny\r\n"));
    }
    assert_eq!(Mail::new(Vec::new(), false, None).size, 0);
}

#[test]
fn what_is_no_regular_file_is_refused_and_a_long_message_before_it_is_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    for path in [fifo.as_path(), Path::new("/dev/zero")] {
        let error = load(path, 1_000, MailForm { raw: false, ..RAW }).unwrap_err();
        assert!(
            matches!(&error, MailError::Read { error, .. } if error.kind() == io::ErrorKind::InvalidInput),
            "{error}"
        );
    }
    // A line without an end, and lines without an end.
    let endless = [io::repeat(b'x'), io::repeat(b'\n')];
    for endless in endless {
        let file = BufReader::new("From x\n".as_bytes().chain(endless));
        let kinds: Vec<_> =
            mbox(file, 1_000).take(1).map(|read| read.unwrap_err().kind()).collect();
        assert_eq!(kinds, [io::ErrorKind::FileTooLarge]);
    }
}

proptest! {
    #[test]
    fn what_is_written_as_mboxrd_is_read_back(
        texts in prop::collection::vec("(([>]{0,2}From |[a-z]{0,3})\n){1,5}", 1..5),
    ) {
        let file: String =
            texts.iter().map(|text| format!("From x y\n{}\n", quoted(text))).collect();
        let read: Vec<_> = mbox(file.as_bytes(), 1_000).map(Result::unwrap).collect();
        let expected: Vec<_> = texts.iter().map(|text| text.clone().into_bytes()).collect();
        prop_assert_eq!(read, expected);
    }
}
