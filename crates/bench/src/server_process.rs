//! What the server's processes cost, from `/proc`: CPU time and memory.
//!
//! `stat` counts CPU time in ticks of 10 ms, for threads that have ended too, and tells user and system
//! apart. `schedstat` counts it in nanoseconds, but only for threads that live. So the nanoseconds are
//! taken when no thread ended in between and the ticks don't contradict, else the ticks.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, bail};

use crate::numbers::{count, float};

/// Linux counts in hundredths of a second, whatever the kernel's own rate is.
const NANOSECONDS_A_TICK: u64 = 10_000_000;

/// How far ticks and nanoseconds may lie apart: two ticks for each end of the span, and a share.
const DOUBT: u64 = 4 * NANOSECONDS_A_TICK;

/// Processes that are one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    pids: Vec<u32>,
}

/// The CPU time used so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// Nanoseconds of each thread, by process and thread.
    threads: BTreeMap<(u32, u32), u64>,
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time of a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spent {
    pub(crate) nanoseconds: u64,
    /// How much of it was the system's, from 0 to 1, as far as ticks tell.
    pub(crate) system_share: Option<f64>,
    /// Whether the nanoseconds were counted, rather than ticks.
    pub(crate) exact: bool,
}

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) now: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
}

impl Processes {
    /// Fails if one of them isn't there.
    pub(crate) fn new(pids: Vec<u32>) -> anyhow::Result<Self> {
        for pid in &pids {
            if fs::metadata(format!("/proc/{pid}/stat")).is_err() {
                bail!(
                    "there is no process {pid}: --pid is the server's, and it runs on this machine"
                );
            }
        }
        Ok(Self { pids })
    }

    /// This program itself.
    pub(crate) fn own() -> Self {
        Self { pids: vec![std::process::id()] }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pids.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        count(self.pids.len())
    }

    /// What the first of them is called.
    pub(crate) fn name(&self) -> Option<String> {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pids.first()?)).ok()?;
        Some(name.trim().to_owned())
    }

    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        let mut cpu = Cpu::default();
        for pid in &self.pids {
            let stat = read(*pid, "stat")?;
            let (user, system) = ticks(&stat).context("/proc/PID/stat can't be read")?;
            cpu.user_ticks += user;
            cpu.system_ticks += system;
            let threads = fs::read_dir(format!("/proc/{pid}/task")).with_context(|| ended(*pid))?;
            for thread in threads.flatten() {
                let text = fs::read_to_string(thread.path().join("schedstat"));
                let number = thread.file_name().to_str().and_then(|name| name.parse().ok());
                if let (Ok(text), Some(number)) = (text, number)
                    && let Some(ran) = text.split(' ').next().and_then(|ran| ran.parse().ok())
                {
                    cpu.threads.insert((*pid, number), ran);
                }
            }
        }
        Ok(cpu)
    }

    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let mut memory = Memory::default();
        for pid in &self.pids {
            let status = read(*pid, "status")?;
            let of = |name| field(&status, name).with_context(|| ended(*pid)); // a zombie has none
            memory.now += of("VmRSS:")?;
            memory.peak += of("VmHWM:")?;
        }
        Ok(memory)
    }
}

impl Cpu {
    /// What was spent from `self` to `later`.
    pub(crate) fn until(&self, later: &Self) -> Spent {
        let ticks = |cpu: &Self| cpu.user_ticks + cpu.system_ticks;
        let told = ticks(later).saturating_sub(ticks(self));
        let by_ticks = told * NANOSECONDS_A_TICK;
        let system = later.system_ticks.saturating_sub(self.system_ticks);
        let system_share = (told > 0).then(|| float(system) / float(told));
        let all_live = self.threads.keys().all(|thread| later.threads.contains_key(thread));
        let sum = |cpu: &Self| cpu.threads.values().sum::<u64>();
        let by_nanoseconds = sum(later).saturating_sub(sum(self));
        let apart = by_nanoseconds.abs_diff(by_ticks);
        let exact = all_live && !later.threads.is_empty() && apart <= DOUBT + by_ticks / 50;
        let nanoseconds = if exact { by_nanoseconds } else { by_ticks };
        Spent { nanoseconds, system_share, exact }
    }
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| ended(pid))
}

fn ended(pid: u32) -> String {
    format!("the server's process {pid} has ended")
}

/// User and system time of a process, in ticks. The name in the second field may hold anything.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A field of `status`, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// How many sockets this program may open.
pub(crate) fn make_room(connections: usize) -> anyhow::Result<()> {
    const BESIDES: u64 = 64; // standard streams, polls, publishers
    let needed = count(connections) + BESIDES;
    let allowed =
        rlimit::increase_nofile_limit(needed).context("the limit of open files can't be read")?;
    if allowed < needed {
        bail!(
            "{connections} connections take {needed} open files, and only {allowed} are allowed here: \
             raise the hard limit (`ulimit -Hn`), or open fewer with --connections.\n\
             The server needs as many."
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 321 45 0 0 20 0";
        assert_eq!(ticks(stat), Some((321, 45)));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn status_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(field(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(field(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    fn cpu(threads: &[(u32, u64)], user_ticks: u64, system_ticks: u64) -> Cpu {
        let threads = threads.iter().map(|(thread, ran)| ((1, *thread), *ran)).collect();
        Cpu { threads, user_ticks, system_ticks }
    }

    #[test]
    fn nanoseconds_count_while_no_thread_ends() {
        let before = cpu(&[(1, 100), (2, 50)], 10, 10);
        let after = cpu(&[(1, 30_000_100), (2, 50), (3, 7)], 11, 12);
        let spent = before.until(&after);
        assert_eq!((spent.nanoseconds, spent.exact), (30_000_007, true));
        assert_eq!(spent.system_share, Some(2.0 / 3.0));
    }

    #[test]
    fn ticks_count_when_a_thread_ended_or_came_and_went() {
        let before = cpu(&[(1, 100), (2, 50)], 10, 10);
        let spent = before.until(&cpu(&[(1, 200)], 15, 15));
        assert_eq!((spent.nanoseconds, spent.exact), (100_000_000, false));
        let spent = before.until(&cpu(&[(1, 200), (2, 50)], 60, 60));
        assert_eq!((spent.nanoseconds, spent.exact), (1_000_000_000, false));
    }

    #[test]
    fn this_process_is_there_and_one_that_is_not_is_an_error() {
        let own = Processes::own();
        assert!(own.memory().unwrap().now > 0);
        assert!(own.name().is_some());
        assert_eq!(own.cpu().unwrap().until(&own.cpu().unwrap()).nanoseconds / 1_000_000_000, 0);
        assert!(Processes::new(vec![u32::MAX]).is_err());
    }
}
