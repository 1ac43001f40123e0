//! The WebSocket handshake: request and response.

use anyhow::bail;

use crate::http;
use crate::target::Url;

/// What clients of this program offer as their key, all the same one.
const KEY: &str = "YSBiZW5jaG1hcmshISEhIQ==";

/// What a server answers to it (RFC 6455, 4.2.2).
pub(crate) const ACCEPT: &str = "kN4K0xHNrxiMPucqBSs6j+X9das=";

/// The handshake of all clients.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    pub(crate) request: Vec<u8>,
}

/// What goes along with the request for the WebSocket.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeOptions {
    pub(crate) protocol: String,
    pub(crate) token: Option<String>,
    pub(crate) origin: Option<String>,
    /// Whole lines, `Name: value`.
    pub(crate) headers: Vec<String>,
}

impl Handshake {
    pub(crate) fn new(url: &Url, handshake_options: &HandshakeOptions) -> Self {
        let mut path = url.path.clone();
        if let Some(token) = &handshake_options.token {
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str("jid=");
            path.push_str(token);
        }
        let host = url.authority();
        let origin = handshake_options.origin.clone().unwrap_or_else(|| format!("http://{host}"));
        let mut request = format!(
            "GET {path} HTTP/1.1\r\n\
             Host: {host}\r\n\
             Connection: Upgrade\r\n\
             Upgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: {}\r\n\
             Origin: {origin}\r\n",
            handshake_options.protocol
        );
        for header in &handshake_options.headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Self { request: request.into_bytes() }
    }
}

/// An answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// How long the head is; frames may follow at once.
    pub(crate) length: usize,
    /// What the server says it is.
    pub(crate) server: Option<String>,
}

/// Reads the answer; nothing if it isn't there in full yet. A refusal is an error that says what the
/// server said.
pub(crate) fn answer(bytes: &[u8]) -> anyhow::Result<Option<Welcome>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = bytes.split_at_checked(end).unwrap_or((bytes, &[]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("101") {
        let whole = http::next(bytes).filter(|(_, length)| *length > end + 4);
        let said = whole.map(|(answer, _)| answer.body);
        let said = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
        let said = said.trim();
        let hint = match status.split(' ').nth(1) {
            Some("401" | "403") => "\nIs a token needed (--token), or another --origin?",
            Some("404") => {
                "\nIs the path in --url the one of the WebSocket? Rails says so, too, if it doesn't \
                 allow the --origin."
            }
            Some("200") => "\nIs the path in --url the one of the WebSocket?",
            Some("301" | "302" | "307" | "308") => {
                "\nIs it sent to TLS, which isn't measured? Rails does that with config.force_ssl."
            }
            Some("400" | "426") => "\nDoes the server speak this --protocol?",
            Some("429" | "503") => {
                "\nThe server limits connections or handshakes: see its settings, or --handshakes."
            }
            Some(_) | None => "",
        };
        bail!(
            "the handshake was refused: {status}{}{said}{hint}",
            if said.is_empty() { "" } else { ": " }
        );
    }
    let server = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("server").then(|| value.trim().to_owned())
    });
    Ok(Some(Welcome { length: end + 4, server }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_what_was_asked_for() {
        let url = Url::websocket("ws://localhost:8080/cable").unwrap();
        let handshake_options = HandshakeOptions {
            protocol: "actioncable-v1-json".into(),
            token: Some("t".into()),
            origin: None,
            headers: vec!["Cookie: a=b".into()],
        };
        let request = String::from_utf8(Handshake::new(&url, &handshake_options).request).unwrap();
        assert!(request.starts_with("GET /cable?jid=t HTTP/1.1\r\nHost: localhost:8080\r\n"));
        assert!(request.contains("\r\nOrigin: http://localhost:8080\r\n"));
        assert!(request.contains("\r\nSec-WebSocket-Protocol: actioncable-v1-json\r\n"));
        assert!(request.ends_with("\r\nCookie: a=b\r\n\r\n"));
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_with_frames() {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nServer: x\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(answer(&head[..cut]).unwrap(), None);
        }
        let bytes = [head, &b"\x81\x00"[..]].concat();
        let expected = Welcome { length: head.len(), server: Some("x".into()) };
        assert_eq!(answer(&bytes).unwrap(), Some(expected));
    }

    #[test]
    fn a_refusal_says_what_the_server_said() {
        let error =
            answer(b"HTTP/1.1 404 Not Found\r\n\r\nnothing here\n").unwrap_err().to_string();
        assert!(
            error.starts_with("the handshake was refused: HTTP/1.1 404 Not Found: nothing here")
        );
        assert!(error.contains("--url"), "{error}");
    }

    #[test]
    fn a_refusal_may_be_chunked() {
        let head = "HTTP/1.1 301 Moved Permanently\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, said) in [("0\r\n\r\n", ""), ("4\r\naway\r\n0\r\n\r\n", ": away")] {
            let error = answer(format!("{head}{body}").as_bytes()).unwrap_err().to_string();
            let (first, hint) = error.split_once('\n').unwrap();
            assert_eq!(
                first,
                format!("the handshake was refused: HTTP/1.1 301 Moved Permanently{said}")
            );
            assert!(hint.contains("TLS"), "{hint}");
        }
    }
}
