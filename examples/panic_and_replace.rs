//! A call panics half way. The lane goes on, no other call sees the half-changed object, and
//! `replace` makes a new one.
//!
//! `cargo run --example panic_and_replace` (it also prints the message of the panic)

use serial_executor::{CallError, SerialExecutor};

/// Two accounts. Whatever happens, their sum is 100.
struct Ledger {
    savings: i64,
    current: i64,
}

impl Ledger {
    fn new() -> Self {
        Self { savings: 100, current: 0 }
    }

    fn transfer(&mut self, amount: i64) {
        self.savings -= amount;
        assert!(self.savings >= 0, "{amount} is more than there is");
        self.current += amount;
    }

    fn sum(&self) -> i64 {
        self.savings + self.current
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    smol::block_on(async {
        let lane = SerialExecutor::new(Ledger::new());
        let good = lane.call(|ledger| ledger.transfer(30));
        let bad = lane.call(|ledger| ledger.transfer(500));
        let behind = lane.call(|ledger| ledger.sum());

        good.await?;
        println!("the first transfer went well");

        let Err(CallError::Panicked(panic)) = bad.await else { return Err("it should have panicked".into()) };
        println!("the second one panicked: {}", panic.message());
        assert_eq!(panic.message(), "500 is more than there is");

        let error = behind.await;
        println!("the call behind it did not see the ledger: {error:?}");
        assert!(matches!(error, Err(CallError::Poisoned)));
        assert!(lane.is_poisoned());

        // `replace` takes its turn like a call, so the call behind it sees the new ledger.
        let replaced = lane.replace(Ledger::new);
        let sum = lane.call(|ledger| ledger.sum());
        replaced.await?;
        let sum = sum.await?;
        println!("replaced: the sum is {sum} again, on the same thread");
        assert_eq!(sum, 100);
        assert!(!lane.is_poisoned());

        lane.close().await?;
        Ok(())
    })
}
