//! Every error of the crate. Each message says whether the closure ran.

use crate::panic::Panic;
use std::fmt;
use std::io;
use thiserror::Error;

/// Why a call gave no value. The future [`Call`](crate::Call) resolves to it.
///
/// [`Closed`](Self::Closed) and [`Poisoned`](Self::Poisoned) mean that the closure of a call never
/// started and never will, so you can make the call again elsewhere. [`Panicked`](Self::Panicked)
/// means that it started and panicked.
///
/// ```
/// use serial_executor::{CallError, SerialExecutor};
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(String::new());
/// lane.close();
/// let error = lane.call(|text| text.len()).await.unwrap_err();
/// assert!(matches!(error, CallError::Closed));
/// assert_eq!(error.to_string(), "the lane is closed: the closure did not run");
/// # });
/// ```
#[derive(Debug, Error)]
pub enum CallError {
    /// The lane was closed before the call was made, or aborted before the call's turn. The closure
    /// never ran.
    ///
    /// There is one exception. As the last item of a [`CallStream`](crate::CallStream) it may mean
    /// that an abort has cost the stream some items while its closure ran.
    #[error("the lane is closed: the closure did not run")]
    Closed,
    /// An earlier call panicked and may have left the object half changed, or there is no object
    /// because a factory panicked. The closure never ran.
    ///
    /// See [`clear_poison`](crate::SerialExecutor::clear_poison) and
    /// [`replace`](crate::SerialExecutor::replace).
    #[error("an earlier panic has left the object poisoned or missing: the closure did not run")]
    Poisoned,
    /// The closure ran and panicked.
    #[error("the closure ran and panicked: {}", .0.message())]
    Panicked(Panic),
}

/// For `?` in the functions of a client, which return [`io::Result`]. The kind is `Other`, because
/// the connection did not fail: the lane did. The [`CallError`] is inside ([`io::Error::get_ref`]).
impl From<CallError> for io::Error {
    fn from(error: CallError) -> Self {
        Self::other(error)
    }
}

/// Why [`try_call`](crate::SerialExecutor::try_call) did not take the closure. Each variant gives
/// the closure back.
///
/// ```
/// use serial_executor::{SerialExecutor, TryCallError};
///
/// let lane = SerialExecutor::new(String::new());
/// lane.close();
/// match lane.try_call(|text: &mut String| text.len()) {
///     Err(TryCallError::Closed(closure)) => assert_eq!(closure(&mut String::from("four")), 4),
///     other => unreachable!("{other:?}"),
/// }
/// ```
#[derive(Error)]
pub enum TryCallError<F> {
    /// As many calls are queued as the lane has capacity for. The closure did not run.
    #[error("the queue is full: the closure did not run")]
    Full(F),
    /// The lane is closed. The closure did not run.
    #[error("the lane is closed: the closure did not run")]
    Closed(F),
    /// The object is poisoned, and no `replace` is queued or running. The closure did not run.
    #[error("an earlier panic has left the object poisoned or missing: the closure did not run")]
    Poisoned(F),
}

impl<F> TryCallError<F> {
    /// Returns the closure, which did not run.
    ///
    /// ```
    /// use serial_executor::SerialExecutor;
    ///
    /// let lane = SerialExecutor::new(1);
    /// lane.close();
    /// let closure = lane.try_call(|n: &mut i32| *n + 1).unwrap_err().into_inner();
    /// assert_eq!(closure(&mut 1), 2);
    /// ```
    #[must_use]
    pub fn into_inner(self) -> F {
        match self {
            Self::Full(f) | Self::Closed(f) | Self::Poisoned(f) => f,
        }
    }

    /// Drops the closure and returns the reason alone, which is easy to store, send and match.
    ///
    /// ```
    /// use serial_executor::{SerialExecutor, TryCallError};
    ///
    /// let lane = SerialExecutor::new(());
    /// lane.close();
    /// let error = lane.try_call(|()| ()).unwrap_err().without_closure();
    /// assert!(matches!(error, TryCallError::Closed(())));
    /// ```
    #[must_use]
    pub fn without_closure(self) -> TryCallError<()> {
        match self {
            Self::Full(_) => TryCallError::Full(()),
            Self::Closed(_) => TryCallError::Closed(()),
            Self::Poisoned(_) => TryCallError::Poisoned(()),
        }
    }
}

impl TryCallError<()> {
    pub(crate) fn with_closure<F>(self, f: F) -> TryCallError<F> {
        match self {
            Self::Full(()) => TryCallError::Full(f),
            Self::Closed(()) => TryCallError::Closed(f),
            Self::Poisoned(()) => TryCallError::Poisoned(f),
        }
    }
}

impl<F> fmt::Debug for TryCallError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
            Self::Poisoned(_) => "Poisoned(..)",
        })
    }
}

/// Why a blocking wait (`wait`, `wait_timeout`) gave no value.
///
/// `E` is the error that the future itself resolves to: [`CallError`] for calls.
///
/// ```
/// use serial_executor::{SerialExecutor, WaitError};
/// use std::time::Duration;
///
/// let lane = SerialExecutor::new(());
/// let (release, gate) = std::sync::mpsc::channel::<()>();
/// let mut call = lane.call(move |()| gate.recv());
/// assert!(matches!(call.wait_timeout(Duration::from_millis(1)), Err(WaitError::Timeout)));
/// release.send(()).unwrap();
/// assert!(call.wait().is_ok());
/// ```
#[derive(Debug, Error)]
pub enum WaitError<E = CallError> {
    /// The future resolved to this error.
    #[error(transparent)]
    Failed(E),
    /// The lane's own thread tried to wait for something of its lane that is not finished. It would
    /// have waited for ever. What it waited for has not run to its end. `wait` has dropped the
    /// future, which cancels a call that is still queued; `wait_timeout` has left the future as it
    /// was.
    #[error("a lane cannot wait for itself: what it waited for has not run to its end")]
    WouldDeadlock,
    /// The time is up. The closure may still be queued or running, and may still finish.
    #[error("the wait timed out: the closure may still be queued or running")]
    Timeout,
}

/// For `?` in the synchronous functions of a client. `Timeout` becomes an error of the kind
/// `TimedOut`, and `WouldDeadlock` one of the kind `Deadlock`. `Failed` becomes what the error
/// inside it becomes.
impl<E: Into<io::Error>> From<WaitError<E>> for io::Error {
    fn from(error: WaitError<E>) -> Self {
        let (kind, inside) = match error {
            WaitError::Failed(error) => return error.into(),
            WaitError::WouldDeadlock => (io::ErrorKind::Deadlock, WaitError::<CallError>::WouldDeadlock),
            WaitError::Timeout => (io::ErrorKind::TimedOut, WaitError::Timeout),
        };
        Self::new(kind, inside)
    }
}

/// Why a lane could not be opened. The future [`Opening`](crate::Opening) resolves to it.
///
/// ```
/// use serial_executor::{OpenError, SerialExecutor};
/// use std::fs::File;
///
/// # pollster::block_on(async {
/// let opening = SerialExecutor::try_new_with(|| File::open("/no/such/file"));
/// let Err(OpenError::Make(error)) = opening.await else { unreachable!() };
/// assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
/// # });
/// ```
#[derive(Debug, Error)]
pub enum OpenError<E> {
    /// The factory ran and returned an error.
    ///
    /// The message includes that of the error. `source` does not return the error as well, so `E`
    /// may be any type that can be displayed: a `String`, a `Box<dyn Error>`, an `anyhow::Error`.
    #[error("the factory ran and failed: {0}")]
    Make(E),
    /// The factory ran and panicked.
    #[error("the factory ran and panicked: {}", .0.message())]
    Panicked(Panic),
    /// There is no thread for the factory, so it did not run.
    #[error(transparent)]
    Thread(ThreadError),
}

/// For `?` in functions that connect, which return [`io::Result`]. The factory's own error stays as
/// it is. The others are inside an error of the kind `Other`.
impl From<OpenError<Self>> for io::Error {
    fn from(error: OpenError<Self>) -> Self {
        match error {
            OpenError::Make(error) => error,
            OpenError::Panicked(_) | OpenError::Thread(_) => Self::other(error),
        }
    }
}

/// Why [`into_inner`](crate::SerialExecutor::into_inner) gave no object, or a poisoned one.
///
/// ```
/// use serial_executor::{IntoInnerError, SerialExecutor};
///
/// # pollster::block_on(async {
/// let lane = SerialExecutor::new(vec![1, 2, 3]);
/// let _ = lane.call(|list| { list.clear(); panic!("half way") }).await;
/// match lane.into_inner().await {
///     Err(IntoInnerError::Poisoned(list)) => assert!(list.is_empty()),
///     other => unreachable!("{other:?}"),
/// }
/// # });
/// ```
#[derive(Error)]
pub enum IntoInnerError<T> {
    /// The lane had ended already, or the object went to another `into_inner`.
    #[error("the lane has ended or another handle took the object: there is none to give")]
    Closed,
    /// The object, which an earlier panic may have left half changed.
    #[error("the object is poisoned by an earlier panic: it is given back as the panic left it")]
    Poisoned(T),
    /// A factory panicked: there never was an object, or the new one of a `replace` was not made.
    #[error("the factory ran and panicked: there is no object")]
    Missing,
}

impl<T> IntoInnerError<T> {
    /// Returns the reason alone, and drops the object, on this thread.
    ///
    /// What is left is `Send`, `Sync` and `'static`, whatever the object is. So `?` turns it into
    /// an `anyhow::Error` or a `Box<dyn Error + Send + Sync>`.
    ///
    /// ```
    /// use serial_executor::{IntoInnerError, SerialExecutor};
    /// use std::cell::Cell;
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(Cell::new(1)); // `Send`, but not `Sync`
    /// let cell = lane.into_inner().await.map_err(IntoInnerError::without_object)?;
    /// assert_eq!(cell.get(), 1);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn without_object(self) -> IntoInnerError<()> {
        match self {
            Self::Closed => IntoInnerError::Closed,
            Self::Poisoned(_) => IntoInnerError::Poisoned(()),
            Self::Missing => IntoInnerError::Missing,
        }
    }
}

impl<T> fmt::Debug for IntoInnerError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "Closed",
            Self::Poisoned(_) => "Poisoned(..)",
            Self::Missing => "Missing",
        })
    }
}

/// The operating system gave the lane no thread, or the thread's name or stack size was refused.
///
/// [`source`](std::error::Error::source) is the [`io::Error`]. An object that was handed in has
/// been dropped, on the thread that tried to make the lane. A factory has been dropped without
/// having run.
///
/// ```
/// use serial_executor::SerialExecutor;
/// use std::error::Error;
///
/// let error = SerialExecutor::builder().name("no\0good").spawn(()).unwrap_err();
/// assert!(error.source().is_some());
/// ```
#[derive(Debug, Error)]
#[error("the lane's thread could not be started: no closure ran")]
pub struct ThreadError {
    source: io::Error,
}

impl ThreadError {
    pub(crate) fn new(source: io::Error) -> Self {
        Self { source }
    }
}
