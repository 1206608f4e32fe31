//! What the lane does between two jobs: futures that were spawned or woken.

use super::{Phase, Queue, list};
use crate::spawn::Errand;
use crate::sync::Ordering;

impl<J: ?Sized> Queue<J> {
    /// Queues an errand, if new jobs are accepted or (a future that was `accepted` before) as long as the lane works.
    pub(crate) fn push_errand(&self, errand: Errand, accepted: bool) -> Result<(), Errand> {
        let mut ready = self.ready.lock();
        let inbox = self.inbox.lock();
        let is_open = accepted || inbox.phase == Phase::Open;
        let Some(errands) = ready.errands.as_mut().filter(|_| is_open) else { return Err(errand) };
        errands.push_back(errand);
        self.has_errands.store(true, Ordering::Relaxed);
        self.mail.store(true, Ordering::Release);
        drop(ready);
        if inbox.session.is_none() {
            Self::ring(inbox);
        }
        Ok(())
    }

    pub(super) fn pop_errand(&self) -> Option<Errand> {
        let mut ready = self.ready.lock();
        let errands = ready.errands.as_mut()?;
        let errand = errands.pop_front();
        if errands.is_empty() {
            errands.shrink_to(list::IDLE);
            let _inbox = self.inbox.lock();
            self.has_errands.store(false, Ordering::Relaxed);
        }
        errand
    }

    /// Takes out all errands, and refuses those to come. Called by the lane, which drops them.
    pub(crate) fn end_errands(&self) -> impl Iterator<Item = Errand> + use<J> {
        let errands = self.ready.lock().errands.take();
        errands.into_iter().flatten()
    }
}
