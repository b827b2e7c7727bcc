use ringpost::engine::{EngineKind, Io, choose};

use super::support::*;

/// The child runs under the filter and tries both ways of asking.
#[test]
fn refused_io_uring_falls_back_with_one_line_or_is_an_error_when_forced() {
    if let Some(errno) = role() {
        let (kind, refusal) = choose(Io::Auto).unwrap();
        assert_eq!(kind, EngineKind::Epoll);
        let refusal = refusal.expect("a refusal");
        let line = refusal.to_string();
        assert!(line.starts_with(&format!("io_uring refused with {errno}: ")), "{line}");
        assert!(line.contains("; "), "no cure: {line}");
        assert!(!line.contains('\n'), "{line}");
        assert_eq!(choose(Io::Uring).unwrap_err(), refusal);
        return println!("told {line}");
    }
    let _quiet = with_others();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/deny_io_uring.py");
    for (errno, cause) in [("EPERM", "Docker"), ("ENOSYS", "Podman")] {
        let name = "refusal::refused_io_uring_falls_back_with_one_line_or_is_an_error_when_forced";
        let output = child(name, errno, &["python3", script, errno, "--"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let line = text.lines().find_map(|line| line.split_once("told ")).expect("a line").1;
        assert!(line.contains(cause), "{line}");
        println!("{line}");
    }
}

#[test]
fn runtime_on_a_host_that_refuses_is_an_error_and_not_a_panic() {
    if let Some(errno) = role() {
        let error = ringpost::engine::run_core(EngineKind::Uring, async {}).unwrap_err();
        let expected = if errno == "EPERM" { libc::EPERM } else { libc::ENOSYS };
        assert_eq!(error.kind(), std::io::Error::from_raw_os_error(expected).kind());
        assert!(error.to_string().contains(&errno), "{error}");
        return;
    }
    let _quiet = with_others();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/deny_io_uring.py");
    for errno in ["EPERM", "ENOSYS"] {
        let name = "refusal::runtime_on_a_host_that_refuses_is_an_error_and_not_a_panic";
        let output = child(name, errno, &["python3", script, errno, "--"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // A test that has another name by now would not have run.
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("1 passed"), "{text}");
    }
}
