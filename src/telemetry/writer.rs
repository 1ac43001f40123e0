//! Writes log lines from a thread of its own, so that logging never blocks a task.
//!
//! ```text
//! any task ─ push ─▶ queue, bounded ─▶ thread "log" ─ write ─▶ standard error
//! ```
//!
//! Standard error may block (a pipe whose reader has stopped) or fail (a closed pipe, a full disk).
//! Neither affects the tasks: lines that can't be written, or don't fit into the queue, are lost
//! and counted. Once writing works again, a line reports how many were lost.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Maximum size of the queue: far more than a crowd logs at level `debug` while a collector is busy
/// for a moment.
const MAX_QUEUED: usize = 4 * 1024 * 1024;

/// Pause before writing again to an output that would block.
const RETRY: Duration = Duration::from_millis(10);

/// Maximum time the end of the process waits for the last lines.
const MAX_FLUSH: Duration = Duration::from_millis(500);

/// Lines waiting for the output.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// Notified when a line is queued.
    pushed: Condvar,
    /// Notified when the queue is empty.
    drained: Condvar,
}

#[derive(Debug)]
struct Queue {
    lines: VecDeque<Box<[u8]>>,
    /// Bytes of the queued lines and the one being written.
    bytes: usize,
    /// Lines lost since the start.
    lost: u64,
}

impl Writer {
    pub(super) const fn new() -> Self {
        let queue = Queue { lines: VecDeque::new(), bytes: 0, lost: 0 };
        Self { queue: Mutex::new(queue), pushed: Condvar::new(), drained: Condvar::new() }
    }

    /// Queues a line, or drops it if the queue is full.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.queue.lock();
        if queue.bytes + line.len() > MAX_QUEUED {
            queue.lost += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.into());
        self.pushed.notify_one();
    }

    /// Waits until everything is written, for a limited time.
    pub(super) fn flush(&self) {
        let mut queue = self.queue.lock();
        self.drained.wait_while_for(&mut queue, |queue| queue.bytes > 0, MAX_FLUSH);
    }

    /// Number of lines lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.queue.lock().lost
    }

    /// Writes queued lines to `out`, each with a `write` of its own, since a pipe keeps those of
    /// several processes apart. `tell_lost` logs the number of lost lines.
    pub(super) fn run(&self, mut out: impl Write, tell_lost: impl Fn(u64)) -> ! {
        let (mut told, mut is_torn) = (0, false);
        loop {
            let line = self.next();
            let written = write(&mut out, &line, &mut is_torn);
            let mut queue = self.queue.lock();
            queue.bytes -= line.len();
            queue.lost += u64::from(written.is_err());
            let (is_drained, lost) = (queue.bytes == 0, queue.lost);
            drop(queue);
            // only when the queue is empty: this adds a line itself
            if is_drained && written.is_ok() && lost > told {
                tell_lost(lost - told);
                told = lost;
            }
            self.drained.notify_all();
        }
    }

    /// Takes the next line. Its bytes count as queued until it is written.
    fn next(&self) -> Box<[u8]> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(line) = queue.lines.pop_front() {
                return line;
            }
            self.pushed.wait(&mut queue);
        }
    }
}

/// Queues whole lines: the formatter calls `write` once per line.
impl Write for &Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a line. A partly written line is not continued by the next one.
fn write(out: &mut impl Write, line: &[u8], is_torn: &mut bool) -> io::Result<()> {
    if *is_torn {
        write_all(out, b"\n", is_torn)?;
        *is_torn = false;
    }
    write_all(out, line, is_torn)
}

fn write_all(out: &mut impl Write, mut rest: &[u8], is_torn: &mut bool) -> io::Result<()> {
    let whole = rest.len();
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => {
                *is_torn |= rest.len() < whole;
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// An output that does with each write what the test says.
    #[derive(Clone, Default)]
    struct Output(Arc<(Mutex<Script>, Condvar)>);

    #[derive(Default)]
    struct Script {
        written: Vec<u8>,
        /// Writes that go wrong, or take only so many bytes.
        next: VecDeque<Result<usize, io::ErrorKind>>,
        is_blocked: bool,
    }

    impl Output {
        fn with(next: impl IntoIterator<Item = Result<usize, io::ErrorKind>>) -> Self {
            let output = Self::default();
            output.0.0.lock().next = next.into_iter().collect();
            output
        }

        fn block(&self, is_blocked: bool) {
            self.0.0.lock().is_blocked = is_blocked;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().written.clone()).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut script = self.0.0.lock();
            self.0.1.wait_while(&mut script, |script| script.is_blocked);
            let size = script.next.pop_front().unwrap_or(Ok(bytes.len()))?;
            script.written.extend_from_slice(&bytes[..size.min(bytes.len())]);
            Ok(size)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A writer whose thread runs, and how many lines it said were lost.
    fn writer_to(output: &Output) -> (&'static Writer, Arc<AtomicU64>) {
        let writer: &'static Writer = Box::leak(Box::new(Writer::new()));
        let (output, told) = (output.clone(), Arc::new(AtomicU64::new(0)));
        let tell = Arc::clone(&told);
        std::thread::spawn(move || {
            writer.run(output, |lost| {
                writer.push(b"lost\n");
                tell.fetch_add(lost, Ordering::SeqCst);
            })
        });
        (writer, told)
    }

    fn until_told(told: &AtomicU64) {
        while told.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
    }

    impl Writer {
        /// Waits for all lines, however busy the machine is.
        fn drain(&self) {
            while self.queue.lock().bytes > 0 {
                self.flush();
            }
        }
    }

    #[test]
    fn a_flush_waits_for_all_lines_and_they_stay_in_order() {
        let output = Output::default();
        let (writer, _) = writer_to(&output);
        let lines: Vec<String> = (0..10_000).map(|n| format!("{n}\n")).collect();
        for line in &lines {
            writer.push(line.as_bytes());
        }
        writer.drain();
        assert_eq!(output.text(), lines.concat());
    }

    #[test]
    fn what_would_block_or_is_interrupted_is_written_all_the_same() {
        let errors = [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted];
        let output = Output::with([Ok(2), Err(errors[0]), Ok(1), Err(errors[1])]);
        let (writer, _) = writer_to(&output);
        writer.push(b"12345\n");
        writer.drain();
        assert_eq!((&*output.text(), writer.lost()), ("12345\n", 0));
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_once_it_can() {
        let full = io::ErrorKind::StorageFull;
        let output = Output::with([Ok(2), Err(full), Err(full), Ok(1)]);
        let (writer, told) = writer_to(&output);
        for line in ["one\n", "two\n", "three\n"] {
            writer.push(line.as_bytes());
            writer.drain();
        }
        until_told(&told);
        writer.drain();
        assert_eq!(output.text(), "on\nthree\nlost\n", "no line goes on where another broke off");
        assert_eq!((writer.lost(), told.load(Ordering::SeqCst)), (2, 2));
    }

    #[test]
    fn while_the_output_blocks_no_more_waits_than_may_and_nobody_waits() {
        let output = Output::default();
        output.block(true);
        let (writer, told) = writer_to(&output);
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..MAX_QUEUED / line.len() + 10 {
            writer.push(&line);
        }
        assert_eq!(writer.lost(), 10);
        writer.flush(); // which has an end
        assert_eq!(output.text(), "");
        output.block(false);
        until_told(&told);
        writer.drain();
        assert_eq!(output.text().len(), MAX_QUEUED + "lost\n".len());
    }
}
