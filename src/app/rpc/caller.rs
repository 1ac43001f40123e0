//! The handle by which sessions call the application.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Attempt, Fault, FaultKind};
use super::complaints::Complaints;
use super::detached::Detached;
use super::disconnects::Disconnects;
use super::gate::{Full, Gate, Permit};
use super::grpc::Grpc;
use super::http::Http;
use super::queue::{End, Lane};
use crate::clock::Clock;
use crate::config::{ApplicationConfig, RpcHost, Secret};
use crate::telemetry::{ApplicationInstruments, CallOutcome, Called};
use crate::types::{About, Call, CallFailure, ChannelCommand, Reply, ReplyStatus};

/// First pause before a call that didn't reach the application is repeated; each next is twice as long.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Pause before a call is refused for want of a place, so that whoever repeats it at once does no harm.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// Maximum time for telling the end of a session; nobody waits for it.
const DISCONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// Settings of calls.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The application.
    pub application: ApplicationConfig,
    /// The key that it is shown, unless it has one of its own.
    pub key: Option<Secret>,
}

/// Handle of the calls to the application.
#[derive(Debug)]
pub struct Caller {
    transport: Arc<Transport>,
    gate: Arc<Gate>,
    clock: Arc<Clock>,
    complaints: Complaints,
    instruments: Arc<ApplicationInstruments>,
    disconnects: Arc<Disconnects>,
    request_timeout: Duration,
    /// Maximum time that a client waits.
    command_timeout: Duration,
    tasks: TaskTracker,
    /// Nobody waits for the answers to clients' calls any more.
    given_up: CancellationToken,
    stop: CancellationToken,
}

/// What calls are sent over.
#[derive(Debug)]
enum Transport {
    Http(Box<Http>),
    Grpc(Box<Grpc>),
}

impl Transport {
    async fn exchange(&self, call: &Call, timeout: Duration) -> Attempt {
        match self {
            Self::Http(http) => http.exchange(call, timeout).await,
            Self::Grpc(grpc) => grpc.exchange(call, timeout).await,
        }
    }
}

impl Caller {
    /// Begins, until `stop`. Fails if TLS is needed and certificate authorities can't be read.
    pub fn start(
        settings: Settings,
        clock: &Arc<Clock>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> io::Result<Arc<Self>> {
        let Settings { application, key } = settings;
        let key = application.secret.as_ref().or(key.as_ref());
        let instruments = Arc::new(ApplicationInstruments::new());
        let gate = Gate::new(
            application.backlog,
            application.concurrency,
            Arc::clone(clock),
            Arc::clone(&instruments),
        );
        tasks.spawn(Arc::clone(&gate).run(stop.clone()));
        let of_transport = (tasks.clone(), stop.clone());
        let transport = match &application.host {
            RpcHost::Http(url) => {
                let http = Http::new(url, &application, key, clock, of_transport)?;
                Transport::Http(Box::new(http))
            }
            RpcHost::Grpc(servers) => {
                let grpc = Grpc::new(servers, &application, key, clock, of_transport)?;
                Transport::Grpc(Box::new(grpc))
            }
        };
        let rate = application.disconnect.rate;
        let caller = Arc::new(Self {
            transport: Arc::new(transport),
            gate,
            clock: Arc::clone(clock),
            complaints: Complaints::new(Arc::clone(clock)),
            disconnects: Disconnects::new(rate, Arc::clone(&instruments)),
            instruments,
            request_timeout: application.request_timeout,
            command_timeout: application.command_timeout,
            tasks: tasks.clone(),
            given_up: CancellationToken::new(),
            stop: stop.clone(),
        });
        let weak = Arc::downgrade(&caller);
        let tell = move |call| {
            let caller = weak.upgrade();
            async move {
                let Some(caller) = caller else { return Err(CallFailure::Unreachable) };
                caller.call(call, DISCONNECT_PATIENCE).await.map(drop)
            }
        };
        let telling = Arc::clone(&caller.disconnects).run(tell, tasks.clone(), stop.clone());
        let stop = stop.clone();
        tasks.spawn(async move { stop.run_until_cancelled(telling).await });
        Ok(caller)
    }

    /// Maximum time that a client waits: the usual patience of [`Caller::call`].
    pub fn patience(&self) -> Duration {
        self.command_timeout
    }

    /// Whether a connect has a place in the queue now, and a prospect of an answer in time.
    pub fn has_room(&self) -> bool {
        self.gate.has_room(Lane::Connect, self.command_timeout / 2)
    }

    /// Tells the application that a session is over: at its rate, and again until it has heard of it. Then, or when that is
    /// given up, `done` is called.
    pub fn tell(&self, call: Call, done: impl FnOnce() + Send + 'static) {
        self.disconnects.add(call, Box::new(done));
    }

    /// From now on, the application is told the ends of sessions as fast as it takes them.
    pub fn tell_fast(&self) {
        self.disconnects.drop_pace();
    }

    /// Waits until the application knows all ends of sessions.
    pub async fn all_told(&self) {
        self.disconnects.all_told().await;
    }

    /// Number of ends of sessions that the application may not know yet.
    pub fn untold(&self) -> usize {
        self.disconnects.untold()
    }

    /// Ends all calls but those about ends of sessions. The application has those that are sent until the stop.
    pub fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Asks the application, and repeats the call for as long as `patience` if it surely hasn't run. Whoever drops the
    /// future of a call that waits takes it back; one that is sent runs to its end.
    pub async fn call(
        self: Arc<Self>,
        call: Call,
        patience: Duration,
    ) -> Result<Box<Reply>, CallFailure> {
        let called = self.call_for(call, patience, std::future::pending()).await;
        called.unwrap_or(Err(CallFailure::Unreachable))
    }

    /// The same, for a client that may go: `None` if it had `gone` before the application got the call. Once it has it,
    /// the answer is waited for.
    pub async fn call_for(
        self: Arc<Self>,
        call: Call,
        patience: Duration,
        gone: impl Future<Output = ()>,
    ) -> Option<Result<Box<Reply>, CallFailure>> {
        let began = self.clock.now();
        let (lane, called) = kind(&call.about);
        let mut counted =
            Counted { of: &self.instruments, called, outcome: CallOutcome::Abandoned };
        let (call, until) = (Arc::new(call), began + patience);
        let result = self.attempts(call, (lane, called), until, pin!(gone)).await?;
        counted.outcome = outcome(&result);
        if result.is_ok() {
            let took = self.clock.now().saturating_duration_since(began);
            self.instruments.duration.record(took.as_secs_f64());
        }
        Some(result)
    }

    async fn attempts(
        &self,
        call: Arc<Call>,
        (lane, called): (Lane, Called),
        until: Instant,
        mut gone: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Result<Box<Reply>, CallFailure>> {
        let mut failure = None;
        for attempt in 0.. {
            let entered = tokio::select! {
                biased;
                entered = self.gate.enter(lane, call.session) => Some(entered),
                () = &mut gone => return None,
                () = tokio::time::sleep(self.left(until)) => None,
                () = self.given_up(lane) => None,
            };
            let permit = match entered {
                Some(Ok(permit)) => permit,
                Some(Err(Full)) => {
                    tokio::time::sleep(FULL_PAUSE.min(self.left(until))).await;
                    return Some(Err(failure.unwrap_or(CallFailure::Overloaded)));
                }
                None if self.gate.is_open() => return Some(Err(CallFailure::Unreachable)),
                None => return Some(Err(failure.unwrap_or(CallFailure::Overloaded))),
            };
            if attempt > 0 {
                self.instruments.retries.increment(1);
            }
            let timeout = self.left(until).min(self.request_timeout);
            let attempted = tokio::select! {
                biased;
                attempted = self.attempt(permit, Arc::clone(&call), timeout) => attempted,
                () = self.given_up(lane) => return Some(Err(CallFailure::Late)),
            };
            let fault = match attempted {
                Ok(reply) => {
                    if reply.status == ReplyStatus::Error {
                        self.complaints.tell(called.into(), &Fault::told(&reply.error));
                    }
                    return Some(Ok(reply));
                }
                Err(fault) => fault,
            };
            self.complaints.tell(called.into(), &fault);
            let pause = fault.retry_after.unwrap_or_else(|| pause(attempt));
            let left = self.left(until);
            let is_last = !fault.is_retried() || left <= pause;
            let pause = match lane {
                _ if !is_last => pause,
                Lane::Command if fault.is_retried() => left, // as long as the client waits
                Lane::Command | Lane::Connect | Lane::Disconnect => {
                    return Some(Err(fault.failure()));
                }
            };
            tokio::select! {
                () = &mut gone => return None,
                () = tokio::time::sleep(pause) => {}
                () = self.given_up(lane) => return Some(Err(fault.failure())),
            }
            if is_last {
                return Some(Err(fault.failure()));
            }
            failure = Some(fault.failure());
        }
        None // never: that many attempts take longer than any patience
    }

    /// Nobody waits for the answers of a lane any more.
    async fn given_up(&self, lane: Lane) {
        match lane {
            Lane::Command | Lane::Connect => self.given_up.cancelled().await,
            Lane::Disconnect => std::future::pending().await,
        }
    }

    /// One attempt, which runs to its end in any case: the application has it until then.
    async fn attempt(&self, permit: Permit, call: Arc<Call>, timeout: Duration) -> Attempt {
        let (transport, stop) = (Arc::clone(&self.transport), self.stop.clone());
        let exchange = async move {
            let exchange = stop.run_until_cancelled(transport.exchange(&call, timeout)).await;
            let stopped = || Err(Fault::new(FaultKind::Cut, "the broker stops"));
            let attempt = exchange.unwrap_or_else(stopped);
            permit.end(end(&attempt));
            attempt
        };
        Detached::new(exchange, self.tasks.clone()).await
    }

    fn left(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.clock.now())
    }
}

/// Counts a call when it is dropped.
struct Counted<'a> {
    of: &'a ApplicationInstruments,
    called: Called,
    outcome: CallOutcome,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.of.count(self.called, self.outcome);
    }
}

fn outcome(result: &Result<Box<Reply>, CallFailure>) -> CallOutcome {
    match result {
        Ok(reply) => match reply.status {
            ReplyStatus::Success => CallOutcome::Success,
            ReplyStatus::Failure => CallOutcome::Failure,
            ReplyStatus::Error => CallOutcome::Error,
        },
        Err(CallFailure::Unreachable) => CallOutcome::Unreachable,
        Err(CallFailure::Overloaded) => CallOutcome::Overloaded,
        Err(CallFailure::Late) => CallOutcome::Late,
        Err(CallFailure::Broken) => CallOutcome::Broken,
    }
}

/// How a call has ended for the gate.
fn end(attempt: &Attempt) -> End {
    match attempt {
        Ok(_) => End::Answered,
        Err(fault) => match fault.kind {
            FaultKind::Busy => End::Overloaded,
            FaultKind::Late => End::Late,
            FaultKind::Unreachable | FaultKind::Cut => End::Missed,
            FaultKind::Unauthorized
            | FaultKind::Redirected
            | FaultKind::Missing
            | FaultKind::Misread
            | FaultKind::Failed
            | FaultKind::TooLarge
            | FaultKind::CallTooLarge
            | FaultKind::Unreadable => End::Reached,
        },
    }
}

/// Pause after an attempt, the first of which is 0.
fn pause(attempt: u32) -> Duration {
    (PAUSE * 2_u32.saturating_pow(attempt.min(16))).min(MAX_PAUSE)
}

/// The lane of a call, and what the application knows it as.
fn kind(about: &About) -> (Lane, Called) {
    match about {
        About::Connect => (Lane::Connect, Called::Connect),
        About::Command { kind: ChannelCommand::Subscribe, .. } => {
            (Lane::Command, Called::Subscribe)
        }
        About::Command { kind: ChannelCommand::Unsubscribe, .. } => {
            (Lane::Command, Called::Unsubscribe)
        }
        About::Command { kind: ChannelCommand::Message, .. } => (Lane::Command, Called::Message),
        About::Disconnect(_) => (Lane::Disconnect, Called::Disconnect),
    }
}
