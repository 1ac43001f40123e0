use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn start() -> Instant {
    Clock::new().now()
}

const MS: Duration = Duration::from_millis(1);

fn sid(number: u32) -> SessionId {
    SessionId::from_bits(u128::from(number))
}

/// Fills a lane with so many, each of another session.
fn fill(queue: &mut Queue<u32>, lane: Lane, count: u32, now: Instant) {
    for waiter in 0..count {
        queue.enter(lane, sid(waiter), waiter, now).unwrap();
    }
}

/// Sends all that may be sent now; who they are.
fn send_all(queue: &mut Queue<u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| queue.next(now)).map(|(_, waiter)| waiter).collect()
}

/// A queue whose commands are usually answered at once.
fn quick(limit: Option<usize>, now: Instant) -> Queue<u32> {
    let mut queue = Queue::new(100_000, limit);
    for lane in Lane::ALL {
        let pass = queue.send(lane, sid(0), now).unwrap();
        queue.finish(pass, End::Answered, now + MS);
    }
    queue
}

/// How many of each lane are sent when calls end in the order in which they were sent.
fn sent(queue: &mut Queue<u32>, count: usize, now: Instant) -> [usize; LANES] {
    let (mut sent, mut running) = ([0; LANES], std::collections::VecDeque::new());
    while sent.iter().sum::<usize>() < count {
        if let Some((pass, _)) = queue.next(now) {
            sent[pass.lane as usize] += 1;
            running.push_back(pass);
        } else {
            queue.finish(running.pop_front().expect("someone is next"), End::Reached, now);
        }
    }
    for pass in running {
        queue.finish(pass, End::Reached, now);
    }
    sent
}

#[test]
fn whoever_waits_longest_is_next_in_a_lane() {
    let (now, mut queue) = (start(), Queue::new(100, Some(1)));
    fill(&mut queue, Lane::Command, 3, now);
    for expected in 0..3 {
        let (pass, waiter) = queue.next(now).unwrap();
        assert_eq!(waiter, expected);
        assert_eq!(queue.next(now), None, "one at a time");
        queue.finish(pass, End::Answered, now);
    }
}

#[test]
fn lanes_have_their_shares_and_borrow_what_is_free() {
    let (now, mut queue) = (start(), Queue::new(10_000, Some(20)));
    for lane in Lane::ALL {
        fill(&mut queue, lane, 1000, now);
    }
    let [commands, connects, disconnects] = sent(&mut queue, 1000, now);
    assert!((680..720).contains(&commands), "{commands}");
    assert!((180..220).contains(&connects), "{connects}");
    assert!((80..120).contains(&disconnects), "{disconnects}");
    let mut queue = Queue::new(10_000, Some(20));
    fill(&mut queue, Lane::Connect, 100, now);
    send_all(&mut queue, now);
    assert_eq!(queue.sent(), 18, "all but a tenth, which is for commands");
    fill(&mut queue, Lane::Command, 2, now);
    send_all(&mut queue, now);
    assert_eq!((queue.sent(), queue.line(Lane::Command).waiting()), (20, 0));
}

#[test]
fn a_storm_of_connects_takes_no_place_of_a_command() {
    let (now, mut queue) = (start(), Queue::new(10, Some(1)));
    assert!(queue.enter(Lane::Connect, sid(0), 0, now).is_some());
    assert!(queue.has_room(Lane::Connect, Duration::from_secs(1), now));
    assert!(queue.enter(Lane::Connect, sid(1), 1, now).is_some());
    assert!(!queue.has_room(Lane::Connect, Duration::from_secs(1), now));
    assert_eq!(queue.enter(Lane::Connect, sid(2), 2, now), None);
    assert!(queue.enter(Lane::Disconnect, sid(0), 0, now).is_some());
    assert_eq!(queue.enter(Lane::Disconnect, sid(1), 1, now), None);
    fill(&mut queue, Lane::Command, 7, now);
    assert_eq!(queue.enter(Lane::Command, sid(7), 7, now), None);
    assert_eq!(queue.waiting(), 10);
}

#[test]
fn there_is_no_room_behind_somebody_who_waits_for_long() {
    let (now, mut queue) = (start(), Queue::new(100, Some(1)));
    fill(&mut queue, Lane::Connect, 2, now);
    let longest = Duration::from_secs(2);
    assert!(queue.has_room(Lane::Connect, longest, now + Duration::from_secs(1)));
    assert!(!queue.has_room(Lane::Connect, longest, now + longest));
    assert!(queue.has_room(Lane::Command, longest, now + longest));
}

#[test]
fn one_call_tries_while_nothing_gets_through() {
    let (mut now, mut queue) = (start(), Queue::new(100, Some(4)));
    fill(&mut queue, Lane::Command, 20, now);
    fill(&mut queue, Lane::Connect, 1, now);
    for _ in 0..10 {
        let (pass, _) = queue.next(now).unwrap();
        now += Duration::from_millis(200);
        queue.finish(pass, End::Missed, now);
    }
    assert!(queue.is_open());
    assert_eq!(queue.next(now), None);
    assert!(!queue.has_room(Lane::Connect, Duration::from_secs(9), now));
    let at = queue.wakes_at(now).unwrap();
    now = at;
    assert!(queue.has_room(Lane::Connect, Duration::from_secs(9), now), "to try");
    let (pass, _) = queue.next(now).unwrap();
    assert_eq!(queue.next(now), None, "one");
    queue.finish(pass, End::Unknown, now);
    assert_eq!(queue.next(now), None);
    now = queue.wakes_at(now).unwrap();
    let (pass, _) = queue.next(now).unwrap();
    queue.finish(pass, End::Answered, now);
    assert!(!queue.is_open());
    for _ in 0..4 {
        queue.next(now).unwrap();
    }
    assert_eq!(queue.next(now), None);
}

#[test]
fn sessions_take_turns_and_have_a_few_calls_out() {
    let (now, mut queue) = (start(), Queue::new(100, None));
    for (session, calls) in [(1, 12), (2, 2), (3, 1)] {
        for call in 0..calls {
            queue.enter(Lane::Command, sid(session), 100 * session + call, now).unwrap();
        }
    }
    let mut expected = vec![100, 200, 300, 101, 201];
    expected.extend(102..108);
    assert_eq!(send_all(&mut queue, now), expected);
    assert_eq!((queue.sent(), queue.line(Lane::Command).in_line(), queue.waiting()), (11, 0, 4));
    assert!(!queue.has_line());
    assert!(queue.send(Lane::Command, sid(4), now).is_some(), "who is held holds up nobody");
    assert!(queue.send(Lane::Command, sid(1), now).is_none());
}

#[test]
fn calls_of_a_session_that_wait_for_each_other_take_no_place_but_are_bounded() {
    let (now, mut queue) = (start(), Queue::new(10, None));
    for _ in 0..8 {
        queue.send(Lane::Command, sid(0), now).unwrap();
    }
    let mut enter = |session| queue.enter(Lane::Command, sid(session), 0, now).is_some();
    assert_eq!((0..100).filter(|_| enter(0)).count(), 64);
    assert_eq!((0..100).filter(|_| enter(1)).count(), 7);
}

#[test]
fn one_session_never_has_all_of_a_limit_that_is_given() {
    for (limit, expected) in [(1, 1), (3, 1), (7, 2), (28, 8), (100, 8)] {
        let (now, mut queue) = (start(), Queue::<u32>::new(1000, Some(limit)));
        let sent = (0..100).filter_map(|_| queue.send(Lane::Command, sid(1), now)).count();
        assert_eq!(sent, expected);
    }
}

#[test]
fn calls_that_hang_take_nothing_from_a_limit_that_is_found_out() {
    let mut now = start();
    let mut queue = quick(None, now);
    fill(&mut queue, Lane::Command, 2000, now);
    let mut out = send_all(&mut queue, now).len();
    assert_eq!(out, 25);
    queue.enter(Lane::Connect, sid(9999), 9999, now).unwrap();
    while queue.has_line() && out < MAX_OUT {
        let at = queue.wakes_at(now).unwrap();
        assert!(at - now <= 50 * MS);
        now = at;
        let sent = send_all(&mut queue, now);
        out += sent.len();
        assert_eq!(sent.contains(&9999), out < 60, "at once");
    }
    assert_eq!((out, queue.sent(), queue.wakes_at(now)), (MAX_OUT, MAX_OUT, None));
}

#[test]
fn calls_that_hang_are_a_part_of_a_limit_that_is_given() {
    let now = start();
    let mut queue = quick(Some(10), now);
    fill(&mut queue, Lane::Command, 100, now);
    assert_eq!(send_all(&mut queue, now).len(), 10);
    assert_eq!(queue.wakes_at(now), None);
    assert!(send_all(&mut queue, now + 3600 * 1000 * MS).is_empty());
}

#[test]
fn an_application_that_is_slow_is_sent_no_more() {
    let mut now = start();
    let mut queue = quick(None, now);
    fill(&mut queue, Lane::Command, 3000, now);
    let mut running = std::collections::VecDeque::new();
    let mut most = 0;
    for _ in 0..1000 {
        while let Some((pass, _)) = queue.next(now) {
            running.push_back((now, pass));
        }
        let (sent, pass) = running.pop_front().unwrap();
        now = now.max(sent + 2000 * MS);
        queue.finish(pass, End::Answered, now);
        most = queue.sent() - queue.busy();
    }
    assert_eq!(most, 0, "calls that hang at last");
    assert!(queue.sent() <= 100);
}

#[test]
fn late_answers_are_a_sign_of_overload_unless_the_calls_hung() {
    let now = start();
    let mut queue = quick(None, now);
    let pass = queue.send(Lane::Command, sid(1), now).unwrap();
    queue.finish(pass, End::Late, now + 20 * MS);
    assert_eq!(queue.limit(), 12);
    let passes: Vec<_> = (2..50).filter_map(|n| queue.send(Lane::Command, sid(n), now)).collect();
    assert!(queue.send(Lane::Command, sid(50), now + 50 * MS).is_some());
    for pass in passes {
        queue.finish(pass, End::Late, now + 3000 * MS);
    }
    assert_eq!((queue.limit(), queue.is_open()), (12, false));
}

#[derive(Clone, Debug)]
enum Step {
    /// A call of a session in a lane, which may go at once or wait.
    Enter(usize, u32),
    /// The ticket at this place, of those given out.
    Leave(usize),
    Next,
    /// The call at this place, of those sent.
    Finish(usize, End),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop::sample::select(vec![
        End::Answered,
        End::Answered,
        End::Answered,
        End::Reached,
        End::Overloaded,
        End::Late,
        End::Missed,
        End::Unknown,
    ]);
    prop_oneof![
        6 => (0..LANES, 0u32..5).prop_map(|(lane, session)| Step::Enter(lane, session)),
        1 => any::<usize>().prop_map(Step::Leave),
        4 => Just(Step::Next),
        3 => (any::<usize>(), end).prop_map(|(at, end)| Step::Finish(at, end)),
        1 => (0u64..700).prop_map(Step::Wait),
    ]
}

/// The plainest model: lists of those that wait and of those that are out.
struct Model {
    queue: Queue<u32>,
    now: Instant,
    /// A session's calls in a lane, in order.
    waiting: Vec<(Lane, u32, u32, Ticket)>,
    out: Vec<(Lane, u32, Pass)>,
    /// Sessions of a lane that were sent while another one was in line: whose turn it was, and who waited.
    passed: Vec<(Lane, u32, u32)>,
    max_of_session: usize,
}

impl Model {
    fn new(places: usize, limit: Option<usize>) -> Self {
        Self {
            queue: Queue::new(places, limit),
            now: start(),
            waiting: Vec::new(),
            out: Vec::new(),
            passed: Vec::new(),
            max_of_session: limit.map_or(8, |limit| (limit / 3).clamp(1, 8)),
        }
    }

    fn out_of(&self, lane: Lane, session: u32) -> usize {
        self.out.iter().filter(|(l, s, _)| (*l, *s) == (lane, session)).count()
    }

    /// Whether a session has a call in line.
    fn is_in_line(&self, lane: Lane, session: u32) -> bool {
        self.waiting.iter().any(|(l, s, ..)| (*l, *s) == (lane, session))
            && self.out_of(lane, session) < self.max_of_session
    }

    fn next(&mut self) -> Result<bool, TestCaseError> {
        let in_line: Vec<_> = (0..5)
            .flat_map(|session| Lane::ALL.map(|lane| (lane, session)))
            .filter(|(lane, session)| self.is_in_line(*lane, *session))
            .collect();
        let (lets, sent) = (self.queue.breaker.lets(self.now), self.queue.sent());
        let Some((pass, waiter)) = self.queue.next(self.now) else {
            let busy = self.queue.busy();
            let is_none_allowed = matches!(lets, Lets::None(_))
                || busy >= self.queue.limit()
                || in_line.iter().all(|(lane, _)| *lane != Lane::Command)
                    && busy >= self.queue.limit() * 9 / 10;
            prop_assert!(in_line.is_empty() || is_none_allowed, "{in_line:?} wait");
            return Ok(false);
        };
        let at = self.waiting.iter().position(|(.., call, _)| *call == waiter);
        let Some(at) = at else { return Err(TestCaseError::fail("it doesn't wait")) };
        let (lane, session, ..) = self.waiting[at];
        let is_its = |(l, s, ..): &(Lane, u32, u32, Ticket)| (*l, *s) == (lane, session);
        prop_assert!(!self.waiting[..at].iter().any(is_its), "in order");
        prop_assert!(in_line.contains(&(lane, session)));
        prop_assert!(self.queue.busy() <= self.queue.limit());
        let is_fixed = self.queue.limit.is_fixed();
        let max_out = if is_fixed { self.queue.limit() } else { MAX_OUT };
        prop_assert!(sent < max_out);
        self.waiting.remove(at);
        self.out.push((lane, session, pass));
        self.passed.retain(|(l, _, waits)| (*l, *waits) != (lane, session));
        for (l, waits) in in_line {
            if l == lane && waits != session {
                prop_assert!(!self.passed.contains(&(lane, session, waits)), "passed twice");
                self.passed.push((lane, session, waits));
            }
        }
        Ok(true)
    }

    fn step(&mut self, step: &Step, call: u32) -> Result<(), TestCaseError> {
        match *step {
            Step::Enter(lane, session) => {
                let lane = Lane::ALL[lane];
                let pass = self.queue.send(lane, sid(session), self.now);
                if let Some(pass) = pass {
                    let has_line = (0..5).any(|s| Lane::ALL.iter().any(|l| self.is_in_line(*l, s)));
                    prop_assert!(!has_line && self.out_of(lane, session) < self.max_of_session);
                    prop_assert!(self.queue.busy() <= self.queue.limit());
                    self.out.push((lane, session, pass));
                    return Ok(());
                }
                let is_held = self.out_of(lane, session) >= self.max_of_session;
                let has_place =
                    is_held || self.queue.line(lane).in_line() < self.queue.places(lane);
                let ticket = self.queue.enter(lane, sid(session), call, self.now);
                prop_assert!(ticket.is_some() == has_place || is_held);
                self.waiting.extend(ticket.map(|ticket| (lane, session, call, ticket)));
            }
            Step::Leave(at) if !self.waiting.is_empty() => {
                let (.., ticket) = self.waiting.remove(at % self.waiting.len());
                prop_assert!(self.queue.leave(ticket));
                prop_assert!(!self.queue.leave(ticket), "once");
            }
            Step::Finish(at, end) if !self.out.is_empty() => {
                let (.., pass) = self.out.swap_remove(at % self.out.len());
                self.queue.finish(pass, end, self.now);
            }
            Step::Leave(_) | Step::Finish(..) => {}
            Step::Next => drop(self.next()?),
            Step::Wait(millis) => self.now += MS * u32::try_from(millis).unwrap(),
        }
        let passed = std::mem::take(&mut self.passed);
        let still = passed.into_iter().filter(|(lane, _, waits)| self.is_in_line(*lane, *waits));
        self.passed = still.collect();
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.queue.sent(), self.out.len());
        prop_assert_eq!(self.queue.waiting(), self.waiting.len());
        let in_line = self.waiting.iter().filter(|(lane, s, ..)| self.is_in_line(*lane, *s));
        prop_assert_eq!(self.queue.all_in_line(), in_line.count());
        for (lane, session, _) in &self.out {
            prop_assert!(self.out_of(*lane, *session) <= self.max_of_session);
        }
        Ok(())
    }
}

proptest! {
    /// What the module says that holds.
    #[test]
    fn nobody_is_lost_doubled_passed_twice_or_kept_waiting(
        places in 1usize..40,
        limit in prop::option::of(1usize..30),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut model = Model::new(places, limit);
        for (call, step) in (0..).zip(steps) {
            model.step(&step, call)?;
            model.check()?;
        }
        // whatever has happened, all who wait are sent in the end: without an answer if the limit is found out
        while !model.waiting.is_empty() {
            if limit.is_some() || model.queue.all_in_line() == 0 || model.queue.is_open() {
                model.now += Duration::from_secs(1);
                for (.., pass) in std::mem::take(&mut model.out) {
                    model.queue.finish(pass, End::Reached, model.now);
                }
            } else if let Some(at) = model.queue.wakes_at(model.now) {
                model.now = model.now.max(at);
            }
            let has_sent = model.next()?;
            let others = model.queue.all_in_line() > model.queue.line(Lane::Command).in_line();
            prop_assert!(has_sent || model.queue.wakes_at(model.now).is_some() || others);
        }
        model.check()?;
    }
}
