//! How many connections of each kind there are files for.

/// Files that aren't connections: listeners, logs, the runtime's own.
const FILES_APART_FROM_CONNECTIONS: usize = 32;

/// How many files there are for each connection that isn't a WebSocket (yet), on each port.
const FILES_A_PLACE: usize = 16;

/// Fewest such connections on the port of clients, fewest on the application's own, and most on any.
const MIN_PLACES: usize = 64;
const MIN_PLACES_APART: usize = 16;
const MAX_PLACES: usize = 4096;

/// The files that the process may have, divided up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    files: usize,
    ports: usize,
}

impl Room {
    /// For so many files, and for so many ports to listen on. The first is that of clients.
    pub(super) fn new(open_files: u64, ports: usize) -> Self {
        Self { files: usize::try_from(open_files).unwrap_or(usize::MAX), ports }
    }

    /// How many connections may speak HTTP at once on each port, one after the other.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let share = self.files / FILES_A_PLACE;
        let fewest = std::iter::once(MIN_PLACES).chain(std::iter::repeat(MIN_PLACES_APART));
        fewest.map(move |fewest| share.clamp(fewest, MAX_PLACES))
    }

    /// How many WebSockets there can be, and whatever else lasts.
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
