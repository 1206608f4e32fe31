//! This crate, used as its documentation shows.

use super::{About, Bounded, Counter, Kind, Peer, Poster, Starts};
use futures::executor::LocalPool;
use serial_executor::{Borrowed, Builder, Lend, Scope, SerialExecutor, Session};
use std::future::Future;
use std::sync::Mutex;
use std::thread;

/// A lane. `SPIN` is [`Builder::spin`], `true` by default.
pub(crate) struct Lane<const SPIN: bool>(SerialExecutor<Counter>);

impl<const SPIN: bool> Peer for Lane<SPIN> {
    const ABOUT: About = About {
        name: if SPIN { "serial-executor" } else { "serial-executor, spin(false)" },
        kind: Kind::Ours,
        starts: Starts::AtCall,
        ordered: true,
    };

    fn make() -> Self {
        Self(Builder::new().spin(SPIN).spawn(0).expect("a thread"))
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let call = self.0.call(job);
        async { call.await.expect("the lane is open and the closure does not panic") }
    }
}

impl<const SPIN: bool> Poster for Lane<SPIN> {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.post(job);
    }
}

impl<const SPIN: bool> Bounded for Lane<SPIN> {
    fn make_bounded(capacity: usize) -> Self {
        Self(Builder::new().spin(SPIN).capacity(capacity).spawn(0).expect("a thread"))
    }

    fn send(&self, job: impl FnOnce(&mut Counter) + Send + 'static) -> impl Future<Output = ()> + Send {
        let post = self.0.post(job);
        async { post.await.expect("the lane is open") }
    }
}

/// A lane on a thread that it has not made. The thread runs nothing else, or (`IS_TASK`) the lane's
/// worker is a task of futures' `LocalPool`.
pub(crate) struct Guest<const IS_TASK: bool>(Lane<true>);

impl<const IS_TASK: bool> Peer for Guest<IS_TASK> {
    const ABOUT: About = About {
        name: if IS_TASK {
            "serial-executor, a worker on a LocalPool"
        } else {
            "serial-executor, a runner on a thread"
        },
        ..Lane::<true>::ABOUT
    };

    fn make() -> Self {
        let (lane, runner) = Builder::new().runner(|| 0);
        thread::spawn(|| if IS_TASK { LocalPool::new().run_until(runner.start()) } else { runner.run() });
        Self(Lane(lane))
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        self.0.call(job)
    }
}

/// A lane that hands work over by `call(..).detach()` instead of `post`.
pub(crate) struct Detaching(Lane<true>);

impl Peer for Detaching {
    const ABOUT: About = About { name: "serial-executor, detach()", ..Lane::<true>::ABOUT };

    fn make() -> Self {
        Self(Lane::make())
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        self.0.call(job)
    }
}

impl Poster for Detaching {
    fn post(&self, job: impl FnOnce(&mut Counter) + Send + 'static) {
        self.0.0.call(job).detach();
    }
}

/// A session of a lane. The mutex makes it a peer, which is shared; it costs some nanoseconds.
pub(crate) struct InSession(Mutex<Session<Counter>>);

impl Peer for InSession {
    const ABOUT: About = About { name: "serial-executor, in a session", ..Lane::<true>::ABOUT };

    fn make() -> Self {
        let session = SerialExecutor::new(0).session();
        Self(Mutex::new(session.wait().expect("the lane is open")))
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let call = self.0.lock().expect("nothing panics").call(job);
        async { call.await.expect("the lane is open and the closure does not panic") }
    }
}

/// A scope of a lane, which lends the object itself.
pub(crate) struct InScope(Mutex<Borrowed<Count>>);

/// What is lent: the counter.
pub(crate) struct Count;

impl Lend for Count {
    type Of<'a> = &'a mut Counter;
}

impl Peer for InScope {
    const ABOUT: About = About { name: "serial-executor, in a scope", ..Lane::<true>::ABOUT };

    fn make() -> Self {
        let lane = SerialExecutor::new(0);
        let (count, end) = lane.scope(|mut count: &mut Counter, scope: Scope<Count>| scope.serve(&mut count));
        end.detach();
        Self(Mutex::new(count))
    }

    fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Counter) -> R + Send + 'static,
    ) -> impl Future<Output = R> + Send {
        let call = self.0.lock().expect("nothing panics").call(|count| job(count));
        async { call.await.expect("the scope is open and the closure does not panic") }
    }
}
