//! An inverted index: `inverted_index [--threads N] [--cluster NAME] TEXTS OUTPUT` writes, for each word of the text files in the folder TEXTS, in which
//! files it is and how often.

use std::process::ExitCode;

use windrow::{
    Result, Sum,
    mapreduce::{Context, Job, Mapper, Reducer, Values, failure},
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
        for word in line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
            context.emit(((word, &self.file), 1));
        }
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

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let [texts, output] = arguments else {
            return Err(failure("expected two arguments: a folder of texts to read and a folder to write"));
        };
        // What a word has in one file is summed up before it travels; a word's files come in their order.
        let job = Job::new(session.read_text(texts)?, Words::default()).combine_by(Sum).group_by(1);
        let finished = job.reduce(Files)?.write_parquet(output)?;
        println!("{} words in {output}", finished.counter("words"));
        Ok(())
    })
}
