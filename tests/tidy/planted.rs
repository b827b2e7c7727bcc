//! Small trees of sources in which one rule each is broken, beside what looks like it and is right.

use std::collections::BTreeSet;
use std::fs;

use crate::house::House;
use crate::rules::{self, Violations};
use crate::source::{Source, documents, read};

/// These files, and a `lib.rs` that holds their rooms.
fn house(files: &[(&str, &str)]) -> House {
    let rooms: BTreeSet<&str> = files
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("src/")?.split(['/', '.']).next())
        .collect();
    let root: String = rooms.iter().map(|room| format!("mod {room};\n")).collect();
    House::new(sources(&[files, &[("src/lib.rs", &root)]].concat()))
}

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    let source =
        |(path, text): &(&str, &str)| Source { path: (*path).into(), text: (*text).into() };
    files.iter().map(source).collect()
}

/// Holds that each of `expected` is a part of the complaint in its place, and that there are no more.
#[track_caller]
fn assert_found(found: &Violations, expected: &[&str]) {
    let same = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, part)| found.contains(part));
    assert!(same, "expected {expected:#?}, found {found:#?}");
}

#[test]
fn arrows_upwards_are_found_in_every_form() {
    let house = house(&[
        ("src/spool/mod.rs", "mod deep;\nuse crate::sink::Session;\nuse crate::scan::find;"),
        (
            "src/spool/deep.rs",
            "use crate::{limits::MOST, smtp::{self, Server}};
             use super::super::engine::Conn;
             fn f() { notice!(\"{}\", crate::blast::run()); crate::notice::notice!(\"\"); }
             #[cfg(test)]
             mod tests { use crate::sink::Session; }",
        ),
        (
            "src/engine/mod.rs",
            "use super::sink as other;\nmacro_rules! m { () => { $crate::cli::f() } }",
        ),
        ("src/newcomer.rs", ""),
        ("src/bin/ringpost.rs", "use crate::sink::Session;"),
    ]);
    let expected = [
        "src/spool/mod.rs:2: spool names sink",
        "src/spool/deep.rs:1: spool names smtp",
        "src/spool/deep.rs:1: spool names smtp",
        "src/spool/deep.rs:2: spool names engine",
        "src/spool/deep.rs:3: spool names blast",
        "src/engine/mod.rs:1: engine names sink",
        "src/engine/mod.rs:2: engine names cli",
        "src/newcomer.rs: no arrows are known for the room newcomer",
    ];
    assert_found(&rules::between_rooms(&house), &expected);
}

#[test]
fn a_map_that_is_not_true_is_found() {
    let house = house(&[
        ("src/sink/mod.rs", "use crate::scan::find;\nuse crate::smtp::Server;"),
        ("src/scan/mod.rs", ""),
        ("src/smtp/mod.rs", "use crate::scan::find;"),
    ]);
    let page = "\
//! | room | what it holds | imports |
//! |---|---|---|
//! | `scan` | a search | nothing |
//! | [`sink`] | the server | smtp, spool |
//! | `cellar` | wine | nothing |
";
    let expected = [
        "no row for smtp",
        "sink imports scan; add it",
        "sink does not import spool; remove it",
        "no room cellar",
    ];
    let mut found = rules::map(&house, "lib.rs", page);
    found.sort_by_key(|line| expected.iter().position(|part| line.contains(part)));
    assert_found(&found, &expected);
    let upside_down = "| room | it | imports |\n|---|---|---|\n| `scan` | c | nothing |\n| `smtp` | b | scan |\n| `sink` | a | smtp, scan |\n";
    let expected =
        ["scan must be below smtp", "scan must be below sink", "smtp must be below sink"];
    assert_found(&rules::map(&house, "README.md", upside_down), &expected);
    let right = "| room | it | imports |\n|---|---|---|\n| `sink` | a | smtp, scan |\n| `smtp` | b | scan |\n| `scan` | c | nothing |\n";
    assert_found(&rules::map(&house, "README.md", right), &[]);
}

#[test]
fn a_reader_that_sees_the_writer_is_found_behind_re_exports() {
    let house = house(&[
        ("src/spool/mod.rs", "pub mod read;\npub mod write;\npub use write::Writer;"),
        ("src/spool/read.rs", "use super::Writer;"),
        ("src/spool/write.rs", "pub struct Writer;\nuse super::read;"),
        ("src/mailbox/mod.rs", "use crate::spool::*;\nfn f(_: Writer) {}"),
        ("src/sink/mod.rs", "use crate::spool::Writer;"),
    ]);
    let expected = [
        "src/spool/read.rs:1: names Writer of src/spool/write.rs",
        "src/mailbox/mod.rs:2: names Writer of src/spool/write.rs",
    ];
    assert_found(&rules::readers_see_no_writer(&house), &expected);
}

#[test]
fn strangers_that_meet_elsewhere_are_found() {
    let all = "use crate::{engine::Conn, smtp::Server, spool::Writer};";
    let two = "use crate::{engine::Conn, smtp::Server};";
    let house = house(&[
        ("src/sink/core.rs", all),
        ("src/sink/corner.rs", all),
        ("src/sink/inner/core.rs", all),
        ("src/sink/other.rs", two),
        ("src/cli/sink.rs", all),
    ]);
    assert_found(
        &rules::strangers_meet_in_few_files(&house),
        &["src/sink/corner.rs: joins", "src/sink/inner/core.rs: joins"],
    );
}

#[test]
fn circles_are_found_through_parents_and_modules() {
    let house = house(&[
        // Through a re-export of the parent, and a module that is named by itself.
        ("src/spool/mod.rs", "mod a;\nmod b;\nmod c;\npub use b::{B as Renamed, make};\nuse c::C;"),
        ("src/spool/a.rs", "use super::Renamed;\npub struct A;"),
        ("src/spool/b.rs", "use super::c;\npub struct B;\npub fn make() -> c::C {}"),
        ("src/spool/c.rs", "pub struct C;\nfn f() { vec![super::a::A]; }"),
        // Parent and child may know each other, and what only tests say counts for nothing.
        ("src/sink/mod.rs", "mod a;\nmod b;\npub struct Top(a::A);"),
        (
            "src/sink/a.rs",
            "use super::Top;\npub struct A;\n#[cfg(test)]\nmod tests { use super::super::b::B; }",
        ),
        ("src/sink/b.rs", "use super::{a::A, Top};\npub struct B;"),
        // Through a glob, and by one way only.
        ("src/blast/mod.rs", "mod a;\nmod b;\npub use a::*;"),
        ("src/blast/a.rs", "use super::b::B;\npub struct A;"),
        ("src/blast/b.rs", "use super::*;\npub struct B(A);"),
        ("src/engine/mod.rs", "mod a;\nmod b;"),
        ("src/engine/a.rs", "use super::b::B;"),
        ("src/engine/b.rs", "pub struct B;"),
    ]);
    let expected = [
        "blast: 2 files in a circle: src/blast/a.rs, src/blast/b.rs",
        "spool: 3 files in a circle: src/spool/a.rs, src/spool/b.rs, src/spool/c.rs",
    ];
    let found = rules::within_rooms(&house);
    assert_found(&found, &expected);
    for line in ["src/spool/a.rs:1: B of src/spool/b.rs", "src/spool/c.rs:2: A of src/spool/a.rs"] {
        assert!(found[1].contains(line), "{line} is missing: {}", found[1]);
    }
}

#[test]
fn input_and_output_of_the_pure_are_found() {
    let house = house(&[
        ("src/smtp/mod.rs", "use std::{fmt, io::Read};\nfn f() { std::time::Instant::now(); }"),
        (
            "src/scan/mod.rs",
            "// std::io is for others\nuse std::fmt;\nconst C: &str = \"std::io\";",
        ),
        ("src/stamp.rs", "use rustix::time;\nfn f() { matches!(x, libc::EINTR) }"),
        ("src/spool/mod.rs", "use std::fs::File;"),
    ]);
    let expected = [
        "src/smtp/mod.rs:1: names std::io::Read",
        "src/smtp/mod.rs:2: names std::time::Instant::now",
        "src/stamp.rs:1: names rustix::time",
        "src/stamp.rs:2: names libc::EINTR",
    ];
    assert_found(&rules::io_of_the_pure(&house), &expected);
}

#[test]
fn the_runtime_is_found_outside_of_the_engine() {
    let house = house(&[
        ("src/engine/mod.rs", "use tokio::task;\nuse tokio_uring::net;"),
        (
            "src/sink/mod.rs",
            "use tokio::sync::{Notify, mpsc, watch::Sender};\nuse tokio::sync::oneshot;",
        ),
        ("src/blast/mod.rs", "async fn f() { tokio::select! { x = tokio::time::sleep(1) => x } }"),
        (
            "src/relay/mod.rs",
            "#[cfg(test)]\nmod tests { use tokio::runtime; }\nfn f() { tokio_uring::start(1) }",
        ),
    ]);
    let expected = [
        "src/sink/mod.rs:1: names tokio::sync::Notify",
        "src/blast/mod.rs:1: names tokio::select",
        "src/blast/mod.rs:1: names tokio::time::sleep",
        "src/relay/mod.rs:3: names tokio_uring::start",
    ];
    assert_found(&rules::runtime(&house), &expected);
}

#[test]
fn unsafe_code_is_found_where_it_may_not_be() {
    let house = house(&[
        ("src/engine/sys.rs", "//! INVARIANT: none is closed twice.\nunsafe fn f() {}"),
        (
            "src/sink/mod.rs",
            "// unsafe in a comment\nfn f() { m!(unsafe { g() }) }\nunsafe impl Send for A {}",
        ),
    ]);
    let expected = ["src/sink/mod.rs:2: unsafe outside", "src/sink/mod.rs:3: unsafe outside"];
    assert_found(&rules::unsafe_code(&house), &expected);
    let silent = self::house(&[("src/engine/sys.rs", "unsafe fn f() {}")]);
    assert_found(&rules::unsafe_code(&silent), &["src/engine/sys.rs: does not open with"]);
    let safe = self::house(&[("src/engine/sys.rs", "//! INVARIANT: none.\nfn f() {}")]);
    assert_found(&rules::unsafe_code(&safe), &["src/engine/sys.rs: holds no unsafe code"]);
}

#[test]
fn macros_that_print_are_found() {
    let house = house(&[
        (
            "src/cli/mod.rs",
            "fn f() { println!(\"a\");\nif x { eprintln!() } }\nfn g() { println(1); a != b; }",
        ),
        (
            "src/cli/other.rs",
            "#[test]\nfn t() { println!(\"a\") }\n#[cfg(test)]\nimpl A { fn f() { print!() } }",
        ),
    ]);
    let expected = ["src/cli/mod.rs:1: println! panics", "src/cli/mod.rs:2: eprintln! panics"];
    assert_found(&rules::printing(&house), &expected);
}

#[test]
fn doors_to_the_terminal_are_found() {
    let house = house(&[
        ("src/relay/a.rs", "use std::io::stderr;\nfn f() { io::stdout().lock() }"),
        ("src/notice.rs", "fn f() { io::stderr() }"),
    ]);
    let expected = ["src/relay/a.rs:1: names stderr", "src/relay/a.rs:2: names stdout"];
    assert_found(&rules::printers(&house), &expected);
}

#[test]
fn counts_before_a_plural_are_found() {
    let house = house(&[
        ("src/cli/mod.rs", "fn f() { format!(\"{} cores\") + \"{n:>3} \\\n    lines\" }"),
        ("src/sink/mod.rs", "fn f() { format!(\"{} messages/s, {MOST} lines, {} linesmen\") }"),
        (
            "src/run/mod.rs",
            "fn f() { debug_assert!(c, \"{} cores\"); }\n#[test]\nfn g() { h(\"{} cores\") }",
        ),
    ]);
    let expected = ["src/cli/mod.rs:1: may say '1 cores'", "src/cli/mod.rs:1: may say '1 lines'"];
    assert_found(&rules::plurals(&house), &expected);
}

#[test]
fn large_files_and_functions_are_found() {
    let body = "    f();\n".repeat(69);
    let longer =
        format!("impl A {{\n#[inline]\n/// Docs.\npub(crate) async fn a() {{\n{body}}}\n}}");
    let lines = "\n".repeat(501);
    let house = house(&[
        ("src/a.rs", &longer),
        ("src/b.rs", &format!("#[test]\nfn b() {{\n{body}}}")),
        ("src/c.rs", &format!("fn c() {{\n{}}}", &body[..body.len() - 9])),
        ("src/d.rs", &lines),
        ("src/e.rs", &lines[1..]),
    ]);
    let expected = ["src/a.rs:4: a function of 71 lines", "src/b.rs:2: a function of 71 lines"];
    assert_found(&rules::large_functions(&house), &expected);
    assert_found(&rules::large_files(&house), &["src/d.rs has 501 lines"]);
}

#[test]
fn a_room_with_too_few_asserts_is_found() {
    let code = "fn f() { g() }\n".repeat(249);
    let with = format!("// A comment.\n{code}fn g() {{ debug_assert!(x);  }}");
    let without =
        format!("{code}fn g() {{}}\n#[cfg(test)]\nmod tests {{ fn t() {{ assert!(x) }} }}");
    let house = house(&[("src/spool/a.rs", &with), ("src/sink/a.rs", &without)]);
    assert_found(&rules::asserts(&house), &["sink: 0 asserts in 250 lines of code"]);
}

#[test]
fn names_that_are_declared_again_are_found() {
    let named = |first: &str, from: usize| -> String {
        (from..from + 7).map(|n| format!("{first} N{n};\n")).collect()
    };
    let (few, more) = (named("pub struct", 0), named("pub struct", 7));
    let files = [
        ("src/a.rs", few.as_str()),
        ("src/b.rs", more.as_str()),
        (
            "src/c.rs",
            "struct N1;\nbitflags! { struct Made: u8 { const A = 1; } }\n#[cfg(test)] struct N2;",
        ),
    ];
    // One of fifteen is 6.7 %; another one of them is too many.
    assert_found(&rules::declared_once(&house(&files)), &[]);
    let another = [("src/d.rs", "mod inner { enum Made {} }\ntype N3 = u8;")];
    let found = rules::declared_once(&house(&[&files[..], &another].concat()));
    let expected = ["2 of 15 names", "Made: src/c.rs, src/d.rs", "N1: src/a.rs, src/c.rs"];
    assert_found(&found, &expected);
}

#[test]
fn names_that_meet_are_found() {
    let house = house(&[
        ("src/a.rs", "pub struct Plan;\npub struct Other;\npub struct Far;"),
        ("src/b.rs", "use crate::a::Other;\npub struct Plan;\nstruct Own;"),
        ("src/c.rs", "pub enum Far {}"),
        ("src/d.rs", "use crate::a::Far;\nuse crate::c;\nfn f(_: c::Far) {}"),
        ("src/e.rs", "pub struct Own;"),
        ("src/f.rs", "use crate::{a::Other, e::Own};"),
    ]);
    let expected = [
        "src/d.rs:1: names Far of src/a.rs and of src/c.rs",
        "Plan: src/a.rs and src/b.rs both declare it, and know each other",
    ];
    assert_found(&rules::meeting_names(&house), &expected);
}

#[test]
fn what_is_unfinished_is_found_in_every_folder() {
    let root = tempfile::tempdir().unwrap();
    let planted = [
        ("src/deep/down/a.rs", concat!("fn f() {\n    todo", "!()\n}")),
        ("src/b.rs", concat!("// FIX", "ME: later")),
        ("tests/x/y/c.rs", concat!("#[", "ignore = \"slow\"]\nfn f() { unimplemented", "!() }")),
        ("bench/d.rs", concat!("fn f() { dbg", "!(1); }")),
        ("tests/fuzz/target/e.rs", concat!("todo", "!()")),
        ("src/fine.rs", "fn todo() {}"),
    ];
    for (path, text) in planted {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = rules::unfinished(&read(root.path(), &["src", "tests", "bench", "nowhere"]));
    let expected = [
        "bench/d.rs:1: holds dbg",
        "src/b.rs:1: holds FIX",
        "src/deep/down/a.rs:2: holds todo",
        "tests/x/y/c.rs:1: holds #[",
        "tests/x/y/c.rs:2: holds unimplemented",
    ];
    assert_found(&found, &expected);
}

#[test]
fn links_that_lead_nowhere_are_found() {
    let root = tempfile::tempdir().unwrap();
    let planted = [
        (
            "README.md",
            "# The `house`, and more\n## Twice\n## Twice\n[a](src/a.md) [b](src/b.md), [split\n](#the-house-and-more)\n\
             `src/gone.rs --flag` `src/a.md` `src/ROOM/mod.rs` `src/*.rs` `std/x`\n\
             [c](#twice-1) [d](#twice-2) [e](src/a.md#below) [f](src/a.md#above \"Title\")\n\
             ```\n[code](nowhere.md)\n# No heading\n```\n[code](#no-heading) `[code](nowhere.md)`\n\
             [g](https://example.test/x.md) [h](crate::spool) <img src=\"no.png\">",
        ),
        ("src/a.md", "## Below\n[up](../README.md#twice) [x][y]\n\n[y]: ../no.md\n"),
        ("src/deep/target/c.md", "[x](nowhere)"),
        ("other/d.md", "[x](nowhere)"),
    ];
    for (path, text) in planted {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = rules::dead_links(root.path(), &documents(root.path(), &["src"]));
    let expected = [
        "README.md:4: src/b.md is not there",
        "README.md:7: README.md has no heading #twice-2",
        "README.md:7: src/a.md has no heading #above",
        "README.md:12: README.md has no heading #no-heading",
        "README.md:13: no.png is not there",
        "README.md:6: src/gone.rs is not there",
        "src/a.md:4: ../no.md is not there",
    ];
    assert_found(&found, &expected);
}
