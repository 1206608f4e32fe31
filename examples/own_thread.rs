//! A lane on a thread of yours: one with a name, pinned to a CPU, and in a scope, so that the object
//! can be made from what the scope borrows.

use core_affinity::CoreId;
use serial_executor::{CallError, SerialExecutor};
use std::error::Error;
use std::thread;

struct Sensor {
    offset: f64,
}

impl Sensor {
    fn read(&mut self) -> f64 {
        self.offset + 20.0
    }
}

struct Config {
    offset: f64,
}

async fn use_sensor(sensor: SerialExecutor<Sensor>) -> Result<f64, CallError> {
    sensor.call(Sensor::read).await
    // The last handle goes here: the lane ends, and with it the scope.
}

fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { offset: 1.5 };
    let last_cpu: Option<CoreId> = core_affinity::get_core_ids().and_then(|mut cpus| cpus.pop());

    // The factory borrows `config`. It runs on the thread that runs the runner.
    let (sensor, runner) = SerialExecutor::builder().runner(|| Sensor { offset: config.offset });
    let read = thread::scope(|scope| {
        let lane = thread::Builder::new().name("sensor".to_owned()).spawn_scoped(scope, move || {
            // Whatever the thread needs: a CPU here, or a priority, a signal mask, a COM apartment.
            let is_pinned = last_cpu.is_some_and(core_affinity::set_for_current);
            let outcome = runner.run();
            outcome.map(|()| is_pinned)
        })?;
        let read = smol::block_on(use_sensor(sensor));
        let is_pinned = lane.join().expect("a closure that panics does not end the thread")?;
        println!("the lane's thread was pinned: {is_pinned}");
        read.map_err(Box::<dyn Error>::from)
    })?;
    assert!((read - 21.5).abs() < f64::EPSILON);
    println!("the sensor says {read}");
    Ok(())
}
