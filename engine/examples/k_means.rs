//! Points in clusters, by k-means: `k_means [--threads N] [--cluster NAME] POINTS OUTPUT CLUSTERS [ROUNDS]` reads Parquet files of Float32
//! columns and writes a Parquet file of (cluster, points, centre).
//!
//! The points are laid out row by row once; a round is one pass over them, in which each batch adds its points to the sums of their clusters.
//! Coordinates are summed as integers, in which order does not matter: so a round's centres have the same bits however the points are divided.

use std::{process::ExitCode, sync::Arc};

use windrow::{
    Dataset, Result, Session,
    batch::{
        Batch,
        array::{AsArray, Float32Array, ListArray},
        buffer::OffsetBuffer,
        datatypes::{DataType, Field, Float32Type, Schema},
    },
    dataset::failure,
    kernel::Centres,
};

/// Coordinates are summed in this part of one: 10 million of them up to 800,000 fit into 63 bits.
const UNITS: f64 = (1 << 20) as f64;
/// A cluster: its number, how many points it has, and their middle.
pub type Cluster = (u32, i64, Vec<f32>);

/// The clusters around `centres` after so many rounds. A centre without points stays where it is.
pub fn k_means(points: &Dataset<Vec<f32>>, mut centres: Vec<Vec<f32>>, rounds: usize) -> Result<Vec<Cluster>> {
    let dimensions = centres.first().map_or(0, Vec::len);
    let mut counts = vec![0; centres.len()];
    for _ in 0..rounds {
        let compared = Centres::new(&centres);
        // Of each cluster the number of its points, then the sum of each coordinate.
        let width = dimensions + 1;
        let sums = points.fold(
            vec![0i64; centres.len() * width],
            move |sums, point: &[f32]| {
                let first = compared.nearest(point) * width;
                let (count, sums) = sums[first..first + width].split_at_mut(1);
                count[0] += 1;
                sums.iter_mut()
                    .zip(point)
                    .for_each(|(sum, coordinate)| *sum += (f64::from(*coordinate) * UNITS) as i64);
            },
            |sums, others| sums.iter_mut().zip(others).for_each(|(sum, other)| *sum += other),
        )?;
        for ((centre, count), sums) in centres.iter_mut().zip(&mut counts).zip(sums.chunks_exact(width)) {
            *count = sums[0];
            if *count > 0 {
                let middle = |sum: &i64| (*sum as f64 / (*count as f64 * UNITS)) as f32;
                *centre = sums[1..].iter().map(middle).collect();
            }
        }
    }
    Ok((0..).zip(counts).zip(centres).map(|((number, count), centre)| (number, count, centre)).collect())
}

/// Rows of Float32 columns as points.
pub fn points_of(rows: Dataset<Batch>) -> Result<Dataset<Vec<f32>>> {
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let schema = Arc::new(Schema::new(vec![Field::new("point", DataType::List(Arc::clone(&item)), false)]));
    let output = Arc::clone(&schema);
    let laid_out = move |batch: &Batch| {
        let columns = batch.columns().iter().map(|column| column.as_primitive_opt::<Float32Type>());
        let columns: Vec<_> = columns.collect::<Option<_>>().ok_or_else(|| failure("expected Float32 columns"))?;
        let mut values = vec![0.0; batch.num_rows() * columns.len()];
        for (number, column) in columns.iter().enumerate() {
            let places = values[number..].iter_mut().step_by(columns.len());
            places.zip(column.values()).for_each(|(place, value)| *place = *value);
        }
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(columns.len(), batch.num_rows()));
        let lists = ListArray::try_new(Arc::clone(&item), offsets, Arc::new(Float32Array::from(values)), None)?;
        Ok(Batch::try_new(Arc::clone(&output), vec![Arc::new(lists)])?)
    };
    rows.map_batches(laid_out, schema).typed()
}

fn run(session: &Session, path: &str, output: &str, clusters: usize, rounds: usize) -> Result<()> {
    let rows = session.read_parquet(path)?;
    // The first points of the files are where the centres begin.
    let centres = points_of(rows.clone().limit(clusters))?.collect()?;
    let points = points_of(rows)?.cache()?;
    let found = session.from_vec(k_means(&points, centres, rounds)?)?;
    let written = found.named(["cluster", "points", "centre"])?.write_parquet(output)?;
    println!("{} clusters in {}", written.rows, written.path.display());
    Ok(())
}

fn main() -> ExitCode {
    windrow::launch(|session, arguments| {
        let (points, output, clusters, rounds) = match arguments {
            [points, output, clusters] => (points, output, clusters, 10),
            [points, output, clusters, rounds] => (points, output, clusters, rounds.parse().map_err(failure)?),
            _ => return Err(failure("expected files of points, a folder to write, clusters, and perhaps rounds")),
        };
        run(session, points, output, clusters.parse().map_err(failure)?, rounds)
    })
}
