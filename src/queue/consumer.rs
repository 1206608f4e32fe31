//! The lane's side of the queue: taking what is next.

use super::list::KEPT_ASLEEP;
use super::refill::Refill;
use super::spin::{Coalesce, LaneSpin};
use super::state::{Event, Queue, Ready, Running};
use super::turn::Turn;
use crate::sync::{Arc, MutexGuard, Ordering};
use crate::waker::wake;
use std::mem;

/// How many retired jobs are kept for callers.
const RETIRED_JOBS: usize = 256;
/// The largest retired job that is kept, in bytes.
const RETIRED_BYTES: usize = 256;

/// What the lane does next.
pub(crate) enum Next<J: ?Sized> {
    Job(Arc<J>),
    Event(Event),
    /// There is nothing, or nothing more within the turn.
    Idle,
    /// There is nothing, and nothing will come but for the jobs that end the lane.
    Closed,
}

/// The next of the jobs that end the lane.
pub(crate) enum Last<J: ?Sized> {
    Job(u64, Arc<J>),
    /// There is one, but not within the turn.
    Later,
    Nothing,
}

/// What only the lane has of the queue.
pub(crate) struct Consumer<J: ?Sized> {
    pub(super) spin: LaneSpin,
    coalesce: Coalesce,
    /// Whether the lane has just run a job, or dropped a released value: if there are events, one of
    /// them comes next.
    is_event_next: bool,
    /// Whether jobs may be ready. Callers take out of that list, and only the lane adds to it.
    may_be_ready: bool,
    /// Jobs that have run, on their way to the inbox.
    pub(super) retired: Vec<Arc<J>>,
}

impl<J: ?Sized> Consumer<J> {
    /// Of a lane that has its thread to itself.
    pub(crate) fn new(spin: LaneSpin) -> Self {
        Self {
            spin,
            coalesce: Coalesce::enabled(),
            is_event_next: false,
            may_be_ready: false,
            retired: Vec::new(),
        }
    }

    /// Of a lane whose thread has other things to do.
    pub(crate) fn guest() -> Self {
        Self { coalesce: Coalesce::default(), ..Self::new(LaneSpin::of_scope(false)) }
    }

    /// Takes a job that has run. Nothing foreign is left in it, and nobody waits for it.
    pub(crate) fn retire(&mut self, job: Arc<J>) {
        if self.retired.len() < RETIRED_JOBS && size_of_val(&*job) <= RETIRED_BYTES {
            self.retired.push(job);
        }
    }

    /// The thread of a guest does nothing else from here on.
    pub(crate) fn own_thread(&mut self, spin: LaneSpin) {
        (self.spin, self.coalesce) = (spin, Coalesce::enabled());
    }

    pub(super) fn free_retired(&mut self) {
        if self.retired.capacity() > 0 {
            self.retired.clear();
            self.retired.shrink_to(KEPT_ASLEEP);
        }
    }
}

impl<J: ?Sized> Queue<J> {
    /// The next job or event within the turn. Jobs and events take turns, but the values that were
    /// released go all at once. Waits for nothing.
    ///
    /// `start` is called with a job before the lock is released: a thread that does not find the
    /// job in the queue finds it started.
    #[inline]
    pub(crate) fn try_next(
        &self,
        consumer: &mut Consumer<J>,
        turn: &mut Turn,
        start: impl Fn(u64, &J) -> &'static str,
    ) -> Next<J> {
        if mem::take(&mut consumer.is_event_next) {
            if let Some(event) = self.pop_event(turn) {
                // A job may keep many values. If the lane dropped one after each job, more and more
                // would be left to drop.
                consumer.is_event_next = matches!(event, Event::Released(_));
                return Next::Event(event);
            }
        }
        if consumer.may_be_ready {
            if let Some(job) = self.pop(self.ready(), turn, &start) {
                consumer.is_event_next = true;
                return Next::Job(job);
            }
            // There may be some that are not within the turn.
            consumer.may_be_ready = turn.before < u64::MAX;
        }
        self.try_next_batch(consumer, turn, &start)
    }

    /// As [`try_next`](Self::try_next), when the jobs of a batch have run: takes the first of the next
    /// one.
    ///
    /// Not inlined, so that what there is to do for each job is short: 52 ns a post instead of 56.
    #[inline(never)]
    fn try_next_batch(
        &self,
        consumer: &mut Consumer<J>,
        turn: &mut Turn,
        start: &impl Fn(u64, &J) -> &'static str,
    ) -> Next<J> {
        let has_work = || self.has_work.load(Ordering::Relaxed);
        // The end of the lane is work as well, but no more comes after it.
        if !self.is_ending.load(Ordering::Relaxed) {
            consumer.coalesce.wait(has_work);
        }
        // Without work the lane leaves the inbox to its callers.
        if has_work() {
            let mut ready = self.ready();
            match self.refill(&mut ready, &mut consumer.retired) {
                Refill::Jobs(jobs) => {
                    consumer.coalesce.took(jobs);
                    consumer.may_be_ready = jobs > 1;
                    if let Some(job) = self.pop(ready, turn, start) {
                        consumer.is_event_next = true;
                        return Next::Job(job);
                    }
                    consumer.may_be_ready = true;
                }
                Refill::Nothing => {}
                Refill::Closed => return Next::Closed,
            }
        }
        self.pop_event(turn).map_or(Next::Idle, Next::Event)
    }

    /// Takes the first job that is ready, if it is within the turn.
    ///
    /// Not inlined, so that the job comes back in registers, and not through the stack: 54 ns a post
    /// instead of 60 (one CPU).
    #[inline(never)]
    fn pop(
        &self,
        mut ready: MutexGuard<'_, Ready<J>>,
        turn: &mut Turn,
        start: &impl Fn(u64, &J) -> &'static str,
    ) -> Option<Arc<J>> {
        let (sequence, job) = ready.list.pop_before(turn.before)?;
        turn.steps -= 1;
        let name = start(sequence, &job);
        ready.running = Running { sequence, is_told: false, name };
        let mut admitted = None;
        if self.tracks_jobs {
            let mut inbox = self.inbox.lock();
            let is_counted = inbox.session().is_none();
            admitted = inbox.on_removed(sequence, is_counted);
            self.publish_first_waiting(&mut inbox);
        }
        drop(ready);
        wake(admitted);
        Some(job)
    }

    /// Takes the next of the jobs that wait until there is nothing else, after
    /// [`try_next`](Self::try_next) has returned [`Next::Closed`].
    pub(crate) fn pop_last(&self, turn: &mut Turn, start: impl Fn(u64, &J) -> &'static str) -> Last<J> {
        let mut ready = self.ready();
        let mut inbox = self.inbox.lock();
        let last = inbox.extras.as_mut().map(|extras| &mut extras.last).filter(|last| !last.is_empty());
        let Some(last) = last else { return Last::Nothing };
        let Some((sequence, job)) = last.pop_before(turn.before) else { return Last::Later };
        turn.steps -= 1;
        let name = start(sequence, &job);
        ready.running = Running { sequence, is_told: false, name };
        drop(inbox.on_removed(sequence, false));
        Last::Job(sequence, job)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::counters::Counters;
    use super::super::posts::{PostPlace, Room};
    use super::*;
    use crate::error::CallError;
    use crate::sync::thread;
    use std::task::{Context, Poll, Waker};

    fn consumer<J: ?Sized>() -> Consumer<J> {
        Consumer::new(LaneSpin::new(false))
    }

    fn pop(queue: &Queue<u64>) -> Option<Arc<u64>> {
        queue.pop(queue.ready(), &mut Turn::endless(), &|_, _| "")
    }

    /// Wherever a call is, it counts as pending, its caller finds it, and an abort takes it out in
    /// the order of the places.
    #[test]
    fn no_call_is_out_of_reach_while_there_is_a_session() {
        // A queue in a session, with two calls in each of the four lists.
        let queue = || {
            let queue = Queue::<u64>::new(Some(100), false, false);
            for job in 1..=3 {
                queue.push(Arc::new(job)).unwrap();
            }
            assert!(matches!(queue.refill(&mut queue.ready(), &mut Vec::new()), Refill::Jobs(3)));
            assert_eq!(pop(&queue).as_deref(), Some(&1), "the one that opens the session");
            queue.open_session().unwrap();
            for job in [10, 11] {
                queue.push_in_session(Arc::new(job)).unwrap();
            }
            assert!(matches!(queue.refill(&mut queue.ready(), &mut Vec::new()), Refill::Jobs(2)));
            for job in [12, 13] {
                queue.push_in_session(Arc::new(job)).unwrap();
            }
            for job in [20, 21] {
                queue.push(Arc::new(job)).unwrap();
            }
            queue
        };
        let counted = |queue: &Queue<u64>| {
            queue.inbox.lock().extras.as_ref().unwrap().admission.as_ref().unwrap().len()
        };
        let aborted = queue();
        assert_eq!((aborted.pending(), counted(&aborted)), (8, 4));
        let discarded = std::cell::RefCell::new(Vec::new());
        aborted.abort(|_| (), |job| discarded.borrow_mut().push(*job));
        assert_eq!(discarded.into_inner(), [10, 11, 12, 13, 2, 3, 20, 21]);
        assert_eq!(aborted.counts(Counters::read).discarded, 8);
        // What waited behind the session was discarded, although its calls, which come later, were begun.
        let polled = |sequence| {
            let post = PostPlace { sequence, room: Room::Found };
            aborted.poll_admission(post, &mut Context::from_waker(Waker::noop()))
        };
        assert!(matches!(polled(0), Poll::Ready(Ok(()))));
        assert!(matches!(polled(1), Poll::Ready(Err(CallError::Closed))));

        let cancelled = queue();
        for (sequence, job, pending, left) in
            [(3, 10, 7, 4), (5, 12, 6, 4), (1, 2, 5, 3), (7, 20, 4, 2), (4, 11, 3, 2), (2, 3, 2, 1)]
        {
            assert_eq!(cancelled.remove(sequence).as_deref(), Some(&job));
            assert!(cancelled.remove(sequence).is_none());
            assert_eq!((cancelled.pending(), counted(&cancelled)), (pending, left), "after {job}");
        }
    }

    /// A job queues another one, which is not within the turn.
    #[test]
    fn all_events_of_a_turn_come_although_later_jobs_are_ready() {
        let (queue, mut consumer) = (Queue::<u64>::new(None, false, false), consumer());
        let mut turn = Turn::up_to(1, 3);
        queue.push(Arc::new(0)).unwrap();
        for task in 1..=4 {
            assert!(queue.schedule(Event::Woken(task), true).is_ok());
        }
        let mut next = |turn: &mut Turn| match queue.try_next(&mut consumer, turn, |_, _| "") {
            Next::Job(job) => {
                queue.push(Arc::new(*job + 1)).unwrap();
                format!("job {job}")
            }
            Next::Event(Event::Woken(task)) => format!("future {task}"),
            Next::Idle => "idle".to_owned(),
            Next::Event(_) | Next::Closed => unreachable!("nothing else was queued"),
        };
        let order: Vec<_> = (0..5).map(|_| next(&mut turn)).collect();
        assert_eq!(order, ["job 0", "future 1", "future 2", "future 3", "idle"]);
        let mut turn = Turn::up_to(2, 1);
        let order: Vec<_> = (0..3).map(|_| next(&mut turn)).collect();
        assert_eq!(order, ["job 1", "future 4", "idle"]);
    }

    #[test]
    fn after_a_job_come_all_values_that_were_released_up_to_the_next_future() {
        let queue = Queue::<u64>::new(None, false, false);
        let mut consumer = consumer();
        for job in 1..=3 {
            queue.push(Arc::new(job)).unwrap();
        }
        let (released, woken) = (Event::Released, Event::Woken);
        for event in [released(1), released(2), woken(3), woken(4), released(5)] {
            assert!(queue.schedule(event, true).is_ok());
        }
        let mut next = || match queue.try_next(&mut consumer, &mut Turn::endless(), |_, _| "") {
            Next::Job(job) => format!("job {job}"),
            Next::Event(Event::Released(value)) => format!("value {value}"),
            Next::Event(Event::Woken(task)) => format!("future {task}"),
            Next::Idle => "idle".to_owned(),
            Next::Event(Event::Spawned(_)) | Next::Closed => unreachable!("nothing was spawned or closed"),
        };
        let order: Vec<_> = (0..9).map(|_| next()).collect();
        let expected =
            ["job 1", "value 1", "value 2", "future 3", "job 2", "future 4", "job 3", "value 5", "idle"];
        assert_eq!(order, expected);
    }

    /// What the lane does next, in a word.
    fn next(queue: &Queue<u64>, consumer: &mut Consumer<u64>) -> String {
        match queue.try_next(consumer, &mut Turn::endless(), |_, _| "") {
            Next::Job(job) => format!("job {job}"),
            Next::Event(_) => unreachable!("there are none"),
            Next::Idle => "idle".to_owned(),
            Next::Closed => "closed".to_owned(),
        }
    }

    #[test]
    fn what_came_in_during_a_session_follows_it_at_once_although_it_was_not_announced() {
        let queue = Queue::<u64>::new(None, false, false);
        let mut consumer = consumer();
        for job in 1..=2 {
            queue.push(Arc::new(job)).unwrap();
        }
        assert_eq!(next(&queue, &mut consumer), "job 1");
        queue.open_session().unwrap();
        for job in 3..=4 {
            queue.push(Arc::new(job)).unwrap();
        }
        assert_eq!(next(&queue, &mut consumer), "idle");
        for job in 10..=11 {
            queue.push_in_session(Arc::new(job)).unwrap();
        }
        queue.close_session();
        let order: Vec<_> = (0..6).map(|_| next(&queue, &mut consumer)).collect();
        assert_eq!(order, ["job 10", "job 11", "job 2", "job 3", "job 4", "idle"]);
    }

    #[test]
    fn a_lane_that_is_closed_finds_that_out_as_often_as_it_asks() {
        let queue = Queue::<u64>::new(None, false, false);
        let mut consumer = consumer();
        queue.push(Arc::new(1)).unwrap();
        queue.close();
        let order: Vec<_> = (0..3).map(|_| next(&queue, &mut consumer)).collect();
        assert_eq!(order, ["job 1", "closed", "closed"]);
    }

    #[test]
    fn a_lane_without_work_takes_no_lock() {
        // How many jobs come in, and how often the lane asks for one.
        for (jobs, asked) in [(0, 0), (1, 1), (2, 3)] {
            let (queue, mut consumer) = (Arc::new(Queue::<u64>::new(None, false, false)), consumer());
            (0..jobs).for_each(|job| _ = queue.push(Arc::new(job)).unwrap());
            for ask in 0..asked {
                let expected = if ask < jobs { format!("job {ask}") } else { "idle".to_owned() };
                assert_eq!(next(&queue, &mut consumer), expected);
            }
            let (say, said) = std::sync::mpsc::channel();
            let locks = (queue.ready(), queue.inbox.lock());
            thread::spawn({
                let queue = Arc::clone(&queue);
                move || say.send(next(&queue, &mut consumer))
            });
            assert_eq!(said.recv_timeout(std::time::Duration::from_secs(60)).as_deref(), Ok("idle"));
            drop(locks);
        }
    }

    #[test]
    fn jobs_that_are_not_within_the_turn_are_there_in_the_next_one() {
        for (jobs, before) in [(1, 0), (1, 1), (3, 0), (3, 1), (3, 2), (3, 3)] {
            let (queue, mut consumer) = (Queue::<u64>::new(None, false, false), consumer());
            (0..jobs).for_each(|job| _ = queue.push(Arc::new(job)).unwrap());
            let mut turns = [Turn::up_to(before, 0), Turn::endless()];
            let taken = turns.each_mut().map(|turn| {
                let mut taken = 0;
                while let Next::Job(_) = queue.try_next(&mut consumer, turn, |_, _| "") {
                    taken += 1;
                }
                taken
            });
            assert_eq!(taken, [before, jobs - before]);
        }
    }

    #[test]
    fn a_lane_that_ends_waits_for_no_more_jobs() {
        let ends: [fn(&Queue<u64>); 3] = [
            Queue::close,
            |queue| queue.abort(|_| (), |_| ()),
            |queue| _ = queue.push_last(Arc::new(2)).unwrap(),
        ];
        for end in ends {
            let (queue, mut consumer) = (Queue::<u64>::new(None, false, false), consumer());
            queue.push(Arc::new(1)).unwrap();
            assert_eq!(next(&queue, &mut consumer), "job 1");
            end(&queue);
            assert_eq!(next(&queue, &mut consumer), "closed");
            assert!(!consumer.coalesce.has_waited());
        }
    }

    #[test]
    fn a_lane_that_was_closed_waits_for_more_jobs_of_its_session() {
        let ends: [fn(&Queue<u64>); 2] = [
            |queue| {
                queue.close();
                queue.open_session().unwrap();
            },
            |queue| {
                queue.open_session().unwrap();
                queue.close();
            },
        ];
        for end in ends {
            let (queue, mut consumer) = (Queue::<u64>::new(None, false, false), consumer());
            queue.push(Arc::new(1)).unwrap();
            assert_eq!(next(&queue, &mut consumer), "job 1");
            end(&queue);
            for (job, misses) in [(10, 1), (11, 2)] {
                queue.push_in_session(Arc::new(job)).unwrap();
                assert_eq!(next(&queue, &mut consumer), format!("job {job}"));
                assert_eq!(consumer.coalesce.misses(), misses);
            }
        }
    }

    #[test]
    fn a_lane_whose_next_job_is_there_waits_for_more() {
        let (queue, mut consumer) = (Queue::<u64>::new(None, false, false), consumer());
        for (job, misses) in [(1, 0), (2, 1), (3, 2)] {
            queue.push(Arc::new(job)).unwrap();
            assert_eq!(next(&queue, &mut consumer), format!("job {job}"));
            assert_eq!(consumer.coalesce.misses(), misses);
        }
    }

    #[test]
    fn only_a_lane_that_has_its_thread_to_itself_waits_for_more_jobs() {
        let mut guest = Consumer::<u64>::guest();
        assert_eq!((consumer::<u64>().coalesce.is_enabled(), guest.coalesce.is_enabled()), (true, false));
        guest.own_thread(LaneSpin::new(false));
        assert!(guest.coalesce.is_enabled());
    }

    #[test]
    fn of_several_aborts_the_first_one_tells_what_runs() {
        let queue = Queue::<u64>::new(None, false, false);
        let told = std::cell::Cell::new(0);
        for _ in 0..3 {
            queue.abort(|is_first| told.set(told.get() + u32::from(is_first)), |_| ());
        }
        assert_eq!(told.get(), 1);
    }

    #[test]
    fn of_the_jobs_that_have_run_some_small_ones_are_kept_for_a_while() {
        let mut consumer = consumer::<[u8]>();
        consumer.retire(vec![0; RETIRED_BYTES + 1].into());
        assert_eq!(consumer.retired.len(), 0, "too large");
        (0..=RETIRED_JOBS).for_each(|_| consumer.retire(vec![0; RETIRED_BYTES].into()));
        assert_eq!(consumer.retired.len(), RETIRED_JOBS);
        consumer.free_retired();
        assert_eq!(consumer.retired.len(), 0);
        assert!(consumer.retired.capacity() <= KEPT_ASLEEP);
    }
}
