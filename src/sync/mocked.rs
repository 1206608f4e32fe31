//! Primitives of loom, with the interfaces of those in [`super::native`].

pub(crate) use loom::sync::MutexGuard;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
pub(crate) use loom::thread_local as per_thread;

/// Whether this code runs under loom.
pub(crate) const LOOM: bool = true;

/// Loom's mutex with the interface of `parking_lot`'s.
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

/// Threads that park on a token of their own.
///
/// Loom's own `park` loses the token while its thread waits for a lock, and its `unpark` lets a
/// thread that waits for a lock go on without it.
pub(crate) mod thread {
    use loom::sync::{Condvar, Mutex};
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::Duration;
    use std::{fmt, io};

    #[derive(Clone)]
    pub struct Thread(Arc<Token>);

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ThreadId(usize);

    struct Token {
        name: Option<String>,
        available: Mutex<bool>,
        unparked: Condvar,
    }

    loom::thread_local! {
        static CURRENT: RefCell<Option<Thread>> = RefCell::new(None);
    }

    impl Thread {
        fn new(name: Option<String>) -> Self {
            Self(Arc::new(Token { name, available: Mutex::new(false), unparked: Condvar::new() }))
        }

        pub fn name(&self) -> Option<&str> {
            self.0.name.as_deref()
        }

        pub fn id(&self) -> ThreadId {
            ThreadId(Arc::as_ptr(&self.0).addr())
        }

        pub fn unpark(&self) {
            *self.0.available.lock().unwrap() = true;
            self.0.unparked.notify_one();
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
        let mut available = token.available.lock().unwrap();
        while !*available {
            available = token.unparked.wait(available).unwrap();
        }
        *available = false;
    }

    /// A model has no clock: this parks if there is no limit, and returns at once if there is one.
    pub fn park_timeout(limit: Duration) {
        if limit == Duration::MAX { park() } else { loom::thread::yield_now() }
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

        /// Loom decides how large the stacks of its threads are.
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

        /// Loom does not say, so this is never known.
        #[allow(clippy::unused_self)]
        pub fn is_finished(&self) -> bool {
            false
        }

        pub fn thread(&self) -> &Thread {
            &self.thread
        }
    }
}
