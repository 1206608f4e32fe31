//! An object full of `Rc`, which cannot leave its thread, is made on its lane and shared by async
//! tasks.
//!
//! `cargo run --example not_send`

use futures::future::try_join_all;
use serial_executor::SerialExecutor;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The core of a script interpreter: variables, which may share a list. It is neither `Send` nor
/// `Sync`.
#[derive(Default)]
struct Interpreter {
    variables: HashMap<&'static str, Rc<RefCell<Vec<i64>>>>,
}

impl Interpreter {
    fn list(&mut self, name: &'static str) -> Rc<RefCell<Vec<i64>>> {
        Rc::clone(self.variables.entry(name).or_default())
    }

    fn push(&mut self, name: &'static str, n: i64) {
        self.list(name).borrow_mut().push(n);
    }

    fn alias(&mut self, name: &'static str, of: &'static str) {
        let list = self.list(of);
        self.variables.insert(name, list);
    }

    fn sum(&mut self, name: &'static str) -> i64 {
        self.list(name).borrow().iter().sum()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The factory goes to the lane, and the interpreter never leaves it. Handles are `Send`.
    let lane = SerialExecutor::new_with(Interpreter::default);
    smol::block_on(async {
        lane.call(|script| script.alias("b", "a")).await?;
        let tasks = (1..=10).map(|n| {
            let lane = lane.clone();
            smol::spawn(async move { lane.call(move |script| script.push("a", n)).await })
        });
        try_join_all(tasks).await?;

        let sum = lane.call(|script| script.sum("b")).await?;
        println!("ten tasks pushed 1 to 10 to `a`; the sum of `b`, which is the same list, is {sum}");
        assert_eq!(sum, 55);

        lane.close().await?;
        println!("closed: the interpreter was dropped on the thread that made it");
        Ok(())
    })
}
