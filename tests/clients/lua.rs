//! Lua. An interpreter, its functions and its values belong to one thread: later calls use them
//! through `Kept`.

use crate::support::{Log, Tracked, Tracker, eventually, under_every_runtime};
use mlua::{Function, Lua, Table};
use serial_executor::{CallError, Kept, SerialExecutor};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::sync::Arc;
use std::thread;

assert_not_impl_any!(Lua: Send, Sync);
assert_not_impl_any!(Function: Send, Sync);
assert_not_impl_any!(Table: Send, Sync);
assert_not_impl_any!(mlua::Error: Send, Sync);
assert_impl_all!(Kept<Function>: Send, Sync);

type Lane = SerialExecutor<Lua>;

/// A function that adds to what it has, and has something whose end the tracker sees.
const ACCUMULATOR: &str =
    "local tracked, total = ... ; return function(n) total = total + n; return total, tracked ~= nil end";

struct Userdata(#[expect(dead_code, reason = "its end is what counts")] Tracked);
impl mlua::UserData for Userdata {}

fn accumulator(lua: &Lua, tracker: &Tracker) -> mlua::Result<Function> {
    lua.load(ACCUMULATOR).call((Userdata(tracker.track()), 0))
}

async fn keep(lane: &Lane, tracker: &Tracker) -> Kept<Function> {
    let tracker = tracker.clone();
    let kept = lane.call(move |lua| Kept::new(accumulator(lua, &tracker).unwrap()).ok());
    kept.await.unwrap().expect("a lane runs this")
}

/// Lua frees what nothing refers to. The second round frees what the first has finalised.
async fn collect(lane: &Lane) {
    for _ in 0..2 {
        lane.call(|lua| lua.gc_collect().unwrap()).await.unwrap();
    }
}

#[apply(test)]
fn a_function_of_a_script_is_kept_and_called_later_with_arguments() {
    under_every_runtime(|| async {
        let (tracker, lane) = (Tracker::new(), SerialExecutor::new_with(Lua::new));
        let (add, other) = (keep(&lane, &tracker).await, keep(&lane, &tracker).await);
        let (add, mut totals) = (Arc::new(add), Vec::new());
        for n in 1..=10 {
            collect(&lane).await;
            let add = Arc::clone(&add);
            let call = lane.call(move |_| add.with(|add| add.call::<(i64, bool)>(n).unwrap()));
            totals.push(call.await.unwrap());
        }
        let sums = [1, 3, 6, 10, 15, 21, 28, 36, 45, 55];
        assert_eq!(totals, sums.map(|sum| Some((sum, true))));
        // The other has a total of its own. Nobody can use either on another thread.
        assert!(add.with(|_| ()).is_none());
        let call = lane.call(move |_| other.with(|other| other.call::<(i64, bool)>(7).unwrap()));
        assert_eq!(call.await.unwrap(), Some((7, true)));
        drop(add);
        lane.close().await.unwrap();
        assert_eq!(tracker.alive(), 0);
    });
}

#[apply(test)]
fn an_error_of_a_kept_function_is_its_callers_and_it_stays() {
    under_every_runtime(|| async {
        let (tracker, lane) = (Tracker::new(), SerialExecutor::new_with(Lua::new));
        let add = Arc::new(keep(&lane, &tracker).await);
        let call = |argument: &'static str| {
            let add = Arc::clone(&add);
            lane.call(move |_| add.with(|add| add.call::<i64>(argument).map_err(|error| error.to_string())))
        };
        let error = call("no number").await.unwrap().unwrap().unwrap_err();
        assert!(error.contains("attempt to add"), "{error}");
        assert_eq!(call("5").await.unwrap(), Some(Ok(5)));
        lane.close().await.unwrap();
        assert!(matches!(call("5").await, Err(CallError::Closed)));
    });
}

#[apply(test)]
fn a_kept_value_that_is_dropped_on_another_thread_ends_on_the_lanes() {
    under_every_runtime(|| async {
        let (tracker, lane) = (Tracker::new(), SerialExecutor::new_with(Lua::new));
        let home = lane.thread().unwrap().id();
        let add = keep(&lane, &tracker).await;
        collect(&lane).await;
        assert_eq!(tracker.alive(), 1, "the handle keeps it");
        thread::spawn(move || drop(add)).join().unwrap();
        collect(&lane).await;
        assert_eq!(tracker.dropped_on(), [home]);
        lane.close().await.unwrap();
    });
}

/// A table of the interpreter, and what tells of its end.
struct Child {
    table: Table,
    name: &'static str,
    log: Log,
    _tracked: Tracked,
}

impl Drop for Child {
    fn drop(&mut self) {
        // Its interpreter is still there.
        assert_eq!(self.table.get::<String>("name").unwrap(), self.name);
        self.log.add(self.name);
    }
}

#[apply(test)]
fn kept_values_are_gone_before_the_new_interpreter_is_made() {
    under_every_runtime(|| async {
        let (tracker, log) = (Tracker::new(), Log::default());
        let lane = SerialExecutor::new_with(Lua::new);
        let home = lane.thread().unwrap().id();
        let keep = |name: &'static str| {
            let (tracked, log) = (tracker.track(), log.clone());
            lane.call(move |lua| {
                let table = lua.create_table().unwrap();
                table.set("name", name).unwrap();
                Kept::new(Child { table, name, log, _tracked: tracked }).ok().unwrap()
            })
        };
        let (first, second) = (keep("first").await.unwrap(), keep("second").await.unwrap());
        let replaced = lane.replace({
            let log = log.clone();
            move || {
                log.add("new interpreter");
                Lua::new()
            }
        });
        let used = lane.call(move |_| first.with(|_| ()).is_some());
        replaced.await.unwrap();
        assert!(!used.await.unwrap(), "it is gone");
        assert_eq!(log.read(), ["second", "first", "new interpreter"]);
        assert_eq!(tracker.dropped_on(), [home, home]);
        drop(second);
        lane.close().await.unwrap();
        eventually("nothing is left", || tracker.alive() == 0);
    });
}
