//! Rows that are made once and looked at again: caches, side inputs, rounds; and the examples that are made of them, against plain Rust.
//!
//! In: small inputs made here, on several numbers of threads and sizes of morsels, in memory and spilled. Out: the same bits each time. Never:
//! knows how a flow is run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::type_complexity)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use support::{check_in, example, sorted};
use tempfile::TempDir;
use windrow::{Dataset, Session, Settings, Sum, dataset::asc};
use windrow_datasets::{GraphOptions, PointsOptions, write_graph, write_points};

#[allow(dead_code, reason = "of a program the tests call what its main calls")]
#[path = "../examples/connected_components.rs"]
mod connected_components;
#[allow(dead_code, reason = "of a program the tests call what its main calls")]
#[path = "../examples/k_means.rs"]
mod k_means;
#[allow(dead_code, reason = "of a program the tests call what its main calls")]
#[path = "../examples/page_rank.rs"]
mod page_rank;
mod support;

/// Runs `flow` on every number of threads and size of morsels; it must give the same each time.
fn check<R: PartialEq + Debug>(flow: impl Fn(&Session) -> R) -> R {
    let in_memory = [(1, 65_536), (2, 1024), (8, 64), (8, 4096)].map(|(threads, rows)| (threads, rows, None));
    check_in(in_memory.into_iter().chain([(2, 512, Some(0))]), flow)
}

fn numbers(session: &Session, count: i64) -> Dataset<i64> {
    session.from_vec((0..count).collect()).unwrap()
}

// ── cache, broadcast, iterate ──────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn cached_rows_are_made_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&calls);
    let found = check(|session| {
        calls.store(0, Relaxed);
        let counting = Arc::clone(&counting);
        let squares = numbers(session, 5_000).map(move |number| {
            counting.fetch_add(1, Relaxed);
            (number % 7, number * number)
        });
        let cached = squares.cache().unwrap();
        assert_eq!((calls.load(Relaxed), cached.count().unwrap()), (5_000, 5_000));
        let sums = sorted(cached.clone().reduce_by_key(Sum).collect().unwrap());
        let keys = sorted(cached.clone().keys().distinct().collect().unwrap());
        let selected = cached.clone().untyped().select(["_1"]).unwrap().typed::<i64>().unwrap();
        let selected = sorted(selected.collect().unwrap());
        // Cached rows are a set: the first of them are so by content.
        let first = cached.clone().take(3).unwrap();
        let pairs = cached.clone().join(cached.cache().unwrap()).count().unwrap();
        assert_eq!(calls.load(Relaxed), 5_000);
        (sums, keys, selected.len(), first, pairs)
    });
    let mut sums = BTreeMap::new();
    (0..5_000).for_each(|number| *sums.entry(number % 7).or_insert(0i64) += number * number);
    let counts = sums.keys().map(|key| (0..5_000u64).filter(|number| number % 7 == *key as u64).count() as u64);
    let pairs: u64 = counts.map(|count| count * count).sum();
    let first = vec![(0, 0), (0, 49), (0, 196)];
    assert_eq!(found, (sums.into_iter().collect(), (0..7).collect(), 5_000, first, pairs));
}

#[test]
fn a_cache_of_nothing_is_empty() {
    let found = check(|session| {
        let nothing = numbers(session, 100).filter(|_| false).cache().unwrap();
        (nothing.count().unwrap(), nothing.map(|n| (n, n)).reduce_by_key(Sum).collect().unwrap())
    });
    assert_eq!(found, (0, Vec::new()));
}

#[test]
fn a_cache_that_memory_does_not_hold_is_read_from_disk() {
    let session = |memory_bytes| {
        Session::new(Settings { threads: 2, rows_per_morsel: 4096, memory_bytes, ..Settings::default() }).unwrap()
    };
    let found = [16 << 20, 1 << 30].map(|memory_bytes| {
        let session = session(memory_bytes);
        let wide = numbers(&session, 1_000_000).map(|number| (number % 1000, number as f64 * 0.1)).cache().unwrap();
        let sums = || sorted_bits(wide.clone().reduce_by_key(Sum).collect().unwrap());
        let first = sums();
        assert_eq!(first, sums());
        first
    });
    assert_eq!(found[0], found[1]);
}

fn sorted_bits<K: Ord>(rows: Vec<(K, f64)>) -> Vec<(K, u64)> {
    sorted(rows.into_iter().map(|(key, value)| (key, value.to_bits())).collect())
}

#[test]
fn closures_look_into_broadcast_rows() {
    let found = check(|session| {
        let known = numbers(session, 1_000).map(|number| (number * 37 % 1_000, number)).broadcast().unwrap();
        assert!(known.is_sorted());
        let ordered = session.from_vec(vec![2i64, 3, 1]).unwrap();
        let ordered = ordered.sort_by([windrow::dataset::desc("value")]).unwrap().broadcast().unwrap();
        assert_eq!(*ordered, [3, 2, 1]);
        let found =
            numbers(session, 3_000).filter(move |number| known.binary_search_by_key(&number, |pair| pair.0).is_ok());
        found.count().unwrap()
    });
    assert_eq!(found, 1_000);
}

#[test]
fn rounds_are_so_many_or_until_a_condition() {
    let found = check(|session| {
        let halved = |rows: Dataset<(i64, i64)>, _| Ok(rows.map(|(key, value)| (key, value / 2)));
        let pairs = || numbers(session, 1_000).map(|number| (number, number));
        let fixed = sorted(pairs().iterate(3, halved).unwrap().collect().unwrap());
        let is_zero = |_: &Dataset<(i64, i64)>, after: &Dataset<(i64, i64)>| {
            Ok(after.clone().filter(|(_, value)| value != 0).count()? == 0)
        };
        let (last, rounds) = pairs().iterate_until(100, halved, is_zero).unwrap();
        let (_, most) = pairs().iterate_until(4, halved, is_zero).unwrap();
        let none = sorted(pairs().iterate(0, halved).unwrap().collect().unwrap());
        (fixed, last.count().unwrap(), rounds, most, none)
    });
    let fixed: Vec<_> = (0..1_000).map(|number| (number, number / 8)).collect();
    assert_eq!(found, (fixed, 1_000, 10, 4, (0..1_000).map(|number| (number, number)).collect()));
}

#[test]
fn an_error_in_a_round_ends_the_rounds() {
    let session = Session::new(Settings::default()).unwrap();
    let rounds = AtomicUsize::new(0);
    let failed = numbers(&session, 10).iterate(5, |rows, round| {
        rounds.fetch_add(1, Relaxed);
        Ok(rows.map(move |number| if round == 2 && number == 7 { panic!("seven") } else { number }))
    });
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("seven") && rounds.load(Relaxed) == 3, "{error}");
}

// ── lists, fold ────────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn lists_are_columns() {
    let folder = TempDir::new().unwrap();
    let list = |number: i64| (0..number % 5).map(|place| number as f64 + place as f64).collect::<Vec<f64>>();
    let found = check(|session| {
        let rows: Vec<(i64, Vec<f64>, Option<Vec<u32>>)> = (0..2_000)
            .map(|number| (number, list(number), (number % 3 > 0).then(|| vec![number as u32; (number % 4) as usize])))
            .collect();
        let flow = session.from_vec(rows.clone()).unwrap();
        let path = folder.path().join(format!("lists-{}", fs::read_dir(folder.path()).unwrap().count()));
        flow.clone().named(["n", "list", "maybe"]).unwrap().write_parquet(&path).unwrap();
        let read = session.read_parquet(path.to_str().unwrap()).unwrap().typed::<(i64, Vec<f64>, Option<Vec<u32>>)>();
        let sorted = read.unwrap().sort_by([asc("n")]).unwrap().collect().unwrap();
        assert_eq!(sorted, rows);
        let grouped = flow.map_view::<(i64, Vec<f64>)>(|(number, list, _)| (number % 10, list)).group_by_key();
        let mut sums = grouped
            .map(|key, lists| {
                let mut sum = 0.0;
                while let Some(list) = lists.next() {
                    sum += list.iter().sum::<f64>();
                }
                (key, sum)
            })
            .collect()
            .unwrap();
        sums.sort_by_key(|(key, _)| *key);
        sums
    });
    let sum = |key| (0..2_000).filter(|number| number % 10 == key).flat_map(list).sum::<f64>();
    assert_eq!(found, (0..10).map(|key| (key, sum(key))).collect::<Vec<_>>());
}

#[test]
fn cogrouped_lists_are_blank_where_the_other_flow_is() {
    let found = check(|session| {
        let lists = session.from_vec(vec![(1i64, vec![1i64, 2]), (2, vec![])]).unwrap();
        let flags = session.from_vec(vec![(2i64, true), (3, false)]).unwrap();
        let both = lists.cogroup(flags).unwrap();
        sorted(
            both.map::<(i64, i64, i64)>(|key, lists, flags| (key, lists.len() as i64, flags.count()))
                .unwrap()
                .collect()
                .unwrap(),
        )
    });
    assert_eq!(found, [(1, 1, 0), (2, 1, 1), (3, 0, 1)]);
}

#[test]
fn fold_puts_all_rows_together() {
    let found = check(|session| {
        let of = |count| {
            numbers(session, count).fold(
                (0i64, vec![0u64; 3]),
                |(sum, counts), number| {
                    *sum += number;
                    counts[(number % 3) as usize] += 1;
                },
                |(sum, counts), (other, others)| {
                    *sum += other;
                    counts.iter_mut().zip(others).for_each(|(count, other)| *count += other);
                },
            )
        };
        (of(10_000).unwrap(), of(0).unwrap())
    });
    assert_eq!(found, ((49_995_000, vec![3_334, 3_333, 3_333]), (0, vec![0, 0, 0])));
    let session = Session::new(Settings::default()).unwrap();
    let error = numbers(&session, 10).fold(0i64, |_, _| panic!("adding"), |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("adding") && error.to_string().contains("iterative.rs"), "{error}");
    let error = numbers(&session, 10).fold(0i64, |_, _| {}, |_, _| panic!("merging")).unwrap_err();
    assert!(error.to_string().contains("merging") && error.to_string().contains("iterative.rs"), "{error}");
}

// ── the examples ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn graph(folder: &TempDir, scale: u32, edges: u64) -> String {
    let out = folder.path().join("edges.parquet");
    write_graph(&GraphOptions { scale, edges, seed: 1, threads: 2, out: out.clone(), overwrite: false }).unwrap();
    out.to_str().unwrap().to_owned()
}

fn edges_of(session: &Session, path: &str) -> Dataset<(u32, u32)> {
    session.read_parquet(path).unwrap().typed().unwrap()
}

#[test]
fn page_rank_is_what_plain_rust_computes() {
    let folder = TempDir::new().unwrap();
    let path = graph(&folder, 8, 2_000);
    let mut edges = Vec::new();
    let found = check(|session| {
        let ranks = page_rank::page_rank(edges_of(session, &path), 256, 5).unwrap();
        sorted_bits(ranks.collect().unwrap())
    });
    edges.extend(sorted(edges_of(&Session::new(Settings::default()).unwrap(), &path).collect().unwrap()));
    let mut degrees = [0.0; 256];
    edges.iter().for_each(|(source, _)| degrees[*source as usize] += 1.0);
    let mut ranks = [1.0 / 256.0; 256];
    for _ in 0..5 {
        let loose: f64 = (0..256).filter(|vertex| degrees[*vertex] == 0.0).map(|vertex| ranks[vertex]).sum();
        // Edges are in order of their sources: each rank is summed up in that order.
        let mut along = [0.0; 256];
        edges.iter().for_each(|(s, t)| along[*t as usize] += ranks[*s as usize] / degrees[*s as usize]);
        ranks = along.map(|along| 0.15 / 256.0 + 0.85 * loose / 256.0 + 0.85 * along);
    }
    assert_eq!(found.len(), 256);
    for (vertex, rank) in &found {
        let (rank, expected) = (f64::from_bits(*rank), ranks[*vertex as usize]);
        assert!((rank - expected).abs() <= 4.0 * f64::EPSILON * expected, "{vertex}: {rank} {expected}");
    }
    let all: f64 = found.iter().map(|(_, rank)| f64::from_bits(*rank)).sum();
    assert!((all - 1.0).abs() < 1e-12, "{all}");
}

#[test]
fn components_are_what_a_union_find_finds() {
    let folder = TempDir::new().unwrap();
    let path = graph(&folder, 12, 3_000);
    let (found, rounds) = check(|session| {
        let (names, rounds) = connected_components::connected_components(edges_of(session, &path), 100).unwrap();
        (sorted(names.collect().unwrap()), rounds)
    });
    let edges = edges_of(&Session::new(Settings::default()).unwrap(), &path).collect().unwrap();
    let mut parents: Vec<u32> = (0..1 << 12).collect();
    fn root(parents: &[u32], mut vertex: u32) -> u32 {
        while parents[vertex as usize] != vertex {
            vertex = parents[vertex as usize];
        }
        vertex
    }
    for (source, target) in &edges {
        let (a, b) = (root(&parents, *source), root(&parents, *target));
        parents[a.max(b) as usize] = a.min(b);
    }
    let vertices: BTreeSet<u32> = edges.iter().flat_map(|(source, target)| [*source, *target]).collect();
    let expected: Vec<(u32, u32)> = vertices.into_iter().map(|vertex| (vertex, root(&parents, vertex))).collect();
    assert_eq!(found, expected);
    assert!((3..30).contains(&rounds), "{rounds}");
    assert!(found.iter().map(|(_, name)| name).collect::<BTreeSet<_>>().len() > 10);
}

#[test]
fn k_means_is_what_plain_rust_computes() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("points.parquet");
    let (rows, dimensions, clusters) = (20_000, 5, 20);
    let options = PointsOptions { rows, dimensions, clusters, seed: 3, threads: 2, out: out.clone(), overwrite: false };
    write_points(&options).unwrap();
    let path = out.to_str().unwrap();
    let points_of = |session: &Session| k_means::points_of(session.read_parquet(path).unwrap()).unwrap();
    let first = |session: &Session| {
        k_means::points_of(session.read_parquet(path).unwrap().limit(20)).unwrap().collect().unwrap()
    };
    let found = check(|session| {
        let points = points_of(session).cache().unwrap();
        let found = k_means::k_means(&points, first(session), 4).unwrap();
        found.into_iter().map(|(_, count, centre)| (count, centre)).collect::<Vec<_>>()
    });
    let session = Session::new(Settings { threads: 1, ..Settings::default() }).unwrap();
    let (points, mut centres) = (points_of(&session).collect().unwrap(), first(&session));
    let mut counts = vec![0; 20];
    for _ in 0..4 {
        let mut sums = vec![vec![0.0f64; 5]; 20];
        counts.fill(0);
        for point in &points {
            let distance =
                |centre: &Vec<f32>| centre.iter().zip(point).fold(0.0, |sum: f32, (c, p)| sum + (p - c) * (p - c));
            let nearest = (0..20).min_by(|a, b| distance(&centres[*a]).total_cmp(&distance(&centres[*b]))).unwrap();
            counts[nearest] += 1;
            sums[nearest].iter_mut().zip(point).for_each(|(sum, coordinate)| *sum += f64::from(*coordinate));
        }
        for ((centre, sums), count) in centres.iter_mut().zip(sums).zip(&counts).filter(|(_, count)| **count > 0) {
            *centre = sums.iter().map(|sum| (sum / f64::from(*count)) as f32).collect();
        }
    }
    let expected: Vec<(i64, Vec<f32>)> = counts.into_iter().map(i64::from).zip(centres).collect();
    assert_eq!(found, expected);
}

fn run(name: &str, arguments: &[&str]) -> String {
    let output = example(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_examples_run_as_programs() {
    let folder = TempDir::new().unwrap();
    let edges = graph(&folder, 10, 5_000);
    let points = folder.path().join("points.parquet");
    let (dimensions, clusters) = (3, 4);
    let options =
        PointsOptions { rows: 5_000, dimensions, clusters, seed: 1, threads: 2, out: points.clone(), overwrite: false };
    write_points(&options).unwrap();
    let digest = |path: &Path| {
        let success = fs::read_to_string(path.join("_SUCCESS")).unwrap();
        let digest = success.find("\"digest\"").unwrap();
        success[digest..].split(',').next().unwrap().to_owned()
    };
    let path = |name: &str| folder.path().join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for threads in ["1", "2", "8"] {
        for (name, arguments) in [
            ("page_rank", [&edges[..], "OUT", "3"].to_vec()),
            ("connected_components", vec![&edges[..], "OUT"]),
            ("k_means", vec![points.to_str().unwrap(), "OUT", "4", "3"]),
        ] {
            let out = path(&format!("{name}-{threads}"));
            let out_text = text(&out);
            let arguments = arguments.into_iter().map(|argument| if argument == "OUT" { &out_text } else { argument });
            let arguments: Vec<&str> = ["--threads", threads].into_iter().chain(arguments).collect();
            assert!(run(name, &arguments).contains(&out_text));
            let digest = digest(&out);
            assert_eq!(*seen.entry(name).or_insert_with(|| digest.clone()), digest, "{name} on {threads} threads");
        }
    }
}
