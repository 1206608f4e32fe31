//! [`Turn`]: how far the lane goes before it gives its thread back.

/// What the lane may take in one go.
pub(crate) struct Turn {
    /// Jobs with lower numbers only.
    pub(super) before: u64,
    /// So many task events.
    pub(super) events: u64,
    /// So many jobs and task events in all.
    pub(super) steps: u64,
}

impl Turn {
    /// Without a bound: the lane has the thread to itself.
    pub(crate) fn endless() -> Self {
        Self { before: u64::MAX, events: u64::MAX, steps: u64::MAX }
    }

    /// So many jobs and task events.
    pub(crate) fn of(steps: u64) -> Self {
        Self { steps, ..Self::endless() }
    }

    /// What is queued before the job with this number, and so many task events.
    pub(super) fn up_to(before: u64, events: u64) -> Self {
        Self { before, events, ..Self::endless() }
    }

    /// Whether all of its steps were made.
    pub(crate) fn is_over(&self) -> bool {
        self.steps == 0
    }
}
