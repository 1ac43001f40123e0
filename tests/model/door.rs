//! Access to a shard for tests: its entries, and the outcomes of its requests.

use std::marker::PhantomData;
use std::time::Instant;

use broker::log::{Entry, Void};
use broker::shard::{
    Destination, Input, Outcome, Output, Placed, Put, Shard, SubscriberKey, Ticket,
};
use broker::types::{PresenceId, SessionId, StreamName};

/// A request whose outcome is opened later: [`Opener::open`].
#[must_use]
pub(crate) struct Request<T>(PhantomData<T>);

pub(crate) trait Door<R> {
    /// What has happened since this was last asked.
    fn take_entries(&mut self) -> Vec<Entry>;

    fn put(&mut self, stream: &StreamName, put: Put, now: Instant)
    -> Request<Result<Placed, Void>>;

    fn kick(&mut self, stream: &StreamName, id: &PresenceId, now: Instant) -> Request<usize>;

    fn resume(
        &mut self,
        stream: &StreamName,
        from: &SubscriberKey,
        to: (SessionId, R),
        now: Instant,
    ) -> Request<bool>;

    /// An outcome, without keeping the entries that led to it.
    fn open<T: OfOutcome>(&mut self, request: Request<T>) -> T;
}

impl<R: Destination> Door<R> for Shard<R> {
    fn take_entries(&mut self) -> Vec<Entry> {
        let mut taken = Vec::new();
        self.commit(|entries| taken.extend_from_slice(entries));
        taken
    }

    fn put(
        &mut self,
        stream: &StreamName,
        put: Put,
        now: Instant,
    ) -> Request<Result<Placed, Void>> {
        self.handle(stream, Input::Put { put, ticket: Ticket(0) }, now);
        Request(PhantomData)
    }

    fn kick(&mut self, stream: &StreamName, id: &PresenceId, now: Instant) -> Request<usize> {
        self.handle(stream, Input::Kick { id: id.clone(), ticket: Ticket(0) }, now);
        Request(PhantomData)
    }

    fn resume(
        &mut self,
        stream: &StreamName,
        from: &SubscriberKey,
        (to, recipient): (SessionId, R),
        now: Instant,
    ) -> Request<bool> {
        let (from, ticket) = (from.clone(), Ticket(0));
        self.handle(stream, Input::Resume { from, to, recipient, ticket }, now);
        Request(PhantomData)
    }

    fn open<T: OfOutcome>(&mut self, request: Request<T>) -> T {
        self.commit(|_| ()).open(request)
    }
}

pub(crate) trait Opener {
    /// The outcome of the only request.
    fn open<T: OfOutcome>(&mut self, request: Request<T>) -> T;
}

impl<R: Destination> Opener for Output<'_, R> {
    fn open<T: OfOutcome>(&mut self, _: Request<T>) -> T {
        let (_, outcome) = self.poll_outcome().expect("an outcome");
        assert_eq!(self.poll_outcome(), None, "of one request");
        T::of(outcome)
    }
}

/// What an outcome says.
pub(crate) trait OfOutcome {
    fn of(outcome: Outcome) -> Self;
}

impl OfOutcome for Result<Placed, Void> {
    fn of(outcome: Outcome) -> Self {
        let Outcome::Put(placed) = outcome else { panic!("{outcome:?}") };
        placed
    }
}

impl OfOutcome for usize {
    fn of(outcome: Outcome) -> Self {
        let Outcome::Kicked(records) = outcome else { panic!("{outcome:?}") };
        records
    }
}

impl OfOutcome for bool {
    fn of(outcome: Outcome) -> Self {
        let Outcome::Resumed(is_resumed) = outcome else { panic!("{outcome:?}") };
        is_resumed
    }
}
