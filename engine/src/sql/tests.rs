//! Statements on empty tables: what they become, and what is said about those that are wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fmt::Write, fs, sync::Arc, time::SystemTime};

use super::*;
use crate::{
    batch::datatypes::{DataType, Field, Schema},
    error::{Error, Kind},
    plan::logical::{Logical, Node},
    scan::Table,
};

fn table(name: &str, columns: &[(&str, DataType)]) -> Arc<Table> {
    let fields: Vec<_> = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), false)).collect();
    Table::empty(name, Arc::new(Schema::new(fields)))
}

fn tpch() -> Catalog {
    let (key, text, date, money) = (DataType::Int64, DataType::Utf8View, DataType::Date32, DataType::Decimal128(15, 2));
    let number = DataType::Int32;
    let mut catalog = Catalog::new();
    let mut add = |name: &str, columns: &[(&str, &DataType)]| {
        let columns: Vec<_> = columns.iter().map(|(name, data_type)| (*name, (*data_type).clone())).collect();
        catalog.insert(name, table(name, &columns));
    };
    add("nation", &[("n_nationkey", &key), ("n_name", &text), ("n_regionkey", &key), ("n_comment", &text)]);
    add("region", &[("r_regionkey", &key), ("r_name", &text), ("r_comment", &text)]);
    add(
        "part",
        &[
            ("p_partkey", &key),
            ("p_name", &text),
            ("p_mfgr", &text),
            ("p_brand", &text),
            ("p_type", &text),
            ("p_size", &number),
            ("p_container", &text),
            ("p_retailprice", &money),
            ("p_comment", &text),
        ],
    );
    add(
        "supplier",
        &[
            ("s_suppkey", &key),
            ("s_name", &text),
            ("s_address", &text),
            ("s_nationkey", &key),
            ("s_phone", &text),
            ("s_acctbal", &money),
            ("s_comment", &text),
        ],
    );
    add(
        "partsupp",
        &[
            ("ps_partkey", &key),
            ("ps_suppkey", &key),
            ("ps_availqty", &number),
            ("ps_supplycost", &money),
            ("ps_comment", &text),
        ],
    );
    add(
        "customer",
        &[
            ("c_custkey", &key),
            ("c_name", &text),
            ("c_address", &text),
            ("c_nationkey", &key),
            ("c_phone", &text),
            ("c_acctbal", &money),
            ("c_mktsegment", &text),
            ("c_comment", &text),
        ],
    );
    add(
        "orders",
        &[
            ("o_orderkey", &key),
            ("o_custkey", &key),
            ("o_orderstatus", &text),
            ("o_totalprice", &money),
            ("o_orderdate", &date),
            ("o_orderpriority", &text),
            ("o_clerk", &text),
            ("o_shippriority", &number),
            ("o_comment", &text),
        ],
    );
    add(
        "lineitem",
        &[
            ("l_orderkey", &key),
            ("l_partkey", &key),
            ("l_suppkey", &key),
            ("l_linenumber", &number),
            ("l_quantity", &money),
            ("l_extendedprice", &money),
            ("l_discount", &money),
            ("l_tax", &money),
            ("l_returnflag", &text),
            ("l_linestatus", &text),
            ("l_shipdate", &date),
            ("l_commitdate", &date),
            ("l_receiptdate", &date),
            ("l_shipinstruct", &text),
            ("l_shipmode", &text),
            ("l_comment", &text),
        ],
    );
    catalog
}

fn small() -> Catalog {
    let mut catalog = Catalog::new();
    catalog.insert("t", table("t", &[("a", DataType::Int64), ("b", DataType::Int64), ("s", DataType::Utf8View)]));
    catalog.insert("u", table("u", &[("a", DataType::Int64), ("price", DataType::Decimal128(15, 2))]));
    catalog
}

fn query(text: &str, catalog: &Catalog) -> crate::error::Result<Logical> {
    match plan(text, catalog, SystemTime::UNIX_EPOCH)? {
        Planned::Query(logical)
        | Planned::Write(logical)
        | Planned::Explain(logical)
        | Planned::ExplainAnalyze(logical) => Ok(logical),
    }
}

/// A plan as text, one node a line.
fn draw(plan: &Logical) -> String {
    fn node(plan: &Logical, depth: usize, out: &mut String) {
        let over = plan.inputs().first().map_or_else(|| Arc::clone(&plan.schema), |input| Arc::clone(&input.schema));
        let list = |expressions: &[crate::expression::Expression]| {
            expressions.iter().map(|e| e.show(&over)).collect::<Vec<_>>().join(", ")
        };
        let text = match &plan.node {
            Node::Scan(scan) => format!("scan {} [{}]", scan.table.name(), {
                scan.filters.iter().map(|filter| filter.show(&plan.schema)).collect::<Vec<_>>().join(", ")
            }),
            Node::Values(batches) => format!("values {}", batches.iter().map(|b| b.num_rows()).sum::<usize>()),
            Node::Filter { predicate, .. } => format!("filter {}", predicate.show(&over)),
            Node::Project { expressions, .. } => format!("project {}", list(expressions)),
            Node::Aggregate { keys, calls, .. } => {
                let calls: Vec<_> = calls.iter().map(|call| call.show(&over)).collect();
                format!("aggregate [{}] [{}]", list(keys), calls.join(", "))
            }
            Node::GroupingSets { keys, sets, calls, .. } => {
                let calls: Vec<_> = calls.iter().map(|call| call.show(&over)).collect();
                let sets: Vec<_> = sets.iter().map(|set| format!("{:?}", set.keys)).collect();
                format!("grouping sets [{}] [{}] [{}]", list(keys), sets.join(", "), calls.join(", "))
            }
            Node::Window { partition, order, calls, bound, .. } => {
                let order: Vec<_> = order.iter().map(|key| key.show(&over)).collect();
                let calls: Vec<_> = calls.iter().map(|call| call.show(&over)).collect();
                let bound = bound.map_or_else(String::new, |bound| format!(" {} <= {}", calls[bound.call], bound.most));
                format!("window [{}] [{}] [{}]{bound}", list(partition), order.join(", "), calls.join(", "))
            }
            Node::Join(join) => {
                let on: Vec<_> = join
                    .on
                    .iter()
                    .map(|(l, r)| format!("{} = {}", l.show(&join.left.schema), r.show(&join.right.schema)))
                    .collect();
                let filter = join.filter.as_ref().map(|filter| format!(" if {filter}")).unwrap_or_default();
                let aware = if join.is_null_aware { " null-aware" } else { "" };
                format!("join {:?} [{}]{filter}{aware}", join.kind, on.join(", "))
            }
            Node::Sort { keys, skip, fetch, .. } => {
                let keys: Vec<_> = keys.iter().map(|key| key.show(&over)).collect();
                format!("sort [{}] {skip} {fetch:?}", keys.join(", "))
            }
            Node::Limit { skip, fetch, .. } => format!("limit {skip} {fetch:?}"),
            Node::Union { .. } => "union".to_owned(),
            Node::WithParameter { number, .. } => format!("with ${number}"),
            Node::Shared { number, .. } => format!("shared {number}"),
            Node::Cached(_) | Node::MapBatches { .. } | Node::MapGroups { .. } | Node::Write { .. } => {
                panic!("not from SQL")
            }
        };
        let _ = writeln!(out, "{}{text}", "  ".repeat(depth));
        for input in plan.inputs() {
            node(input, depth + 1, out);
        }
    }
    let mut out = String::new();
    node(plan, 0, &mut out);
    out
}

fn drawn(text: &str) -> String {
    draw(&query(text, &small()).unwrap())
}

/// Every expression of a plan has, over its input, the type that the schema says.
fn check_types(plan: &Logical) {
    match &plan.node {
        Node::Project { input, expressions } => {
            assert_eq!(expressions.len(), plan.schema.fields().len());
            for (expression, field) in expressions.iter().zip(plan.schema.fields()) {
                let found = expression.data_type(&input.schema).unwrap();
                assert_eq!(&found, field.data_type(), "{}", expression.show(&input.schema));
            }
        }
        Node::Filter { input, predicate } => {
            assert_eq!(predicate.data_type(&input.schema).unwrap(), DataType::Boolean);
        }
        Node::Aggregate { input, keys, calls } => {
            assert_eq!(keys.len() + calls.len(), plan.schema.fields().len());
            for (key, field) in keys.iter().zip(plan.schema.fields()) {
                assert_eq!(&key.data_type(&input.schema).unwrap(), field.data_type());
            }
        }
        Node::GroupingSets { input, keys, calls, sets } => {
            assert_eq!(keys.len() + 1 + calls.len(), plan.schema.fields().len());
            for (key, field) in keys.iter().zip(plan.schema.fields()) {
                assert_eq!(&key.data_type(&input.schema).unwrap(), field.data_type());
            }
            for set in sets {
                assert_eq!(&set.number.data_type(), plan.schema.field(keys.len()).data_type());
            }
        }
        Node::Scan(scan) => {
            for filter in &scan.filters {
                assert_eq!(filter.data_type(&plan.schema).unwrap(), DataType::Boolean);
            }
        }
        Node::Join(join) => {
            for (left, right) in &join.on {
                let left = left.data_type(&join.left.schema).unwrap();
                assert_eq!(left, right.data_type(&join.right.schema).unwrap());
            }
        }
        Node::Union { inputs } => {
            for input in inputs {
                let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
                assert_eq!(types(&input.schema), types(&plan.schema));
            }
        }
        _ => {}
    }
    plan.inputs().into_iter().for_each(check_types);
}

#[test]
fn the_queries_of_tpch_bind() {
    let catalog = tpch();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/tpch/queries");
    for number in 1..=22 {
        let text = fs::read_to_string(format!("{folder}/q{number}.sql")).unwrap();
        let logical = query(&text, &catalog).unwrap_or_else(|error| panic!("query {number}: {error:?}"));
        check_types(&logical);
        if std::env::var_os("WINDROW_SHOW_PLANS").is_some() {
            println!("query {number}\n{}", draw(&logical));
        }
        let (plan, has) = (draw(&logical), |words: &str| draw(&logical).contains(words));
        assert!(!plan.contains("CAST(l_discount AS Float64)"), "{plan}");
        match number {
            4 => assert!(has("join LeftSemi") || has("join RightSemi"), "{plan}"),
            11 | 15 => assert!(plan.starts_with("with $0"), "{plan}"),
            16 => assert!(has("null-aware") || has("Anti"), "{plan}"),
            22 => assert!(has("with $0") && has("Anti"), "{plan}"),
            _ => {}
        }
    }
}

#[test]
fn filters_go_into_the_scan_over_the_columns_it_gives() {
    let expected = "project b\n  scan t [a > 3, s LIKE 'x%']\n";
    assert_eq!(drawn("select b from t where a > 3 and s like 'x%'"), expected);
    assert_eq!(drawn("select * from t"), "scan t []\n");
}

#[test]
fn a_limit_over_a_sort_is_one_node() {
    assert!(drawn("select a from t order by b desc limit 5 offset 2").contains("sort [b DESC] 2 Some(5)"));
    assert!(drawn("select a + 1 from t order by b nulls first limit 7").contains("sort [b NULLS FIRST] 0 Some(7)"));
    assert!(drawn("select a from t limit 3 offset 4").contains("limit 4 Some(3)"));
}

#[test]
fn count_star_has_no_argument_and_distinct_stays() {
    let plan = drawn("select count(*), count(a), count(distinct a), count(distinct b), min(distinct a) from t");
    assert!(plan.contains("[count(*), count(*), count(DISTINCT a), count(DISTINCT b), min(a)]"), "{plan}");
    assert!(drawn("select distinct a, b from t").contains("aggregate [a, b] []"));
    assert!(drawn("select sum(a) filter (where b > 1) from t").contains("sum(a) FILTER (WHERE b > 1)"));
}

#[test]
fn scalar_subqueries_become_parameters_computed_outermost_first() {
    let plan = drawn(
        "select a from t where a > (select max(a) from u where price > (select avg(price) from u))
         and (select avg(price) from u) is null",
    );
    // The inner one is read by the other, so it is evaluated first: outermost.
    let first = plan.lines().next().unwrap();
    let inner = if first == "with $1" { "$1" } else { "$0" };
    assert_eq!(plan.matches("with $").count(), 2, "{plan}");
    assert!(plan.contains(&format!("> {inner}")) && plan.contains(&format!("{inner} IS NULL")), "{plan}");
    check_types(&query("select (select max(a) from u) + a from t", &small()).unwrap());
}

#[test]
fn grouping_sets_are_one_node_or_a_union_of_aggregates() {
    let logical = query("select a, b, sum(a) from t group by rollup (a, b)", &small()).unwrap();
    check_types(&logical);
    let plan = draw(&logical);
    assert!(plan.contains("grouping sets [a, b] [[0, 1], [0], []] [sum(a)]"), "{plan}");
    // Distinct values are not told in parts.
    let logical = query("select a, b, count(distinct s) from t group by rollup (a, b)", &small()).unwrap();
    check_types(&logical);
    let plan = draw(&logical);
    for part in ["union", "aggregate [a, b]", "aggregate [a] ", "aggregate [] "] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    check_types(&query("select a, b, count(*) from t group by cube (a, b)", &small()).unwrap());
    check_types(&query("select s, count(*) from t group by grouping sets ((s), (), ())", &small()).unwrap());
}

#[test]
fn values_unions_and_joins_of_all_kinds() {
    for text in [
        "select 1",
        "select 1 + 1 as two where false",
        "values (1, 'a'), (2, null)",
        "select * from (values (1, 2.5), (3, 4)) as v(x, y) where x > 1",
        "select a from t union all select b from t union all select 3.5",
        "select a from t intersect select a from u",
        "select a from t except select a from u",
        "select * from t cross join u",
        "select * from t join u using (a)",
        "select t.a, u.price from t left join u on t.a = u.a and t.b < u.price",
        "select * from t full join u on t.a = u.a",
        "select * from t right join u on t.b = u.a",
        "select * from t where a in (select a from u) or b = 3",
        "select * from t where a not in (select a from u)",
        "select * from t where exists (select 1 from u where u.a = t.a and u.price > t.b)",
        "select * from t where exists (select 1 from u)",
        "select t.a, (select sum(price) from u where u.a = t.a) from t",
        "with v as (select a, count(*) as n from t group by a) select x.n from v x, v y where x.a = y.a",
        "select case a when 1 then 'one' when 2 then 'two' end, a between 1 and 3, s ~ 'x+', s || 'y' from t",
        "select extract(year from date '2020-02-03'), substring(s from 1 for 2), position('x' in s) from t",
        "select now(), current_date, coalesce(s, 'none'), nullif(a, b), try_cast(s as int) from t",
        "select count(*) from t group by 1 = 1",
        "select a, grouping(a) from t group by rollup (a)",
    ] {
        let logical = query(text, &small()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        check_types(&logical);
    }
}

#[test]
fn the_start_time_and_nothing_else_is_now() {
    let text = "select now()";
    let one = draw(&query(text, &small()).unwrap());
    assert_eq!(one, draw(&query(text, &small()).unwrap()));
    let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    let Planned::Query(other) = plan(text, &small(), later).unwrap() else { panic!() };
    assert_ne!(one, draw(&other));
}

#[test]
fn explain_is_told_apart() {
    assert!(matches!(plan("explain select 1", &small(), SystemTime::UNIX_EPOCH), Ok(Planned::Explain(_))));
    assert!(matches!(
        plan("explain analyze select 1;", &small(), SystemTime::UNIX_EPOCH),
        Ok(Planned::ExplainAnalyze(_))
    ));
}

fn fails(text: &str) -> (Error, String) {
    let error = match query(text, &small()) {
        Err(error) => error,
        Ok(logical) => panic!("{text}: {}", draw(&logical)),
    };
    let place = error.place().map(|place| place.text[place.range].to_owned()).unwrap_or_default();
    (error, place)
}

fn cause(error: &Error) -> &SqlError {
    let cause: &(dyn std::error::Error + 'static) = error.cause();
    cause.downcast_ref().unwrap_or_else(|| panic!("{error:?}"))
}

#[test]
fn names_that_are_not_known_have_a_place_and_a_suggestion() {
    let (error, place) = fails("select\n  prcie from u");
    assert!(
        matches!(cause(&error), SqlError::UnknownColumn { candidates, .. } if candidates.contains(&"price".to_owned())),
        "{error:?}"
    );
    assert_eq!((place.as_str(), error.kind()), ("prcie", Kind::Request));
    assert!(error.hint().unwrap().contains("did you mean price"));

    let (error, place) = fails("select t.c from t");
    assert!(matches!(cause(&error), SqlError::UnknownColumn { .. }), "{error:?}");
    assert!(place.contains('c'), "{place}");

    let (error, place) = fails("select * from uu where a = 1");
    assert!(matches!(cause(&error), SqlError::UnknownTable { candidates, .. } if candidates == &["u"]), "{error:?}");
    assert_eq!(place, "uu");

    let (error, place) = fails("select * from 'no/such/file.parquet'");
    assert!(matches!(cause(&error), SqlError::CannotOpen { .. }), "{error:?}");
    assert_eq!(place, "'no/such/file.parquet'");

    let (error, place) = fails("select uper(s) from t");
    assert!(
        matches!(cause(&error), SqlError::UnknownFunction { candidates, .. } if candidates[0] == "upper"),
        "{error:?}"
    );
    assert!(place.starts_with("uper"), "{place}");

    let (error, place) = fails("select a from t, u");
    assert!(matches!(cause(&error), SqlError::AmbiguousColumn { .. }), "{error:?}");
    assert_eq!(place, "a");
}

#[test]
fn what_cannot_be_read_has_the_place_where_reading_stopped() {
    let (error, place) = fails("select a\nfrom t wher a > 1 group");
    assert!(matches!(cause(&error), SqlError::Syntax { .. }), "{error:?}");
    assert_eq!(place, "a", "{error}");
    let (error, place) = fails("select a from");
    assert!(matches!(cause(&error), SqlError::Syntax { .. }), "{error:?}");
    assert_eq!(place, "");
    assert!(error.place().unwrap().range.start > 8, "{error:?}");
    let (error, _) = fails("select 'abc");
    assert!(matches!(cause(&error), SqlError::Token { .. }), "{error:?}");
    let (error, _) = fails(" -- nothing\n ;");
    assert!(matches!(cause(&error), SqlError::Empty), "{error:?}");
    let (error, place) = fails("select 1; select 2");
    assert!(matches!(cause(&error), SqlError::Several { .. }), "{error:?}");
    assert_eq!(place, "select");
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    for (text, word) in [
        ("select sum(distinct a) over (partition by b) from t", "sum"),
        ("select array_agg(a) over (partition by b) from t", "array_agg"),
        ("select lag(a, b) over (order by a) from t", "lag"),
        ("select ntile(0) over (order by a) from t", "ntile"),
        ("select distinct on (a) a, b from t", "on"),
        ("insert into t values (1, 2, 'x')", "insert"),
        ("create table x (a int)", "create"),
        ("drop table t", "drop"),
        ("with recursive r as (select 1 as n union all select n + 1 from r where n < 5) select * from r", "recursive"),
        ("select percentile_cont(a, 1.5) from t", "percentile_cont"),
        ("select b, median(a) from t group by rollup (b)", "rollup"),
        ("select array_agg(a) from t", "array_agg"),
        ("select count(distinct a, b) from t", "count"),
        ("select random() from t", "random"),
        ("select * from t where s similar to 'x'", "similar"),
        ("select s @> 'x' from t", "@>"),
    ] {
        let (error, place) = fails(text);
        assert_eq!(error.kind(), Kind::Unsupported, "{text}: {error:?}");
        assert_eq!(place.to_lowercase(), word, "{text}: {error:?}");
    }
}

#[test]
fn what_is_wrong_with_a_copy_is_told_with_its_place() {
    for (text, word, hint) in [
        ("copy t from 'x.csv'", "from", ""),
        ("copy t to x", "x", ""),
        ("copy (select a from t where a to 'x.csv'", "to", ""),
        ("copy t to 'x'", "'x'", "STORED AS"),
        ("copy t to 'x.xlsx'", "'x.xlsx'", "STORED AS"),
        ("copy t to 'x' stored as avro", "avro", "parquet, csv"),
        ("copy t to 'x.csv' partitioned by (c)", "c", ""),
        ("copy t to 'x.csv' partitioned by c", "c", ""),
        ("copy (select price from u) to 'x.csv' partitioned by (prize)", "prize", "did you mean price?"),
        ("copy t to 'x.csv' options (overwrit)", "overwrit", "did you mean overwrite?"),
        ("copy t to 'x.csv' options (compression 'gzip')", "compression", "there are: overwrite, append"),
        ("copy t to 'x.csv' options (overwrite maybe)", "maybe", ""),
        ("copy t to 'x.csv' options (overwrite, append)", "append", ""),
        ("copy t to 'x.csv' options (overwrite) with header", "with", ""),
        ("copy t to 'x.csv' options ()", ")", ""),
        ("copy t to 'x.csv' options (append) partitioned by (a) options (append)", "options", ""),
        ("copy t to 'x' stored as csv stored as csv", "stored", ""),
        ("copy t to 'x.csv' (format csv)", "(", ""),
        ("explain copy nope to 'x.csv'", "nope", "there are: t, u"),
        ("copy (select nope from t) to 'x.csv'", "nope", ""),
    ] {
        let (error, place) = fails(text);
        assert_eq!(error.kind(), Kind::Request, "{text}: {error:?}");
        assert_eq!(place, word, "{text}: {error:?}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {error:?}");
    }
}

#[test]
fn a_copy_says_where_its_rows_go() {
    let mut catalog = small();
    catalog.set_folder("/here");
    for (text, says) in [
        ("copy t to 'x.csv'", "CSV files in /here/x.csv"),
        ("copy (select a, s from t) to '/there/x' stored as ARROW", "Arrow files in /there/x"),
        (
            "COPY t TO 'x.jsonl' PARTITIONED BY (b, \"s\") OPTIONS (overwrite true)",
            "JSON files in /here/x.jsonl, partitioned by b, s, in the place of what is there",
        ),
        (
            "copy t to 'x' options ('append' 'true', overwrite false) stored as parquet",
            "Parquet files in /here/x, beside what is there",
        ),
    ] {
        let Planned::Write(logical) = plan(text, &catalog, SystemTime::UNIX_EPOCH).unwrap() else { panic!("{text}") };
        let Node::Write { target, .. } = &logical.node else { panic!("{text}") };
        assert_eq!(target.to_string(), says);
    }
    for (text, is_run) in [("explain copy t to 'x.csv'", false), ("explain analyze copy t to 'x.csv'", true)] {
        let planned = plan(text, &catalog, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(matches!(planned, Planned::ExplainAnalyze(_)), is_run);
        assert_eq!(matches!(planned, Planned::Explain(_)), !is_run);
    }
}

#[test]
fn statements_that_do_not_fit_are_the_users_errors() {
    for text in ["select a, count(*) from t", "select a + s from t where s > 1 and a like 3", "select sum(s, a) from t"]
    {
        let (error, _) = fails(text);
        assert!(error.is_user(), "{text}: {error:?}");
        assert!(std::error::Error::source(&error).is_some(), "{text}: {error:?}");
    }
}

#[test]
fn constants_do_not_wrap() {
    for text in [
        "select 9223372036854775807 + 1",
        "select a from t where a > 3 * 9223372036854775807",
        "select * from t where a > (select 1 - 9223372036854775807 - 9223372036854775807)",
        "select - (-9223372036854775807 - 1) from t",
    ] {
        let (error, _) = fails(text);
        assert_eq!(error.kind(), Kind::Job, "{text}: {error:?}");
    }
    // Fails only on a row that reaches it.
    let guarded = query("select case when a = 1 then 1 / 0 end from t", &small()).unwrap();
    check_types(&guarded);
}

#[test]
fn a_script_is_cut_at_its_semicolons() {
    let script = "-- first\nselect ';' /* ; */ ;\n;;  select 2 -- end\n";
    let found = statements(script).unwrap();
    assert_eq!(found.iter().map(|s| s.text.as_str()).collect::<Vec<_>>(), ["select ';'", "select 2"]);
    assert!(found.iter().all(|s| script[s.place.clone()] == s.text));
    assert!(statements("").unwrap().is_empty());
}

#[test]
fn long_and_deep_statements_are_errors_and_not_crashes() {
    let deep =
        |open: &str, close: &str, count: usize| format!("select {}1{} from t", open.repeat(count), close.repeat(count));
    for text in [
        deep("(", ")", 100_000),
        deep("- ", "", 50_000),
        deep("not ", "", 50_000),
        deep("(select ", ")", 5_000),
        format!("select {} from t", vec!["a"; 100_000].join(" + ")),
        format!("select a from t where {}", vec!["a = 1"; 100_000].join(" or ")),
        vec!["select a from t"; 20_000].join(" union all "),
        format!("select 1 from {}", (0..20_000).map(|k| format!("t t{k}")).collect::<Vec<_>>().join(", ")),
        format!("select {} from t", vec!["s"; 1_900].join(" || ")),
        "x".repeat(crate::limits::SQL_BYTES_MAX + 1),
    ] {
        let error = query(&text, &small()).unwrap_err();
        assert!(matches!(error.kind(), Kind::Limit | Kind::Request), "{}: {error:?}", &text[..40]);
    }
    // What people generate still works.
    let wide =
        format!("select a from t where {}", (0..1_900).map(|k| format!("a = {k}")).collect::<Vec<_>>().join(" or "));
    check_types(&query(&wide, &small()).unwrap());
    let listed =
        format!("select a from t where a in ({})", (0..20_000).map(|k| k.to_string()).collect::<Vec<_>>().join(", "));
    check_types(&query(&listed, &small()).unwrap());
    let sum = format!("select {} from t", vec!["a"; 400].join(" + "));
    check_types(&query(&sum, &small()).unwrap());
    let tables = format!("select 1 from {}", (0..200).map(|k| format!("t t{k}")).collect::<Vec<_>>().join(", "));
    check_types(&query(&tables, &small()).unwrap());
    let unions = vec!["select a from t"; 300].join(" union all ");
    check_types(&query(&unions, &small()).unwrap());
}
