//! An inverted index: `inverted_index [--threads N] [--cluster NAME] TEXTS OUTPUT` writes, for each word of the text files in the folder TEXTS, in which
//! files it is and how often. A word is what stands between white space.

use std::process::ExitCode;

use windrow::{
    Dataset, Result, Sum,
    mapreduce::{Context, Job, Mapper, Reduced, Reducer, Values, failure},
};

/// Each word with the name of its file.
#[derive(Clone, Default)]
struct Words {
    file: String,
}

impl Mapper for Words {
    type In = String;
    type Out = ((String, String), i64);

    fn set_up(&mut self, context: &mut Context<'_, Self::Out>) -> Result<()> {
        let name = context.input_file().and_then(|file| file.file_name());
        self.file = name.unwrap_or_default().to_string_lossy().into_owned();
        Ok(())
    }

    fn map(&mut self, line: &str, context: &mut Context<'_, Self::Out>) -> Result<()> {
        line.split_ascii_whitespace().for_each(|word| context.emit(((word, &self.file), 1)));
        Ok(())
    }
}

/// The files of a word, as `a.txt:3 b.txt:1`.
#[derive(Clone)]
struct Files;

impl Reducer for Files {
    type Key = (String, String);
    type Value = i64;
    type Out = (String, String);

    fn reduce(
        &mut self,
        (word, _): (&str, &str),
        counts: &mut Values<'_, '_, Self::Key, i64>,
        context: &mut Context<'_, Self::Out>,
    ) -> Result<()> {
        let mut files = String::new();
        while let Some(((_, file), count)) = counts.next_pair() {
            if !files.is_empty() {
                files.push(' ');
            }
            files.push_str(&format!("{file}:{count}"));
        }
        context.count("words", 1);
        context.emit((word, &files));
        Ok(())
    }
}

/// For each word of the lines its files; what it has in one file is summed up before it travels.
pub fn inverted_index(lines: Dataset<String>) -> Result<Reduced<(String, String)>> {
    Job::new(lines, Words::default()).combine_by(Sum).group_by(1).reduce(Files)
}

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [texts, output] = arguments else {
            return Err(failure("expected two arguments: a folder of texts to read and a folder to write"));
        };
        let finished = inverted_index(session.read_text(texts)?)?.write_parquet(output)?;
        println!("{} words in {output}", finished.counter("words"));
        Ok(())
    })
}
