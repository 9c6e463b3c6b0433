-- regression v1 v2 by id2 id4
select count(*), max(id2), sum(id4), sum(r2), sum(id4 * r2)
from (
    select id2, id4, pow(corr(v1, v2), 2) as r2
    from g1
    group by id2, id4
) as answer
