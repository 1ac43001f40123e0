//! Slots of Redis Cluster, which decides by a hash which server has a key.

/// Number of slots.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key: of what is in its first braces, if there is anything, else of all of it.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    let hashed = tag.map_or(key, |(tag, _)| if tag.is_empty() { key } else { tag });
    crc16(hashed.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, as the specification of Redis Cluster has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot_of_it) in [("foo", 12_182), ("{foo}:log", 12_182), ("a{foo}{b}", 12_182)] {
            assert_eq!(slot(key), slot_of_it, "{key}");
        }
        assert_eq!(slot("a{}b"), crc16(b"a{}b") % SLOTS);
    }
}
