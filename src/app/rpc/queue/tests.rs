use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;

fn start() -> Instant {
    Clock::new().now()
}

/// Fills a lane with so many.
fn fill(queue: &mut Queue<u32>, lane: Lane, count: u32, now: Instant) {
    for waiter in 0..count {
        queue.enter(lane, waiter, now).unwrap();
    }
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
    while queue.next(now).is_some() {}
    assert_eq!(queue.sent(), 18, "all but a tenth, which is for commands");
    fill(&mut queue, Lane::Command, 2, now);
    while queue.next(now).is_some() {}
    assert_eq!((queue.sent(), queue.waiting(Lane::Command)), (20, 0));
}

#[test]
fn a_storm_of_connects_takes_no_place_of_a_command() {
    let (now, mut queue) = (start(), Queue::new(10, Some(1)));
    assert!(queue.enter(Lane::Connect, 0, now).is_some());
    assert!(queue.has_room(Lane::Connect, Duration::from_secs(1), now));
    assert!(queue.enter(Lane::Connect, 1, now).is_some());
    assert!(!queue.has_room(Lane::Connect, Duration::from_secs(1), now));
    assert_eq!(queue.enter(Lane::Connect, 2, now), None);
    assert!(queue.enter(Lane::Disconnect, 0, now).is_some());
    assert_eq!(queue.enter(Lane::Disconnect, 1, now), None);
    fill(&mut queue, Lane::Command, 7, now);
    assert_eq!(queue.enter(Lane::Command, 7, now), None);
    assert_eq!(queue.all_waiting(), 10);
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

#[derive(Clone, Debug)]
enum Step {
    Enter(usize),
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
        End::Reached,
        End::Overloaded,
        End::Missed,
        End::Unknown,
    ]);
    prop_oneof![
        3 => (0..LANES).prop_map(Step::Enter),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => Just(Step::Next),
        3 => (any::<usize>(), end).prop_map(|(at, end)| Step::Finish(at, end)),
        1 => (0u64..700).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Against the plainest model: nobody is sent twice or after leaving, nobody is forgotten, lanes are in order, the
    /// limit and the places hold, and whoever waits is sent when those before have ended well.
    #[test]
    fn nobody_is_lost_doubled_or_overtaken(
        places in 1usize..40,
        limit in prop::option::of(1usize..8),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut now = start();
        let mut queue = Queue::new(places, limit);
        let mut waiting: [Vec<(u32, Ticket)>; LANES] = Default::default();
        let (mut tickets, mut passes, mut count) = (Vec::new(), Vec::new(), 0);
        let next = |queue: &mut Queue<u32>, waiting: &mut [Vec<(u32, Ticket)>; LANES], now| {
            let sent = queue.sent();
            let Some((pass, waiter)) = queue.next(now) else { return Ok(None) };
            let lane = &mut waiting[pass.lane as usize];
            prop_assert!(!lane.is_empty(), "{waiter} doesn't wait");
            prop_assert_eq!(lane.remove(0).0, waiter);
            prop_assert!(pass.tries || sent < queue.limit());
            Ok(Some(pass))
        };
        for step in steps {
            match step {
                Step::Enter(lane) => {
                    let lane = Lane::ALL[lane];
                    let has_place = queue.waiting(lane) < queue.places(lane);
                    let ticket = queue.enter(lane, count, now);
                    prop_assert_eq!(ticket.is_some(), has_place);
                    if let Some(ticket) = ticket {
                        waiting[lane as usize].push((count, ticket));
                        tickets.push(ticket);
                    }
                    count += 1;
                }
                Step::Leave(at) if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(at % tickets.len());
                    let lane = &mut waiting[ticket.lane as usize];
                    let waits = lane.iter().position(|(_, held)| *held == ticket);
                    prop_assert_eq!(queue.leave(ticket), waits.is_some());
                    waits.map(|at| lane.remove(at));
                }
                Step::Finish(at, end) if !passes.is_empty() => {
                    let pass = passes.swap_remove(at % passes.len());
                    queue.finish(pass, end, now);
                }
                Step::Leave(_) | Step::Finish(..) => {}
                Step::Next => passes.extend(next(&mut queue, &mut waiting, now)?),
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(queue.sent(), passes.len());
            let lens: Vec<_> = waiting.iter().map(Vec::len).collect();
            prop_assert_eq!(Lane::ALL.map(|lane| queue.waiting(lane)).to_vec(), lens);
        }
        // whatever has happened, all who wait are sent in the end
        now += Duration::from_secs(1);
        for pass in passes.drain(..) {
            queue.finish(pass, End::Reached, now);
        }
        while waiting.iter().any(|lane| !lane.is_empty()) {
            let sent = next(&mut queue, &mut waiting, now)?;
            prop_assert!(sent.is_some(), "somebody waits for ever");
            queue.finish(sent.unwrap(), End::Answered, now);
        }
        prop_assert_eq!(queue.sent(), 0);
    }
}
