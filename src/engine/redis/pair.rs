//! Two connections to a run of a server: one for commands, one that is subscribed.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{cmd, pipe};

use super::fault::Fault;
use super::inbox::{Input, News};
use super::link::{self, Link};
use super::meta::Meta;
use super::shared::Followed;

/// Two connections to a run of a server, and the partitions that use them. They lose their link when this is dropped.
#[derive(Debug)]
pub(super) struct Pair {
    link: Link,
    subscribed: MultiplexedConnection,
    /// All partitions; their numbers are the indexes.
    partitions: Arc<[Followed]>,
    /// Those that have the link.
    given: BTreeSet<u16>,
}

impl Pair {
    pub(super) fn new(
        link: Link,
        subscribed: MultiplexedConnection,
        partitions: Arc<[Followed]>,
    ) -> Self {
        Self { link, subscribed, partitions, given: BTreeSet::new() }
    }

    /// Subscribes to the channels of partitions, and gives these the link. Those that the server doesn't have, although
    /// it should, get it at another time.
    pub(super) async fn serve(&mut self, assigned: &[u16]) -> Result<(), Fault> {
        if self.given.iter().any(|partition| !assigned.contains(partition)) {
            return Err(Fault::Moved);
        }
        let is_new = |partition: &&u16| !self.given.contains(*partition);
        let new: Vec<_> = assigned.iter().filter(is_new).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut subscribe = pipe();
        for partition in new.iter().filter_map(|number| self.followed(*number)) {
            // one each: each acknowledgement is an answer
            subscribe.cmd(self.link.channels.subscribe).arg(&partition.keys.channel);
        }
        let answers = link::ask_each(&self.subscribed, &subscribe).await?;
        let mut elsewhere = None;
        for (number, answer) in new.into_iter().zip(answers) {
            match answer {
                Ok(_) => self.give(number),
                Err(fault) if fault.is_elsewhere() => elsewhere = Some(fault),
                Err(fault) => return Err(fault),
            }
        }
        match elsewhere {
            Some(fault) if self.given.is_empty() => return Err(fault),
            Some(_) => self.link.look(),
            None => {}
        }
        Ok(())
    }

    /// Tells all followers how their logs are.
    pub(super) async fn check(&self) -> Result<(), Fault> {
        let given: Vec<_> = self.given.iter().filter_map(|number| self.followed(*number)).collect();
        let delivered: Vec<_> =
            given.iter().map(|partition| partition.progress.delivered()).collect();
        let mut ask = pipe();
        for partition in &given {
            ask.add_command(Meta::ask(&partition.keys));
        }
        let metas = self.link.ask_each(&ask).await?;
        // what was published before is delivered before this is answered
        link::ask(&self.subscribed, &cmd("PING")).await?;
        for ((partition, meta), delivered) in given.into_iter().zip(metas).zip(delivered) {
            match meta {
                Ok(meta) => {
                    let meta = Meta::read(meta).ok_or(Fault::Unexpected)?;
                    let news = News::Checked { meta, delivered };
                    partition.outlet.send(Input { link: self.link.number, news });
                }
                Err(fault) if fault.is_elsewhere() => self.link.look(),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    fn followed(&self, number: u16) -> Option<&Followed> {
        self.partitions.get(usize::from(number))
    }

    fn give(&mut self, number: u16) {
        if let Some(partition) = self.followed(number) {
            partition.link.send_replace(Some(self.link.clone()));
            self.given.insert(number);
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for partition in self.given.iter().filter_map(|number| self.followed(*number)) {
            partition.link.send_if_modified(|link| {
                // the partition may have got that of another server already
                link.take_if(|link| link.number == self.link.number).is_some()
            });
        }
    }
}
