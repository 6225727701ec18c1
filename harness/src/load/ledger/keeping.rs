//! Which sessions need a login or a refresh off the timed path, and what came of it?

use std::cmp::Reverse;

use super::Ledger;
use crate::clock;
use crate::load::session::Session;
use crate::load::shared::Chore;
use crate::target::Vars;
use crate::units::Nanos;

impl Ledger<'_> {
    /// The session's tokens are used up or unknown: a login off the timed path has to replace them.
    pub(super) fn end_session(&mut self, at: u32) {
        if let Some(session) = self.sessions.list.get_mut(at as usize) {
            session.locked = false;
            session.ended = true;
            session.killed = clock::mono();
            // Who walks with a session of his own logs in by himself.
            if (at as usize) < self.prepared {
                self.tired.push_back(at);
            }
        }
    }

    /// Remembers when a session's token has to be renewed, if that is during this drive: so long before its end as was
    /// asked for, and never before half of its life is over, since what is renewed at once would be renewed for ever.
    pub(super) fn watch_end(&mut self, at: u32) {
        // Who walks with a session of his own renews it by himself.
        if at as usize >= self.prepared {
            return;
        }
        let now = clock::mono();
        if let Some(session) = self.sessions.list.get_mut(at as usize)
            && session.expires.0 > 0
        {
            let left = session.expires.since(now);
            let due = session.expires.since(Nanos(self.shared.lead.0.min(left.0 / 2)));
            session.renew_at = due;
            if due <= self.drained {
                self.ends_of_tokens.push(Reverse((due, at)));
            }
        }
    }

    /// What the drive before left to do, and which tokens end during this one.
    pub(super) fn find_tired(&mut self) {
        for at in 0..self.sessions.list.len() as u32 {
            if self.sessions.list[at as usize].ended {
                self.tired.push_back(at);
            } else {
                self.watch_end(at);
            }
        }
    }

    /// Takes what chores brought, and asks for what is needed.
    pub(super) fn chores(&mut self, now: Nanos) {
        while let Ok((at, issued)) = self.lines.renewed.try_recv() {
            match (issued, self.sessions.list.get_mut(at as usize)) {
                (Some((issued, when)), Some(session)) => {
                    let claims = Session::claims(&issued);
                    session.renew(&issued, claims, &self.shared.others, self.shared.lifetime_s, when);
                    self.sessions.renewed(at as usize);
                    self.watch_end(at);
                    self.rings.session_is_free();
                }
                _ => self.end_session(at),
            }
        }
        if now >= self.ends {
            return;
        }
        while let Some(Reverse((due, at))) = self.ends_of_tokens.peek().copied() {
            if due > now {
                break;
            }
            self.ends_of_tokens.pop();
            let session = &self.sessions.list[at as usize];
            if session.renew_at == due && !session.ended {
                self.tired.push_back(at);
            }
        }
        for _ in 0..self.tired.len() {
            let Some(at) = self.tired.pop_front() else { break };
            let session = &mut self.sessions.list[at as usize];
            if session.locked {
                // A refresh of its own is on its way; it will be looked at again.
                self.tired.push_back(at);
                continue;
            }
            let refresh = (!session.ended && !session.refresh.is_empty() && self.shared.can_refresh).then(|| {
                Vars::with_token(&String::from_utf8_lossy(&session.refresh))
                    .issued(&session.values(&self.shared.others))
            });
            session.locked = true;
            if refresh.is_some() && self.shared.refresh_kills {
                session.killed = now;
            }
            if self.lines.chores.try_send(Chore { worker: self.index, session: at, refresh }).is_err() {
                session.locked = false;
                self.tired.push_front(at);
                break;
            }
        }
    }
}
