//! Counts words: `word_count [--threads N] [--memory SIZE] TEXT OUTPUT` writes Parquet files of (word, count) into OUTPUT.

use std::process::ExitCode;

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [text, output] = arguments else {
            return Err(windrow::dataset::failure("expected two arguments: a text to read and a folder to write"));
        };
        let written =
            session.read_text(text)?.words().count_by_value().named(["word", "count"])?.write_parquet(output)?;
        println!("{} words in {}", written.rows, written.path.display());
        Ok(())
    })
}
