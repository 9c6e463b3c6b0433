#!/usr/bin/env python3
"""The workloads of `windrow bench`, by its rivals: Hadoop, Spark, DuckDB and Polars.

usage: workloads.py ENGINE WORKLOAD INPUT OUT [--threads 2] [--runs 1] [--pattern P] [--memory BYTES]

In: the same files that Windrow reads. Out: OUT, of the last run, and a line of JSON a run: version, seconds from the
job's start to the output's last byte (not yet synced), processor seconds, peak memory. Where an engine is not
installed, or has no plain way to do a workload, one line says that: {"absent": "why"}. Never: an engine's start, which
is left out of the seconds; another answer than Windrow's, who compares it.

OUT is Parquet for tables (columns in Windrow's order, counts as 64 bits), a text for sort, records for terasort; of
Hadoop and Spark a folder of such parts, in order. A word is what stands between ASCII white space, as Windrow has it:
blank, tab, form feed, carriage return, the end of a line. Processor seconds and memory are those of this process and of
all that it has started: the JVM is most of what Spark and Hadoop are.
Hadoop's jars are those inside pyspark; its jobs are the Java text below, compiled each time.
"""
import argparse
import glob
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

ap = argparse.ArgumentParser()
for name in ("engine", "workload", "input", "out"):
    ap.add_argument(name)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--runs", type=int, default=1)
ap.add_argument("--pattern", default="ab[a-z]*z")
ap.add_argument("--memory", type=int)
o = ap.parse_args()


class Absent(Exception):
    pass


# What words stand between, beside the end of a line. Made into blanks first, which is cheaper than to split by a class.
WHITE = ["\t", "\f", "\r"]


def texts(path):
    return sorted(glob.glob(os.path.join(path, "*.txt"))) if os.path.isdir(path) else [path]


def together(parts):
    """OUT as one file of parts, which may stand in a folder of its name."""
    with open(o.out + ".tmp", "wb") as out:
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    clear()
    os.rename(o.out + ".tmp", o.out)


# ── DuckDB ──
def duckdb_():
    import duckdb

    c = duckdb.connect()
    c.execute(f"set threads={o.threads}; set preserve_insertion_order=false")
    if o.memory:
        c.execute(f"set memory_limit='{o.memory}B'")
    columns = "delim='\\x01', quote='', escape='', header=false, auto_detect=false, strict_mode=false"
    words = "unnest(string_split(translate(line, chr(9) || chr(12) || chr(13), '   '), ' '))"
    pattern = o.pattern.replace("'", "''")
    lines = f"read_csv({texts(o.input)}, columns={{'line':'VARCHAR'}}, {columns}, filename='file')"
    readings = (f"read_csv('{o.input}', columns={{'station':'VARCHAR','second':'BIGINT','value':'BIGINT'}}, delim=',', "
                "header=false, auto_detect=false)")
    facts, keys = os.path.join(o.input, "facts.parquet"), os.path.join(o.input, "keys.parquet")
    queries = {
        "wordcount": f"select w, count(*) n from (select {words} w from {lines}) group by w having w <> ''",
        "grep": f"select m, count(*) n from (select unnest(regexp_extract_all(line, '{pattern}')) m from {lines}) group by m",
        "secondarysort": "select station, second, value - coalesce(lag(value) over (partition by station order by second, value), value) "
        f"from {readings}",
        "invertedindex": "select w, string_agg(file || ':' || n, ' ' order by file) from (select w, parse_filename(file) file, "
        f"count(*) n from (select {words} w, file from {lines}) where w <> '' group by all) group by w",
        "join": f"select f.k, f.v, d.v number from '{facts}' f join '{keys}' d on f.k = d.k",
        "aggregation": f"select k, count(*) n, cast(sum(v) as bigint) s from '{o.input}' group by k",
        "sort": f"select line from {lines} order by line",
    }
    query = queries.get(o.workload)
    if query is None:
        raise Absent(f"DuckDB has no plain way to do {o.workload}")
    options = "format csv, header false, quote '', escape '', delimiter '\x01'" if o.workload == "sort" else "format parquet"
    return duckdb.__version__, lambda: c.execute(f"copy ({query}) to '{o.out}' ({options})")


# ── Polars ──
def polars_():
    os.environ["POLARS_MAX_THREADS"] = str(o.threads)
    import polars as pl

    def lines(**more):
        return pl.scan_csv(texts(o.input), has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String}, **more)

    def sink(flow):
        return lambda: flow().sink_parquet(o.out, engine="streaming")

    def words(flow):
        return flow.with_columns(w=pl.col("line").str.replace_many(WHITE, [" "] * len(WHITE)).str.split(" ")).drop("line").explode("w")

    count = pl.len().cast(pl.Int64).alias("n")
    facts, keys = os.path.join(o.input, "facts.parquet"), os.path.join(o.input, "keys.parquet")

    def tera():
        import numpy as np

        k = np.memmap(o.input, dtype=np.uint8, mode="r").reshape(-1, 100)
        hi = k[:, :8].copy().view(">u8").ravel().astype(np.uint64)
        lo = k[:, 8:10].copy().view(">u2").ravel().astype(np.uint16)
        order = pl.DataFrame({"h": hi, "l": lo}).with_row_index().sort("h", "l")["index"].to_numpy()
        k[order].tofile(o.out)

    def changes():
        schema = {"station": pl.String, "second": pl.Int64, "value": pl.Int64}
        readings = pl.scan_csv(o.input, has_header=False, schema=schema).sort("station", "second", "value")
        before = pl.col("value").shift(1).over("station").fill_null(pl.col("value"))
        return readings.select("station", "second", (pl.col("value") - before).alias("change"))

    def index():
        base = pl.col("file").str.split("/").list.last()
        counted = words(lines(include_file_paths="file")).group_by("w", base).agg(count)
        place = pl.concat_str([pl.col("file"), pl.lit(":"), pl.col("n").cast(pl.String)]).alias("place")
        counted = counted.filter(pl.col("w") != "")
        return counted.sort("w", "file").select("w", place).group_by("w", maintain_order=True).agg(pl.col("place").str.join(" "))

    flows = {
        "wordcount": sink(lambda: words(lines()).group_by("w").agg(count).filter(pl.col("w") != "")),
        "grep": sink(lambda: lines().select(pl.col("line").str.extract_all(o.pattern).alias("m")).explode("m").drop_nulls()
                     .group_by("m").agg(count)),
        "terasort": tera,
        "secondarysort": sink(changes),
        "invertedindex": sink(index),
        "join": sink(lambda: pl.scan_parquet(facts).join(pl.scan_parquet(keys), on="k").select("k", "v", pl.col("v_right").alias("number"))),
        "aggregation": sink(lambda: pl.scan_parquet(o.input).group_by("k").agg(count, pl.col("v").sum().alias("s"))),
        "sort": lambda: lines().sort("line").sink_csv(o.out, include_header=False, separator="\x01", quote_style="never"),
    }
    if o.workload not in flows:
        raise Absent(f"Polars has no plain way to do {o.workload}")
    return pl.__version__, flows[o.workload]


# ── Spark ──
def spark_():
    import pyspark
    from pyspark.sql import SparkSession, functions as F

    builder = SparkSession.builder.master(f"local[{o.threads}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.memory", f"{max((o.memory or 10 << 30) >> 20, 1024)}m")
    builder = builder.config("spark.sql.shuffle.partitions", 4 * o.threads).config("spark.log.level", "ERROR")
    builder = builder.config("spark.ui.showConsoleProgress", "false")
    jars = os.path.join(os.path.dirname(pyspark.__file__), "jars", "*")
    classes = compiled("Clusters.java", CLUSTERS, jars) if o.workload == "kmeans" else None
    if classes:
        builder = builder.config("spark.driver.extraClassPath", classes)
    s = builder.getOrCreate()
    s.range(1).count()

    def lines():
        return s.read.text(texts(o.input), lineSep="\n")

    def words():
        blanks = F.translate("value", "".join(WHITE), " " * len(WHITE))
        return lines().select(F.explode(F.split(blanks, " ")).alias("w"), F.input_file_name().alias("file")).where("w <> ''")

    def changes():
        from pyspark.sql import Window

        readings = s.read.csv(o.input, schema="station string, second long, value long")
        before = F.lag("value").over(Window.partitionBy("station").orderBy("second", "value"))
        return readings.select("station", "second", (F.col("value") - F.coalesce(before, F.col("value"))).alias("change"))

    def index():
        base = F.element_at(F.split("file", "/"), -1)
        counted = words().groupBy("w", base.alias("f")).count()
        places = F.sort_array(F.collect_list(F.concat_ws(":", "f", F.col("count").cast("string"))))
        return counted.groupBy("w").agg(F.concat_ws(" ", places).alias("files"))

    def parquet(*path):
        # Spark has no unsigned 64 bits, and makes decimals of them.
        return s.read.parquet(os.path.join(o.input, *path))

    def ranks():
        # Edges stay where they are; what each vertex gives is sent to all, as it is the smaller side.
        edges = parquet().select("src", "dst").cache()
        count = edges.agg(F.max(F.greatest("src", "dst"))).first()[0] + 1
        degrees = edges.groupBy("src").agg(F.count("*").alias("degree"))
        known = s.range(count).withColumnRenamed("id", "vertex").join(degrees, F.col("vertex") == F.col("src"), "left")
        ranks = known.select("vertex", "degree", F.lit(1.0 / count).alias("rank")).localCheckpoint()
        for _ in range(ROUNDS):
            loose = ranks.where("degree is null").agg(F.sum("rank")).first()[0] or 0.0
            given = ranks.where("degree is not null").select(F.col("vertex").alias("src"), (F.col("rank") / F.col("degree")).alias("given"))
            along = edges.join(F.broadcast(given), "src").groupBy("dst").agg(F.sum("given").alias("along"))
            rank = F.lit((1 - 0.85) / count + 0.85 * loose / count) + 0.85 * F.coalesce("along", F.lit(0.0))
            ranks = ranks.join(along, F.col("vertex") == F.col("dst"), "left").select("vertex", "degree", rank.alias("rank"))
            ranks = ranks.localCheckpoint()
        return ranks.select("vertex", "rank")

    def clusters():
        from pyspark.sql import DataFrame

        return DataFrame(s._jvm.windrow.Clusters.found(parquet()._jdf, 64, ROUNDS), s)

    flows = {
        "pagerank": ranks,
        "kmeans": clusters,
        "wordcount": lambda: words().groupBy("w").count(),
        "grep": lambda: lines().select(F.explode(F.regexp_extract_all("value", F.lit(o.pattern), F.lit(0))).alias("m"))
        .groupBy("m").count(),
        "secondarysort": changes,
        "invertedindex": index,
        "join": lambda: parquet("facts.parquet").join(parquet("keys.parquet").withColumnRenamed("v", "number"), "k"),
        "sort": lambda: lines().sort("value"),
        "aggregation": lambda: parquet().groupBy("k").agg(F.count("*").alias("n"), F.sum("v").alias("s")),
    }
    if o.workload not in flows:
        raise Absent(f"Spark has no plain way to do {o.workload} here")
    write = "text" if o.workload == "sort" else "parquet"

    def run():
        getattr(flows[o.workload]().write, write)(o.out)

    if o.workload == "sort":
        run.keep = lambda: together(sorted(glob.glob(os.path.join(o.out, "part-*"))))
    if classes:
        run.clean = lambda: shutil.rmtree(classes, ignore_errors=True)
    return pyspark.__version__, run


# The rounds of PageRank and k-means, as Windrow's workloads have them.
ROUNDS = 10

# MLlib's k-means from given centres, which only its older API takes; the last round is by hand, for how many points each centre has.
CLUSTERS = """
package windrow;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.mllib.clustering.KMeans;
import org.apache.spark.mllib.clustering.KMeansModel;
import org.apache.spark.mllib.linalg.Vector;
import org.apache.spark.mllib.linalg.Vectors;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

public class Clusters {
  public static Dataset<Row> found(Dataset<Row> rows, int k, int rounds) {
    int width = rows.columns().length;
    JavaRDD<Vector> points = rows.toJavaRDD().map(row -> {
      double[] point = new double[width];
      for (int i = 0; i < width; i++) point[i] = row.getFloat(i);
      return Vectors.dense(point);
    }).cache();
    KMeansModel first = new KMeansModel(points.take(k).toArray(new Vector[0]));
    KMeansModel model =
      new KMeans().setK(first.k()).setMaxIterations(rounds - 1).setEpsilon(0).setInitialModel(first).run(points.rdd());
    double[] sums = points.aggregate(new double[first.k() * (width + 1)], (sum, point) -> {
      int at = model.predict(point) * (width + 1);
      sum[at]++;
      for (int i = 0; i < width; i++) sum[at + 1 + i] += point.apply(i);
      return sum;
    }, (sum, other) -> {
      for (int i = 0; i < sum.length; i++) sum[i] += other[i];
      return sum;
    });
    points.unpersist();
    List<Row> found = new ArrayList<>();
    for (int cluster = 0; cluster < first.k(); cluster++) {
      int at = cluster * (width + 1);
      List<Float> centre = new ArrayList<>();
      for (int i = 0; i < width; i++)
        centre.add((float) (sums[at] > 0 ? sums[at + 1 + i] / sums[at] : model.clusterCenters()[cluster].apply(i)));
      found.add(RowFactory.create(cluster, (long) sums[at], centre));
    }
    StructType schema = new StructType().add("cluster", DataTypes.IntegerType).add("points", DataTypes.LongType)
      .add("centre", DataTypes.createArrayType(DataTypes.FloatType));
    return rows.sparkSession().createDataFrame(found, schema);
  }
}
"""


def compiled(name, text, jars):
    """A folder of the classes of a Java text."""
    for tool in ("java", "javac"):
        if shutil.which(tool) is None:
            raise Absent(f"{tool} is not installed")
    classes = tempfile.mkdtemp(prefix="windrow-rival-")
    path = os.path.join(classes, name)
    with open(path, "w") as file:
        file.write(text)
    subprocess.run(["javac", "-nowarn", "-cp", jars, "-d", classes, path], check=True)
    return classes


# ── Hadoop ──
JAVA = r"""
import java.io.BufferedOutputStream;
import java.io.DataInput;
import java.io.DataOutput;
import java.io.IOException;
import java.util.StringTokenizer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.BytesWritable;
import org.apache.hadoop.io.LongWritable;
import org.apache.hadoop.io.NullWritable;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.io.WritableComparable;
import org.apache.hadoop.io.WritableComparator;
import org.apache.hadoop.mapreduce.InputSplit;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.Mapper;
import org.apache.hadoop.mapreduce.Partitioner;
import org.apache.hadoop.mapreduce.RecordReader;
import org.apache.hadoop.mapreduce.RecordWriter;
import org.apache.hadoop.mapreduce.Reducer;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.input.FileInputFormat;
import org.apache.hadoop.mapreduce.lib.input.FileSplit;
import org.apache.hadoop.mapreduce.lib.input.FixedLengthInputFormat;
import org.apache.hadoop.mapreduce.lib.input.LineRecordReader;
import org.apache.hadoop.mapreduce.lib.output.FileOutputFormat;
import org.apache.hadoop.mapreduce.lib.partition.InputSampler;
import org.apache.hadoop.mapreduce.lib.partition.TotalOrderPartitioner;

/** As Hadoop's own examples do it. Arguments: NAME IN OUT TASKS PATTERN. */
public class Workloads {
  static final LongWritable ONE = new LongWritable(1);

  public static class Words extends Mapper<Object, Text, Text, LongWritable> {
    private final Text word = new Text();
    @Override protected void map(Object at, Text line, Context out) throws IOException, InterruptedException {
      for (StringTokenizer words = new StringTokenizer(line.toString()); words.hasMoreTokens(); ) {
        word.set(words.nextToken());
        out.write(word, ONE);
      }
    }
  }

  public static class Matches extends Mapper<Object, Text, Text, LongWritable> {
    private final Text found = new Text();
    private Pattern pattern;
    @Override protected void setup(Context out) { pattern = Pattern.compile(out.getConfiguration().get("pattern")); }
    @Override protected void map(Object at, Text line, Context out) throws IOException, InterruptedException {
      for (Matcher matches = pattern.matcher(line.toString()); matches.find(); ) {
        found.set(matches.group());
        out.write(found, ONE);
      }
    }
  }

  public static class Sum extends Reducer<Text, LongWritable, Text, LongWritable> {
    @Override protected void reduce(Text key, Iterable<LongWritable> counts, Context out) throws IOException, InterruptedException {
      long sum = 0;
      for (LongWritable count : counts) sum += count.get();
      out.write(key, new LongWritable(sum));
    }
  }

  /** Lines as keys, which is what Hadoop samples; there is nothing beside them. */
  public static class Lines extends FileInputFormat<Text, NullWritable> {
    @Override public RecordReader<Text, NullWritable> createRecordReader(InputSplit split, TaskAttemptContext task) {
      LineRecordReader lines = new LineRecordReader();
      return new RecordReader<>() {
        @Override public void initialize(InputSplit of, TaskAttemptContext in) throws IOException { lines.initialize(of, in); }
        @Override public boolean nextKeyValue() throws IOException { return lines.nextKeyValue(); }
        @Override public Text getCurrentKey() { return lines.getCurrentValue(); }
        @Override public NullWritable getCurrentValue() { return NullWritable.get(); }
        @Override public float getProgress() throws IOException { return lines.getProgress(); }
        @Override public void close() throws IOException { lines.close(); }
      };
    }
  }

  /** A key of two: lines of one first go to one reducer call, in the order of the second. */
  public static abstract class Two<T extends Two<T>> implements WritableComparable<T> {
    final Text first = new Text();
  }

  public static class Station extends Two<Station> {
    long second;
    @Override public void write(DataOutput out) throws IOException { first.write(out); out.writeLong(second); }
    @Override public void readFields(DataInput in) throws IOException { first.readFields(in); second = in.readLong(); }
    @Override public int compareTo(Station other) {
      int order = first.compareTo(other.first);
      return order != 0 ? order : Long.compare(second, other.second);
    }
  }

  public static class Place extends Two<Place> {
    final Text file = new Text();
    @Override public void write(DataOutput out) throws IOException { first.write(out); file.write(out); }
    @Override public void readFields(DataInput in) throws IOException { first.readFields(in); file.readFields(in); }
    @Override public int compareTo(Place other) {
      int order = first.compareTo(other.first);
      return order != 0 ? order : file.compareTo(other.file);
    }
  }

  public static class ByFirst extends Partitioner<Two<?>, LongWritable> {
    @Override public int getPartition(Two<?> key, LongWritable value, int count) {
      return (key.first.hashCode() & Integer.MAX_VALUE) % count;
    }
  }

  public static class StationGroups extends WritableComparator {
    public StationGroups() { super(Station.class, true); }
    @Override public int compare(WritableComparable one, WritableComparable other) {
      return ((Station) one).first.compareTo(((Station) other).first);
    }
  }

  public static class PlaceGroups extends WritableComparator {
    public PlaceGroups() { super(Place.class, true); }
    @Override public int compare(WritableComparable one, WritableComparable other) {
      return ((Place) one).first.compareTo(((Place) other).first);
    }
  }

  public static class Readings extends Mapper<Object, Text, Station, LongWritable> {
    private final Station station = new Station();
    private final LongWritable value = new LongWritable();
    @Override protected void map(Object at, Text line, Context out) throws IOException, InterruptedException {
      String[] fields = line.toString().split(",");
      station.first.set(fields[0]);
      station.second = Long.parseLong(fields[1]);
      value.set(Long.parseLong(fields[2]));
      out.write(station, value);
    }
  }

  public static class Changes extends Reducer<Station, LongWritable, Text, LongWritable> {
    @Override protected void reduce(Station key, Iterable<LongWritable> values, Context out) throws IOException, InterruptedException {
      Long before = null;
      for (LongWritable value : values) {
        // The key goes on with the values.
        out.write(new Text(key.first + "\t" + key.second), new LongWritable(before == null ? 0 : value.get() - before));
        before = value.get();
      }
    }
  }

  public static class WordPlaces extends Mapper<Object, Text, Place, LongWritable> {
    private final Place place = new Place();
    @Override protected void setup(Context out) { place.file.set(((FileSplit) out.getInputSplit()).getPath().getName()); }
    @Override protected void map(Object at, Text line, Context out) throws IOException, InterruptedException {
      for (StringTokenizer words = new StringTokenizer(line.toString()); words.hasMoreTokens(); ) {
        place.first.set(words.nextToken());
        out.write(place, ONE);
      }
    }
  }

  public static class PlaceSum extends Reducer<Place, LongWritable, Place, LongWritable> {
    @Override protected void reduce(Place key, Iterable<LongWritable> counts, Context out) throws IOException, InterruptedException {
      long sum = 0;
      for (LongWritable count : counts) sum += count.get();
      out.write(key, new LongWritable(sum));
    }
  }

  public static class Files extends Reducer<Place, LongWritable, Text, Text> {
    @Override protected void reduce(Place key, Iterable<LongWritable> counts, Context out) throws IOException, InterruptedException {
      StringBuilder files = new StringBuilder();
      String file = null;
      long sum = 0;
      for (LongWritable count : counts) {
        String now = key.file.toString();
        if (file != null && !file.equals(now)) {
          files.append(file).append(':').append(sum).append(' ');
          sum = 0;
        }
        file = now;
        sum += count.get();
      }
      out.write(key.first, new Text(files.append(file).append(':').append(sum).toString()));
    }
  }

  public static class Split extends Mapper<LongWritable, BytesWritable, BytesWritable, BytesWritable> {
    private final BytesWritable key = new BytesWritable(), rest = new BytesWritable();
    @Override protected void map(LongWritable at, BytesWritable record, Context out) throws IOException, InterruptedException {
      key.set(record.getBytes(), 0, 10);
      rest.set(record.getBytes(), 10, 90);
      out.write(key, rest);
    }
  }

  /** Keys are uniform, so ranges of their first bytes are even; Hadoop's TeraSort would sample. */
  public static class Ranges extends Partitioner<BytesWritable, BytesWritable> {
    @Override public int getPartition(BytesWritable key, BytesWritable rest, int count) {
      byte[] bytes = key.getBytes();
      long first = (bytes[0] & 255) << 16 | (bytes[1] & 255) << 8 | (bytes[2] & 255);
      return (int) (first * count >>> 24);
    }
  }

  public static class Records extends FileOutputFormat<BytesWritable, BytesWritable> {
    @Override public RecordWriter<BytesWritable, BytesWritable> getRecordWriter(TaskAttemptContext task) throws IOException {
      Path path = getDefaultWorkFile(task, "");
      BufferedOutputStream file = new BufferedOutputStream(path.getFileSystem(task.getConfiguration()).create(path), 1 << 20);
      return new RecordWriter<>() {
        @Override public void write(BytesWritable key, BytesWritable rest) throws IOException {
          file.write(key.getBytes(), 0, key.getLength());
          file.write(rest.getBytes(), 0, rest.getLength());
        }
        @Override public void close(TaskAttemptContext ended) throws IOException { file.close(); }
      };
    }
  }

  public static void main(String[] words) throws Exception {
    Configuration settings = new Configuration();
    settings.set("mapreduce.framework.name", "local");
    settings.set("fs.defaultFS", "file:///");
    settings.set("pattern", words[4]);
    int tasks = Integer.parseInt(words[3]);
    settings.setInt("mapreduce.local.map.tasks.maximum", tasks);
    settings.setInt("mapreduce.local.reduce.tasks.maximum", tasks);
    settings.setInt("mapreduce.task.io.sort.mb", 512);
    settings.setLong("mapreduce.input.fileinputformat.split.minsize", 128L << 20);
    FixedLengthInputFormat.setRecordLength(settings, 100);
    Job job = Job.getInstance(settings, words[0]);
    job.setJarByClass(Workloads.class);
    job.setNumReduceTasks(tasks);
    job.setOutputKeyClass(Text.class);
    job.setOutputValueClass(LongWritable.class);
    switch (words[0]) {
      case "terasort" -> {
        job.setInputFormatClass(FixedLengthInputFormat.class);
        job.setMapperClass(Split.class);
        job.setPartitionerClass(Ranges.class);
        job.setOutputFormatClass(Records.class);
        job.setOutputKeyClass(BytesWritable.class);
        job.setOutputValueClass(BytesWritable.class);
      }
      case "sort" -> {
        job.setInputFormatClass(Lines.class);
        job.setOutputValueClass(NullWritable.class);
      }
      case "secondarysort" -> {
        job.setMapperClass(Readings.class);
        job.setMapOutputKeyClass(Station.class);
        job.setPartitionerClass(ByFirst.class);
        job.setGroupingComparatorClass(StationGroups.class);
        job.setReducerClass(Changes.class);
      }
      case "invertedindex" -> {
        job.setMapperClass(WordPlaces.class);
        job.setMapOutputKeyClass(Place.class);
        job.setMapOutputValueClass(LongWritable.class);
        job.setCombinerClass(PlaceSum.class);
        job.setPartitionerClass(ByFirst.class);
        job.setGroupingComparatorClass(PlaceGroups.class);
        job.setReducerClass(Files.class);
        job.setOutputValueClass(Text.class);
      }
      default -> {
        job.setMapperClass(words[0].equals("grep") ? Matches.class : Words.class);
        job.setCombinerClass(Sum.class);
        job.setReducerClass(Sum.class);
      }
    }
    FileInputFormat.addInputPath(job, new Path(words[1]));
    FileOutputFormat.setOutputPath(job, new Path(words[2]));
    long started = System.nanoTime();
    if (words[0].equals("sort") && tasks > 1) {
      TotalOrderPartitioner.setPartitionFile(job.getConfiguration(), new Path(words[2] + "-ranges"));
      InputSampler.writePartitionFile(job, new InputSampler.RandomSampler<Text, NullWritable>(0.1, 10000, 10));
      job.setPartitionerClass(TotalOrderPartitioner.class);
    }
    boolean isDone = job.waitForCompletion(false);
    System.out.printf("{\"seconds\":%.3f}%n", (System.nanoTime() - started) / 1e9);
    System.exit(isDone ? 0 : 1);
  }
}
"""


def hadoop_():
    import pyspark

    if o.workload in ("join", "aggregation"):
        raise Absent(f"Hadoop's MapReduce reads no Parquet files, which {o.workload} is over")
    if o.workload not in ("wordcount", "grep", "sort", "terasort", "secondarysort", "invertedindex"):
        raise Absent(f"there is no Hadoop job for {o.workload} here")
    jars = os.path.join(os.path.dirname(pyspark.__file__), "jars", "*")
    version = [os.path.basename(jar) for jar in glob.glob(jars) if "hadoop-client-runtime" in jar]
    classes = compiled("Workloads.java", JAVA, jars)
    made = os.path.join(classes, "out")

    def run():
        shutil.rmtree(made, ignore_errors=True)
        heap = max((o.memory or 8 << 30) >> 20, 1024)
        command = ["java", f"-Xmx{heap}m", "-cp", f"{classes}:{jars}", "Workloads", o.workload, o.input, made, str(o.threads), o.pattern]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return json.loads(said.splitlines()[-1])["seconds"]

    def keep():
        """What the job has written as Windrow reads it; not measured."""
        parts = sorted(glob.glob(os.path.join(made, "part-r-*")))
        if o.workload == "terasort":
            shutil.move(made, o.out)
        elif o.workload == "sort":
            together(parts)
        else:
            import pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as pq

            columns = {"secondarysort": {"station": pa.string(), "second": pa.int64(), "change": pa.int64()},
                       "invertedindex": {"w": pa.string(), "files": pa.string()}}
            columns = columns.get(o.workload, {"w": pa.string(), "n": pa.int64()})
            if o.workload == "grep":
                # A match may have tabs in it.
                rows = [line.rstrip("\n").rpartition("\t") for part in parts for line in open(part, newline="\n")]
                tables = [pa.table({"w": pa.array([row[0] for row in rows], pa.string()), "n": pa.array([int(row[2]) for row in rows], pa.int64())})]
            else:
                options = dict(read_options=csv.ReadOptions(column_names=list(columns)), parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
                               convert_options=csv.ConvertOptions(column_types=columns, strings_can_be_null=False))
                tables = [csv.read_csv(part, **options) for part in parts if os.path.getsize(part)]
            schema = pa.schema(list(columns.items()))
            pq.write_table(pa.concat_tables([table.cast(schema) for table in tables] or [schema.empty_table()]), o.out)

    run.keep, run.clean = keep, lambda: shutil.rmtree(classes, ignore_errors=True)
    return version[0].split("-")[-1].removesuffix(".jar") if version else "", run


def descendants():
    """The processes that this one has started, they too, and so on, which live: Spark's JVM is not waited for."""
    parents = {}
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(folder + "/stat") as file:
                parents[int(os.path.basename(folder))] = file.read().rpartition(")")[2].split()
        except OSError:
            pass
    found, last = {}, [os.getpid()]
    while last:
        last = [process for process, fields in parents.items() if int(fields[1]) in last]
        found.update((process, parents[process]) for process in last)
    return found


def used():
    """Processor seconds and peak memory, of this process, of what it has waited for, and of what lives."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds, peaks = sum(u.ru_utime + u.ru_stime for u in both), [max(u.ru_maxrss for u in both) * 1024]
    for process, fields in descendants().items():
        seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        try:
            with open(f"/proc/{process}/status") as file:
                peaks += [int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM")]
        except OSError:
            pass
    return seconds, max(peaks)


def clear():
    shutil.rmtree(o.out, ignore_errors=True)
    if os.path.exists(o.out):
        os.remove(o.out)


try:
    version, run = {"duckdb": duckdb_, "polars": polars_, "spark": spark_, "hadoop": hadoop_}[o.engine]()
except ImportError as error:
    print(json.dumps(dict(absent=f"{o.engine} is not installed: {error}")))
    sys.exit(0)
except Absent as why:
    print(json.dumps(dict(absent=str(why))))
    sys.exit(0)
for _ in range(o.runs):
    clear()
    before, started = used()[0], time.perf_counter()
    told = run()
    seconds = told if isinstance(told, float) else time.perf_counter() - started
    after, peak = used()
    print(json.dumps(dict(version=version, seconds=seconds, cpu_seconds=after - before, peak_bytes=peak)), flush=True)
getattr(run, "keep", lambda: None)()
getattr(run, "clean", lambda: None)()
