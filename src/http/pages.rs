//! Pages for people, embedded in the binary.
//!
//! A page loads nothing from other hosts and has no inline script or style, so its content security
//! policy forbids both: text written by others can't become code.

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, StatusCode, header};
use warp::path::{FullPath, Tail};
use warp::reply::Response;

use crate::filters;

use super::reply::answer;

/// The content security policy: loads and connects to the page's own host only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// A file of a page.
#[derive(Debug)]
pub(super) struct File {
    /// Path below the page's.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) text: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Html,
    Script,
    Style,
    Picture,
}

impl Kind {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Style => "text/css; charset=utf-8",
            Self::Picture => "image/svg+xml",
        }
    }
}

/// Path of the chat room.
pub const CHAT: &str = "/examples/chat/";

const CHAT_FILES: [File; 5] = [
    File { path: "", kind: Kind::Html, text: include_str!("../../examples/chat/index.html") },
    File { path: "chat.js", kind: Kind::Script, text: include_str!("../../examples/chat/chat.js") },
    File {
        path: "watch.js",
        kind: Kind::Script,
        text: include_str!("../../examples/chat/watch.js"),
    },
    File {
        path: "style.css",
        kind: Kind::Style,
        text: include_str!("../../examples/chat/style.css"),
    },
    File {
        path: "icon.svg",
        kind: Kind::Picture,
        text: include_str!("../../examples/chat/icon.svg"),
    },
];

/// The examples, below `/examples/`.
pub fn examples() -> BoxedFilter<(Response,)> {
    let chat = warp::path("chat").and(page("examples", CHAT, &CHAT_FILES));
    // redirects to the only one there is
    let all = warp::path::end()
        .and(filters::readable())
        .and(filters::query())
        .map(|query: String| answer("examples", Ok(redirect(CHAT, &query))));
    warp::path("examples").and(chat.or(all).unify()).boxed()
}

/// A page's files. `at` is the page's full path; the routes match the rest of the request's path.
pub(super) fn page(
    endpoint: &'static str,
    at: &'static str,
    files: &'static [File],
) -> BoxedFilter<(Response,)> {
    warp::path::full()
        .and(warp::path::tail())
        .and(filters::query())
        .and_then(move |full: FullPath, tail: Tail, query: String| {
            let found = files.iter().find(|file| file.path == tail.as_str());
            // without the slash, the page's relative links would point one level up
            let is_whole = !tail.as_str().is_empty() || full.as_str().ends_with('/');
            std::future::ready(match found {
                Some(file) if is_whole => Ok(serve(file)),
                Some(_) => Ok(redirect(at, &query)),
                None => Err(warp::reject::not_found()),
            })
        })
        .and(filters::readable())
        .map(move |response: Response| answer(endpoint, Ok(response)))
        .boxed()
}

fn serve(file: &File) -> Response {
    let mut response = Response::new(file.text.into());
    let headers = response.headers_mut();
    let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
    insert(header::CONTENT_TYPE, file.kind.media_type());
    // another version of the broker has other files under the same names
    insert(header::CACHE_CONTROL, "no-cache");
    insert(header::CONTENT_SECURITY_POLICY, POLICY);
    insert(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    insert(header::REFERRER_POLICY, "no-referrer");
    response
}

fn redirect(to: &str, query: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let to = if query.is_empty() { to.to_owned() } else { format!("{to}?{query}") };
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_holds_for_the_pages() {
        for File { path, kind, text } in &CHAT_FILES {
            match kind {
                Kind::Html => {
                    for inline in ["<style", "style=", "onclick=", "<script>", "://"] {
                        assert!(!text.contains(inline), "{path} has {inline}");
                    }
                }
                Kind::Script => {
                    for unsafe_way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
                        assert!(!text.contains(unsafe_way), "{path} has {unsafe_way}");
                    }
                }
                Kind::Style | Kind::Picture => assert!(!text.contains("@import"), "{path}"),
            }
        }
    }
}
