//! How lanes are made: names, stack sizes, factories, and each way in which that fails.

use crate::support::{Gate, PanicOnDrop, Stuck, Tracker, eventually, guarded, under_every_runtime};
use serial_executor::{Builder, OnPanic, OpenError, SerialExecutor, ThreadError, TryCallError, WaitError};
use std::cell::RefCell;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::thread;

/// The name by which the operating system knows the lane's thread.
#[cfg(target_os = "linux")]
fn os_name<T: 'static>(lane: &SerialExecutor<T>) -> String {
    let read = lane.call(|_| std::fs::read_to_string("/proc/thread-self/comm").unwrap());
    read.wait().unwrap().trim_end().to_owned()
}

fn kind(error: &ThreadError) -> io::ErrorKind {
    let source = error.source().expect("a thread error has a source");
    source.downcast_ref::<io::Error>().expect("it is an io::Error").kind()
}

// Names.

#[test]
fn a_thread_is_called_serial_executor_unless_it_is_given_a_name() {
    guarded(|| {
        for lane in
            [SerialExecutor::new(1), SerialExecutor::new_with(|| 1), Builder::default().spawn(1).unwrap()]
        {
            assert_eq!(lane.thread().unwrap().name(), Some("serial-executor"));
            let inside = lane.call(|_| thread::current().name().map(str::to_owned)).wait().unwrap();
            assert_eq!(inside.as_deref(), Some("serial-executor"));
            #[cfg(target_os = "linux")]
            assert_eq!(os_name(&lane), "serial-executor");
        }
    });
}

#[test]
fn a_name_is_the_name_of_the_thread_however_long_or_foreign() {
    guarded(|| {
        for name in ["", "sqlite", "a name with spaces that is longer than Linux shows", "Gerät"] {
            let builder = SerialExecutor::builder().name(name);
            let lanes = [
                builder.spawn(1).unwrap(),
                builder.spawn_with(|| 1).unwrap(),
                builder.try_spawn_with(|| Ok::<_, ()>(1)).wait().unwrap(),
            ];
            for lane in lanes {
                assert_eq!(lane.thread().unwrap().name(), Some(name));
                #[cfg(target_os = "linux")]
                assert!(name.is_empty() || name.starts_with(&os_name(&lane)));
            }
        }
        assert_eq!(
            Builder::new().name(String::from("owned")).spawn(()).unwrap().thread().unwrap().name(),
            Some("owned")
        );
    });
}

// What the platform cannot give.

#[test]
fn an_impossible_name_or_stack_size_is_an_error_and_what_was_handed_in_is_dropped_here() {
    guarded(|| {
        let impossible = [
            SerialExecutor::builder().name("nul\0in the middle"),
            SerialExecutor::builder().name("\0"),
            SerialExecutor::builder().stack_size(usize::MAX),
            SerialExecutor::builder().stack_size(usize::MAX / 2),
            SerialExecutor::builder().stack_size(usize::MAX / 2 + 1),
            SerialExecutor::builder().stack_size(usize::MAX - 4096),
            SerialExecutor::builder().stack_size(usize::MAX / 4),
        ];
        for builder in impossible {
            let tracker = Tracker::new();
            let error = builder.spawn(tracker.track()).unwrap_err();
            assert!(error.to_string().contains("no closure ran"), "{error}");
            kind(&error);

            let tracked = tracker.track();
            kind(&builder.spawn_with(move || tracked).unwrap_err());

            let tracked = tracker.track();
            match builder.try_spawn_with(move || Ok::<_, ()>(tracked)).wait() {
                Err(WaitError::Failed(OpenError::Thread(error))) => drop(kind(&error)),
                other => panic!("{other:?}"),
            }
            assert_eq!(tracker.alive(), 0);
            assert_eq!(tracker.dropped_on(), [thread::current().id(); 3], "{builder:?}");
        }
        let refusal = |bytes| {
            let error = SerialExecutor::builder().stack_size(bytes).spawn(()).unwrap_err();
            error.source().unwrap().to_string()
        };
        assert!(refusal(usize::MAX / 2 + 1).contains("larger than the address space"));
        assert!(!refusal(usize::MAX / 2).contains("larger than the address space"), "the platform says no");
        let error = SerialExecutor::builder().name("\0").spawn(()).unwrap_err();
        assert_eq!(kind(&error), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn the_smallest_stack_size_is_rounded_up() {
    guarded(|| {
        let lane = SerialExecutor::builder().stack_size(0).spawn(1).unwrap();
        assert_eq!(lane.call(|n| *n).wait().unwrap(), 1);
    });
}

#[test]
fn a_stack_is_as_large_as_it_was_asked_for() {
    /// Fills about a kibibyte of stack per level.
    fn dig(depth: usize) -> usize {
        let ballast = std::hint::black_box([depth; 128]);
        if depth == 0 { ballast[0] } else { dig(depth - 1) + ballast[7] - depth + 1 }
    }
    guarded(|| {
        // Far beyond the default of 2 MiB.
        let lane = SerialExecutor::builder().stack_size(64 << 20).spawn(()).unwrap();
        assert_eq!(lane.call(|()| dig(8 << 10)).wait().unwrap(), 8 << 10);
    });
}

// Builders.

#[test]
fn whatever_is_set_last_keeps_what_was_set_before() {
    guarded(|| {
        let lasts: [fn(Builder) -> Builder; 3] =
            [|builder| builder.spin(false), |builder| builder.stack_size(1 << 20), |builder| builder];
        for last in lasts {
            let lane = last(SerialExecutor::builder().capacity(1).name("kept")).spawn(()).unwrap();
            assert_eq!(lane.thread().unwrap().name(), Some("kept"));
            let _stuck = Stuck::new(&lane);
            lane.call(|()| ()).detach();
            assert!(matches!(lane.try_call(|()| ()), Err(TryCallError::Full(_))));
        }
    });
}

#[test]
fn a_builder_makes_any_number_of_lanes_of_any_type_that_share_nothing() {
    guarded(|| {
        let builder = SerialExecutor::builder().name("shared").capacity(1).on_panic(OnPanic::Continue);
        let text = builder.spawn(String::new()).unwrap();
        let number = builder.spawn_with(|| 5).unwrap();
        let other = builder.clone().name("other").capacity(2).spawn(Vec::<u8>::new()).unwrap();
        let not_send = builder.spawn_with(|| Rc::new(RefCell::new(1))).unwrap();
        assert_ne!(text.thread().unwrap().id(), number.thread().unwrap().id());
        assert_eq!(
            (number.thread().unwrap().name(), other.thread().unwrap().name()),
            (Some("shared"), Some("other"))
        );
        let stuck = crate::support::Stuck::new(&text);
        let _queued = text.try_call(|_: &mut String| ()).unwrap();
        assert!(matches!(text.try_call(|_: &mut String| ()), Err(TryCallError::Full(_))));
        assert_eq!(number.try_call(|n: &mut i32| *n).unwrap().wait().unwrap(), 5);
        stuck.release();
        assert!(number.call(|_| panic!("carefree")).wait().is_err());
        assert!(!number.is_poisoned());
        text.close().wait().unwrap();
        assert!(!number.is_closed());
        assert_eq!(not_send.call(|n| *n.borrow()).wait().unwrap(), 1);
    });
}

#[test]
fn a_lane_works_with_and_without_spinning() {
    under_every_runtime(|| async {
        for spin in [false, true] {
            let lane = SerialExecutor::builder().spin(spin).spawn(0).unwrap();
            for _ in 0..100 {
                lane.call(|n| *n += 1).await.unwrap();
            }
            assert_eq!(lane.call(|n| *n).await.unwrap(), 100);
            lane.close().await.unwrap();
        }
    });
}

#[test]
fn an_object_that_spawn_is_given_moves_there_and_one_that_is_made_is_made_there() {
    guarded(|| {
        let lane = SerialExecutor::builder().spawn(thread::current().id()).unwrap();
        assert_eq!(lane.call(|made_on| *made_on).wait().unwrap(), thread::current().id());
        let lane = SerialExecutor::builder().spawn_with(|| thread::current().id()).unwrap();
        assert_eq!(lane.call(|made_on| *made_on).wait().unwrap(), lane.thread().unwrap().id());
    });
}

// Factories that may fail.

#[test]
fn an_opening_fails_with_an_error_for_question_marks_whatever_the_factory_says() {
    guarded(|| {
        let open = || -> Result<(), Box<dyn Error>> {
            SerialExecutor::<u8>::try_new_with(|| Err(String::from("no device"))).wait()?;
            Ok(())
        };
        assert_eq!(open().unwrap_err().to_string(), "the factory ran and failed: no device");
    });
}

#[test]
fn an_opening_tells_the_errors_apart() {
    under_every_runtime(|| async {
        let lane = SerialExecutor::try_new_with(|| Ok::<_, ()>(Rc::new(1))).await.unwrap();
        assert_eq!(lane.call(|n| **n).await.unwrap(), 1);

        let failed = SerialExecutor::<u8>::try_new_with(|| Err(io::Error::other("no device"))).await;
        match failed {
            Err(ref error @ OpenError::Make(ref own)) => {
                assert_eq!(own.to_string(), "no device");
                assert_eq!(error.to_string(), "the factory ran and failed: no device");
            }
            other => panic!("{other:?}"),
        }

        let panicked =
            SerialExecutor::<u8>::try_new_with(|| -> Result<_, io::Error> { panic!("half way") }).await;
        match panicked {
            Err(OpenError::Panicked(panic)) => assert_eq!(panic.message(), "half way"),
            other => panic!("{other:?}"),
        }

        let builder = SerialExecutor::builder().name("\0");
        let refused = builder.try_spawn_with(|| Ok::<_, io::Error>(1)).await;
        match refused {
            Err(OpenError::Thread(error)) => assert_eq!(kind(&error), io::ErrorKind::InvalidInput),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn the_factory_starts_without_being_polled() {
    guarded(|| {
        let started = Gate::new();
        let gate = started.clone();
        let opening = SerialExecutor::try_new_with(move || {
            gate.open();
            Ok::<_, ()>(1)
        });
        started.pass();
        assert_eq!(opening.wait().unwrap().call(|n| *n).wait().unwrap(), 1);
    });
}

#[test]
fn what_the_factory_captured_and_the_object_of_a_failed_opening_are_gone_when_it_has_failed() {
    guarded(|| {
        let captures = Tracker::new();
        let tracked = captures.track();
        let opening = SerialExecutor::<u8>::try_new_with(move || {
            drop(tracked);
            Err("no device")
        });
        assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Make("no device")))));
        assert_eq!(captures.alive(), 0);
    });
}

#[test]
fn dropping_the_opening_while_the_factory_runs_leaves_no_object_and_no_thread() {
    guarded(|| {
        let objects = Tracker::new();
        let (started, gate) = (Gate::new(), Gate::new());
        let (tell, told) = std::sync::mpsc::channel();
        let opening = SerialExecutor::try_new_with({
            let (started, gate, objects) = (started.clone(), gate.clone(), objects.clone());
            move || {
                tell.send((thread::current().id(), std::fs::read_link("/proc/thread-self").ok())).unwrap();
                started.open();
                gate.pass();
                Ok::<_, ()>(objects.track())
            }
        });
        started.pass();
        drop(opening);
        let (id, link) = told.recv().unwrap();
        gate.open();
        eventually("the object is made and dropped", || objects.dropped_on() == [id]);
        assert_eq!(objects.alive(), 0);
        if let Some(link) = link {
            let task = std::path::Path::new("/proc/self/task").join(link.file_name().unwrap());
            eventually("the thread is gone", || !task.exists());
        }
    });
}

#[test]
fn dropping_an_opening_that_nobody_read_drops_the_object_on_its_thread() {
    guarded(|| {
        let objects = Tracker::new();
        let made = Gate::new();
        let opening = SerialExecutor::try_new_with({
            let (made, objects) = (made.clone(), objects.clone());
            move || {
                let object = objects.track();
                made.open();
                Ok::<_, ()>(object)
            }
        });
        made.pass();
        drop(opening);
        eventually("the object is dropped", || objects.alive() == 0);
        assert_ne!(objects.dropped_on(), [thread::current().id()]);
    });
}

#[test]
fn without_a_thread_there_is_an_error_also_when_a_destructor_panics() {
    guarded(|| {
        let absurd = SerialExecutor::builder().stack_size(1 << 62);
        for builder in [SerialExecutor::builder().name("a\0b"), absurd] {
            assert!(builder.spawn(PanicOnDrop("the object")).is_err());
            let capture = PanicOnDrop("a capture of the factory");
            assert!(builder.spawn_with(move || drop(capture)).is_err());
            let capture = PanicOnDrop("a capture of the factory");
            let opening = builder.try_spawn_with(move || {
                drop(capture);
                Ok::<(), ()>(())
            });
            assert!(matches!(opening.wait(), Err(WaitError::Failed(OpenError::Thread(_)))));
        }
    });
}

/// A formatter that does something when it is written to for the first time.
struct Busy(Option<Box<dyn FnOnce()>>);

impl std::fmt::Write for Busy {
    fn write_str(&mut self, _: &str) -> std::fmt::Result {
        if let Some(work) = self.0.take() {
            work();
        }
        Ok(())
    }
}

#[test]
fn formatting_a_future_holds_up_nobody() {
    use std::fmt::Write;
    guarded(|| {
        let (started, gate) = (Gate::new(), Gate::new());
        let opening = SerialExecutor::try_new_with({
            let (started, gate) = (started.clone(), gate.clone());
            move || {
                gate.pass();
                started.open();
                Ok::<_, ()>(())
            }
        });
        // The formatter waits for the factory. If the factory waited for the formatter, this would
        // hang.
        let waits = move || {
            gate.open();
            started.pass();
        };
        write!(Busy(Some(Box::new(waits))), "{opening:?}").unwrap();

        let lane = opening.wait().unwrap();
        let (ended, stuck) = (lane.ended(), Stuck::new(&lane));
        let object = lane.into_inner();
        let waits = move || {
            stuck.release();
            ended.wait().unwrap();
        };
        write!(Busy(Some(Box::new(waits))), "{object:?}").unwrap();
        object.wait().unwrap();
    });
}
