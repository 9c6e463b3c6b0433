-- median v3 sd v3 by id4 id5
select count(*), sum(id4), sum(id5), sum(median_v3), sum(sd_v3), sum(id4 * median_v3), sum(id5 * sd_v3)
from (
    select id4, id5, median(v3) as median_v3, stddev(v3) as sd_v3
    from g1
    group by id4, id5
) as answer
