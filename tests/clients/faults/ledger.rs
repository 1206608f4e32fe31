//! What became of every request, according to the lane and to its caller, and whether that is
//! possible.

use super::fault::Request;
use super::server::Server;
use super::{Attempt, Client, Failure};
use serial_executor::{CallError, Stats};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// What the lane and the caller share about a request.
pub(super) struct Ticket {
    pub(super) request: Request,
    has_begun: AtomicBool,
    /// Set before its call is dropped.
    pub(super) is_dropped: AtomicBool,
}

/// What the lane wrote down when a request was over.
struct Entry {
    request: Request,
    attempt: Attempt,
    /// The turns of the server, before and after.
    turns: (u64, u64),
}

/// What a caller got.
#[derive(Debug)]
pub(super) enum Told {
    Answer(String),
    Failed(Failure),
    Lane(CallError),
    /// The caller did not wait.
    Nothing,
}

/// How often each kind of thing happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Summary {
    pub(super) answered: usize,
    pub(super) failed: usize,
    /// Closures that never ran.
    pub(super) unmade: usize,
    pub(super) panicked: usize,
    pub(super) hit: usize,
}

#[derive(Default)]
pub(super) struct Ledger {
    tickets: Mutex<Vec<Arc<Ticket>>>,
    /// In the order of the requests.
    entries: Mutex<Vec<Entry>>,
    /// Other calls: whether each ran.
    controls: Mutex<Vec<bool>>,
    /// Set before an abort: requests that have not been sent are not sent any more.
    is_called_off: AtomicBool,
}

impl Ledger {
    pub(super) fn issue(&self, request: impl FnOnce(u64) -> Request) -> Arc<Ticket> {
        let mut tickets = self.tickets.lock().unwrap();
        let ticket = Arc::new(Ticket {
            request: request(tickets.len() as u64),
            has_begun: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
        });
        tickets.push(Arc::clone(&ticket));
        ticket
    }

    /// Makes the request. Runs on the lane.
    pub(super) fn make<C: Client>(
        &self,
        ticket: &Ticket,
        client: &mut C,
        server: &Server,
    ) -> Result<String, Failure> {
        assert!(!ticket.has_begun.swap(true, SeqCst), "it runs twice");
        let turns = server.turns();
        let is_called_off = || ticket.is_dropped.load(SeqCst) || self.is_called_off.load(SeqCst);
        let attempt = client.ask(ticket.request, &is_called_off);
        if matches!(attempt.result, Err(Failure::Connect(_))) {
            server.has_refused();
        }
        let turns = (turns, server.turns());
        let result = attempt.result.clone();
        self.entries.lock().unwrap().push(Entry { request: ticket.request, attempt, turns });
        result
    }

    pub(super) fn call_off(&self) {
        self.is_called_off.store(true, SeqCst);
    }

    /// Enters another call: it set an interrupter, replaced the object, or did nothing.
    pub(super) fn control(&self, result: &Result<(), CallError>) {
        let ran = match result {
            Ok(()) => true,
            Err(CallError::Closed | CallError::Poisoned) => false,
            Err(CallError::Panicked(panic)) => panic!("on the lane: {panic}"),
        };
        self.controls.lock().unwrap().push(ran);
    }

    /// How many requests are over.
    pub(super) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// Judges everything, when the lane has ended. `stops` says how often something else than the
    /// drop of a call has told the running one to stop.
    pub(super) fn audit(
        &self,
        told: &[(u64, Told)],
        hits: &[u64],
        stops: usize,
        seen: &[u64],
        stats: &Stats,
    ) -> Summary {
        let tickets = self.tickets.lock().unwrap();
        let entries = self.entries.lock().unwrap();
        let ticket = |id: u64| &tickets[usize::try_from(id).unwrap()];

        // Each reason hits its request at most once, and no other.
        let hit: HashSet<_> = hits.iter().copied().collect();
        let drops = hit.iter().filter(|id| ticket(**id).is_dropped.load(SeqCst)).count();
        assert!(hits.len() <= drops.saturating_add(stops), "not meant for all of these: {hits:?}");
        if stops == 0 {
            assert_eq!((hits.len(), drops), (hit.len(), hit.len()), "hit twice, or not dropped: {hits:?}");
        }

        // The lane's side. A connection that is spoiled fails once: the client does not use it
        // again. The same holds for one that the server has not served since it was away.
        let (mut spoiled, mut served_in) = (HashSet::new(), HashMap::new());
        for Entry { request, attempt: Attempt { connection, guarded, result }, turns: (before, after) } in
            &*entries
        {
            let can_answer = request.fault.answers() && !spoiled.contains(connection);
            match result {
                Ok(text) => {
                    assert_eq!(*text, request.to_string(), "somebody else's answer");
                    assert!(can_answer, "an answer from nowhere: {request}");
                    assert!(seen.contains(&request.id), "the server never saw {request}");
                    served_in.insert(connection, *before);
                    if request.fault.spoils() {
                        spoiled.insert(connection);
                    }
                }
                Err(Failure::CalledOff) => {
                    let is_dropped = ticket(request.id).is_dropped.load(SeqCst);
                    assert!(is_dropped || self.is_called_off.load(SeqCst), "{request}");
                }
                Err(Failure::Connect(_)) => {
                    assert!(
                        before % 2 == 1 || before != after,
                        "{request}: refused by a server that is there"
                    );
                }
                Err(failure) => {
                    let was_away = after % 2 == 1 || served_in.get(connection).unwrap_or(before) != after;
                    assert!(
                        !can_answer || hit.contains(&request.id) || was_away || !guarded,
                        "{request}: {failure}, for no reason"
                    );
                }
            }
        }

        // The callers' side: the same.
        let by_id: HashMap<_, _> = entries.iter().map(|entry| (entry.request.id, &entry.attempt)).collect();
        assert_eq!(by_id.len(), entries.len(), "a request was made twice");
        assert_eq!(told.len(), tickets.len(), "somebody was told nothing, or two things");
        for (id, told) in told {
            let has_begun = ticket(*id).has_begun.load(SeqCst);
            match (told, by_id.get(id).map(|attempt| &attempt.result)) {
                (Told::Answer(told), Some(Ok(text))) => assert_eq!(told, text),
                (Told::Failed(told), Some(Err(failure))) => assert_eq!(told, failure),
                (Told::Lane(CallError::Closed | CallError::Poisoned), None) => assert!(!has_begun),
                (Told::Lane(CallError::Panicked(_)), None) => assert!(has_begun),
                (Told::Nothing, _) => {}
                (told, result) => panic!("{id}: {told:?}, but {result:?}"),
            }
        }

        // And the server's.
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "a request came twice");
        for &id in seen {
            assert!(ticket(id).has_begun.load(SeqCst), "it came from nowhere: {id}");
        }

        let begun = tickets.iter().filter(|ticket| ticket.has_begun.load(SeqCst)).count();
        let summary = Summary {
            answered: entries.iter().filter(|entry| entry.attempt.result.is_ok()).count(),
            failed: entries.iter().filter(|entry| entry.attempt.result.is_err()).count(),
            unmade: tickets.len() - begun,
            panicked: begun - entries.len(),
            hit: hit.len(),
        };
        let controls = self.controls.lock().unwrap();
        let ran = controls.iter().filter(|ran| **ran).count();
        assert_eq!(stats.submitted, (tickets.len() + controls.len()) as u64, "{stats:?}");
        assert_eq!(stats.completed, (entries.len() + ran) as u64, "{stats:?}");
        assert_eq!(stats.panicked, summary.panicked as u64, "{stats:?}");
        assert_eq!(
            stats.cancelled + stats.refused,
            (summary.unmade + controls.len() - ran) as u64,
            "{stats:?}"
        );
        assert_eq!((stats.pending, stats.running), (0, false), "{stats:?}");
        summary
    }
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.unmade += other.unmade;
        self.panicked += other.panicked;
        self.hit += other.hit;
    }
}
