//! The house style as a test.
//!
//! In: the project's own files. Out: a list of what breaks a rule of `STYLE.md`. Never: needs a tool beside the test runner.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

/// The folders of the engine: each may use only those to its right.
const ROAD: &[&str] = &[
    "mapreduce",
    "dataset",
    "sql",
    "cluster",
    "checkpoint",
    "schedule",
    "plan",
    "scan",
    "sink",
    "operator",
    "shuffle",
    "format",
    "store",
    "expression",
    "kernel",
    "batch",
    "memory",
    "observe",
    "settings",
    "error",
    "limits",
];

/// Names that say nothing.
const BANNED_FILES: &[&str] = &["utils", "util", "common", "helpers", "helper", "misc", "v2", "new", "ext"];

/// Longest function, in lines: a gentle ratchet. Lower it when you can.
const FUNCTION_LINES_MAX: usize = 130;

#[test]
fn every_file_says_what_it_is() {
    check(|file, text, wrong| {
        if !text.starts_with("//!") {
            let _ = writeln!(wrong, "{}: does not open with //!", file.display());
        }
    });
}

#[test]
fn every_unsafe_names_its_clause() {
    check(|file, text, wrong| {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if file.ends_with("tidy.rs") {
                continue;
            }
            let is_block = code.contains("unsafe {") || code.contains("unsafe impl");
            let above = &lines[number.saturating_sub(8)..=number];
            if is_block && !above.iter().any(|line| line.contains("SAFETY:")) {
                let _ = writeln!(wrong, "{}:{}: unsafe without SAFETY", file.display(), number + 1);
            }
            let allowed = file.starts_with("engine/src/kernel") || file.ends_with("engine/src/memory/buffer.rs");
            if (is_block || code.contains("unsafe fn")) && !allowed && !file.starts_with("tools/tests") {
                let _ = writeln!(
                    wrong,
                    "{}:{}: unsafe outside of kernel/ and memory/buffer.rs",
                    file.display(),
                    number + 1
                );
            }
        }
    });
}

#[test]
fn crates_without_unsafe_forbid_it() {
    for root in ["net/src/lib.rs", "bench/src/lib.rs", "datasets/src/lib.rs", "tools/src/main.rs"] {
        let text = fs::read_to_string(top().join(root)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{root} does not forbid unsafe code");
    }
    assert!(fs::read_to_string(top().join("engine/src/lib.rs")).unwrap().contains("#![deny(unsafe_code)]"));
}

#[test]
fn folders_use_only_what_stands_to_their_right() {
    check(|file, text, wrong| {
        let Ok(inside) = file.strip_prefix("engine/src") else { return };
        let own = folder_of(inside);
        let Some(place) = ROAD.iter().position(|folder| *folder == own) else { return };
        for used in uses(without_tests(text)) {
            if let Some(other) = ROAD.iter().position(|folder| *folder == used)
                && other < place
            {
                let _ = writeln!(wrong, "{}: {own} uses {used}, which stands to its left", file.display());
            }
        }
    });
}

#[test]
fn every_folder_of_the_engine_stands_on_the_road() {
    for entry in fs::read_dir(top().join("engine/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(
            name == "lib" || ROAD.contains(&name.as_str()),
            "engine/src/{name} is not in the table of who may use whom"
        );
    }
}

#[test]
fn datafusion_is_worn_in_two_folders_only() {
    check(|file, text, wrong| {
        let allowed = ["engine/src/sql", "engine/src/expression"].iter().any(|folder| file.starts_with(folder));
        if !allowed && file.starts_with("engine/src") && without_tests(text).contains("datafusion_") {
            let _ = writeln!(wrong, "{}: names a DataFusion crate", file.display());
        }
    });
}

#[test]
fn arrow_and_parquet_are_worn_at_their_borders() {
    check(|file, text, wrong| {
        let Ok(inside) = file.strip_prefix("engine/src") else { return };
        let folder = folder_of(inside);
        let code = without_tests(text);
        if code.contains("parquet::") && code.contains("use parquet") && folder != "format" {
            let _ = writeln!(wrong, "{}: names the parquet crate", file.display());
        }
        let wears_arrow = ["batch", "format", "expression", "sql", "kernel", "error"].contains(&folder.as_str());
        if code.contains("use arrow::") && !wears_arrow {
            let _ = writeln!(wrong, "{}: names the arrow crate instead of crate::batch", file.display());
        }
    });
}

#[test]
fn ordered_folders_use_no_random_maps() {
    check(|file, text, wrong| {
        let Ok(inside) = file.strip_prefix("engine/src") else { return };
        let code = without_tests(text);
        let ordered = ["plan", "cluster", "shuffle", "checkpoint"].contains(&folder_of(inside).as_str());
        if ordered && (code.contains("HashMap") || code.contains("HashSet")) {
            let _ = writeln!(wrong, "{}: a map with a random order", file.display());
        }
    });
}

#[test]
fn names_say_something() {
    check(|file, _, wrong| {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        if BANNED_FILES.contains(&name) || BANNED_FILES.contains(&folder) {
            let _ = writeln!(wrong, "{}: a name that says nothing", file.display());
        }
    });
}

#[test]
fn nothing_is_left_undone() {
    let words = ["todo", "unimplemented", "dbg"].map(|word| format!("{word}!("));
    let marks = ["FIX", "XX"].map(|word| format!("{word}{}", if word == "XX" { "X" } else { "ME" }));
    check(|file, text, wrong| {
        if file.ends_with("tidy.rs") {
            return;
        }
        for (number, line) in text.lines().enumerate() {
            let undone = words.iter().chain(&marks).any(|word| line.contains(word.as_str()));
            let is_test =
                line.trim_start().starts_with(concat!("#[", "ignore")) || line.contains(concat!("thread::", "sleep("));
            if undone || is_test {
                let _ = writeln!(wrong, "{}:{}: {}", file.display(), number + 1, line.trim());
            }
        }
    });
}

#[test]
fn functions_fit_a_few_screens() {
    check(|file, text, wrong| {
        let mut start: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let trimmed = line.trim_start();
            let is_fn = trimmed.starts_with("fn ")
                || (trimmed.starts_with("pub") && trimmed.contains(" fn ") && !trimmed.starts_with("pub use"));
            if is_fn && !trimmed.ends_with(';') {
                start = Some((number, indent, trimmed.to_owned()));
            }
            if let Some((from, at, name)) = &start
                && trimmed == "}"
                && indent == *at
            {
                if number - from > FUNCTION_LINES_MAX {
                    let _ = writeln!(wrong, "{}:{}: {} lines: {name}", file.display(), from + 1, number - from);
                }
                start = None;
            }
        }
    });
}

#[test]
fn dependencies_have_a_reason() {
    let text = fs::read_to_string(top().join("Cargo.toml")).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let mut has_reason = false;
    for line in section.lines() {
        if line.starts_with('#') {
            has_reason = true;
        } else if line.trim().is_empty() {
            has_reason = false;
        } else if !line.contains("path = ") && !line.starts_with("datafusion-") {
            assert!(has_reason, "no reason stands above `{line}`");
            has_reason = false;
        }
    }
    for manifest in ["engine", "engine/derive", "net", "bench", "datasets", "tools"] {
        let text = fs::read_to_string(top().join(manifest).join("Cargo.toml")).unwrap();
        let section = text.split("dependencies]").skip(1).map(|part| part.split("\n[").next().unwrap());
        let own: Vec<&str> = section
            .flat_map(str::lines)
            .filter(|line| line.contains(" = ") && !line.contains(".workspace = true"))
            .collect();
        assert!(own.is_empty(), "{manifest}/Cargo.toml: {own:?}: versions and reasons stand in the root Cargo.toml");
    }
}

#[test]
fn formats_are_drawn_and_alive() {
    for (file, magic) in [
        ("engine/src/shuffle/frame.rs", "WNDF"),
        ("engine/src/shuffle/index.rs", "WNDI"),
        ("engine/src/checkpoint/journal.rs", "WNDJ"),
        ("engine/src/plan/decision.rs", "WNDD"),
        ("engine/src/plan/encode/mod.rs", "WNDP"),
        ("net/src/message.rs", "WNDM"),
    ] {
        let path = top().join(file);
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        let folder = if file.ends_with("mod.rs") { path.with_file_name("") } else { path.with_extension("") };
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
        }
        assert!(text.contains(magic), "{file} does not draw its magic {magic}");
        let beside = top().join("net/tests/message.rs");
        if file.starts_with("net") {
            text.push_str(&fs::read_to_string(beside).unwrap());
        }
        assert!(text.contains("proptest!"), "{file} has no property test");
    }
}

#[test]
fn the_top_level_is_as_drawn() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "engine",
        "net",
        "bench",
        "datasets",
        "tools",
        "README.md",
        "ARCHITECTURE.md",
        "STYLE.md",
        "LICENSE",
        "deny.toml",
        "rustfmt.toml",
        "clippy.toml",
        "target",
    ];
    for entry in fs::read_dir(top()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with('.') || allowed.contains(&name.as_str()), "{name} does not belong at the top level");
    }
}

/// Calls `rule` for each Rust file of the project, by its path from the top; fails with everything that is wrong.
fn check(rule: impl Fn(&Path, &str, &mut String)) {
    let mut wrong = String::new();
    let mut files = BTreeMap::new();
    for folder in ["engine", "net", "bench", "datasets", "tools"] {
        gather(&top().join(folder), &mut files);
    }
    assert!(files.len() > 50, "only {} files were found", files.len());
    for (path, text) in &files {
        rule(path.strip_prefix(top()).unwrap(), text, &mut wrong);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            gather(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.insert(path, text);
        }
    }
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn folder_of(inside: &Path) -> String {
    let first =
        inside.components().next().map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// What stands before the file's tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().and_then(|text| text.split("#[cfg(test)]\n#[allow").next()).unwrap_or(text)
}

/// The folders that a file names as `crate::folder` or in `use crate::{folder::…}`.
fn uses(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for part in code.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let mut depth = 1;
            let mut word = String::new();
            let mut at_start = true;
            for letter in list.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => at_start = true,
                    letter if depth == 1 && at_start && (letter.is_alphanumeric() || letter == '_') => {
                        word.push(letter)
                    }
                    letter if !word.is_empty() && !letter.is_whitespace() => at_start = false,
                    _ => {}
                }
                if (!at_start || letter == ',' || depth == 0) && !word.is_empty() {
                    found.push(std::mem::take(&mut word));
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.push(part.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect());
        }
    }
    found
}
