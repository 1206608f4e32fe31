//! This crate, used as its documentation shows.

use super::{About, Bounded, Counter, Kind, Peer, Poster, Starts};
use serial_executor::{Builder, SerialExecutor};
use std::future::Future;

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
