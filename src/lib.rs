//! Put a blocking, not-thread-safe object on a thread of its own and await calls to it from any async runtime.
//!
//! You have a blocking client: a TCP connection, an SQLite handle, a serial port, an FFI library. It must not be
//! used by two threads at once, perhaps not even by two threads in turn. Your program is async. If you push its
//! calls to a thread pool, each may land on another thread and two may run at once; a lock around them keeps
//! neither their order nor their thread, and holds a pool thread for everybody who waits.
//!
//! [`SerialExecutor<T>`] gives the object a *lane*: one thread that owns it, and a queue in front. A *call* is a
//! closure `FnOnce(&mut T) -> R`. What comes back is a plain future, which works under smol, async-std, tokio,
//! futures, pollster or anything else, and needs none of them.
//!
//! ```
//! use serial_executor::SerialExecutor;
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//!
//! /// A client as one finds them: it blocks, and two threads in it would mix up request and reply.
//! struct Client {
//!     stream: BufReader<TcpStream>,
//! }
//!
//! impl Client {
//!     fn connect(address: std::net::SocketAddr) -> std::io::Result<Self> {
//!         Ok(Self { stream: BufReader::new(TcpStream::connect(address)?) })
//!     }
//!
//!     fn ask(&mut self, question: &str) -> std::io::Result<String> {
//!         self.stream.get_mut().write_all(format!("{question}\n").as_bytes())?;
//!         let mut answer = String::new();
//!         match self.stream.read_line(&mut answer)? {
//!             0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
//!             _ => Ok(answer.trim_end().to_owned()),
//!         }
//!     }
//! }
//!
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # let server = std::thread::spawn(move || {
//! #     let (mut stream, _) = listener.accept()?;
//! #     std::io::copy(&mut stream.try_clone()?, &mut stream)
//! # });
//! # pollster::block_on(async {
//! let lane = SerialExecutor::try_new_with(move || Client::connect(address)).await?;
//!
//! // Two requests under way at once; the client sees one after the other, on its own thread.
//! let first = lane.call(|client| client.ask("first"));
//! let second = lane.call(|client| client.ask("second"));
//! assert_eq!(second.await??, "second");
//! assert_eq!(first.await??, "first");
//!
//! lane.close().await?; // the connection is closed now
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # server.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! (For searchers: elsewhere this is a strand, an actor, an apartment, a serial queue.)
//!
//! # What is guaranteed
//!
//! - **One thread.** The object is called and dropped on one operating system thread, and made there too if you
//!   hand over a factory ([`new_with`], [`try_new_with`]); so it need not be `Send`. Only [`into_inner`] moves
//!   it out.
//! - **One at a time.** Closures never overlap; each has `&mut T`.
//! - **In the order of the calls.** A call's place is fixed when [`call`] returns, not when its future is first
//!   polled.
//! - **Every call resolves, exactly once,** as soon as the calls before it and it have run. `Ok` if and only if the
//!   closure ran once, to its end. No panic, close, abort or drop leaves a future pending for ever.
//! - **Dropping a call is safe.** A queued call never runs, and its captures are dropped at once, even behind a
//!   stuck call. A running one runs to its end, so that no protocol is cut in the middle.
//! - **Nothing blocks the async side.** Only functions named `wait` and `wait_timeout` block, and
//!   [`emit`](Emitter::emit), which blocks the lane. Dropping the last handle, even inside the lane, does not.
//! - **A panic stays in its call.** The caller gets the payload; the lane lives; the object counts as poisoned
//!   until you [vouch for it](SerialExecutor::clear_poison) or [replace it](SerialExecutor::replace).
//! - **Ending is awaitable.** When [`close`] or [`abort`] resolves, the object is gone; after
//!   [`wait`](Ended::wait) the thread is gone too.
//! - **Waiting on yourself is an error**: `wait` on the lane's own thread is [`WaitError::WouldDeadlock`].
//! - **Any runtime, and none.** No reactor, no timer, no global state. A call made under one runtime can be
//!   awaited under another.
//! - **Bounded when you ask.** With a [capacity](Builder::capacity), [`try_call`] refuses and [`post`] waits. A
//!   [`stream`] is never further ahead of its consumer than its bound.
//! - **An interrupt hits the call it was meant for.** The function set with [`on_interrupt`] fires at most once per call,
//!   only while that call is running, never into the next one.
//!
//! Where the proof of each is, and how to run it, is in the chapter [`testing`].
//!
//! # What one can do with it
//!
//! | | |
//! |---|---|
//! | [`call`], [`try_call`], [`post`] | run a closure on the object: for its result, if there is room, without its result |
//! | [`session`](SerialExecutor::session) | have the object for several calls in a row, with awaits in between: a transaction |
//! | [`stream`](SerialExecutor::stream) | get items as a closure makes them: rows, lines, readings |
//! | [`io`](SerialExecutor::io) | use an object that is `Read`, `Write` or `Seek` as its asynchronous counterpart |
//! | [`on_interrupt`], [`interrupt`](SerialExecutor::interrupt) | make the running call return early |
//! | [`Spawn`](#impl-Spawn-for-SerialExecutor%3CT%3E) | run futures on the lane's thread, between the calls |
//! | [`replace`](SerialExecutor::replace), [`clear_poison`](SerialExecutor::clear_poison) | go on after a panic |
//! | [`close`], [`abort`], [`into_inner`] | end it |
//!
//! # What it costs
//!
//! A lane is a thread: some tens of KiB of memory that is really used, and address space for a stack
//! ([settable](Builder::stack_size)). An idle lane uses no CPU. A call is one allocation and two hand-overs
//! between threads. If the caller sleeps meanwhile, waking it costs more than everything in this crate; a lane
//! that has just run out of calls looks for the next one for a while before it sleeps, and stops doing so where
//! that does not pay ([`Builder::spin`]). Figures, and what they depend on, are in the chapter [`performance`].
//!
//! The object, what a closure captures and what it returns are moved by value over the lane's stack, in a build without
//! optimisation several times. Put what is larger than some tens of KiB into a `Box`, or ask for a larger stack: a stack that
//! overflows ends the process.
//!
//! Use something else when
//!
//! - the object is `Send + Sync`, or cheap to make anew for each call: a pool (`blocking::unblock`,
//!   `spawn_blocking`) runs such calls in parallel;
//! - the work is CPU-bound and splits up: rayon;
//! - an async client for the same thing exists and you like it;
//! - there are tens of thousands of objects that are rarely used: a thread each is too much. Let lanes share:
//!   one lane can own a whole map of objects.
//!
//! # How it works
//!
//! [`call`] puts closure, result and waker into one allocation and appends it to the lane's *inbox*. The lane's
//! thread swaps the inbox against the list it has worked off, and runs what it finds. Every queued call stays
//! in one of the two lists, where a cancel or an abort can take it out; whoever takes a call out of the list owns
//! it, which is all there is to exactly-once. The result goes back into the allocation; the lock is released;
//! then the waker is woken. A lane without calls parks.
//!
//! A [`Session`] is a third list, from which alone the lane takes while there is one. An interrupter is fired by whoever
//! wins one atomic word, which the lane sets to the number of the call that it takes. Spawned futures live on the
//! lane's stack; spawning and waking them are errands that the lane runs in turn with the calls.
//!
//! The crate is safe Rust with small mutexes, and no foreign code (closure, waker, destructor, factory, interrupter) runs
//! while one is held: whatever yours do, they may call back into the lane.
//!
//! # What happens before what
//!
//! What the caller did before [`call`] is visible to the closure. What a closure did is visible to every later
//! closure, and to whoever gets its result from the future or from `wait`. When [`Ended`] resolves, everything
//! that the lane did, the destructor of the object included, is visible. No atomics are needed on your side.
//!
//! # Panics
//!
//! A panic in a closure or factory is caught and comes back as [`CallError::Panicked`] or
//! [`OpenError::Panicked`], with its payload. A panic in a destructor or a waker has nobody to go to: the panic
//! hook reports it, and the crate swallows it, so that neither the lane nor the thread that happens to drop
//! something pays. (The object's own destructor is the exception: [`Ended`] reports it.) That holds also while another
//! panic unwinds the thread that drops a call, a stream, the last handle.
//!
//! What aborts the process is the language, not the crate: a destructor that panics while a panic unwinds *the same* closure
//! or value (a capture of a closure that panics, the second of two captures or fields, the last clone of a waker that
//! panics when it is woken), the destructor of a thread-local that panics, a panic hook that does, and any panic under
//! `panic = "abort"`.
//!
//! A panic may have left the object half changed. So by default it is *poisoned*: later calls resolve
//! [`CallError::Poisoned`] without touching it. (An `Err` that a closure returns is a value like any other: it does
//! not poison.)
//!
//! ```
//! # use serial_executor::{CallError, SerialExecutor};
//! # pollster::block_on(async {
//! let lane = SerialExecutor::new(vec![1, 2, 3]);
//! let broken = lane.call(|list| { list.pop(); assert!(list.is_empty(), "half way"); });
//! assert!(matches!(broken.await, Err(CallError::Panicked(panic)) if panic.message() == "half way"));
//! assert!(matches!(lane.call(|list| list.len()).await, Err(CallError::Poisoned)));
//!
//! lane.replace(Vec::new).await.unwrap();
//! assert_eq!(lane.call(|list| list.len()).await.unwrap(), 0);
//! # });
//! ```
//!
//! # Cancellation
//!
//! Dropping a [`Call`] cancels it if it has not started. That makes timeouts of any runtime work: what timed out
//! in the queue will not run later. What timed out while running goes on to its end, and calls behind it wait:
//! the next caller never reads the reply to somebody else's request. With [`on_interrupt`] it is told to hurry: dropping a
//! running call then makes the object's blocking function return early. [`Call::detach`] and
//! [`post`](SerialExecutor::post) let go without cancelling. Combinators that drop futures cancel too: when one
//! call of a `try_join_all` fails, the others that have not started never run.
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! use futures::future::{select, Either};
//!
//! # pollster::block_on(async {
//! let lane = SerialExecutor::new(Vec::<u8>::new());
//! let call = lane.call(|list| list.len());
//! let timeout = smol::Timer::after(std::time::Duration::from_secs(5));
//! match select(call, timeout).await {
//!     Either::Left((length, _)) => assert_eq!(length.unwrap(), 0),
//!     Either::Right((_, call)) => drop(call), // too late: never runs, unless it runs already
//! }
//! # });
//! ```
//!
//! Did a call that was dropped run? If it matters (a write, say), have the closure set a flag that you keep, or keep
//! the call: a timeout around `&mut call` leaves it as it is, to be awaited again.
//!
//! # A call that never returns
//!
//! No thread can be stopped from outside, so a call that hangs holds up its lane, and only its lane.
//!
//! - *See it*: [`stats`](SerialExecutor::stats) says `running` while `completed` stands still and `pending` grows.
//!   The name of the thread ([`Builder::name`]) leads a debugger there.
//! - *Prevent it*: use the timeouts of the object, like `TcpStream::set_read_timeout`. After one has struck in the
//!   middle of a reply the connection is out of step: make it anew (see Recipes).
//! - *Free it*: [`on_interrupt`] keeps what makes the object's blocking calls return, such as a `TcpStream::try_clone`
//!   to `shutdown`, and uses it when the running call is dropped, at [`abort`] and at
//!   [`interrupt`](SerialExecutor::interrupt); the call then fails, and the lane goes on.
//! - *Nothing runs, and yet nothing moves*: [`in_session`](Stats::in_session) is true, and somebody holds a
//!   [`Session`] without using it; [`abort`] ends that too.
//! - *Do not pile up*: with a [capacity](Builder::capacity), [`try_call`] refuses what `call` would queue.
//! - *Give it up*: [`abort`] resolves everything behind the stuck call, at once. Make a new lane. The old thread and
//!   object stay until the call returns, if ever; they do not keep the process from exiting.
//!
//! # Shutting down
//!
//! Await [`close`]: it runs what was accepted, drops the object, then resolves. Await [`abort`] to drop what has
//! not started. With a patience that ends:
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! use std::time::Duration;
//! # async fn timeout<F: Future + Unpin>(limit: Duration, f: F) -> Result<F::Output, ()> {
//! #     match futures::future::select(f, smol::Timer::after(limit)).await {
//! #         futures::future::Either::Left((output, _)) => Ok(output),
//! #         futures::future::Either::Right(_) => Err(()),
//! #     }
//! # }
//! # use std::future::Future;
//!
//! # pollster::block_on(async {
//! # let lane = SerialExecutor::new(());
//! // `timeout` is your runtime's.
//! if timeout(Duration::from_secs(5), lane.close()).await.is_err()
//!     && timeout(Duration::from_secs(1), lane.abort()).await.is_err()
//! {
//!     eprintln!("{lane:?} is stuck: going without");
//! }
//! # });
//! ```
//!
//! **What is still queued when `main` returns (or at [`std::process::exit`]) is lost**, and the
//! object's destructor does not run, as with every thread of Rust's: the process does not wait for threads.
//!
//! The stack of a lane that has ended is given back when somebody has `wait`ed for the end, or when its handles and
//! futures are gone.
//!
//! After `fork` the child has no thread but the one that forked: its copies of the handles have no lane behind
//! them, and calls never resolve there. Make lanes after forking. [`std::process::Command`] is no problem.
//!
//! An object, or a queued closure, that holds a handle of its own lane keeps it open for ever; give it a
//! [`WeakSerialExecutor`].
//!
//! These deadlocks are not detected: two lanes whose calls [`wait`](Call::wait) for each other; a call that
//! runs some `block_on` on a later call to its own lane (`wait` there is [`WaitError::WouldDeadlock`]); a task that holds
//! a [`Session`] and awaits a call that is not the session's, or a future that was spawned on the lane; such a future that
//! itself asks for a session of its lane; an interrupter that waits for its own
//! lane; a [`stream`] whose consumer waits for the same lane while the lane waits for the consumer to take an item.
//!
//! # Recipes
//!
//! **Reconnect after an error**, inside the call: everybody behind finds the new connection, and of many who see the
//! old one fail only one connects. ([`replace`](SerialExecutor::replace) is for after a panic; it takes its place at the
//! back, and its factory cannot fail.) With an [interrupter](SerialExecutor::on_interrupt), let the client share the
//! connection with it, as shown there.
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! # struct Client;
//! # impl Client {
//! #     fn connect() -> std::io::Result<Self> { Ok(Self) }
//! #     fn ask(&mut self, question: &str) -> std::io::Result<String> { Ok(question.to_owned()) }
//! # }
//! async fn ask(lane: &SerialExecutor<Option<Client>>, question: String) -> std::io::Result<String> {
//!     let call = lane.call(move |connection| {
//!         let client = match connection {
//!             Some(client) => client,
//!             None => connection.insert(Client::connect()?),
//!         };
//!         let answer = client.ask(&question);
//!         if answer.is_err() {
//!             *connection = None; // the next one connects
//!         }
//!         answer
//!     });
//!     call.flatten().await
//! }
//! # let lane = SerialExecutor::new(None);
//! # assert_eq!(pollster::block_on(ask(&lane, "?".to_owned())).unwrap(), "?");
//! ```
//!
//! **Many values from one call**: rows, lines, the entries of a directory. [`stream`] hands them over one by one:
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! use futures::StreamExt;
//!
//! # pollster::block_on(async {
//! # let lane = SerialExecutor::new("a b c".to_owned());
//! let words = lane.stream(16, |text, out| {
//!     let _ = text.split(' ').map(str::to_owned).try_for_each(|word| out.emit(word));
//! });
//! assert_eq!(words.count().await, 3);
//! # });
//! ```
//!
//! **Read and write it with the traits of [`futures::io`]**, if the object is a [`std::io::Read`] or
//! [`Write`](std::io::Write): [`io`](SerialExecutor::io) is the lane as an asynchronous file or connection.
//!
//! **Carry a tracing span** into a call; the lane's thread has none of its own:
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! # let lane = SerialExecutor::new(0);
//! let span = tracing::info_span!("query");
//! let call = lane.call(move |client| span.in_scope(|| *client + 1));
//! # assert_eq!(call.wait().unwrap(), 1);
//! ```
//!
//! **Async work inside a call**, for an object that is async but `!Send`: any `block_on` will do, since the lane's
//! thread may block.
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! # async fn request(client: &mut u32) -> u32 { *client += 1; *client }
//! # let lane = SerialExecutor::new(0);
//! let call = lane.call(|client| pollster::block_on(request(client)));
//! # assert_eq!(call.wait().unwrap(), 1);
//! ```
//!
//! **A pool of lanes**: several connections, each call to the least busy one.
//!
//! ```
//! # use serial_executor::SerialExecutor;
//! let lanes: Vec<_> = (0..4).map(SerialExecutor::new).collect();
//! let lane = lanes.iter().min_by_key(|lane| lane.pending()).expect("four of them");
//! # let answer =
//! lane.call(|client| *client + 1)
//! # .wait().unwrap(); assert!(answer > 0);
//! ```
//!
//! **Say which is which**, in `top -H`, debuggers and panic messages: with more than one lane, [name](Builder::name)
//! them.
//!
//! **From synchronous code**: [`Call::wait`]. All futures of the crate have it but [`Flatten`]: there, `.wait()??`.
//!
//! [`abort`]: SerialExecutor::abort
//! [`call`]: SerialExecutor::call
//! [`close`]: SerialExecutor::close
//! [`into_inner`]: SerialExecutor::into_inner
//! [`on_interrupt`]: SerialExecutor::on_interrupt
//! [`new_with`]: SerialExecutor::new_with
//! [`post`]: SerialExecutor::post
//! [`stream`]: SerialExecutor::stream
//! [`try_call`]: SerialExecutor::try_call
//! [`try_new_with`]: SerialExecutor::try_new_with

// Nothing that a user or the operating system can make fail may be unwrapped.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

// The layers, lowest first: a module imports only modules above it. `tests/it/tidy.rs` holds it to that.
mod sync;
mod take_once;
mod memory;
mod panic;
mod error;
mod stats;
mod waker;
mod slot;
mod queue;
mod lane;
mod future;
mod stream;
mod io;
mod executor;
#[cfg(all(test, loom))]
mod loom;

pub use error::{CallError, IntoInnerError, OpenError, ThreadError, TryCallError, WaitError};
pub use executor::{Builder, Opening, SerialExecutor, WeakSerialExecutor};
pub use future::{Call, Ended, Flatten, IntoInner, Post, Session};
pub use io::LaneIo;
pub use lane::OnPanic;
pub use panic::Panic;
pub use stats::Stats;
pub use stream::{CallStream, Emitter};

#[cfg(doc)]
#[doc = include_str!("../docs/performance.md")]
pub mod performance {}

#[cfg(doc)]
#[doc = include_str!("../docs/testing.md")]
pub mod testing {}

/// The code of the README is compiled and run with the doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
