-- max v1 - min v2 by id3
select count(*), max(id3), sum(range_v1_v2), sum(range_v1_v2 * range_v1_v2)
from (
    select id3, max(v1) - min(v2) as range_v1_v2
    from g1
    group by id3
) as answer
