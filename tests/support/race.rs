//! [`race`]: threads that do something at the same moment, many times.

use super::Dice;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

/// Runs all sides on the same stage at the same moment, `rounds` times, and judges each round when
/// all sides are done. The first side runs on this thread, each other side on a thread of its own.
/// Before each side comes a random pause, which spreads the interleavings.
pub(crate) fn race<S: Send + Sync, const N: usize>(
    rounds: usize,
    mut set: impl FnMut(&mut Dice) -> S,
    sides: [fn(&S); N],
    mut judge: impl FnMut(S),
) {
    let line = &AtomicUsize::new(0);
    let run = |round: usize, dice: &mut Dice, side: fn(&S), stage: Arc<S>| {
        line.fetch_add(1, SeqCst);
        let mut spins = 0;
        while line.load(SeqCst) < N * (round + 1) {
            spins += 1;
            if spins % 512 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
        }
        dice.pause();
        // With one CPU the last one on the line would otherwise always be the first.
        if dice.roll(4) == 0 {
            thread::yield_now();
        }
        side(&stage);
    };
    thread::scope(|scope| {
        let rivals: Vec<_> = (1..N)
            .map(|number| {
                let (start, starts) = mpsc::channel();
                let (finish, finishes) = mpsc::channel();
                let side = sides[number];
                scope.spawn(move || {
                    let mut dice = Dice::new(number as u64);
                    for (round, stage) in starts {
                        run(round, &mut dice, side, stage);
                        if finish.send(()).is_err() {
                            return;
                        }
                    }
                });
                (start, finishes)
            })
            .collect();
        let (mut dice, mut own_dice) = (Dice::new(rounds as u64), Dice::new(0));
        for round in 0..rounds {
            let stage = Arc::new(set(&mut dice));
            for (start, _) in &rivals {
                start.send((round, Arc::clone(&stage))).expect("a racer died");
            }
            run(round, &mut own_dice, sides[0], Arc::clone(&stage));
            for (_, finishes) in &rivals {
                finishes.recv().expect("a racer died");
            }
            judge(Arc::into_inner(stage).expect("every racer has let go"));
        }
    });
}
