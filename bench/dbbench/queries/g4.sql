-- mean v1:v3 by id4
select count(*), sum(id4), sum(v1), sum(v2), sum(v3), sum(id4 * v1), sum(id4 * v2), sum(id4 * v3)
from (
    select id4, avg(v1) as v1, avg(v2) as v2, avg(v3) as v3
    from g1
    group by id4
) as answer
