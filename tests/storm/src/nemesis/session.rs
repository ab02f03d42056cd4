//! What goes on on one connection between a worker and the database, as seen from the middle.
//!
//! Remembers what each prepared statement is and which answers are owed, and says of every message what is to become
//! of it. It moves no bytes. Start at [`Session::upward`] and [`Session::downward`].

use super::aim::{Aim, Aims};
use super::statement::Statement;
use super::wire::{Message, first_parameter, second_column, text};
use crate::record::Window;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// Runs for which a tool's reply was delivered and nothing has been recorded since.
#[derive(Debug, Default)]
pub(super) struct Replies(Mutex<HashSet<Uuid>>);

impl Replies {
    pub(super) fn delivered(&self, run: Uuid) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
    }

    /// Whether there were any for the runs of this list, which are forgotten now.
    fn recorded(&self, runs: &[u8]) -> bool {
        let mut replies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = replies.len();
        replies.retain(|run| !runs.windows(16).any(|found| found == run.as_bytes()));
        replies.len() < before
    }
}

/// What becomes of a message of the worker.
#[derive(Debug)]
pub(super) enum Upward {
    Forward,
    /// It must not go on, if the aim is taken.
    Strike(Arc<Aim>),
}

/// What becomes of a message of the server.
#[derive(Debug)]
pub(super) enum Downward {
    /// After all that is held.
    Deliver,
    /// Until another one is delivered.
    Hold,
    /// It was never there.
    Swallow,
    /// Neither it nor what is held may arrive, if the aim is taken.
    Strike(Arc<Aim>),
}

/// What was sent up to one Sync, and is answered up to one ReadyForQuery.
#[derive(Debug, Default)]
struct Group {
    statements: Vec<Statement>,
    /// Its answer has begun.
    is_answered: bool,
    /// Its answer is held for this aim.
    aim: Option<Arc<Aim>>,
    rows: usize,
    /// The second column of one of its rows said yes.
    says_yes: bool,
    has_failed: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    prepared: HashMap<Vec<u8>, Statement>,
    sending: Group,
    owed: VecDeque<Group>,
    /// The last statement that locks abandoned runs found some.
    holds_abandoned: bool,
}

impl Session {
    pub(super) fn new() -> Self {
        Self {
            prepared: HashMap::new(),
            sending: Group::default(),
            // The opening of the connection is answered like a statement.
            owed: VecDeque::from([Group::default()]),
            holds_abandoned: false,
        }
    }

    pub(super) fn upward(&mut self, message: &Message, aims: &Aims, replies: &Replies) -> Upward {
        let body = message.body();
        match message.kind {
            Some(b'P') => {
                if let Some((name, rest)) = text(body) {
                    let sql = text(rest).map_or(rest, |(sql, _)| sql);
                    self.prepared.insert(name.to_vec(), Statement::of(sql));
                }
            }
            Some(b'C') => {
                if let Some((b'S', name)) = body.split_first() {
                    self.prepared.remove(text(name).map_or(name, |(name, _)| name));
                }
            }
            Some(b'B') => {
                let name = text(body).and_then(|(_portal, rest)| text(rest));
                let statement = name.and_then(|(name, _)| self.prepared.get(name).copied());
                let statement = statement.unwrap_or(Statement::Other);
                self.sending.statements.push(statement);
                let is_record = statement == Statement::Record;
                if is_record {
                    self.sending.statements.extend(Statement::within(body));
                }
                let reply = is_record && first_parameter(body).is_some_and(|runs| replies.recorded(runs));
                return self.aim_before(statement, aims, reply);
            }
            Some(b'Q') => {
                self.sending.statements.push(Statement::of(body));
                self.owed.push_back(std::mem::take(&mut self.sending));
            }
            Some(b'S') => self.owed.push_back(std::mem::take(&mut self.sending)),
            None | Some(_) => {}
        }
        Upward::Forward
    }

    /// Whether what is being sent records something.
    pub(super) fn takes_record(&self) -> bool {
        self.sending.statements.contains(&Statement::Record)
    }

    fn aim_before(&self, statement: Statement, aims: &Aims, has_reply: bool) -> Upward {
        let window = match statement {
            Statement::Claim => Some(Window::ClaimUncommitted),
            Statement::Record => has_reply.then_some(Window::ReplyUnrecorded),
            Statement::Reclaim => self.holds_abandoned.then_some(Window::ReclaimUncommitted),
            Statement::Park
            | Statement::Finish
            | Statement::Release
            | Statement::Extend
            | Statement::LockAbandoned
            | Statement::Other => None,
        };
        let aim = window.and_then(|window| aims.armed(window));
        aim.map_or(Upward::Forward, Upward::Strike)
    }

    pub(super) fn downward(&mut self, message: &Message, aims: &Aims, is_muted: bool) -> Downward {
        match message.kind {
            Some(b'A') if is_muted => return Downward::Swallow,
            Some(b'Z') => return self.answered(message.body()),
            // These come when they like and answer nothing.
            Some(b'A' | b'N' | b'S') => return self.held(),
            None | Some(_) => {}
        }
        if let Some(group) = self.owed.front_mut() {
            if !group.is_answered {
                group.is_answered = true;
                group.aim = group
                    .statements
                    .iter()
                    .find_map(|statement| aim_after(*statement, aims));
            }
            match message.kind {
                Some(b'D') => {
                    group.says_yes |= matches!(second_column(message.body()), Some([1] | b"t"));
                    group.rows += 1;
                }
                Some(b'E') => group.has_failed = true,
                None | Some(_) => {}
            }
        }
        self.held()
    }

    fn held(&self) -> Downward {
        let is_held = self.owed.front().is_some_and(|group| group.aim.is_some());
        if is_held { Downward::Hold } else { Downward::Deliver }
    }

    /// All of an answer is here.
    fn answered(&mut self, status: &[u8]) -> Downward {
        let Some(group) = self.owed.pop_front() else {
            return Downward::Deliver;
        };
        if group.statements.contains(&Statement::LockAbandoned) {
            self.holds_abandoned = group.rows > 0;
        }
        // Without a row nothing was written, and within a transaction nothing is committed.
        let is_refused = group.statements.contains(&Statement::Record) && !group.says_yes;
        let is_committed = group.rows > 0 && !group.has_failed && !is_refused && status == b"I";
        match group.aim {
            Some(aim) if is_committed => Downward::Strike(aim),
            Some(_) | None => Downward::Deliver,
        }
    }
}

fn aim_after(statement: Statement, aims: &Aims) -> Option<Arc<Aim>> {
    let windows: &[Window] = match statement {
        Statement::Claim => &[Window::ClaimUnread],
        Statement::Record => &[Window::RecordUnanswered, Window::RecordAnswerLost],
        Statement::Park => &[Window::ParkUnanswered],
        Statement::Finish => &[Window::FinishUnanswered],
        Statement::Extend => &[Window::ExtendUnanswered],
        Statement::Release | Statement::LockAbandoned | Statement::Reclaim | Statement::Other => &[],
    };
    windows.iter().find_map(|window| aims.armed(*window))
}

#[cfg(test)]
mod tests;
