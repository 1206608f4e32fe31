//! Kept values: those that live, whose handles the caller has, and those that the lane is to drop.

use super::{Model, Side};
use crate::program::Id;
use crate::view::{Saw, Thing};
use std::collections::{BTreeSet, VecDeque};
use std::mem;

#[derive(Default)]
pub(super) struct Kept {
    /// The values that live, in the order in which they were made.
    values: Vec<Id>,
    handles: BTreeSet<Id>,
    /// Values whose handles were dropped elsewhere.
    released: VecDeque<Id>,
    /// Whether the lane has just run a job: it sees to what was released before the next one.
    is_release_next: bool,
}

impl Kept {
    /// The value of one of the handles that the caller has.
    pub(super) fn pick(&self, n: usize) -> Option<Id> {
        self.handles.iter().nth(n % self.handles.len().max(1)).copied()
    }

    /// The caller gets the handle.
    pub(super) fn take(&mut self, id: Id) {
        self.handles.insert(id);
    }

    /// The caller drops the handle.
    pub(super) fn let_go(&mut self, id: Id) -> Saw {
        self.handles.remove(&id);
        self.released.push_back(id);
        Saw::Nothing
    }

    /// A call has kept a value.
    pub(super) fn add(&mut self, id: Id) {
        self.values.push(id);
    }

    /// The lane takes a job.
    pub(super) fn job_begins(&mut self) {
        self.is_release_next = true;
    }
}

impl Model {
    /// The handle is dropped, without being taken by the caller: on the lane the value goes at once.
    pub(super) fn release(&mut self, id: Id, side: Side) {
        match side {
            Side::Lane => self.drop_kept(id),
            Side::Caller => self.kept.released.push_back(id),
        }
    }

    /// Before the lane looks for the next job.
    pub(super) fn release_after_a_job(&mut self) {
        if mem::take(&mut self.kept.is_release_next) {
            self.release_all();
        }
    }

    /// Drops what was released, unless the lane is in a session.
    pub(super) fn release_all(&mut self) {
        while self.session.is_none() {
            let Some(id) = self.kept.released.pop_front() else { return };
            self.drop_kept(id);
        }
    }

    /// Drops all values, the newest first.
    pub(super) fn clear_kept(&mut self) {
        while let Some(id) = self.kept.values.pop() {
            self.dropped(Thing::Kept(id), Side::Lane);
        }
    }

    fn drop_kept(&mut self, id: Id) {
        if let Some(at) = self.kept.values.iter().position(|value| *value == id) {
            self.kept.values.remove(at);
            self.dropped(Thing::Kept(id), Side::Lane);
        }
    }
}
