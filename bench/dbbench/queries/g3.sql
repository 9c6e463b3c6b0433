-- sum v1 mean v3 by id3
select count(*), max(id3), sum(v1), sum(v1 * v1), sum(v3), sum(v1 * v3)
from (
    select id3, sum(v1) as v1, avg(v3) as v3
    from g1
    group by id3
) as answer
