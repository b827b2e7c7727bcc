//! Which CPUs the cores run on. The process's affinity mask is obeyed, so `taskset` and container
//! CPU sets work.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CoresError {
    #[error("cores '{text}': write a number of CPUs (2) or a list of them (0,2-3)")]
    Syntax { text: String },
    #[error(
        "cores '{text}': {asked} CPUs asked for, {allowed} allowed to this process; ask for fewer or widen its affinity mask"
    )]
    TooMany { text: String, asked: usize, allowed: usize },
    #[error(
        "cores '{text}': CPU {cpu} is not in this process's affinity mask; allowed are {allowed:?}"
    )]
    NotAllowed { text: String, cpu: usize, allowed: Vec<usize> },
    #[error("the affinity mask cannot be read: {0}")]
    Mask(#[from] io::Error),
}

/// CPUs that this thread may run on, in rising order.
pub fn allowed() -> io::Result<Vec<usize>> {
    let mask = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| mask.is_set(cpu)).collect())
}

/// One CPU per core. `text` is a number (the first so many allowed CPUs) or a list such as
/// `0,2-3`; a single CPU as a list is written `3-3`.
pub fn cpus(text: &str) -> Result<Vec<usize>, CoresError> {
    choose(text, &allowed()?)
}

/// Binds the calling thread to one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut mask = CpuSet::new();
    mask.set(cpu);
    Ok(sched_setaffinity(None, &mask)?)
}

fn choose(text: &str, allowed: &[usize]) -> Result<Vec<usize>, CoresError> {
    let syntax = || CoresError::Syntax { text: text.to_owned() };
    if let Ok(count) = text.trim().parse::<usize>() {
        return match count {
            0 => Err(syntax()),
            _ if count > allowed.len() => Err(CoresError::TooMany {
                text: text.to_owned(),
                asked: count,
                allowed: allowed.len(),
            }),
            _ => Ok(allowed[..count].to_vec()),
        };
    }
    let mut chosen = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| syntax())?;
        let last: usize = last.trim().parse().map_err(|_| syntax())?;
        if first > last {
            return Err(syntax());
        }
        // The mask is asked first: `0-99999999999` must not make a list of that length.
        for cpu in first..=last {
            if !allowed.contains(&cpu) {
                let (text, allowed) = (text.to_owned(), allowed.to_vec());
                return Err(CoresError::NotAllowed { text, cpu, allowed });
            }
            if !chosen.contains(&cpu) {
                chosen.push(cpu);
            }
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_takes_the_first_allowed_cpus() {
        assert_eq!(choose("2", &[1, 4, 6]).unwrap(), [1, 4]);
        assert_eq!(choose("3", &[1, 4, 6]).unwrap(), [1, 4, 6]);
    }

    #[test]
    fn list_names_cpus_and_ranges_once_each() {
        assert_eq!(choose("6,1-2,2", &[1, 2, 6]).unwrap(), [6, 1, 2]);
        assert_eq!(choose("2-2", &[1, 2, 6]).unwrap(), [2]);
    }

    #[test]
    fn cores_outside_the_mask_are_refused_by_name() {
        assert!(matches!(choose("4", &[0, 1]), Err(CoresError::TooMany { asked: 4, .. })));
        assert!(matches!(
            choose("0-99999999999", &[0, 1]),
            Err(CoresError::NotAllowed { cpu: 2, .. })
        ));
    }

    #[test]
    fn nonsense_is_a_syntax_error() {
        for text in ["", "0", "-1", "a", "1,", "3-1", "1--2", "1.5"] {
            assert!(
                matches!(choose(text, &[0, 1, 2, 3]), Err(CoresError::Syntax { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn pinned_thread_sees_only_its_cpu() {
        std::thread::spawn(|| {
            let last = *allowed().unwrap().last().unwrap();
            pin(last).unwrap();
            assert_eq!(allowed().unwrap(), [last]);
        })
        .join()
        .unwrap();
    }
}
