//! Pauses between attempts to connect.

use std::time::Duration;

/// The first pause, at most.
const FIRST: Duration = Duration::from_millis(100);

/// No pause is longer, so that all nodes are back soon when the engine is.
const LONGEST: Duration = Duration::from_millis(800);

/// Pauses between attempts to connect: each twice as long as the one before, and between half and all of that,
/// so that nodes that lose the engine together don't come back together.
#[derive(Debug)]
pub(in crate::engine) struct Backoff {
    next: Duration,
    seed: u64,
}

impl Backoff {
    pub(in crate::engine) fn new(seed: u64) -> Self {
        Self { next: FIRST, seed }
    }

    /// The engine has worked: the next pause is the first one again.
    pub(in crate::engine) fn reset(&mut self) {
        self.next = FIRST;
    }

    pub(in crate::engine) async fn wait(&mut self) {
        tokio::time::sleep(self.pause()).await;
    }

    fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        // xorshift: any spread will do
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let half = longest / 2;
        half + half * u32::try_from(self.seed % 1024).unwrap_or(0) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        let mut backoff = Backoff::new(7);
        for longest in [100, 200, 400, 800, 800] {
            let (pause, longest) = (backoff.pause(), Duration::from_millis(longest));
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST);
    }
}
