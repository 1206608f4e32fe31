//! The synchronisation primitives of the crate, all of them imported from here.
//!
//! One place to look when a primitive is to be exchanged, for another crate's or for a model checker's. The latter is
//! done here: unit tests that are built with `--cfg loom` get loom's primitives, and `models` runs what rests on them through every
//! interleaving. `Arc` is std's there, too, since loom's cannot hold a `dyn`.

use std::ops::Deref;

pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::Ordering;

#[cfg(all(test, loom))]
pub(crate) use modelled::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, MODELLED, Mutex, MutexGuard, per_thread, thread,
};
#[cfg(not(all(test, loom)))]
pub(crate) use real::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, MODELLED, Mutex, MutexGuard, per_thread, thread,
};

/// What the whole process has one of: numbers that are given out, and advice. A run of a model must leave nothing to
/// the next, so these are std's always.
pub(crate) mod process {
    pub(crate) use std::sync::OnceLock;
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize};
    pub(crate) use std::thread::available_parallelism;
}

#[cfg(not(all(test, loom)))]
mod real {
    pub(crate) use parking_lot::{Mutex, MutexGuard};
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use std::thread;

    /// Whether this runs under a model checker, for which every look at an atomic is a way that things may go.
    pub(crate) const MODELLED: bool = false;

    macro_rules! per_thread {
        ($(#[$attribute:meta])* static $name:ident: $type:ty = $initial:expr;) => {
            std::thread_local! {
                $(#[$attribute])* static $name: $type = const { $initial };
            }
        };
    }

    pub(crate) use per_thread;
}

#[cfg(all(test, loom))]
#[allow(unreachable_pub)]
mod modelled {
    pub(crate) use loom::sync::MutexGuard;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub(crate) use loom::thread_local as per_thread;

    pub(crate) const MODELLED: bool = true;

    /// With the interface of the real one.
    pub(crate) struct Mutex<V>(loom::sync::Mutex<V>);

    impl<V> Mutex<V> {
        pub(crate) fn new(value: V) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        #[track_caller]
        pub(crate) fn lock(&self) -> MutexGuard<'_, V> {
            self.0.lock().unwrap()
        }

        pub(crate) fn get_mut(&mut self) -> &mut V {
            self.0.get_mut().unwrap()
        }
    }

    /// Threads with a token to park on. Loom's own loses the token when its thread waits for a lock meanwhile, and lets a
    /// thread that waits for a lock go on when somebody unparks it.
    pub(crate) mod thread {
        use loom::sync::{Condvar, Mutex};
        use std::cell::RefCell;
        use std::sync::Arc;
        use std::time::Duration;
        use std::{fmt, io};

        #[derive(Clone)]
        pub struct Thread(Arc<Token>);

        struct Token {
            name: Option<String>,
            is_there: Mutex<bool>,
            came: Condvar,
        }

        loom::thread_local! {
            static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
        }

        impl Thread {
            fn new(name: Option<String>) -> Self {
                Self(Arc::new(Token { name, is_there: Mutex::new(false), came: Condvar::new() }))
            }

            pub fn name(&self) -> Option<&str> {
                self.0.name.as_deref()
            }

            pub fn unpark(&self) {
                *self.0.is_there.lock().unwrap() = true;
                self.0.came.notify_one();
            }
        }

        impl fmt::Debug for Thread {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct("Thread").field("name", &self.0.name).finish_non_exhaustive()
            }
        }

        pub fn current() -> Thread {
            CURRENT.with(|current| current.borrow_mut().get_or_insert_with(|| Thread::new(None)).clone())
        }

        pub fn park() {
            let Thread(token) = current();
            let mut is_there = token.is_there.lock().unwrap();
            while !*is_there {
                is_there = token.came.wait(is_there).unwrap();
            }
            *is_there = false;
        }

        /// There is no time in a model.
        pub fn park_timeout(_: Duration) {
            loom::thread::yield_now();
        }

        pub fn yield_now() {
            loom::thread::yield_now();
        }

        pub struct Builder(Option<String>);

        impl Builder {
            pub fn new() -> Self {
                Self(None)
            }

            pub fn name(mut self, name: String) -> Self {
                self.0 = Some(name);
                self
            }

            /// A model's threads have a stack of loom's.
            pub fn stack_size(self, _: usize) -> Self {
                Self(self.0)
            }

            pub fn spawn<F, V>(self, f: F) -> io::Result<JoinHandle<V>>
            where
                F: FnOnce() -> V + Send + 'static,
                V: Send + 'static,
            {
                let thread = Thread::new(self.0);
                let own = thread.clone();
                let handle = loom::thread::Builder::new().spawn(move || {
                    CURRENT.with(|current| current.replace(Some(own)));
                    f()
                })?;
                Ok(JoinHandle { handle, thread })
            }
        }

        pub struct JoinHandle<V> {
            handle: loom::thread::JoinHandle<V>,
            thread: Thread,
        }

        impl<V> JoinHandle<V> {
            pub fn join(self) -> std::thread::Result<V> {
                self.handle.join()
            }

            pub fn thread(&self) -> &Thread {
                &self.thread
            }
        }
    }
}

/// Keeps a value on cache lines of its own, so that who writes it does not slow down who uses its neighbours.
///
/// Two lines of 64 bytes, because x86 fetches them in pairs. With both ends of the queue apart, a thousand calls in
/// flight cost 170 ns each instead of 300 (two CPUs, medians).
#[repr(align(128))]
pub(crate) struct Apart<V>(V);

impl<V> Apart<V> {
    pub(crate) const fn new(value: V) -> Self {
        Self(value)
    }
}

impl<V> Deref for Apart<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}
