//! What a gRPC status, or an HTTP/2 error, says about a call
//! (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).

use h2::Reason;
use hyper::header::HeaderMap;
use percent_encoding::percent_decode_str;

use super::super::attempt::{Fault, FaultKind, MAX_TEXT};

/// The status in an answer's trailers, or in the headers of one that has none; `None` is good.
pub(super) fn of_trailers(trailers: &HeaderMap) -> Option<Fault> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let code = text("grpc-status")?.parse().unwrap_or(2);
    if code == 0 {
        return None;
    }
    let message = percent_decode_str(text("grpc-message").unwrap_or_default()).decode_utf8_lossy();
    Some(of_code(code, &message))
}

/// A status that isn't good.
fn of_code(code: u32, message: &str) -> Fault {
    // not a want of threads; and the answer that is larger comes after the call has run
    let is_size = message.contains("larger than");
    let (name, kind) = match code {
        1 => ("CANCELLED", FaultKind::Failed),
        3 => ("INVALID_ARGUMENT", FaultKind::Misread),
        4 => ("DEADLINE_EXCEEDED", FaultKind::Late),
        5 => ("NOT_FOUND", FaultKind::Missing),
        7 => ("PERMISSION_DENIED", FaultKind::Unauthorized),
        8 if is_size => ("RESOURCE_EXHAUSTED", FaultKind::TooLarge),
        8 => ("RESOURCE_EXHAUSTED", FaultKind::Busy),
        12 => ("UNIMPLEMENTED", FaultKind::Missing),
        13 => ("INTERNAL", FaultKind::Failed),
        14 => ("UNAVAILABLE", FaultKind::Cut),
        16 => ("UNAUTHENTICATED", FaultKind::Unauthorized),
        2 => ("UNKNOWN", FaultKind::Failed),
        _ => ("another status", FaultKind::Failed),
    };
    let start: String = message.chars().take(MAX_TEXT).collect();
    let text = format!("it answers {name} ({code}): {}", start.escape_debug());
    // the server has no thread left: sent by it, so it is no limit of ours
    let has_not_run = kind == FaultKind::Busy;
    Fault { kind, has_not_run, retry_after: None, text }
}

/// An answer with another HTTP status than 200, of a proxy or of another server.
pub(super) fn of_http(status: u16) -> Fault {
    let kind = match status {
        401 | 403 => FaultKind::Unauthorized,
        404 | 405 => FaultKind::Missing,
        429 | 503 => FaultKind::Busy,
        502 | 504 => FaultKind::Cut,
        300..=399 => FaultKind::Redirected,
        _ => FaultKind::Unreadable,
    };
    let text = format!("it answers with HTTP status {status}, and not gRPC");
    Fault { has_not_run: status == 429, ..Fault::new(kind, text) }
}

/// How a stream's error leaves a call.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server has taken nothing of it: another connection can have it.
    NotTaken,
    /// Anything else.
    Fault(Fault),
}

/// The error of a stream that was opened.
pub(super) fn of_stream(error: &h2::Error) -> Broken {
    // h2 gives this to the streams above the last one that the server says it has taken, and to no others
    if error.is_go_away() && error.is_remote() {
        return Broken::NotTaken;
    }
    let text = format!("it ends the call before its answer: {error}");
    Broken::Fault(match error.reason() {
        Some(Reason::REFUSED_STREAM) if error.is_reset() && error.is_remote() => {
            Fault::not_run(FaultKind::Busy, text)
        }
        Some(Reason::ENHANCE_YOUR_CALM) => Fault::new(FaultKind::Busy, text),
        Some(_) | None => Fault::new(FaultKind::Cut, text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: &str, message: &str) -> Option<Fault> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        trailers.insert("grpc-message", message.parse().unwrap());
        of_trailers(&trailers)
    }

    #[test]
    fn a_status_says_whether_the_call_has_run() {
        assert!(fault("0", "").is_none());
        assert!(of_trailers(&HeaderMap::new()).is_none());
        for (status, message, kind, has_not_run) in [
            ("8", "No thread left in pool", FaultKind::Busy, true),
            ("8", "Received message larger than max", FaultKind::TooLarge, false),
            (
                "8",
                "Attempted to send message with a size larger than 9",
                FaultKind::TooLarge,
                false,
            ),
            ("14", "Server%20shutting down", FaultKind::Cut, false),
            ("4", "", FaultKind::Late, false),
            ("16", "", FaultKind::Unauthorized, false),
            ("12", "", FaultKind::Missing, false),
            ("x", "", FaultKind::Failed, false),
        ] {
            let fault = fault(status, message).unwrap();
            assert_eq!((fault.kind, fault.has_not_run), (kind, has_not_run), "{status}");
        }
        let text = fault("13", "caf%C3%A9 %22x%22%0A").unwrap().text;
        assert_eq!(text, "it answers INTERNAL (13): café \\\"x\\\"\\n");
    }
}
