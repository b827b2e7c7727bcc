//! Which engine this host allows.

use std::fmt;
use std::fs;
use std::io;

use super::backend;
use super::kind::{EngineKind, Io};

/// Why io_uring cannot be used here. Displays as one line: what, why, way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UringRefusal {
    pub errno: i32,
    pub cause: String,
    pub cure: &'static str,
}

impl fmt::Display for UringRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { errno, cause, cure } = self;
        write!(f, "io_uring refused with {}: {cause}; {cure}", Errno(*errno))
    }
}

impl std::error::Error for UringRefusal {}

/// Tries io_uring out, once, at start. `Io::Auto` falls back to epoll and says why; `Io::Uring` is a
/// refusal where it does not work.
pub fn choose(io: Io) -> Result<(EngineKind, Option<UringRefusal>), UringRefusal> {
    if io == Io::Epoll {
        return Ok((EngineKind::Epoll, None));
    }
    match backend::probe(EngineKind::Uring).map_err(|error| UringRefusal::of(&error)) {
        Ok(()) => Ok((EngineKind::Uring, None)),
        Err(refusal) if io == Io::Auto => Ok((EngineKind::Epoll, Some(refusal))),
        Err(refusal) => Err(refusal),
    }
}

impl UringRefusal {
    /// Why the kernel refused with `error`.
    pub(super) fn of(error: &io::Error) -> Self {
        Self::new(error, disabled_by_sysctl())
    }

    fn new(error: &io::Error, sysctl: Option<u8>) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        let (cause, cure) = match (errno, sysctl) {
            (libc::EPERM | libc::EACCES, Some(level)) => (
                format!("kernel.io_uring_disabled is {level}"),
                "run 'sysctl -w kernel.io_uring_disabled=0'",
            ),
            (libc::EPERM | libc::EACCES, None) => (
                "a seccomp filter blocks it, as Docker and containerd do".to_owned(),
                "start the container with a seccomp profile that allows io_uring_setup and \
                 io_uring_enter, or '--security-opt seccomp=unconfined'",
            ),
            (libc::ENOSYS, _) => (
                "the kernel has none, or a seccomp filter hides it, as Podman does".to_owned(),
                "use Linux 5.19 or newer, in a container '--security-opt seccomp=unconfined'",
            ),
            (libc::EINVAL, _) => {
                ("the kernel cannot cancel by descriptor".to_owned(), "use Linux 5.19 or newer")
            }
            (libc::ENOMEM, _) => {
                ("locked memory is limited".to_owned(), "raise 'ulimit -l' (RLIMIT_MEMLOCK)")
            }
            (libc::EMFILE | libc::ENFILE, _) => {
                ("no descriptor is left".to_owned(), "raise 'ulimit -n' (RLIMIT_NOFILE)")
            }
            _ => (error.to_string(), "use '--io epoll'"),
        };
        Self { errno, cause, cure }
    }
}

/// The level of the kernel's own switch (Linux 6.6), when it is not 0.
fn disabled_by_sysctl() -> Option<u8> {
    let text = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok().filter(|&level| level > 0)
}

struct Errno(i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            libc::EACCES => "EACCES",
            libc::EINVAL => "EINVAL",
            libc::EMFILE => "EMFILE",
            libc::ENFILE => "ENFILE",
            libc::ENOMEM => "ENOMEM",
            libc::ENOSYS => "ENOSYS",
            libc::EPERM => "EPERM",
            number => return write!(f, "errno {number}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(errno: i32, sysctl: Option<u8>) -> String {
        UringRefusal::new(&io::Error::from_raw_os_error(errno), sysctl).to_string()
    }

    #[test]
    fn refusal_is_one_line_with_errno_cause_and_cure() {
        assert_eq!(
            line(libc::EPERM, Some(2)),
            "io_uring refused with EPERM: kernel.io_uring_disabled is 2; \
             run 'sysctl -w kernel.io_uring_disabled=0'"
        );
        assert!(line(libc::EPERM, None).contains("Docker"));
        assert!(line(libc::ENOSYS, None).contains("Podman"));
        assert!(line(libc::EINVAL, None).contains("5.19"));
        for errno in 0..134 {
            assert!(!line(errno, None).contains('\n'), "{errno}");
        }
    }

    #[test]
    fn epoll_is_taken_without_a_probe_when_asked_for() {
        assert_eq!(choose(Io::Epoll), Ok((EngineKind::Epoll, None)));
    }
}
