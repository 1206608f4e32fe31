//! What this crate and its peers allocate: for each call, and while they are idle.
//!
//! This is a benchmark of its own because a counter that all threads share would change the times
//! of the benchmark `compare`: it costs those peers most that allocate most. The peers are the
//! same.
//!
//! *Per call*: 1,000 calls, each awaited before the next, on a peer that is warm. Counts the
//! allocations and reallocations of all threads. Channels that allocate in blocks have a fraction.
//!
//! *Idle*: 1,000 of a kind are made and called once; the heap of each, and the same less the heap
//! of a bare thread, which allocates as well. Stacks are not heap. Memory of the process that grows
//! with the number of threads counts; so each row has a process of its own, to be comparable.

#[path = "../compare/peers/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other benchmark uses the rest")]
mod peers;
#[path = "../compare/placement.rs"]
#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod placement;

use comfy_table::{CellAlignment, Table, presets};
use peers::{About, Kind, Peer, Visitor, increment};
use placement::block_on;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use std::alloc::System;
use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The row of a thread that only sleeps.
const BARE: &str = "bare thread";

/// How many calls are made, and how many of a kind are idle. Counting is exact, so a full run needs
/// no more of them than a quick one.
const COUNT: u16 = 1000;

/// A row of the table, as a child writes it and the parent reads it.
#[derive(Clone, Default)]
struct Row {
    name: String,
    kind: String,
    /// Allocations and bytes of a call. `None` for a thread, which cannot be called.
    call: Option<[f64; 2]>,
    /// Bytes of an idle one. `None` for a pool, which has no thread of its own.
    idle: Option<f64>,
}

/// Lists the names of the peers.
struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn visit<P: Peer>(&mut self) {
        self.0.push(P::ABOUT.name);
    }
}

/// Measures the peer with this name.
struct Search<'a> {
    name: &'a str,
    row: Row,
}

impl Visitor for Search<'_> {
    fn visit<P: Peer>(&mut self) {
        let About { name, kind, .. } = P::ABOUT;
        if name != self.name {
            return;
        }
        let idle = (kind != Kind::Pool).then(|| heap_of_each(used_once::<P>));
        let call = Some(per_call::<P>());
        self.row = Row { name: name.to_owned(), kind: kind.name().to_owned(), call, idle };
    }
}

/// Measures one row.
fn measure(name: &str) -> Row {
    if name == BARE {
        let idle = Some(heap_of_each(bare_thread));
        return Row { name: name.to_owned(), kind: Kind::Limit.name().to_owned(), call: None, idle };
    }
    let mut search = Search { name, row: Row::default() };
    peers::each(&mut search);
    search.row
}

/// Measures one row in a process of its own. In one process the first row alone would pay for
/// tables that grow with the number of threads and are never given back.
///
/// # Panics
///
/// If a check fails in the child.
fn ask(name: &str) -> Result<Row, Box<dyn Error>> {
    let output = Command::new(env::current_exe()?).args(["--child", name]).output()?;
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |key: &str| value[key].as_f64();
    Ok(Row {
        name: name.to_owned(),
        kind: value["kind"].as_str().unwrap_or_default().to_owned(),
        call: number("allocations_per_call").zip(number("bytes_per_call")).map(<[f64; 2]>::from),
        idle: number("bytes_idle"),
    })
}

/// Allocations and bytes of a call.
///
/// # Panics
///
/// If a call's result is not the next number.
fn per_call<P: Peer>() -> [f64; 2] {
    let peer = P::make();
    let calls = |from: u64| {
        block_on(async {
            for expected in (from + 1..).take(COUNT.into()) {
                assert_eq!(peer.call(increment).await, expected, "{}", P::ABOUT.name);
            }
        });
    };
    calls(0);
    let region = Region::new(ALLOCATOR);
    calls(COUNT.into());
    let Stats { allocations, reallocations, bytes_allocated, .. } = region.change();
    [each(allocations + reallocations), each(bytes_allocated)]
}

/// A peer that has been called once.
fn used_once<P: Peer>() -> P {
    let peer = P::make();
    assert_eq!(block_on(peer.call(increment)), 1);
    peer
}

/// A thread that has started and now sleeps, for ever.
fn bare_thread() -> thread::JoinHandle<()> {
    let (runs, is_running) = mpsc::sync_channel(1);
    let thread = thread::spawn(move || {
        runs.send(()).expect("the receiver lives");
        drop(runs);
        loop {
            thread::park();
        }
    });
    is_running.recv().expect("the thread runs");
    thread
}

/// Bytes that stay allocated for each of [`COUNT`] things. What is set up once per process does not
/// count.
fn heap_of_each<T>(make: impl Fn() -> T) -> f64 {
    let _first = make();
    let mut made = Vec::with_capacity(COUNT.into());
    let region = Region::new(ALLOCATOR);
    made.extend((0..COUNT).map(|_| make()));
    let change = region.change();
    each(change.bytes_allocated.saturating_sub(change.bytes_deallocated))
}

/// `count` divided by [`COUNT`].
fn each(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("it is not that much")) / f64::from(COUNT)
}

fn main() -> Result<(), Box<dyn Error>> {
    let _context = placement::prepare();
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, name] = arguments.as_slice() {
        if first == "--child" {
            println!("{}", json(&measure(name)));
            return Ok(());
        }
    }
    // The other arguments are for the benchmark `compare`. Counting needs none: it is exact and
    // quick.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!(
            "nothing is counted without `--bench`, which `cargo bench` passes and `cargo test` does not"
        );
        return Ok(());
    }
    let mut names = Names(Vec::new());
    peers::each(&mut names);
    names.0.push(BARE);
    let rows = names.0.into_iter().map(ask).collect::<Result<Vec<_>, _>>()?;
    println!("\n## allocations per call, and heap of an idle one\n\n{}", table(&rows));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&out)?;
    let file = out.join("allocations.json");
    fs::write(&file, serde_json::to_vec_pretty(&rows.iter().map(json).collect::<Vec<_>>())?)?;
    println!("\nwritten: {}", file.display());
    Ok(())
}

fn table(rows: &[Row]) -> Table {
    let bare = rows.iter().find(|row| row.name == BARE).and_then(|row| row.idle).unwrap_or_default();
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["", "kind", "per call", "bytes per call", "bytes idle", "beyond a bare thread"]);
    for row in rows {
        let cell =
            |value: Option<f64>, digits| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        table.add_row([
            row.name.clone(),
            row.kind.clone(),
            cell(row.call.map(|[allocations, _]| allocations), 2),
            cell(row.call.map(|[_, bytes]| bytes), 0),
            cell(row.idle, 0),
            cell(row.idle.map(|idle| idle - bare), 0),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn json(row: &Row) -> serde_json::Value {
    json!({
        "name": row.name,
        "kind": row.kind,
        "allocations_per_call": row.call.map(|[allocations, _]| allocations),
        "bytes_per_call": row.call.map(|[_, bytes]| bytes),
        "bytes_idle": row.idle,
    })
}
