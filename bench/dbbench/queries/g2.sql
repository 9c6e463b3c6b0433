-- sum v1 by id1:id2
select count(*), max(id1), max(id2), sum(v1), sum(v1 * v1)
from (
    select id1, id2, sum(v1) as v1
    from g1
    group by id1, id2
) as answer
