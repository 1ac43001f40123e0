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
    let body = if chunked {
        let (body, whole) = unchunked(after)?;
        length = whole;
        String::from_utf8_lossy(&body).into_owned()
    } else {
        String::from_utf8_lossy(after.get(..length)?).into_owned()
    };
    Some((Answer { status, body, last }, head_length + length))
}

/// What is in a chunked body (RFC 9112, 7.1), and its length with all that frames it; nothing if it isn't
/// complete.
fn unchunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let (line, after) = rest.split_at_checked(memchr::memmem::find(rest, b"\r\n")?)?;
        let size = std::str::from_utf8(line).ok()?.split(';').next()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            // The line's end, and behind it trailers or none.
            let end = memchr::memmem::find(after, b"\r\n\r\n")? + 4;
            return Some((body, bytes.len() - after.len() + end));
        }
        let (chunk, after) = after.strip_prefix(b"\r\n")?.split_at_checked(size)?;
        body.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n")?;
    }
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
    fn chunks_are_put_together() {
        let chunked = |body: &str| {
            let head = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n";
            let bytes = format!("{head}{body}");
            let (answer, length) = next(format!("{bytes}HTTP/1.1").as_bytes()).unwrap();
            assert_eq!(length, bytes.len(), "{body}");
            answer.body
        };
        assert_eq!(chunked("0\r\n\r\n"), "");
        assert_eq!(chunked("e\r\nPage not found\r\n0\r\n\r\n"), "Page not found");
        assert_eq!(chunked("2;a=b\r\nab\r\n1\r\nc\r\n0\r\nTrailer: x\r\n\r\n"), "abc");
        let ends = "0\r\n\r\n".repeat(4);
        assert_eq!(chunked(&format!("14\r\n{ends}\r\n0\r\n\r\n")), ends);
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
