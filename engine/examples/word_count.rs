//! Counts words: `word_count [--threads N] [--memory SIZE] TEXT OUTPUT` writes Parquet files of (word, count) into OUTPUT.

use std::process::ExitCode;

use windrow::Sum;

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [text, output] = arguments else {
            return Err(windrow::dataset::failure("expected two arguments: a text to read and a folder to write"));
        };
        let written = session
            .read_text(text)?
            .flat_map::<(String, i64)>(|line, out| line.split_ascii_whitespace().for_each(|word| out.push((word, 1))))
            .reduce_by_key(Sum)
            .named(["word", "count"])?
            .write_parquet(output)?;
        println!("{} words in {}", written.rows, written.path.display());
        Ok(())
    })
}
