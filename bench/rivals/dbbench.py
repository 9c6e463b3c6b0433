#!/usr/bin/env python3
"""The db-benchmark over the files of `windrow gen dbbench`, by Windrow and its rivals: DuckDB and Polars.

usage: dbbench.py DIR [ENGINE ...] [--question g1 ...] [--threads 2] [--runs 3] [--windrow PATH] [--json]

ENGINE: windrow, duckdb, polars; all of them unless named. DIR has NAME.parquet for g1, x, small, medium and big.

In: the files. Out: a table of the best seconds of each engine for each question, or with --json a line for each
engine and question: versions, seconds and processor seconds of each run, peak memory, the row. Never: an answer
shipped to the client. Each question is the public one with a reduction of its answer to one row around it
(`bench/dbbench/queries`), and every column goes into that row. The rows must be the same for all engines, floats to
nine digits; where they are not, it is said and the exit code is 1.

Each engine asks each question in a process of its own, which asks it as often as --runs says; each run reads the files
anew, which are in the page cache after the first. DuckDB runs the very texts that Windrow does. Polars runs what its
documentation would have one write: lazy scans, its own expressions, its streaming engine.
"""
import argparse
import csv
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time

ENGINES = ("windrow", "duckdb", "polars")
TABLES = ("g1", "x", "small", "medium", "big")
QUESTIONS = tuple([f"g{number}" for number in range(1, 11)] + [f"j{number}" for number in range(1, 6)])
QUERIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "dbbench", "queries")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--question", action="append", choices=QUESTIONS, metavar="NAME", help="g1 to g10, j1 to j5")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--windrow", default="windrow", help="the command")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.engines = options.engines or list(ENGINES)
    for engine in options.engines:
        if engine not in ENGINES:
            parser.error(f"the engines are {', '.join(ENGINES)}, not {engine!r}")
    options.question = options.question or list(QUESTIONS)
    if options.alone:
        print(json.dumps(ask(options.engines[0], options.question[0], options)))
        return
    is_same = True
    if not options.json:
        print("| question | " + " | ".join(options.engines) + " |")
        print("|---|" + "---|" * len(options.engines), flush=True)
    for question in options.question:
        lines = [child(engine, question, options) for engine in options.engines]
        rows = [line["row"] for line in lines if "row" in line]
        for line in lines[1:]:
            if "row" in line and not is_near(line["row"], rows[0]):
                print(f"{question}: {line['engine']} gives {line['row']}, not {rows[0]}", file=sys.stderr)
                is_same = False
        if options.json:
            for line in lines:
                print(json.dumps(line), flush=True)
        else:
            shown = [f"{min(line['seconds']):.2f}" if "row" in line else "fails" for line in lines]
            print(f"| {question} | " + " | ".join(shown) + " |", flush=True)
            for line in lines:
                if "error" in line:
                    print(f"{question}: {line['engine']}: {line['error']}", file=sys.stderr)
    sys.exit(0 if is_same else 1)


def child(engine, question, options):
    """What `ask` gives, in a process of its own."""
    command = [sys.executable, os.path.abspath(__file__), options.folder, engine, "--alone", "--question", question]
    command += ["--threads", str(options.threads), "--runs", str(options.runs), "--windrow", options.windrow]
    # Polars reads it when it is imported.
    environment = dict(os.environ, POLARS_MAX_THREADS=str(options.threads))
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    if ran.returncode != 0:
        what = (ran.stderr.strip().splitlines() or [f"ended with {ran.returncode}"])[-1]
        return dict(engine=engine, question=question, error=what[:300])
    return json.loads(ran.stdout)


def ask(engine, question, options):
    line = dict(engine=engine, question=question, threads=options.threads)
    ask_it = {"windrow": windrow_asks, "duckdb": duckdb_asks, "polars": polars_asks}[engine]
    try:
        line.update(ask_it(question, options))
    except Exception as error:  # A rival that gives up is a result too.
        line["error"] = (str(error).strip().splitlines() or [repr(error)])[0][:300]
    who = resource.RUSAGE_CHILDREN if engine == "windrow" else resource.RUSAGE_SELF
    line["peak_bytes"] = resource.getrusage(who).ru_maxrss * 1024
    return line


def windrow_asks(question, options):
    said = subprocess.run([options.windrow, "--version"], capture_output=True, text=True, check=True).stdout
    version = said.split()[-1]
    with tempfile.TemporaryDirectory() as results:
        command = [options.windrow, "bench", "dbbench", "--input", options.folder, "--question", question, "--json"]
        command += ["--threads", str(options.threads), "--runs", str(options.runs), "--results", results]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode != 0:
            said = ran.stderr.splitlines()
            raise RuntimeError(next((text for text in said if text.startswith("error")), "\n".join(said)))
        measured = [json.loads(text) for text in ran.stdout.splitlines()]
        with open(os.path.join(results, f"{question}.csv"), newline="") as file:
            row = list(csv.reader(file))[1]
    seconds, processor = ([line[name] for line in measured] for name in ("seconds", "cpu_seconds"))
    return dict(version=version, seconds=seconds, processor_seconds=processor, row=[value_of(text) for text in row])


def duckdb_asks(question, options):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads={options.threads}")
    # As ours does: rows have no order unless asked for.
    connection.execute("set preserve_insertion_order=false")
    for table in TABLES:
        connection.execute(f"create view {table} as from read_parquet('{options.folder}/{table}.parquet')")
    with open(os.path.join(QUERIES, f"{question}.sql")) as file:
        text = file.read()
    return dict(version=duckdb.__version__, **timed(options, lambda: connection.execute(text).fetchone()))


def polars_asks(question, options):
    import polars

    return dict(version=polars.__version__, **timed(options, polars_run(polars, question, options.folder)))


def polars_run(pl, question, folder):
    col = pl.col
    # Sums of Int32 would wrap.
    whole = lambda *names: [col(name).cast(pl.Int64).sum().alias(f"sum {name}") for name in names]
    sums = lambda *names: [col(name).sum().alias(f"sum {name}") for name in names]
    greatest = lambda *names: [col(name).max().alias(f"max {name}") for name in names]
    product = lambda left, right: (col(left).cast(pl.Int64) * col(right)).sum().alias(f"sum {left} * {right}")

    def table(name):
        return pl.scan_parquet(os.path.join(folder, f"{name}.parquet"))

    def run():
        answer, row = polars_question(pl, question, table, whole, sums, greatest, product)
        return answer.select([pl.len(), *row]).collect(engine="streaming").row(0)

    return run


def polars_question(pl, question, table, whole, sums, greatest, product):
    """The answer, and what its rows are reduced to behind their number."""
    col = pl.col
    v1 = col("v1").cast(pl.Int64)
    g1 = table("g1")
    if question == "g1":
        return g1.group_by("id1").agg(v1.sum()), [*greatest("id1"), *sums("v1"), product("v1", "v1")]
    if question == "g2":
        return g1.group_by("id1", "id2").agg(v1.sum()), [*greatest("id1", "id2"), *sums("v1"), product("v1", "v1")]
    if question == "g3":
        answer = g1.group_by("id3").agg(v1.sum(), col("v3").mean())
        return answer, [*greatest("id3"), *sums("v1"), product("v1", "v1"), *sums("v3"), product("v1", "v3")]
    if question == "g4":
        answer = g1.group_by("id4").agg(col("v1", "v2", "v3").mean())
        return answer, [*whole("id4"), *sums("v1", "v2", "v3"), *(product("id4", name) for name in ("v1", "v2", "v3"))]
    if question == "g5":
        answer = g1.group_by("id6").agg(col("v1", "v2").cast(pl.Int64).sum(), col("v3").sum())
        return answer, [*whole("id6"), *sums("v1", "v2", "v3"), *(product("id6", name) for name in ("v1", "v2", "v3"))]
    if question == "g6":
        answer = g1.group_by("id4", "id5").agg(col("v3").median().alias("median"), col("v3").std().alias("sd"))
        return answer, [*whole("id4", "id5"), *sums("median", "sd"), product("id4", "median"), product("id5", "sd")]
    if question == "g7":
        answer = g1.group_by("id3").agg((col("v1").max() - col("v2").min()).cast(pl.Int64).alias("range"))
        return answer, [*greatest("id3"), *sums("range"), product("range", "range")]
    if question == "g8":
        answer = g1.group_by("id6").agg(col("v3").top_k(2)).explode("v3")
        return answer, [*whole("id6"), *sums("v3"), product("id6", "v3")]
    if question == "g9":
        answer = g1.group_by("id2", "id4").agg((pl.corr("v1", "v2") ** 2).alias("r2"))
        return answer, [*greatest("id2"), *whole("id4"), *sums("r2"), product("id4", "r2")]
    if question == "g10":
        keys = [f"id{number}" for number in range(1, 7)]
        answer = g1.group_by(keys).agg(col("v3").sum(), pl.len().cast(pl.Int64).alias("count"))
        row = [*greatest("id1", "id2", "id3"), *whole("id4", "id5", "id6"), *sums("v3", "count"), product("id6", "v3")]
        return answer, row
    x = table("x")
    of_x = [*whole("id1", "id2", "id3"), *greatest("id4", "id5", "id6")]
    if question == "j1":
        answer = x.join(table("small"), on="id1")
        return answer, [*whole("id1", "id2", "id3"), *greatest("id4", "id4_right", "id5", "id6"), *sums("v1", "v2")]
    if question in ("j2", "j3"):
        answer = x.join(table("medium"), on="id2", how="inner" if question == "j2" else "left")
        of_medium = [col("id1_right").count().alias("count"), *whole("id1_right"), *greatest("id4_right", "id5_right")]
        return answer, [*of_x, *of_medium, *sums("v1", "v2")]
    if question == "j4":
        answer = x.join(table("medium"), on="id5")
        count = col("id1_right").count().alias("count")
        of_medium = [count, *whole("id1_right"), *greatest("id4_right"), *whole("id2_right")]
        return answer, [*of_x, *of_medium, *sums("v1", "v2")]
    answer = x.join(table("big"), on="id3")
    of_big = [*whole("id1_right", "id2_right"), *greatest("id4_right", "id5_right", "id6_right")]
    return answer, [*of_x, *of_big, *sums("v1", "v2")]


def timed(options, run):
    seconds, processor = [], []
    for _ in range(options.runs):
        started, worked = time.perf_counter(), time.process_time()
        row = run()
        seconds.append(round(time.perf_counter() - started, 4))
        processor.append(round(time.process_time() - worked, 4))
    row = [value if isinstance(value, str) else value_of(str(value)) for value in row]
    return dict(seconds=seconds, processor_seconds=processor, row=row)


def value_of(text):
    """A whole number, else a float, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def is_near(row, other):
    def same(left, right):
        if isinstance(left, str) or isinstance(right, str):
            return left == right
        return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-6)

    return len(row) == len(other) and all(same(left, right) for left, right in zip(row, other))


if __name__ == "__main__":
    main()
