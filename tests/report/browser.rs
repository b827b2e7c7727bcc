//! The pages in a browser: nothing complains, nothing is fetched, and pictures are left to look at.
//!
//! Needs Chromium, which `scripts/peers` brings where it runs as root; without it these tests fail
//! rather than pass unseen. Pictures go to `RINGPOST_ARTEFACTS`, or to `target/tmp`.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use ringpost::measure::Mode;
use ringpost::report::compare::{self, Comparison};
use ringpost::report::html;
use ringpost::run::Conditions;
use ringpost::run::Loaded;
use ringpost::run::merge::merge;

use crate::support::{write_run, write_run_at};

const WIDTH: u32 = 1_180;
const HEIGHT: u32 = 2_700;

/// `blink`'s numbers for `prefers-color-scheme`.
const SCHEMES: [(&str, &str); 2] = [("dark", "0"), ("light", "1")];

/// A picture of a page that was drawn is larger than this; a blank one is a tenth of it.
const PICTURE_BYTES_MIN: usize = 60_000;

fn artefacts() -> PathBuf {
    let dir = std::env::var_os("RINGPOST_ARTEFACTS")
        .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn program() -> PathBuf {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("none of {names:?} is here; scripts/peers installs it as root"))
}

/// Where a page's requests would go: every host is reached through it.
struct Proxy {
    address: String,
    asked: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // Chromium's own errands go to Google; a page's would name its host.
                let mut request = [0; 1_024];
                let got = stream.read(&mut request).unwrap_or(0);
                let line = String::from_utf8_lossy(&request[..got]).into_owned();
                counter.fetch_add(usize::from(line.contains("planted.example")), SeqCst);
                if !line.contains("google") && !line.contains("planted.example") {
                    counter.fetch_add(1, SeqCst);
                }
            }
        });
        Self { address, asked }
    }
}

struct Browser {
    profile: tempfile::TempDir,
    proxy: Proxy,
}

/// What a page did.
struct Shown {
    dom: String,
    complaints: Vec<String>,
    requests: usize,
}

impl Browser {
    fn start() -> Self {
        Self { profile: tempfile::tempdir().unwrap(), proxy: Proxy::start() }
    }

    fn run(&self, page: &Path, options: &[&str]) -> (String, String) {
        let mut command = Command::new(program());
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--hide-scrollbars", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--enable-logging=stderr"])
            .args(["--log-level=0", "--no-pdf-header-footer"])
            .arg(format!("--proxy-server=http://{}", self.proxy.address))
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .args(options)
            .arg(format!("file://{}", page.display()));
        let done = command.stdin(Stdio::null()).output().unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        assert!(done.status.success(), "{}", text(&done.stderr));
        (text(&done.stdout), text(&done.stderr))
    }

    fn show(&self, page: &Path) -> Shown {
        let before = self.proxy.asked.load(SeqCst);
        let (dom, log) = self.run(page, &["--dump-dom"]);
        let complaints =
            log.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
        Shown { dom, complaints, requests: self.proxy.asked.load(SeqCst) - before }
    }

    /// Leaves `NAME-light.png`, `NAME-dark.png` and `NAME.pdf` among the artefacts.
    fn picture(&self, page: &Path, name: &str) {
        let size = format!("--window-size={WIDTH},{HEIGHT}");
        let pictures = SCHEMES.map(|(scheme, number)| {
            let file = artefacts().join(format!("{name}-{scheme}.png"));
            let shot = format!("--screenshot={}", file.display());
            let scheme = format!("--blink-settings=preferredColorScheme={number}");
            self.run(page, &[&size, &shot, &scheme]);
            std::fs::read(file).unwrap()
        });
        assert!(
            pictures.iter().all(|picture| picture.len() > PICTURE_BYTES_MIN),
            "{name} is blank"
        );
        assert_ne!(pictures[0], pictures[1], "{name} looks the same in dark and in light");
        let file = artefacts().join(format!("{name}.pdf"));
        self.run(page, &[&format!("--print-to-pdf={}", file.display())]);
        assert!(std::fs::read(file).unwrap().starts_with(b"%PDF"));
    }
}

fn assert_quiet(shown: &Shown, charts: usize) {
    assert!(shown.complaints.is_empty(), "{:#?}", shown.complaints);
    assert_eq!(shown.requests, 0, "the page asked for something");
    assert_eq!(shown.dom.matches("<svg class=\"chart").count(), charts);
    assert!(shown.dom.trim_end().ends_with("</html>"));
}

#[test]
fn the_report_of_a_run_is_shown_without_a_complaint_or_a_request() {
    let browser = Browser::start();
    for (mode, name) in [(Mode::Closed, "report-closed"), (Mode::Open, "report-open")] {
        let dir = tempfile::tempdir().unwrap();
        write_run(dir.path(), mode);
        let page = dir.path().join("report.html");
        std::fs::write(&page, html::render(&Loaded::open(dir.path()).unwrap())).unwrap();
        // Throughput, latency, in flight, phases and errors over time; percentiles and a histogram.
        assert_quiet(&browser.show(&page), 7);
        browser.picture(&page, name);
    }
}

#[test]
fn a_sum_and_a_comparison_are_shown_without_a_complaint_or_a_request() {
    let browser = Browser::start();
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    write_run(&path("a"), Mode::Open);
    write_run_at(&path("b"), Mode::Open, "2026-05-04T12:30:00.4Z", 17);
    merge(&[path("a"), path("b")], &path("sum"), false).unwrap();
    let [sum, a, b] = ["sum", "a", "b"].map(|name| Loaded::open(&path(name)).unwrap());
    let page = path("sum").join("report.html");
    std::fs::write(&page, html::render(&sum)).unwrap();
    assert_quiet(&browser.show(&page), 7);
    browser.picture(&page, "report-merged");

    let comparison = Comparison::of(&a, &b, &"p99>+10%".parse::<Conditions>().unwrap());
    let page = path("compared.html");
    std::fs::write(&page, compare::html(&comparison, ["a", "b"], [&a, &b])).unwrap();
    assert_quiet(&browser.show(&page), 1);
    browser.picture(&page, "compared");
}

/// The judges of the tests above must be able to say no.
#[test]
fn a_browser_does_tell_of_a_page_that_runs_or_fetches_something() {
    let browser = Browser::start();
    let dir = tempfile::tempdir().unwrap();
    write_run(dir.path(), Mode::Closed);
    let page = html::render(&Loaded::open(dir.path()).unwrap());
    let path = dir.path().join("report.html");
    std::fs::write(&path, page.replace("<main>", "<main><script>let ran = true;</script>"))
        .unwrap();
    let shown = browser.show(&path);
    assert!(!shown.complaints.is_empty(), "the page's policy forbids scripts, and the log says so");

    let picture = "<main><img src=\"http://planted.example/x.png\" alt=\"\">";
    let lax = page.replace("default-src 'none'", "img-src *").replace("<main>", picture);
    std::fs::write(&path, lax).unwrap();
    assert!(browser.show(&path).requests > 0, "a request would be seen");
}
