//! The answers of an HTTP server, as far as a publisher needs them.

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The server ends the connection behind it.
    pub(crate) last: bool,
}

/// The first answer of `bytes` and its length, or nothing if it isn't complete.
pub(crate) fn next(bytes: &[u8]) -> Option<(Answer, usize)> {
    let head_length = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let (head, after) = bytes.split_at_checked(head_length)?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut chunked, mut last) = (0, false, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().ok()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            last = value.eq_ignore_ascii_case("close");
        }
    }
    if chunked {
        length = memchr::memmem::find(after, b"0\r\n\r\n")? + 5;
    }
    let body = String::from_utf8_lossy(after.get(..length)?).into_owned();
    Some((Answer { status, body, last }, head_length + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let bytes = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n\
            HTTP/1.1 401 Unauthorized\r\ncontent-length: 3\r\nConnection: close\r\n\r\nnonHTTP/1.1";
        let (answer, length) = next(bytes).unwrap();
        assert_eq!(answer, Answer { status: 201, body: String::new(), last: false });
        let (answer, second) = next(&bytes[length..]).unwrap();
        assert_eq!(answer, Answer { status: 401, body: "non".into(), last: true });
        assert_eq!(next(&bytes[length + second..]), None);
    }

    #[test]
    fn an_incomplete_answer_is_none() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(next(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(
            next(bytes).map(|(answer, length)| (answer.status, length)),
            Some((200, bytes.len()))
        );
    }
}
