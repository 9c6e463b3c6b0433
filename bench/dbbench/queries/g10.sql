-- sum v3 count by id1:id6
select count(*), max(id1), max(id2), max(id3), sum(id4), sum(id5), sum(id6), sum(v3), sum("count"), sum(id6 * v3)
from (
    select id1, id2, id3, id4, id5, id6, sum(v3) as v3, count(*) as "count"
    from g1
    group by id1, id2, id3, id4, id5, id6
) as answer
