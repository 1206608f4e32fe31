//! An object that must stay on the main thread, where an event loop runs, and async tasks elsewhere
//! that call it.
//!
//! Window systems ask for this: a window may be touched on the main thread only, and its events must
//! be pumped there. The lane's worker is a future that the loop polls. Its waker pings the loop, so
//! a loop that has nothing to do sleeps.

use calloop::ping::{Ping, make_ping};
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, LoopSignal};
use serial_executor::{CallError, Panic, SerialExecutor, Worker};
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// A window of a toolkit. It is not `Send`, and it needs to be pumped.
struct Window {
    title: Rc<str>,
    events: u32,
}

impl Window {
    fn open() -> Self {
        Self { title: "untitled".into(), events: 0 }
    }

    fn set_title(&mut self, title: &str) {
        self.title = title.into();
    }

    /// Handles the events of the window system.
    fn pump(&mut self) {
        self.events += 1;
    }
}

/// How long the window system waits for the next pumping.
const FRAME: Duration = Duration::from_millis(5);

/// What the event loop works on.
struct App {
    worker: Worker<Window>,
    waker: Waker,
    signal: LoopSignal,
    outcome: Result<(), Panic>,
}

impl App {
    /// Runs the calls that have come, and leaves the waker for the next ones.
    fn serve(&mut self) {
        if let Poll::Ready(outcome) = Pin::new(&mut self.worker).poll(&mut Context::from_waker(&self.waker)) {
            self.outcome = outcome;
            self.signal.stop();
        }
    }
}

/// A waker that wakes the event loop.
struct PingLoop(Ping);

impl Wake for PingLoop {
    fn wake(self: Arc<Self>) {
        self.0.ping();
    }
}

/// An async task on another thread. It awaits the window like anything else.
async fn use_window(window: SerialExecutor<Window>) -> Result<u32, CallError> {
    window.call(|window| window.set_title("hello")).await?;
    let title = window.call(|window| window.title.to_string()).await?;
    assert_eq!(title, "hello");
    // Other work, while the loop pumps.
    smol::Timer::after(10 * FRAME).await;
    window.call(|window| window.events).await
    // The last handle goes here: the lane ends, and the loop stops.
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut event_loop: EventLoop<'_, App> = EventLoop::try_new()?;
    let (ping, pings) = make_ping()?;
    let (window, runner) = SerialExecutor::builder().runner(Window::open);
    let mut app = App {
        worker: runner.start(), // this is the window's thread
        waker: Waker::from(Arc::new(PingLoop(ping.clone()))),
        signal: event_loop.get_signal(),
        outcome: Ok(()),
    };
    let handle = event_loop.handle();
    handle.insert_source(pings, |(), (), app| app.serve())?;
    // Between the calls the loop has the object for itself.
    handle.insert_source(Timer::from_duration(FRAME), |_, (), app| match app.worker.with(Window::pump) {
        Ok(()) => TimeoutAction::ToDuration(FRAME),
        Err(_) => TimeoutAction::Drop,
    })?;

    let task = thread::spawn(|| smol::block_on(use_window(window)));
    ping.ping(); // the first poll leaves the waker
    event_loop.run(None, &mut app, |_| ())?;
    app.outcome?;
    let events = task.join().expect("the task does not panic")?;
    assert!(events > 0, "nobody has pumped the window");
    println!("the window had a title from another thread, and was pumped {events} times meanwhile");
    Ok(())
}
