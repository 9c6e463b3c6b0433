//! Prints how fast bytes go between two processes on this machine: `throughput [megabytes] [rounds]`.
//!
//! In: how much and how often. Out: gigabytes a second of each way, one line a measurement, then the medians. Never: a
//! number of another run.

use std::{io, path::Path, process::Command};

use windrow_net::measure::{Measured, Way, compare, serve};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [serving, way, folder] = words.as_slice()
        && serving == "serve"
    {
        return serve(way.parse()?, Path::new(folder));
    }
    let number = |place: usize, default| words.get(place).and_then(|word| word.parse().ok()).unwrap_or(default);
    let (megabytes, rounds) = (number(0, 1000), number(1, 5));
    let own = std::env::current_exe()?;
    let folder = std::env::temp_dir().join(format!("windrow-throughput-{}", std::process::id()));
    let measured = compare(megabytes * 1_000_000, rounds as usize, &folder, |way, folder| {
        let mut command = Command::new(&own);
        command.arg("serve").arg(way.to_string()).arg(folder);
        command
    });
    let _ = std::fs::remove_dir_all(&folder); // It is in the folder of things that vanish.
    let measured = measured?;
    for one in &measured {
        println!(
            "{:8} {:6.3} GB/s  datagrams of {}",
            one.way.to_string(),
            one.gigabytes_per_second(),
            one.datagram_bytes
        );
    }
    for way in Way::ALL {
        println!("{:8} {:6.3} GB/s  median", way.to_string(), median(&measured, way));
    }
    Ok(())
}

fn median(measured: &[Measured], way: Way) -> f64 {
    let mut speeds: Vec<f64> =
        measured.iter().filter(|one| one.way == way).map(Measured::gigabytes_per_second).collect();
    speeds.sort_by(f64::total_cmp);
    speeds.get(speeds.len() / 2).copied().unwrap_or_default()
}
