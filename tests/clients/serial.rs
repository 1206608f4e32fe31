//! A serial port, on a pair of pseudo-terminals. It reads with a time limit, and the object is both
//! directions: so one lane reads and writes, a try at a time.

use crate::support::under_every_runtime;
use futures::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use futures::{FutureExt, StreamExt, TryStreamExt};
use serial_executor::SerialExecutor;
use serialport::{SerialPort, TTYPort};
use std::io::{self, BufRead, Write};
use std::thread;
use std::time::Duration;

/// How long a try to read takes if nothing comes.
const TRY: Duration = Duration::from_millis(5);

const LINES: usize = 50;

/// The port, and the device at its other end.
fn pair() -> (TTYPort, TTYPort) {
    let (mut device, mut port) = TTYPort::pair().unwrap();
    port.set_timeout(TRY).unwrap();
    device.set_timeout(Duration::from_secs(60)).unwrap();
    (port, device)
}

fn line(from: &str, n: usize) -> String {
    format!("{from} {n}: {}", "x".repeat(n % 40))
}

#[apply(test)]
fn a_port_is_read_and_written_at_once_over_one_lane() {
    under_every_runtime(|| async {
        let (port, device) = pair();
        let mut sender = device.try_clone_native().unwrap();
        let lane = SerialExecutor::new(port);
        let (reader, mut writer) = (lane.io().retry_timeouts(), lane.io().retry_timeouts());
        // The device sends a line only after it has got one, while a read of the port is pending.
        let device = thread::spawn(move || -> io::Result<_> {
            let mut got = Vec::new();
            for read in std::io::BufReader::new(device).lines().take(LINES) {
                writeln!(sender, "{}", line("device", got.len()))?;
                got.push(read?);
            }
            // The device is there until the port is flushed.
            Ok((got, sender))
        });
        let read = BufReader::new(reader).lines().take(LINES).try_collect::<Vec<_>>();
        let write = async {
            for n in 0..LINES {
                writer.write_all(format!("{}\n", line("port", n)).as_bytes()).await?;
            }
            writer.flush().await
        };
        let (read, written) = futures::join!(read, write);
        written.unwrap();
        assert_eq!(read.unwrap(), (0..LINES).map(|n| line("device", n)).collect::<Vec<_>>());
        let (got, _) = device.join().unwrap().unwrap();
        assert_eq!(got, (0..LINES).map(|n| line("port", n)).collect::<Vec<_>>());
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn without_it_a_silent_device_is_an_error_of_the_reader() {
    under_every_runtime(|| async {
        let (port, _device) = pair();
        let lane = SerialExecutor::new(port);
        let silence = lane.io().read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
        lane.close().await.unwrap();
    });
}

#[apply(test)]
fn a_read_of_a_silent_device_keeps_no_call_waiting_and_ends_when_it_is_dropped() {
    under_every_runtime(|| async {
        let (port, mut device) = pair();
        let lane = SerialExecutor::new(port);
        let mut io = lane.io().retry_timeouts();
        let mut buffer = [0; 64];
        for round in 0..3 {
            // Pending for many tries.
            let mut silence = io.read(&mut buffer).fuse();
            for _ in 0..5 {
                let call = lane.call(|port| port.timeout());
                futures::select_biased! {
                    read = silence => panic!("{read:?}"),
                    timeout = call.fuse() => assert_eq!(timeout.unwrap(), TRY),
                }
            }
            drop(silence);
            // What comes now is for the next read.
            device.write_all(format!("{round}").as_bytes()).unwrap();
            let count = io.read(&mut buffer).await.unwrap();
            assert_eq!(buffer[..count], *format!("{round}").as_bytes());
        }
        // A pending read keeps no lane open, and does not outlive it.
        let mut pending = io.read(&mut buffer);
        assert!((&mut pending).now_or_never().is_none());
        let ended = lane.close();
        assert!(pending.await.is_err());
        ended.await.unwrap();
    });
}
