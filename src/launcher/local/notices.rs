//! What the launcher found out by itself, until somebody listens.

use std::collections::VecDeque;

use actix::Recipient;

use crate::launcher::LauncherNotice;
use crate::limits;

/// Tells notices; keeps those that came before anybody listened.
#[derive(Debug, Default)]
pub(super) struct Notices {
    listener: Option<Recipient<LauncherNotice>>,
    kept: VecDeque<LauncherNotice>,
}

impl Notices {
    /// Notices go to `listener` from now on.
    pub(super) fn subscribe(&mut self, listener: Recipient<LauncherNotice>) {
        for notice in self.kept.drain(..) {
            listener.do_send(notice);
        }
        self.listener = Some(listener);
    }

    /// Tells one.
    pub(super) fn tell(&mut self, notice: LauncherNotice) {
        match &self.listener {
            Some(listener) => listener.do_send(notice),
            None => {
                if self.kept.len() >= limits::NOTICES_KEPT {
                    self.kept.pop_front();
                }
                self.kept.push_back(notice);
            }
        }
    }
}
