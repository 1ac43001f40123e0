//! A reader of events at the far end of the route it is served by, and the connection below.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use broker::transport::{Line, Peer, Watched, event_stream};
use hyper::body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use warp::http::{Request, StatusCode};
use warp::reply::Response;

use crate::parts::{NOBODY, Parts};

/// An event as a page gets it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    /// Empty for a message.
    pub(crate) kind: String,
    pub(crate) data: String,
    pub(crate) id: String,
    pub(crate) retry: String,
}

pub(crate) struct Reader {
    response: Response,
    line: Line,
    connection: Option<Watched<()>>,
    text: String,
}

impl Reader {
    /// Asks for events, with the id of the last one it has got.
    pub(crate) async fn ask(broker: &Parts, query: &str, last: &str) -> Self {
        let route = warp::service(event_stream(broker.context.clone()));
        let mut request = Request::get(format!("/events?{query}")).body(String::new()).unwrap();
        if !last.is_empty() {
            request.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        let line = Line::new();
        request.extensions_mut().insert(Peer(NOBODY));
        request.extensions_mut().insert(line.clone());
        let response = TowerToHyperService::new(route).call(request).await.unwrap();
        let connection = Some(Watched::new((), line.clone()));
        Self { response, line, connection, text: String::new() }
    }

    /// One that is let in.
    pub(crate) async fn connect(broker: &Parts, query: &str) -> Self {
        let mut reader = Self::ask(broker, query, "").await;
        assert_eq!(reader.status(), StatusCode::OK, "{:?}", reader.text());
        reader
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Takes one chunk of the body, if one is there; `None` at the end.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut task = Context::from_waker(Waker::noop());
        match Pin::new(self.response.body_mut()).poll_frame(&mut task) {
            Poll::Pending => Some(String::new()),
            Poll::Ready(None) => None,
            Poll::Ready(Some(frame)) => {
                let data = frame.unwrap().into_data().unwrap();
                Some(String::from_utf8(data.to_vec()).expect("UTF-8"))
            }
        }
    }

    /// All of the body that is there; whether that is its end.
    fn take(&mut self) -> bool {
        loop {
            match self.chunk() {
                None => return true,
                Some(chunk) if chunk.is_empty() => return false,
                Some(chunk) => self.text += &chunk,
            }
        }
    }

    pub(crate) fn text(&mut self) -> String {
        self.take();
        std::mem::take(&mut self.text)
    }

    /// Every whole event that has come; panics over anything that isn't one.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.take();
        let Some(end) = self.text.rfind("\n\n") else { return Vec::new() };
        let rest = self.text.split_off(end + 2);
        let whole = std::mem::replace(&mut self.text, rest);
        whole.split_terminator("\n\n").filter(|event| *event != ":").map(parse).collect()
    }

    /// What has come of an event that isn't whole yet.
    pub(crate) fn partial(&self) -> &str {
        &self.text
    }

    /// Whether the body has ended, and all of it has been taken.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.take()
    }

    /// Whether the broker wants the connection cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.line.is_cut()
    }

    /// The connection is closed, by whomever.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}

fn parse(text: &str) -> Event {
    let mut event = Event::default();
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let (field, value) = line.split_once(": ").unwrap_or_else(|| panic!("{text:?}"));
        match field {
            "event" => value.clone_into(&mut event.kind),
            "data" => lines.push(value),
            "id" => value.clone_into(&mut event.id),
            "retry" => value.clone_into(&mut event.retry),
            _ => panic!("{text:?}"),
        }
    }
    event.data = lines.join("\n");
    event
}
