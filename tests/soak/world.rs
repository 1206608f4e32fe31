//! [`World`]: what the callers of one round share: how many calls are left to make, and the lanes.

use crate::life::Life;
use fastrand::Rng;
use parking_lot::Mutex;
use serial_executor::Call;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How many lanes several callers use at a time.
const SHARED: usize = 4;
/// How many calls may be on their way from one caller to another.
const PARCELS: usize = 8;

pub(crate) struct World {
    pub(crate) seed: u64,
    left: AtomicU64,
    shared: [Mutex<Option<Arc<Life>>>; SHARED],
    parcels: Mutex<Vec<Parcel>>,
}

/// A call that one caller makes, and another one awaits.
pub(crate) struct Parcel {
    pub(crate) life: Arc<Life>,
    pub(crate) call: Call<u64>,
    pub(crate) number: u64,
}

/// A number of calls for one caller, on one lane.
pub(crate) struct Stint {
    pub(crate) life: Arc<Life>,
    pub(crate) calls: u64,
    /// Whether this caller has to end the lane.
    pub(crate) is_last: bool,
}

impl World {
    pub(crate) fn new(seed: u64, calls: u64) -> Self {
        Self {
            seed,
            left: AtomicU64::new(calls),
            shared: [const { Mutex::new(None) }; SHARED],
            parcels: Mutex::new(Vec::with_capacity(PARCELS)),
        }
    }

    /// Takes up to `calls` of the calls that are left. `None` when the round is over.
    pub(crate) async fn stint(&self, rng: &mut Rng, calls: u64) -> Option<Stint> {
        let take = |left: u64| (left > 0).then(|| left.saturating_sub(calls));
        let before = self.left.fetch_update(Relaxed, Relaxed, take).ok()?;
        let calls = calls.min(before);
        if rng.u8(0..4) == 0 {
            // A lane for this caller alone.
            return Some(Stint { life: Arc::new(Life::begin(rng).await), calls, is_last: true });
        }
        let place = &self.shared[rng.usize(0..SHARED)];
        if let Some(stint) = Self::on_shared(place, calls) {
            return Some(stint);
        }
        let life = Arc::new(Life::begin(rng).await);
        let is_last = life.spend(calls) || {
            let mut place = place.lock();
            let is_taken = place.is_some();
            if !is_taken {
                *place = Some(Arc::clone(&life));
            }
            is_taken
        };
        Some(Stint { life, calls, is_last })
    }

    fn on_shared(place: &Mutex<Option<Arc<Life>>>, calls: u64) -> Option<Stint> {
        let mut place = place.lock();
        let life = Arc::clone(place.as_ref()?);
        let is_last = life.spend(calls);
        if is_last {
            *place = None;
        }
        Some(Stint { life, calls, is_last })
    }

    /// Gives back calls that were not made.
    pub(crate) fn give_back(&self, calls: u64) {
        self.left.fetch_add(calls, Relaxed);
    }

    /// Ends the round: no calls are left.
    pub(crate) fn give_up(&self) {
        self.left.store(0, Relaxed);
    }

    /// The lanes that no caller has ended.
    pub(crate) fn left_over(&self) -> impl Iterator<Item = Arc<Life>> {
        self.shared.iter().filter_map(|place| place.lock().take())
    }

    /// Leaves a call to another caller. Gives it back if there are many already.
    pub(crate) fn send(&self, parcel: Parcel) -> Result<(), Parcel> {
        let mut parcels = self.parcels.lock();
        if parcels.len() == PARCELS {
            return Err(parcel);
        }
        parcels.push(parcel);
        Ok(())
    }

    pub(crate) fn receive(&self) -> Option<Parcel> {
        self.parcels.lock().pop()
    }
}
