-- small inner on int
select count(*), sum(id1), sum(id2), sum(id3), max(id4), max(small_id4), max(id5), max(id6), sum(v1), sum(v2)
from (
    select x.*, small.id4 as small_id4, v2
    from x
    inner join small on x.id1 = small.id1
) as answer
