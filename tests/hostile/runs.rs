//! Results and logs from strangers: each report of one ends soon, with little memory, and tells what is wrong.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use ringpost::measure::Mode;
use rustix::fs::{CWD, FileType, Mode as FileMode, mknodat};

use crate::program::{Ran, TOOLBOX, run};
use crate::report::write_run;

/// No report takes more memory, whatever it reads.
const PEAK_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// What a sparse file says that it holds.
const SPARSE_BYTES: u64 = 1 << 36;

/// Looks at the end of a report that was refused.
#[track_caller]
fn is_told(what: &str, ran: &Ran, code: i32) {
    assert_eq!(ran.code, Some(code), "{what}: {}", ran.said());
    assert!(ran.peak_bytes <= PEAK_BYTES_MAX, "{what}: {} octets of memory", ran.peak_bytes);
    let lines = ran.stderr.iter().filter(|octet| **octet == b'\n').count();
    assert_eq!(lines, 1, "{what}: {}", ran.said());
}

/// Shows, compares, draws and merges the run in `dir`, which is damaged.
fn is_refused(what: &str, dir: &Path, sound: &Path, code: i32) {
    let [dir, sound] = [dir, sound].map(|path| path.to_str().unwrap());
    let page = format!("{dir}.html");
    let sum = format!("{dir}.sum");
    for args in [
        &["show", dir][..],
        &["show", "--json", dir],
        &["compare", sound, dir],
        &["html", "-o", &page, dir],
        &["merge", "-o", &sum, dir],
    ] {
        let ran = run(TOOLBOX, &[&["report"], args].concat());
        is_told(&format!("{what}: {}", args[0]), &ran, code);
        assert!(!Path::new(&sum).join("run.json").exists(), "{what}");
    }
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, FileMode::RUSR | FileMode::WUSR, 0).unwrap();
}

#[test]
fn files_that_are_no_files_and_files_without_end_are_told() {
    let root = tempfile::tempdir().unwrap();
    let sound = root.path().join("sound");
    write_run(&sound, Mode::Open);
    for (number, name) in ["run.json", "run.hlog", "run.csv"].into_iter().enumerate() {
        let dir = root.path().join(format!("{number}"));
        let path = dir.join(name);
        fs::create_dir(&dir).unwrap();
        for other in ["run.json", "run.hlog", "run.csv"] {
            fs::copy(sound.join(other), dir.join(other)).unwrap();
        }
        fs::remove_file(&path).unwrap();
        fifo(&path);
        is_refused(&format!("{name} is a FIFO"), &dir, &sound, 65);
        fs::remove_file(&path).unwrap();
        File::create(&path).unwrap().set_len(SPARSE_BYTES).unwrap();
        is_refused(&format!("{name} is sparse"), &dir, &sound, 65);
    }
}

#[test]
fn values_without_number_take_no_memory_without_bound() {
    let root = tempfile::tempdir().unwrap();
    let (sound, dir) = (root.path().join("sound"), root.path().join("bad"));
    write_run(&sound, Mode::Open);
    fs::create_dir(&dir).unwrap();
    let json = fs::read_to_string(sound.join("run.json")).unwrap();
    let shard = json.trim().replace('\n', "");
    for (what, more) in [
        ("texts", format!("\"verdict_reasons\":[\"\"{}],", ",\"\"".repeat(5_000_000))),
        (
            "shards",
            format!("\"shards\":[{{\"name\":\"\",\"run\":{shard}}}{}],", ",{}".repeat(5_000_000)),
        ),
        ("depth", format!("\"x\":{}{},", "[".repeat(1_000_000), "]".repeat(1_000_000))),
    ] {
        let bad = json.replacen('{', &format!("{{{more}"), 1);
        fs::write(dir.join("run.json"), bad).unwrap();
        is_refused(what, &dir, &sound, 65);
    }
}

/// A payload of so many zeros, deflated.
fn bomb(octets: usize) -> String {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..octets >> 20).for_each(|_| out.write_all(&zeros).unwrap());
    let body = out.finish().unwrap();
    let head = [0x1c84_9314_u32.to_be_bytes(), (body.len() as u32).to_be_bytes()].concat();
    STANDARD.encode([head, body].concat())
}

#[test]
fn a_log_that_stands_for_more_than_memory_holds_is_told() {
    let root = tempfile::tempdir().unwrap();
    let sound = root.path().join("sound");
    write_run(&sound, Mode::Open);
    let log = fs::read_to_string(sound.join("run.hlog")).unwrap();
    let line = log.lines().find(|line| line.starts_with(|c: char| c.is_ascii_digit())).unwrap();
    let payload = line.rsplit(',').next().unwrap();
    // A histogram in the plain form whose counts are said to have 4 GiB.
    let long =
        [0x1c84_9313_u32, u32::MAX, 0, 3, 0, 1, 0, 3_600_000, 0x3ff0_0000, 0].map(u32::to_be_bytes);
    let wide =
        [0x1c84_9313_u32, 0, 0, 5, 0, 1, u32::MAX >> 2, 0, 0x3ff0_0000, 0].map(u32::to_be_bytes);
    for (what, bad) in [
        ("length", format!("0.0,1.0,1.0,{}\n", STANDARD.encode(long.concat()))),
        ("width", format!("0.0,1.0,1.0,{}\n", STANDARD.encode(wide.concat()))),
        ("bomb", format!("0.0,1.0,1.0,{}\n", bomb(256 << 20))),
        ("begin", format!("18446744073709551615.0,1.0,1.0,{payload}\n")),
        ("end", format!("0.0,18446744073709551615.0,1.0,{payload}\n")),
        ("both", format!("9223372036854775807.0,9223372036854775807.0,1.0,{payload}\n")),
    ] {
        let file = root.path().join(format!("{what}.hlog"));
        fs::write(&file, &bad).unwrap();
        for args in [&["show"][..], &["compare", sound.to_str().unwrap()]] {
            let args = [&["report"], args, &[file.to_str().unwrap()]].concat();
            is_told(what, &run(TOOLBOX, &args), 65);
        }
        let dir = root.path().join(what);
        fs::create_dir(&dir).unwrap();
        for other in ["run.json", "run.csv"] {
            fs::copy(sound.join(other), dir.join(other)).unwrap();
        }
        fs::write(dir.join("run.hlog"), format!("{log}{bad}")).unwrap();
        let show = run(TOOLBOX, &["report", "show", dir.to_str().unwrap()]);
        is_told(what, &show, 65);
        let sum = root.path().join("sum");
        let [sum, dir] = [&sum, &dir].map(|path| path.to_str().unwrap());
        let merge = run(TOOLBOX, &["report", "merge", "-o", sum, dir]);
        is_told(what, &merge, 65);
    }
    // A start beyond all times is not shown, and nothing else of the log is in doubt.
    let file = root.path().join("start.hlog");
    let head = "#[StartTime: 18446744073709551615.000 (seconds since epoch)]";
    fs::write(&file, format!("{head}\n{line}\n")).unwrap();
    let ran = run(TOOLBOX, &["report", "show", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{}", ran.said());
}
