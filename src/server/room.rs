//! How the open-file limit is divided between WebSockets and other connections.

/// Files that aren't connections: listeners, logs, the runtime's own.
const FILES_APART_FROM_CONNECTIONS: usize = 32;

/// Files per slot: a port has one slot for connections that aren't WebSockets per so many files.
const FILES_A_PLACE: usize = 16;

/// Bounds on a port's slots: minimum on the clients' port, minimum on the API's and the metrics'
/// port, and maximum.
const MIN_PLACES: usize = 64;
const MIN_PLACES_APART: usize = 16;
const MAX_PLACES: usize = 4096;

/// The open-file limit, divided up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    files: usize,
    ports: usize,
}

impl Room {
    /// For a limit and a number of listeners, the first of which is the clients'.
    pub(super) fn new(open_files: u64, ports: usize) -> Self {
        Self { files: usize::try_from(open_files).unwrap_or(usize::MAX), ports }
    }

    /// The number of slots of each port, in the order of the listeners.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let share = self.files / FILES_A_PLACE;
        let fewest = std::iter::once(MIN_PLACES).chain(std::iter::repeat(MIN_PLACES_APART));
        fewest.map(move |fewest| share.clamp(fewest, MAX_PLACES))
    }

    /// Maximum number of WebSockets and other long-lived connections.
    pub(super) fn connections(&self) -> usize {
        let apart = FILES_APART_FROM_CONNECTIONS + self.places().take(self.ports).sum::<usize>();
        self.files.saturating_sub(apart).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_places_of_its_own_and_the_rest_is_for_websockets() {
        let room = |files, ports| {
            let room = Room::new(files, ports);
            (room.places().take(ports).collect::<Vec<_>>(), room.connections())
        };
        assert_eq!(room(1024, 1), (vec![64], 928));
        assert_eq!(room(1024, 3), (vec![64, 64, 64], 800));
        assert_eq!(room(256, 3), (vec![64, 16, 16], 128));
        assert_eq!(room(20_000, 2), (vec![1250, 1250], 17_468));
        assert_eq!(room(u64::MAX, 1).0, [4096]);
        assert_eq!(room(64, 1).1, 1);
    }
}
