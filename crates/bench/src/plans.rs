//! How connections and streams are spread over each other.

use crate::client::{Joins, Plan};

/// Connections over streams, evenly: as many subscriptions as the larger of the two numbers, so that
/// every stream has a subscriber and every connection a stream.
pub(crate) fn spread(connections: u32, streams: u32, joins: Joins) -> Vec<Plan> {
    let streams = streams.max(1);
    let plan = |number: u32| {
        let own = (number % streams..streams).step_by(connections as usize);
        let own = if streams > connections { own.collect() } else { Box::from([number % streams]) };
        Plan { streams: own, joins }
    };
    (0..connections).map(plan).collect()
}

/// How many follow each stream.
pub(crate) fn audiences(plans: &[Plan], streams: u32) -> Vec<u64> {
    let mut audiences = vec![0; streams.max(1) as usize];
    for stream in plans.iter().flat_map(|plan| plan.streams.iter()) {
        if let Some(audience) = audiences.get_mut(*stream as usize) {
            *audience += 1;
        }
    }
    audiences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_a_subscriber_and_every_connection_a_stream() {
        for (connections, streams, subscriptions) in
            [(10, 1, 10), (10, 3, 10), (10, 10, 10), (10, 11, 11), (10, 1005, 1005), (1, 7, 7)]
        {
            let plans = spread(connections, streams, Joins::No);
            assert_eq!(plans.len(), connections as usize);
            assert!(plans.iter().all(|plan| !plan.streams.is_empty()));
            let audiences = audiences(&plans, streams);
            assert!(audiences.iter().all(|audience| *audience > 0), "{connections} {streams}");
            assert_eq!(audiences.iter().sum::<u64>(), subscriptions);
            let (min, max) = (audiences.iter().min(), audiences.iter().max());
            assert!(max.unwrap() - min.unwrap() <= 1);
        }
    }
}
