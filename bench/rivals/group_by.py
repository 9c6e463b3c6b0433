#!/usr/bin/env python3
"""GROUP BY over the file of `windrow gen groups`, by Windrow and its rivals: DuckDB and Polars.

usage: group_by.py ENGINE FILE [--threads 2] [--runs 3] [--memory 1GiB] [--spill DIR] [--windrow PATH]

ENGINE: windrow | duckdb | polars. FILE has the columns k (u64 or text) and v (i64).

In: the file. Out: one JSON line: the engine and its version, seconds and processor seconds of each run, peak memory, a
digest. Never: groups shipped to the client. They are made, and then reduced in the same query to a row: how many there
are, the sum, least and most of their counts, the sum of their sums, and the sum of a product that a row in a wrong
group changes. The row must be the same for every engine; compare `digest`.

Each run reads the file anew; it is in the page cache after the first. Windrow runs as a command, so that its start counts
too. --memory bounds Windrow and DuckDB (memory_limit), --spill is where DuckDB spills. Polars has no such bound and is
run without. Peak memory is that of the process over all runs (Windrow: of its greatest), with what it maps.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import time

DIGEST = ("groups", "rows", "least", "most", "sum", "product")
QUERY = """select count(*), sum(n), min(n), max(n), sum(s), sum(s * (s % 1009)) from
(select k, count(*) as n, sum(v) as s from {file} group by k) as groups"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=("windrow", "duckdb", "polars"))
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", default="", help="as 1GiB; not for Polars")
    parser.add_argument("--spill", default="", help="where DuckDB spills; its default else")
    parser.add_argument("--windrow", default="windrow", help="the command")
    options = parser.parse_args()
    if options.memory and options.engine == "polars":
        parser.error("Polars has no bound of memory")
    version, run = {"windrow": windrow_run, "duckdb": duckdb_run, "polars": polars_run}[options.engine](options)
    line = dict(engine=options.engine, version=version, file=os.path.basename(options.file), threads=options.threads)
    line.update(memory=options.memory or None, seconds=[], processor_seconds=[])
    try:
        for _ in range(options.runs):
            started, worked = time.perf_counter(), processor_seconds()
            row = run()
            line["seconds"].append(round(time.perf_counter() - started, 3))
            line["processor_seconds"].append(round(processor_seconds() - worked, 3))
            digest = dict(zip(DIGEST, (int(value) for value in row)))
            if line.setdefault("digest", digest) != digest:
                sys.exit(f"two runs differ: {line['digest']} and {digest}")
    except Exception as error:  # A rival that gives up is a result too.
        line["error"] = (str(error).strip().splitlines() or [repr(error)])[0][:300]
    who = resource.RUSAGE_CHILDREN if options.engine == "windrow" else resource.RUSAGE_SELF
    line["peak_bytes"] = resource.getrusage(who).ru_maxrss * 1024
    print(json.dumps(line), flush=True)
    sys.exit(1 if "error" in line else 0)


def processor_seconds():
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in usages)


def windrow_run(options):
    version = subprocess.run([options.windrow, "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    command = [options.windrow, "sql", "--format", "csv", "--threads", str(options.threads)]
    if options.memory:
        command += ["--memory", options.memory]
    command += ["-c", QUERY.format(file=f"'{options.file}'")]

    def run():
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            raise RuntimeError(ran.stderr)
        return ran.stdout.splitlines()[1].split(",")

    return version, run


def duckdb_run(options):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads={options.threads}")
    # As ours does: rows have no order unless asked for.
    connection.execute("set preserve_insertion_order=false")
    if options.memory:
        connection.execute(f"set memory_limit='{options.memory}'")
    if options.spill:
        connection.execute(f"set temp_directory='{options.spill}'")
    query = QUERY.format(file=f"read_parquet('{options.file}')")
    return duckdb.__version__, lambda: connection.execute(query).fetchone()


def polars_run(options):
    os.environ["POLARS_MAX_THREADS"] = str(options.threads)  # read when it is imported
    import polars

    def run():
        groups = polars.scan_parquet(options.file).group_by("k").agg(
            polars.len().cast(polars.Int64).alias("n"), polars.col("v").sum().alias("s")
        )
        n, s = polars.col("n"), polars.col("s")
        values = (polars.len(), n.sum(), n.min(), n.max(), s.sum(), (s * (s % 1009)).sum())
        row = groups.select(value.alias(name) for name, value in zip(DIGEST, values))
        return row.collect(engine="streaming").row(0)

    return polars.__version__, run


if __name__ == "__main__":
    main()
