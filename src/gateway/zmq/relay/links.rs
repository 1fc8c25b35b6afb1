//! The links of a relay to its successor, and to whom each is lent. Pure: it is told what was sent and what came.
//!
//! A link carries requests of one client at one time: replies bear no name that the relay could read, so they are told
//! apart by the link that they come over. It is lent until nothing is owed on it. Where a successor is replaced in turn, its
//! own relay must become quiet: so a link takes no new request when it is old, and a new one reaches whoever is there.

use super::super::shared::Door;
use crate::clock::Moment;
use crate::limits;

/// One way to the successor.
#[derive(Debug)]
pub(super) struct Link<W> {
    /// The socket.
    pub(super) wire: W,
    pub(super) door: Door,
    client: Box<[u8]>,
    owed: usize,
    made: Moment,
}

impl<W> Link<W> {
    /// Whose request it carries, or carried last.
    pub(super) fn client(&self) -> &[u8] {
        &self.client
    }

    fn takes(&self, now: Moment) -> bool {
        now.since(self.made) < limits::RELAY_LINK_AGE
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Links<W> {
    links: Vec<Link<W>>,
    owed: usize,
}

impl<W> Default for Links<W> {
    fn default() -> Self {
        Self { links: Vec::new(), owed: 0 }
    }
}

impl<W> Links<W> {
    /// Replies that are to come.
    pub(super) fn owed(&self) -> usize {
        self.owed
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Link<W>> {
        self.links.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn link(&self, at: usize) -> Option<&Link<W>> {
        self.links.get(at)
    }

    /// Whether a request of any client can be taken.
    pub(super) fn have_room(&self, door: Door, now: Moment) -> bool {
        let is_free = |link: &Link<W>| link.owed == 0 && link.door == door && link.takes(now);
        self.owed < limits::RELAY_OWED
            && (self.links.len() < limits::RELAY_LINKS || self.links.iter().any(is_free))
    }

    /// The link for a client's next request: its own, a free one, or one that `make` makes. It owes one more reply then.
    /// `None` when there is no room.
    ///
    /// # Errors
    /// What `make` says.
    pub(super) fn lend<E>(
        &mut self,
        door: Door,
        client: &[u8],
        now: Moment,
        make: impl FnOnce() -> Result<W, E>,
    ) -> Result<Option<&Link<W>>, E> {
        let usable = |link: &Link<W>| link.door == door && link.takes(now);
        let own = |link: &Link<W>| usable(link) && link.owed > 0 && *link.client == *client;
        let free = |link: &Link<W>| usable(link) && link.owed == 0;
        let found = self.links.iter().position(own).or_else(|| self.links.iter().position(free));
        let at = match found {
            Some(at) => at,
            None if self.links.len() >= limits::RELAY_LINKS => return Ok(None),
            None => {
                let wire = make()?;
                let client = Box::from(client);
                self.links.push(Link { wire, door, client, owed: 0, made: now });
                self.links.len() - 1
            }
        };
        let Some(link) = self.links.get_mut(at) else { return Ok(None) };
        if link.owed == 0 {
            link.client = Box::from(client);
        }
        link.owed += 1;
        self.owed += 1;
        Ok(Some(link))
    }

    /// A reply came over a link.
    pub(super) fn answered(&mut self, at: usize) {
        // more replies than requests are a fault of the other side, and of no account here
        if let Some(link) = self.links.get_mut(at)
            && link.owed > 0
        {
            link.owed -= 1;
            self.owed -= 1;
        }
    }

    /// Closes those that owe nothing and are too old to be lent.
    pub(super) fn close_old(&mut self, now: Moment) {
        self.links.retain(|link| link.owed > 0 || link.takes(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_millis(1000);

    fn lend(links: &mut Links<usize>, client: &str, now: Moment) -> Option<usize> {
        let next = links.len();
        let lent = links.lend(Door::Cli, client.as_bytes(), now, || Ok::<_, ()>(next));
        lent.expect("made").map(|link| link.wire)
    }

    #[test]
    fn a_link_is_of_one_client_until_nothing_is_owed() {
        let mut links = Links::default();
        assert_eq!(lend(&mut links, "a", START), Some(0));
        assert_eq!(lend(&mut links, "b", START), Some(1), "the first one is a's");
        assert_eq!(lend(&mut links, "a", START), Some(0), "requests of a client stay in order");
        assert_eq!(links.owed(), 3);
        links.answered(0);
        assert_eq!(lend(&mut links, "c", START), Some(2), "a waits for another one");
        links.answered(0);
        assert_eq!(lend(&mut links, "d", START), Some(0), "now it is free");
        assert_eq!(links.link(0).map(Link::client), Some(&b"d"[..]));
    }

    #[test]
    fn the_sockets_have_links_of_their_own() {
        let mut links = Links::default();
        assert_eq!(lend(&mut links, "a", START), Some(0));
        links.answered(0);
        let lent = links.lend(Door::Handshake, b"a", START, || Ok::<_, ()>(9)).expect("made");
        assert_eq!(lent.map(|link| link.wire), Some(9));
    }

    #[test]
    fn an_old_link_takes_nothing_new_and_is_closed_when_nothing_is_owed() {
        let mut links = Links::default();
        lend(&mut links, "a", START);
        let later = START + limits::RELAY_LINK_AGE;
        assert_eq!(lend(&mut links, "a", later), Some(1));
        links.close_old(later);
        assert_eq!(links.len(), 2, "a reply is to come over it");
        links.answered(0);
        links.close_old(later);
        assert_eq!(links.len(), 1);
        assert_eq!(links.link(0).map(|link| link.wire), Some(1));
        links.answered(0);
        links.close_old(later + limits::RELAY_LINK_AGE);
        assert_eq!((links.len(), links.owed()), (0, 0));
    }

    #[test]
    fn they_are_bounded() {
        let mut links = Links::default();
        for client in 0..limits::RELAY_LINKS {
            assert!(links.have_room(Door::Cli, START));
            assert!(lend(&mut links, &client.to_string(), START).is_some());
        }
        assert!(!links.have_room(Door::Cli, START));
        assert_eq!(lend(&mut links, "one more", START), None);
        links.answered(3);
        assert!(links.have_room(Door::Cli, START));
        assert_eq!(lend(&mut links, "one more", START), Some(3));
        while links.owed() < limits::RELAY_OWED {
            lend(&mut links, "one more", START);
        }
        links.close_old(START + limits::RELAY_LINK_AGE);
        assert!(!links.have_room(Door::Cli, START));
    }

    #[test]
    fn replies_that_nobody_asked_for_change_nothing() {
        let mut links = Links::default();
        links.answered(0);
        lend(&mut links, "a", START);
        for _ in 0..3 {
            links.answered(0);
        }
        assert_eq!(links.owed(), 0);
        assert_eq!(lend(&mut links, "b", START), Some(0));
        assert_eq!(links.owed(), 1);
    }
}
