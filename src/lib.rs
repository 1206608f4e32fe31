//! Put a blocking, not-thread-safe object on a thread of its own and await calls to it from any
//! async runtime.
//!
//! You have a blocking client: a TCP connection, an SQLite handle, a serial port, an FFI library.
//! Two threads must not use it at once, and perhaps not even in turn. Your program is async. If you
//! push the client's calls to a thread pool, each call may land on another thread, and two may run
//! at once. A lock around the calls keeps neither their order nor their thread, and every caller
//! that waits for the lock holds a thread of the pool.
//!
//! [`SerialExecutor<T>`] gives the object a *lane*: one thread that owns it, and a queue in front
//! of that thread. A *call* is a closure `FnOnce(&mut T) -> R`. It comes back as a plain future,
//! which works under smol, async-std, tokio, futures, pollster or any other runtime, and needs none
//! of them.
//!
//! ```
//! use serial_executor::SerialExecutor;
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//!
//! /// It blocks, and two threads that use it at once would mix up requests and replies.
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
//! // Both requests are queued. The client sees one after the other, on its own thread.
//! let first = lane.call(|client| client.ask("first"));
//! let second = lane.call(|client| client.ask("second"));
//! assert_eq!(second.await??, "second");
//! assert_eq!(first.await??, "first");
//!
//! lane.close().await?; // now the connection is closed
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # server.join().unwrap()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For searchers: elsewhere this is a strand, an actor, an apartment, or a serial queue.
//!
//! The chapter [`guide`] answers questions of the form "how do I ...?". [`performance`] has
//! figures, and [`testing`] says how each promise is proved.
//!
//! # What is guaranteed
//!
//! - **One thread.** The object is called and dropped on one operating system thread. If you hand
//!   over a factory ([`new_with`], [`try_new_with`]), the object is made on that thread as well, so
//!   it need not be `Send`. Only [`into_inner`] moves it to another thread.
//! - **One at a time.** Closures never overlap. Each has `&mut T`.
//! - **In the order of the calls.** The place of a call is fixed when [`call`] returns, not when
//!   its future is first polled.
//! - **Every call resolves, exactly once,** as soon as the calls before it and the call itself have
//!   run. It gives `Ok` if and only if the closure ran once, to its end. No panic, close, abort or
//!   drop leaves a future pending for ever; only a [`Runner`] or [`Worker`] that is kept and not
//!   driven does.
//! - **Dropping a call is safe.** If the call is queued, its closure never runs, and is dropped at
//!   once, even behind a call that hangs. If the call is running, it runs to its end, so that no
//!   protocol is cut in the middle.
//! - **Nothing blocks the async side.** Only functions named `wait` or `wait_timeout` block.
//!   [`emit`](Emitter::emit) blocks the lane. Dropping the last handle does not block, even inside
//!   the lane.
//! - **A panic stays in its call.** The caller gets the payload, and the lane goes on. The object
//!   counts as *poisoned*: later calls do not touch it, until you [vouch for
//!   it](SerialExecutor::clear_poison) or [replace it](SerialExecutor::replace). A panic in a
//!   destructor or a waker has no caller to receive it. The panic hook reports it and the crate
//!   discards it; neither the lane nor the dropping thread unwinds. (If the object's own destructor
//!   panics, [`Ended`] reports it.)
//! - **Ending is awaitable.** When [`close`] or [`abort`] resolves, the object is gone. When
//!   [`wait`](Ended::wait) returns, the thread is gone, if the lane has made it.
//! - **Waiting on yourself is an error.** A `wait` on the lane's own thread gives
//!   [`WaitError::WouldDeadlock`].
//! - **Any runtime, or none.** There is no reactor, no timer and no global runtime. You can make a
//!   call under one runtime and await it under another.
//! - **Bounded when you ask.** With a [capacity](Builder::capacity), [`try_call`] refuses and
//!   [`post`] waits. A [`stream`] is never further ahead of its consumer than its bound.
//! - **A request to stop hits the call it was meant for.** A running call that is dropped, aborted
//!   or interrupted finds its [`CancelToken`] cancelled, even if it takes the token later. The
//!   functions that make it return early are called while that call is running, and never for the
//!   next one; a helper thread calls them, so the thread that drops or aborts does not wait.
//!
//! # What you can do with it
//!
//! | | |
//! |---|---|
//! | [`call`], [`try_call`], [`post`] | run a closure on the object: for its result; if there is room; without a result |
//! | [`session`](SerialExecutor::session) | have the object for several calls in a row, with awaits in between |
//! | [`scope`](SerialExecutor::scope) | have what borrows from the object: a transaction, a prepared statement, a cursor |
//! | [`Kept`] | have what may not leave the thread: children of the object |
//! | [`stream`] | get items as a closure makes them: rows, lines, readings |
//! | [`io`](SerialExecutor::io) | use an object that is `Read`, `Write` or `Seek` as its asynchronous counterpart |
//! | [`CancelToken`], [`on_interrupt`] | stop a running call that is dropped, aborted or [interrupted](Call::interrupt) |
//! | [`stats`](SerialExecutor::stats), [`Builder::timing`] | see what the lane runs, for how long, and what waits |
//! | [`Spawn`](#impl-Spawn-for-SerialExecutor%3CT%3E) | run futures on the lane's thread, between the calls |
//! | [`replace`](SerialExecutor::replace), [`try_replace`](SerialExecutor::try_replace), [`clear_poison`](SerialExecutor::clear_poison) | go on after a panic, or with another object |
//! | [`Builder::runner`] | run the lane on a thread of yours: [`run`](Worker::run) it, poll it as a future, step it in a test |
//! | [`close`], [`abort`], [`into_inner`], [`close_with`](SerialExecutor::close_with) | end the lane |
//!
//! # What it costs
//!
//! A lane is a thread: some tens of KiB of memory that is really used, and address space for a
//! [stack](Builder::stack_size). An idle lane uses no CPU. A call costs two hand-overs between
//! threads, and one allocation at the most: a thread keeps those of its small calls that are over for
//! the next ones. If the caller sleeps meanwhile, waking it costs more than everything in this crate.
//! So an idle lane spins briefly before it sleeps, and stops spinning where that does not pay
//! ([`Builder::spin`]).
//!
//! The object, the captures of a closure and its result move by value over the lane's stack,
//! several times in a build without optimisation. Put what is larger than some tens of KiB into a
//! `Box`, or ask for a larger stack. A stack that overflows ends the process.
//!
//! Use something else when
//!
//! - the object is `Send + Sync`, or cheap to make for each call: a pool (`blocking::unblock`,
//!   `spawn_blocking`) runs its calls in parallel;
//! - the work is CPU-bound and can be split: rayon;
//! - a good async client for the same thing exists;
//! - there are tens of thousands of objects that are rarely used: a thread for each is too much.
//!   One lane can own a whole map of objects.
//!
//! # How it works
//!
//! [`call`] puts the closure, its result and the waker into one allocation, and appends that to the
//! lane's *inbox*. When the lane has run its list of calls, it exchanges the empty list for the
//! inbox. A call that has not started stays in one of the two lists, where a cancel or an abort can
//! take it out. Only one thread can take a call out of a list, and only that thread runs or drops
//! it; that is all there is to exactly-once. The lane stores the result in the allocation, releases
//! the lock, and wakes the waker. A lane without calls spins, then parks.
//!
//! A [`Scope`] is a queue of the same kind inside a call, and its closure takes from it. A
//! [`Session`] has a list of its own. While the session is open, the lane takes calls only from
//! it. The lane keeps the number of the running call where a cancel looks for calls, so a call is
//! either found in a list or told to stop. A closure that asks for its token, and an interrupter,
//! are found in the same step. Spawned futures live on the lane's stack. Spawning and waking them
//! queues events, which the lane takes in turn with the calls.
//!
//! The crate is safe Rust with small mutexes. It runs no foreign code (closure, waker, destructor,
//! factory, interrupter) while it holds one. So whatever your code does there, it may call back
//! into the lane.
//!
//! # What happens before what
//!
//! What the caller did before [`call`] is visible to the closure. What a closure did is visible to
//! every later closure, and to the code that gets its result from the future or from `wait`. When
//! [`Ended`] resolves, everything that the lane did is visible, including the object's destructor.
//! You need no atomics of your own.
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

// What a user or the operating system can make fail is not unwrapped.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]

// The layers, lowest first: a module imports only modules above it. `tests/it/layers.rs` holds it to
// that.
mod sync;
mod take_once;
mod memory;
mod free_list;
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
mod scope;
mod executor;
#[cfg(all(test, loom))]
mod loom;

pub use error::{CallError, IntoInnerError, OpenError, ThreadError, TryCallError, WaitError};
pub use executor::{Builder, Opening, Runner, SerialExecutor, WeakSerialExecutor, Worker};
pub use future::{Call, Ended, Flatten, IntoInner, Post, Session};
pub use io::LaneIo;
pub use lane::{CancelToken, Kept, OnPanic};
pub use panic::Panic;
pub use scope::{Borrowed, Lend, Scope, ScopeEnd};
pub use stats::Stats;
pub use stream::{CallStream, Emitter};

#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

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
