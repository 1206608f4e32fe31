//! Which auto traits every public type has: even if the object is neither `Send` nor `Sync` nor
//! unwind safe.

use futures::future::FusedFuture;
use futures::stream::FusedStream;
use serial_executor::{
    Builder, Call, CallError, CallStream, CancelToken, Emitter, Ended, Flatten, IntoInner, IntoInnerError,
    Kept, LaneIo, OnPanic, OpenError, Opening, Panic, Post, Runner, SerialExecutor, Session, Stats,
    ThreadError, TryCallError, WaitError, WeakSerialExecutor, Worker,
};
use static_assertions::{assert_impl_all, assert_not_impl_any};
use std::cell::Cell;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::hash::Hash;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

/// Neither `Send` nor `Sync` nor unwind safe.
type Local = Rc<Cell<u8>>;
/// `Send`, but neither `Sync` nor `RefUnwindSafe`.
type Movable = Cell<u8>;
/// `Send` and `Sync`, but neither `Unpin` nor `Debug`.
struct Pinned(std::marker::PhantomPinned);

assert_not_impl_any!(Local: Send, Sync, UnwindSafe, RefUnwindSafe);
assert_not_impl_any!(Movable: Sync, RefUnwindSafe);
assert_not_impl_any!(Pinned: Unpin, Debug);

macro_rules! assert_handles {
    ($($object:ty),*) => { $(
        assert_impl_all!(SerialExecutor<$object>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, Debug);
        assert_impl_all!(WeakSerialExecutor<$object>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, Debug);
        assert_impl_all!(LaneIo<$object>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
        assert_impl_all!(Session<$object>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
        // A session is exclusive.
        assert_not_impl_any!(Session<$object>: Clone);
    )* };
}
assert_handles!(u8, Local, Movable, Pinned, *mut u8, Box<dyn Fn()>);

macro_rules! assert_futures {
    ($($future:ty),* $(,)?) => { $(
        assert_impl_all!($future: Future, FusedFuture, Send, Unpin, UnwindSafe, Debug);
    )* };
}
assert_futures!(
    Call<u8>,
    Call<Movable>,
    Call<Pinned>,
    Flatten<u8, CallError>,
    Flatten<Movable, CallError>,
    Flatten<Pinned, CallError>,
    Post,
    Ended,
    Opening<u8, Movable>,
    Opening<Local, Movable>,
    Opening<Pinned, Pinned>,
    IntoInner<u8>,
    IntoInner<Movable>,
    IntoInner<Pinned>,
    Call<Session<Local>>,
    Call<Session<Pinned>>,
);

macro_rules! assert_streams {
    ($($item:ty),*) => { $(
        assert_impl_all!(CallStream<$item>: FusedStream, Send, Unpin, UnwindSafe, RefUnwindSafe, Debug);
        assert_impl_all!(Emitter<$item>: Send, Unpin, UnwindSafe, RefUnwindSafe, Debug);
    )* };
}
assert_streams!(u8, Movable, Pinned);
assert_not_impl_any!(CallStream<Local>: Send, Sync);
assert_not_impl_any!(Emitter<Local>: Send, Sync);

macro_rules! assert_kept {
    ($($value:ty),*) => { $(
        assert_impl_all!(Kept<$value>: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Debug);
        // The value goes with its handle.
        assert_not_impl_any!(Kept<$value>: Clone);
    )* };
}
assert_kept!(u8, Local, Movable, Pinned, *mut u8, Box<dyn Fn()>);

assert_impl_all!(CancelToken: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, Debug);

macro_rules! assert_workers {
    ($($object:ty),*) => { $(
        assert_impl_all!(Worker<$object>: Future, FusedFuture, Unpin, Debug);
        // The object stays on its thread.
        assert_not_impl_any!(Worker<$object>: Send, Sync);
        // A runner can be sent if its factory can, whatever the object is.
        assert_impl_all!(Runner<$object, fn() -> $object>: Send, UnwindSafe, Debug);
        assert_not_impl_any!(Runner<$object, Local>: Send);
    )* };
}
assert_workers!(u8, Local, Movable, Pinned);

assert_impl_all!(CallError: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(TryCallError<()>: Error, Send, Sync, Unpin, Debug, Display);
// No bound on the parameter of an error: `?` and `unwrap` work with every closure and object.
assert_impl_all!(TryCallError<fn(&mut Local)>: Error, Send, Sync);
assert_impl_all!(TryCallError<Local>: Error);
assert_impl_all!(WaitError: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(WaitError<Panic>: Error, Send, Sync);
assert_impl_all!(WaitError<OpenError<std::io::Error>>: Error, Send, Sync);
assert_impl_all!(WaitError<IntoInnerError<u8>>: Error, Send, Sync);
assert_impl_all!(OpenError<std::io::Error>: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(OpenError<CallError>: Error, Send, Sync);
assert_impl_all!(OpenError<Local>: Debug, Unpin);
assert_impl_all!(IntoInnerError<u8>: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(IntoInnerError<Pinned>: Error, Send, Sync);
assert_impl_all!(IntoInnerError<Local>: Error);
// What `without_object` is for: this one does not turn into a `Box<dyn Error + Send + Sync>`.
assert_not_impl_any!(IntoInnerError<Movable>: Sync);
assert_impl_all!(IntoInnerError<()>: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(ThreadError: Error, Send, Sync, Unpin, Debug, Display);
assert_impl_all!(Panic: Error, Send, Sync, Unpin, Debug, Display);
const _: fn() = || {
    fn lives_for_ever<E: Error + 'static>() {}
    lives_for_ever::<CallError>();
    lives_for_ever::<TryCallError<()>>();
    lives_for_ever::<WaitError>();
    lives_for_ever::<OpenError<std::io::Error>>();
    lives_for_ever::<IntoInnerError<u8>>();
    lives_for_ever::<IntoInnerError<()>>();
    lives_for_ever::<ThreadError>();
    lives_for_ever::<Panic>();
};

assert_impl_all!(Builder: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe, Clone, Debug, Default);
assert_impl_all!(OnPanic: Send, Sync, Copy, Debug, Default, Eq, Hash);
assert_impl_all!(Stats: Send, Sync, Copy, Debug, Default, Eq);

/// A struct with handles and futures in it needs no bounds on its parameters.
#[derive(Clone, Debug)]
struct Client<T> {
    lane: SerialExecutor<T>,
    observer: WeakSerialExecutor<T>,
}

#[derive(Debug)]
struct Pending<T, R, E> {
    call: Call<Result<R, E>>,
    flatten: Flatten<R, E>,
    opening: Opening<T, E>,
    object: IntoInner<T>,
}

#[test]
fn handles_and_futures_are_fields_of_structs_without_bounds() {
    crate::support::guarded(|| {
        let lane = SerialExecutor::new_with(|| Local::new(Cell::new(1)));
        let client = Client { observer: lane.downgrade(), lane };
        let clone = client.clone();
        assert_eq!(clone.lane.call(|n| n.get()).wait().unwrap(), 1);
        assert!(clone.observer.upgrade().is_some());

        let lane = SerialExecutor::new(2);
        let pending = Pending {
            call: lane.call(|n| Ok::<_, CallError>(*n)),
            flatten: lane.call(|n| Ok(*n + 1)).flatten(),
            opening: SerialExecutor::try_new_with(|| Ok(3)),
            object: lane.into_inner(),
        };
        assert!(format!("{pending:?}").contains("Call"));
        assert_eq!(pending.call.wait().unwrap().unwrap(), 2);
        assert_eq!(futures::executor::block_on(pending.flatten).unwrap(), 3);
        assert_eq!(pending.object.wait().unwrap(), 2);
        drop(pending.opening.wait().unwrap());
    });
}
