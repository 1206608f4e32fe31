//! The future of a call whose closure returns a `Result`: [`Flatten`].

use super::call::Call;
use crate::error::CallError;
use futures::future::FusedFuture;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<R, E: From<CallError>> Call<Result<R, E>> {
    /// Merges the closure's error and the call's into one `Result`, so that one `?` is enough.
    ///
    /// ```
    /// use serial_executor::{CallError, SerialExecutor};
    ///
    /// #[derive(Debug)]
    /// enum Error { Parse(std::num::ParseIntError), Lane(CallError) }
    /// impl From<CallError> for Error {
    ///     fn from(error: CallError) -> Self { Self::Lane(error) }
    /// }
    ///
    /// async fn sum(lane: &SerialExecutor<Vec<String>>) -> Result<i32, Error> {
    ///     let first = lane.call(|list| list[0].parse::<i32>().map_err(Error::Parse)).flatten().await?;
    ///     let second = lane.call(|list| list[1].parse::<i32>().map_err(Error::Parse)).flatten().await?;
    ///     Ok(first + second)
    /// }
    ///
    /// # pollster::block_on(async {
    /// let lane = SerialExecutor::new(vec!["1".to_owned(), "2".to_owned()]);
    /// assert_eq!(sum(&lane).await.unwrap(), 3);
    /// lane.close();
    /// assert!(matches!(sum(&lane).await, Err(Error::Lane(CallError::Closed))));
    /// # });
    /// ```
    pub fn flatten(self) -> Flatten<R, E> {
        Flatten { call: self }
    }
}

/// A [`Call`] whose closure returns a `Result`, as a future of that one `Result`. Made by
/// [`Call::flatten`].
///
/// Apart from that it behaves like the call: dropping it cancels the call.
///
/// # Errors
///
/// The closure's own error, or the call's [`CallError`], converted into the type of the closure's
/// error.
///
/// # Panics
///
/// When polled again after it has given its result.
#[must_use = "dropping a call cancels it; to let it run unwatched, `detach` the call instead"]
pub struct Flatten<R, E> {
    call: Call<Result<R, E>>,
}

impl<R, E: From<CallError>> Future for Flatten<R, E> {
    type Output = Result<R, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.get_mut().call).poll(cx).map(|result| result?)
    }
}

impl<R, E: From<CallError>> FusedFuture for Flatten<R, E> {
    fn is_terminated(&self) -> bool {
        self.call.is_terminated()
    }
}

impl<R, E> fmt::Debug for Flatten<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flatten").field("finished", &self.call.is_finished()).finish_non_exhaustive()
    }
}
