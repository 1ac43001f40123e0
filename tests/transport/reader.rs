//! A reader of events: the request, and the far end of the connection that it becomes.

use broker::net::{HttpIo, Peer, event_stream};
use broker::protocol::sse;
use hyper::body::Body as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use warp::http::{Request, StatusCode};
use warp::reply::Response;

use crate::client::settle;
use crate::parts::{NOBODY, Parts};
use crate::pipe::{Far, pipe};

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
    pub(crate) far: Far,
    text: String,
}

impl Reader {
    /// Asks for events, with the id of the last one it has got. Of those, so many bytes may be on
    /// their way.
    pub(crate) async fn ask(broker: &Parts, query: &str, last: &str, room: usize) -> Self {
        let (response, http) = Self::request(broker, query, last).await;
        let (near, far) = pipe(room);
        http.give_socket(Box::new(near)); // as hyper does, once it has sent the head
        Self { response, far, text: String::new() }
    }

    /// The answer to a request, and its connection as it is before that is sent.
    pub(crate) async fn request(broker: &Parts, query: &str, last: &str) -> (Response, HttpIo) {
        let route = warp::service(event_stream(broker.context.clone(), &sse::PROTOCOL));
        let mut request = Request::get(format!("/events?{query}")).body(String::new()).unwrap();
        if !last.is_empty() {
            request.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        let http = HttpIo::new();
        request.extensions_mut().insert(Peer(NOBODY));
        request.extensions_mut().insert(http.clone());
        (TowerToHyperService::new(route).call(request).await.unwrap(), http)
    }

    /// One that is let in.
    pub(crate) async fn connect(broker: &Parts, query: &str) -> Self {
        Self::connect_with(broker, query, 1 << 20).await
    }

    pub(crate) async fn connect_with(broker: &Parts, query: &str, room: usize) -> Self {
        let reader = Self::ask(broker, query, "", room).await;
        assert_eq!(reader.status(), StatusCode::OK);
        settle().await;
        reader
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// How long the body of the answer is, if it says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }

    /// Everything that has come.
    pub(crate) fn text(&mut self) -> String {
        self.receive(usize::MAX);
        std::mem::take(&mut self.text)
    }

    fn receive(&mut self, max: usize) {
        self.text += std::str::from_utf8(&self.far.receive(max)).expect("UTF-8");
    }

    /// Every whole event that has come; panics over anything that isn't one.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.receive(usize::MAX);
        let Some(end) = self.text.rfind("\n\n") else { return Vec::new() };
        let rest = self.text.split_off(end + 2);
        let whole = std::mem::replace(&mut self.text, rest);
        whole.split_terminator("\n\n").filter(|event| *event != ":").map(parse).collect()
    }

    /// What has come of an event that isn't whole yet.
    pub(crate) fn partial(&self) -> &str {
        &self.text
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
